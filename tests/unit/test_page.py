"""The page: each view with its command, JSON twin and errors; nothing in it runs or leaks."""

import functools
import re

import httpx
import pytest

from dms3.core.database import StoredEvent
from dms3.node.commands import TABLE as REAL_TABLE
from dms3.web import home, searching
from dms3.web.page import VIEWS
from dms3.web.templating import (
    HASH_CHARS_SHOWN,
    Pages,
    counted,
    day,
    origin,
    shell,
    short,
    size,
    when,
)
from unit.fronts import AUTH, BASE, BROKEN_CID, FILE, FILE_CID, LOST_CID, Pieces, in_loop, make

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OWN = ("/", "/documents", "/people", "/search", f"/documents/{FILE_CID}")
FIRST_LOAD_BYTES_MAX = 100_000  # docs/page.md


def browser(fixture) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(fixture.front.app), base_url=BASE, headers=HTML
    )


shared = functools.cache(make)  # a front that no test changes


async def logged_in(fixture=None) -> httpx.AsyncClient:
    fixture = fixture or shared()
    client = browser(fixture)
    assert (await client.get(fixture.front.login_path())).status_code == 303
    return client


@pytest.mark.parametrize("path", OWN)
@in_loop
async def test_a_view_shows_its_command_and_has_a_twin(path):
    client = await logged_in()
    shown = await client.get(path)
    assert shown.status_code == 200
    assert re.search(r"The same from a shell: .*<code>dms3 ", shown.text)
    twin = await client.get(path, params={"format": "json"})
    assert twin.headers["content-type"] == "application/json"
    assert twin.json()["v"] == 1
    again = await client.get(path, headers={"Accept": "application/json"})
    assert again.json() == twin.json()
    assert f'<a href="{path}?format=json">As JSON</a>' in shown.text


@pytest.mark.parametrize("path", [*OWN, "/search?q=a", "/documents?space=<letters>", "/docs"])
@in_loop
async def test_nothing_in_a_view_runs_and_nothing_comes_from_elsewhere(path):
    text = (await (await logged_in()).get(path)).text
    scripts = re.findall(r"<script[^>]*>", text)
    assert len(scripts) == (path != "/docs")
    assert all('src="/static/page.js?v=' in script for script in scripts)
    assert not re.search(r"<[^>]+\s(style|on\w+)=", text), "the policy would refuse it"
    assert "<style" not in text
    for address in re.findall(r'(?:src|href|action)="([^"]*)"', text):
        assert re.match(r"[/#?]|$", address), address
        assert not address.startswith("//"), address


@pytest.mark.parametrize("path", [*OWN, "/search?q=a", "/documents?space=<letters>"])
@in_loop
async def test_what_others_wrote_is_text(path):
    text = (await (await logged_in()).get(path)).text
    for hostile in ("<b>alice", "<b>carol", "<letters>", "<i>name", "<b>title", "<script>x", "<u>"):
        assert hostile not in text


@in_loop
async def test_dialogs_carry_names_as_data():
    text = (await (await logged_in()).get("/documents")).text
    assert 'data-fill="{&#34;space&#34;: &#34;\\u003cletters\\u003e&#34;}"' in text


@in_loop
async def test_no_long_identifier_without_a_button_that_copies_it():
    text = (await (await logged_in()).get("/people")).text
    shown = re.sub(r"<textarea.*?</textarea>|<[^>]*>", " ", text, flags=re.DOTALL)
    assert max(map(len, re.findall(r"[0-9a-f]+", shown))) <= HASH_CHARS_SHOWN
    assert f'data-copy="{"cd" * 32}"' in text


@in_loop
async def test_what_fails_is_said_with_the_next_step():
    client = await logged_in()
    refused = await client.get("/documents", params={"space": "<nowhere>"})
    assert refused.status_code == 404
    assert "There is no space &#39;&lt;nowhere&gt;&#39;" in refused.text
    assert "Try again" in refused.text
    twin = await client.get("/documents", params={"space": "nowhere", "format": "json"})
    assert (twin.status_code, twin.json()["code"]) == (404, "not_found")
    lost = await client.get(f"/documents/{LOST_CID}")
    assert "Nobody has it." in lost.text
    wrong = await client.get("/documents/x")
    assert wrong.status_code == 400
    assert "not a content identifier" in wrong.text
    question = await client.get("/search", params={"q": "refuse"})
    assert "A query needs &lt;words&gt;." in question.text
    assert 'value="refuse"' in question.text, "the question stays in the box"


@in_loop
async def test_who_is_not_logged_in_is_told_how_and_programs_get_a_problem():
    fixture = make()
    async with browser(fixture) as client:
        for path in OWN:
            page = await client.get(path)
            assert page.status_code == 401, path
            assert "dms3 open" in page.text
            assert "letters" not in page.text
        assert (await client.post("/api/v1/status")).json()["code"] == "unauthorized"
        program = await client.get("/documents", headers={"Accept": "application/json"})
        assert program.json()["code"] == "unauthorized"


@in_loop
async def test_a_page_of_somebody_else_gets_nothing():
    client = await logged_in()
    for given in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://example.org"}):
        page = await client.get("/documents", headers=given)
        assert page.status_code == 403
        assert "may not use this node" in page.text
        assert "letters" not in page.text
        changed = await client.post("/api/v1/echo/all", json={"words": ["a"]}, headers=given)
        assert changed.json()["code"] == "origin_refused"
    framed = await client.get("/")
    assert framed.headers["x-frame-options"] == "DENY"
    assert "default-src 'self'" in framed.headers["content-security-policy"]
    assert "unsafe" not in framed.headers["content-security-policy"]


@in_loop
async def test_the_first_load_is_small_and_its_files_are_kept():
    client = await logged_in()
    page = await client.get("/")
    total = len(page.content)
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text):
        file = await client.get(address)
        assert file.status_code == 200
        assert "immutable" in file.headers["cache-control"]
        total += len(file.content)
    assert 20_000 < total < FIRST_LOAD_BYTES_MAX
    assert page.headers["cache-control"] == "no-store"


@in_loop
async def test_a_browser_finds_the_icon_where_it_looks_by_itself():
    client = await logged_in()
    client.cookies.clear()
    found = await client.get("/favicon.ico")
    assert found.status_code == 307
    icon = await client.get(found.headers["location"])
    assert (icon.status_code, icon.headers["content-type"]) == (200, "image/svg+xml")


def test_another_content_has_another_address():
    pages = Pages()
    before = pages.address("page.js")
    pages._static["page.js"] += b" "
    assert pages.address("page.js") != before


@in_loop
async def test_scopes_are_those_of_the_command():
    page = (await (await logged_in()).get("/search?q=a&scope=peers")).text
    assert re.findall(r'name="scope" value="(\w+)"( checked)?', page)[:3] == [
        ("local", ""),
        ("peers", " checked"),
        ("all", ""),
    ]
    [scope] = [one for one in REAL_TABLE.find("search").parameters if one.name == "scope"]
    assert {"local", "peers", "public", "all"} <= set(scope.choices)


@in_loop
async def test_buttons_are_there_only_for_commands_that_are():
    page = (await (await logged_in()).get("/documents")).text
    assert "Share ..." in page
    assert "Publish ..." not in page
    names = {command.name for command in REAL_TABLE}
    assert {"store share", "store unshare", "store publish", "store unpublish"} <= names
    assert {"store remove", "contact add", "contact remove"} <= names


@in_loop
async def test_a_preview_is_text_never_a_page(monkeypatch):
    fixture = make()
    client = await logged_in(fixture)
    held = {"data": b""}

    async def content(_cid):
        return Pieces(held["data"])

    monkeypatch.setattr(fixture.node, "content", content)
    path = f"/documents/{FILE_CID}"
    for data, kind in (
        (b"<script>alert(1)</script>", "text"),
        ("Grüße".encode(), "text"),
        ("ü".encode() * 40_000, "text"),
        (b"", "none"),
        (FILE, "none"),
        (b"\xff\xfe" * 50, "none"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "text"),
    ):
        held["data"] = data
        page = await client.get(path)
        assert page.status_code == 200
        twin = await client.get(path, params={"format": "json"})
        assert twin.json()["data"]["preview"] == kind, data[:20]
        assert "alert(1)<" not in page.text
        assert "<svg xmlns" not in page.text
        assert ("This is the beginning" in page.text) == (len(data) > 65_536)
        assert ("?inline" in page.text) == (kind == "picture")


@in_loop
async def test_a_picture_is_shown_as_one_and_nothing_else_is(monkeypatch):
    fixture = make()
    client = await logged_in(fixture)
    held = {"data": b""}

    async def content(_cid):
        return Pieces(held["data"])

    monkeypatch.setattr(fixture.node, "content", content)
    path = f"/api/v1/blob/{FILE_CID}"
    for data, kind in (
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0....", "image/jpeg"),
        (b"GIF89a....", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"\0\0\0\x1cftypavif....", "image/avif"),
    ):
        held["data"] = data
        shown = await client.get(path, params={"inline": ""})
        assert shown.headers["content-type"] == kind
        assert shown.headers["content-disposition"] == "inline"
        assert shown.headers["content-security-policy"].startswith("sandbox;")
        assert shown.content == data
        plain = await client.get(path)
        assert plain.headers["content-type"] == "application/octet-stream"
        assert plain.headers["content-disposition"].startswith("attachment")
    for data in (b"<svg onload='alert(1)'/>", b"<html>", b"%PDF-1.7", b"", b"BMW is no bitmap"[1:]):
        held["data"] = data
        refused = await client.get(path, params={"inline": ""})
        assert refused.json()["code"] == "argument_invalid", data


def test_numbers_have_units_and_times_are_exact():
    shown = [size(count) for count in (0, 1, 57, 999, 1000, 1_234_567, 999_999_999)]
    assert shown == ["0 bytes", "1 byte", "57 bytes", "999 bytes", "1.0 KB", "1.2 MB", "1.0 GB"]
    assert (counted(1, "node"), counted(12_345, "entry", "entries")) == ("1 node", "12,345 entries")
    assert when(1_700_000_000_000_000) == (
        '<time datetime="2023-11-14T22:13:20Z" data-time="moment" title="2023-11-14T22:13:20Z">'
        "14 November 2023, 22:13 UTC</time>"
    )
    assert ">1 March 2027</time>" in day(1_803_945_599_999_999)
    assert when(None) == ""
    assert short("abc") == "<code>abc</code>"
    assert "<code>aaaaaaaaaaaa</code>" in short("a" * 13)
    assert f'data-copy="{"a" * 13}"' in short("a" * 13)
    assert origin("upload:bafk/letters/bob.txt") == "uploaded as letters/bob.txt"
    assert origin("/home/bob.txt") == "/home/bob.txt"
    assert shell("search", "it's", scope="all", kind=None) == "dms3 search 'it'\"'\"'s' --scope all"


def happened(number: int, topic: str, **data: object) -> StoredEvent:
    return StoredEvent(number, topic, data, number * 1_000_000)


def test_home_tells_what_is_on_its_way():
    events = [
        happened(1, "fetch.progress", root="a", bytes=1, total=9),
        happened(2, "fetch.progress", root="b", bytes=2, total=9),
        happened(3, "fetch.progress", root="a", bytes=5, total=9),
        happened(4, "fetch.failed", root="b"),
    ]
    assert [(one["root"], one["bytes"]) for one in home.fetching(events)] == [("a", 5)]
    done = [*events, happened(5, "fetch.done", root="a")]
    assert home.fetching(done) == []


def test_home_names_what_others_share_until_they_take_it_back():
    spaces = [
        {"space": "aa", "mine": False, "name": "garden", "owner": "Bob", "root": "b0"},
        {"space": "cc", "mine": True, "name": "letters", "owner": "me"},
    ]
    events = [
        happened(1, "grant.received", space="aa"),
        happened(2, "grant.received", space="bb"),
        happened(3, "grant.received", space="cc"),
    ]
    [one] = home.shared_lately(events, spaces)
    assert (one["name"], one["owner"], one["at_us"]) == ("garden", "Bob", 1_000_000)


def test_work_is_named_as_people_say_it():
    work = {"command": "store add", "space": "letters"}
    assert home.what(work) == "Importing into letters"
    assert home.what({"command": "store verify", "space": None}) == (
        "Checking everything that is kept"
    )
    assert home.what({"command": "new thing", "space": "x"}) == "new thing x"
    long = {command.name for command in REAL_TABLE if command.streams}
    assert long <= set(home.WORK_NAMES), "every long command has words"


def test_a_search_says_where_it_looked():
    counts = {"opened": 12, "skipped": 3}
    assert searching.searched(counts, [{}]) == (
        "12 containers opened, 3 skipped, because nothing in them can match, 1 space not reached."
    )
    assert searching.searched({"opened": 1, "skipped": 0}, []) == "1 container opened."
    limits = [searching._limit(text) for text in ("", "x", "0", "7", "999", "9999", "-1", "٣")]
    assert limits == [20, 20, 1, 7, 200, 20, 20, 20]


def test_the_keys_that_lead_to_views_differ():
    keys = [view.key for view in VIEWS if view.key]
    assert len(keys) == len(set(keys))


@in_loop
async def test_a_broken_document_is_an_error_state():
    client = await logged_in()
    page = await client.get(f"/documents/{BROKEN_CID}")
    assert "A block is missing." in page.text


@in_loop
async def test_the_token_opens_views_too():
    async with browser(shared()) as client:
        assert (await client.get("/documents", headers=AUTH)).status_code == 200


@in_loop
async def test_a_public_hit_is_of_who_signed_and_not_of_the_node_it_names():
    class Stub:
        def has(self, *_: str) -> bool:
            return True

        async def ask(self, *words: str) -> dict:
            alice = {"peer_id": "12D3Alice", "root": "aa", "name": "alice"}
            nobody = {"peer_id": "12D3Nobody", "root": None, "name": ""}
            mine = {"peer_id": "12D3Mine", "root": "11"}
            return {"peers": [alice, nobody]} if words == ("peer", "list") else mine

    names = await searching._names(Stub())
    forged = {"public": True, "node": "12D3Alice", "root": "ee"}
    hits = [forged, forged | {"node": "12D3Mine"}, forged | {"root": "aa"}, forged | {"root": "11"}]
    hits += [{"node": "12D3Alice"}, {"node": "12D3Mine"}, {"node": "None"}, {}]
    found = [names.get(searching._author(hit), "") for hit in hits]
    assert found == ["", "", "alice", "me", "alice", "me", "", ""]


@pytest.mark.parametrize("us", [2**63, -(2**63), 253_402_300_800 * 1_000_000])
def test_a_date_that_no_calendar_has_is_said_to_be_one(us):
    assert when(us) == day(us) == "a date that no calendar has"
