"""Messages on the page: what each view shows, and what of a stranger it does not."""

import re
from typing import Any

import pytest

from dms3.web.messages import shown_row
from dms3.web.templating import HASH_CHARS_SHOWN, handle
from dms3.web.verifying import CODE, looks
from unit.fronts import in_loop
from unit.mail_fronts import (
    DAY_US,
    FINGERPRINT,
    HASHES,
    KEY_NAME,
    NOON_US,
    Mail,
    file,
    make,
    person,
    reply,
    row,
)
from unit.test_page import logged_in

HOSTILE = "<script>x</script>"
VIEWS = (
    "/messages",
    "/messages?with=bob",
    "/messages?with=mallory",
    "/messages?with=eve",
    "/messages/person",
    "/messages/person?name=bob",
    "/settings/messages",
)


def usual() -> Mail:
    """A contact with messages of all kinds, a request, somebody blocked."""
    mail = Mail()
    mail.add(
        person("bob", verified=True),
        row(0, "bob", text=f"{HOSTILE} & <b>bold</b>", reactions=[
            {"text": "<i>!</i>", "from": "alice.dms3", "mine": True},
            {"text": "<i>!</i>", "from": "bob", "mine": False}]),
        row(1, "bob", mine=True, state="read", edited=True, reply=reply(0, f"{HOSTILE}a", "bob")),
        row(2, "bob", mine=True, state="queued", problem="bob's service did not answer.",
            retry_us=NOON_US),
        row(3, "bob", mine=True, state="failed", problem="<u>refused</u>"),
        row(4, "bob", deleted=True, text="was here", attachments=[file("gone.txt", "a/b", 1)]),
        row(5, "bob", text=None, attachments=[
            file(f"{HOSTILE}.png", "image/png", 1234), file("x.svg", "image/svg+xml", 99)]),
        row(6, "bob", state="held", problem="Its sender cannot be asked now."),
        row(7, "bob", information="A service said it came from <mallory>."),
        row(8, "bob", sent_us=NOON_US - DAY_US),
    )  # fmt: skip
    mail.add(
        person("mallory", standing="request", vouched="dms3"),
        row(9, "mallory", text="hello", attachments=[file("own.png", "image/png", 5)]),
    )
    mail.add(person("eve", standing="blocked", changed=True))
    return mail


async def page(path: str, mail: Mail | None = None) -> str:
    fixture = make(mail or usual())
    answer = await (await logged_in(fixture)).get(path)
    assert answer.status_code == 200, fixture.reported
    return answer.text


@pytest.mark.parametrize("path", VIEWS)
@in_loop
async def test_a_view_shows_its_command_and_has_a_twin(path):
    client = await logged_in(make(usual()))
    shown = await client.get(path)
    assert shown.status_code == 200, shown.text
    assert re.search(r"The same from a shell: .*<code>dms3 message ", shown.text)
    twin = await client.get(path, params=dict(_query(path), format="json"))
    assert twin.json()["v"] == 1


def _query(path: str) -> list[tuple[str, str]]:
    query = path.partition("?")[2]
    return [tuple(query.split("=", 1))] if query else []


@pytest.mark.parametrize("path", VIEWS)
@in_loop
async def test_nothing_in_a_view_runs_comes_from_elsewhere_or_is_markup_of_others(path):
    text = await page(path)
    assert len(re.findall(r"<script[^>]*>", text)) == 1
    assert not re.search(r"<[^>]+\s(style|on\w+)=", text), "the policy would refuse it"
    for address in re.findall(r'(?:src|href|action)="([^"]*)"', text):
        assert re.match(r"[/#?]|$", address), address
        assert not address.startswith("//"), address
    for hostile in (HOSTILE, "<b>bold", "<i>", "<u>", "<b>two", "<mallory>"):
        assert hostile not in text


@pytest.mark.parametrize("path", VIEWS)
@in_loop
async def test_no_long_identifier_without_a_button_that_copies_it(path):
    text = re.sub(r"<title>.*?</title>|<[^>]*>", " ", await page(path), flags=re.DOTALL)
    assert max(map(len, re.findall(r"[0-9a-f]+", text))) <= HASH_CHARS_SHOWN
    assert KEY_NAME not in text


@in_loop
async def test_states_are_said_with_their_reasons_and_the_next_try():
    text = await page("/messages?with=bob")
    assert re.findall(r'class="way (\w+)"', text) == ["read", "queued", "failed"]
    assert "bob&#39;s service did not answer." in text
    assert f'data-retry="{NOON_US}"' in text
    assert "&lt;u&gt;refused&lt;/u&gt;" in text
    assert "Write it again" in text
    assert "Its sender cannot be asked now." in text
    assert "A service said it came from &lt;mallory&gt;." in text
    assert text.count("by their clock") == 1, "only where clock and postmark differ"


@in_loop
async def test_edits_deletions_replies_and_reactions_are_folded_in():
    text = await page("/messages?with=bob")
    assert text.count(">edited<") == 1
    assert "was here" not in text
    assert "gone.txt" not in text
    assert f'href="#m-{HASHES[0][2:]}" data-to>{HOSTILE.replace("<", "&lt;")}'[:40] in text
    assert '<li class="tag own" title="you, bob">&lt;i&gt;!&lt;/i&gt; 2' in text


@in_loop
async def test_only_pictures_are_shown_and_everything_can_be_saved():
    text = await page("/messages?with=bob")
    at = f"/api/v1/blob/{HASHES[5]}-"
    assert re.findall(r'<img src="(/api[^"]*)"', text) == [f"{at}0?inline"]
    assert [f'href="{at}{number}"' in text for number in (0, 1, 2)] == [True, True, False]


@in_loop
async def test_nothing_of_a_stranger_is_loaded_and_nothing_can_be_answered_before_accepting():
    text = await page("/messages?with=mallory")
    assert "/api/v1/blob" not in text
    assert "own.png" in text
    assert "not loaded" in text
    assert "data-compose" not in text
    assert "data-act" not in text
    for command in ("accept", "block", "forget"):
        assert f'data-command="message {command}"' in text
    assert "whoever came first has the name" in text


def test_a_row_of_a_stranger_has_no_picture():
    given = row(0, "mallory", attachments=[file("own.png", "image/png", 5)])
    assert [shown_row(given, stranger=one)["attachments"][0]["picture"] for one in (0, 1)] == [
        True,
        False,
    ]


@in_loop
async def test_a_message_that_was_found_leads_on_to_the_latest():
    text = await page(f"/messages?with=bob&at={HASHES[2]}")
    assert 'href="?with=bob">To the latest messages' in text
    assert f"dms3 message conversation bob --around {HASHES[2]}" in text
    assert "To the latest" not in await page("/messages?with=bob")


@in_loop
async def test_search_leads_to_the_message_in_its_conversation():
    text = await page("/search?q=bold")
    at = f"/messages?with=bob&amp;at={HASHES[0]}#m-{HASHES[0][2:]}"
    assert re.findall(r'<a href="(/messages\?[^"]*)"', text) == [at]
    assert "message, with bob" in text
    assert "/documents/" not in text
    assert HOSTILE not in text


@in_loop
async def test_requests_and_blocked_people_are_apart():
    text = await page("/messages")
    talks = text[text.index('id="talks"') : text.index("</nav>", text.index('id="talks"'))]
    request, _, rest = talks.partition("</section>")
    assert "mallory" in request
    assert "1 request" in request
    assert "bob" in rest
    assert rest.index("bob") < rest.index("1 blocked person") < rest.index("eve")
    empty = await page("/messages", Mail())
    assert "Nothing yet. Write to somebody" in empty


@in_loop
async def test_changed_keys_are_said_loudly():
    mail = Mail()
    mail.add(person("bob", changed=True))
    for path in ("/messages?with=bob", "/messages/person?name=bob"):
        text = await page(path, mail)
        assert re.search(r'class="problem" role="alert"><strong>The keys of bob changed', text)
    assert "keys changed" in await page("/messages", mail)
    assert "They are the same" in await page("/messages/person?name=bob", mail)


@in_loop
async def test_a_name_nobody_wrote_to_is_looked_up_before_the_first_message():
    mail = usual()
    text = await page("/messages?with=nobody.eth", mail)
    assert "Nobody is called &#39;nobody.eth&#39;." in text
    assert 'href="/messages/person?name=nobody.eth"' in text
    assert "data-compose" not in text
    client = await logged_in(make(mail))
    unknown = await client.get("/messages/person?name=nobody.eth")
    assert unknown.status_code == 404
    assert "Nobody is called" in unknown.text


@in_loop
async def test_somebody_new_can_be_written_to_and_who_vouches_is_said():
    mail = Mail()
    mail.add(person("carol.eth", standing="request", vouched="ens"))
    mail.strangers.add("carol.eth")
    text = await page("/messages?with=carol.eth", mail)
    assert "carol.eth is vouched for by the Ethereum Name Service" in text
    assert f"<code>{FINGERPRINT}</code>" in text
    assert "data-compose" in text
    assert "message accept" not in text


@in_loop
async def test_keys_are_compared_by_words_digits_and_picture():
    text = await page("/messages/person?name=bob")
    assert text.count("<svg") >= 2
    assert f'data-compare="{CODE}{FINGERPRINT.replace(" ", "").upper()}"' in text
    assert "the name itself" not in text
    fresh = Mail()
    fresh.add(person("dora", name="Dora"))
    assert "They are the same" in await page("/messages/person?name=dora", fresh)
    fresh.strangers.add("dora")  # keys can be compared before the first message
    assert "They are the same" in await page("/messages/person?name=dora", fresh)
    assert "a contact card that you were given" in text
    seen = looks(FINGERPRINT, "x")
    assert seen is not None
    assert len(seen["words"]) == 8
    other = looks(FINGERPRINT.replace("4f2a", "4f2b"), "x")
    assert other is not None
    assert seen["words"] != other["words"]
    for wrong in ("", "4f2a", FINGERPRINT + " 00", FINGERPRINT.replace("4", "g")):
        assert looks(wrong, "x") is None


@in_loop
async def test_settings_say_who_sees_what():
    text = await page("/settings/messages")
    assert "It did not answer within 5 s." in text
    assert text.count("untested here") == 1
    assert "The provider sees your account" in text
    assert "you get new keys" in text
    assert re.findall(r'name="(\w+)" value="(\w+)" checked', text)[1:] == [
        ("kind", "local"),
        ("receipts", "yes"),
        ("requests", "no"),
    ]
    assert 'name="secret" type="password"' in text
    assert "Use another service" not in text, "the fake has no such command"


@in_loop
async def test_home_says_what_waits():
    client = await logged_in(make(usual()))
    text = (await client.get("/")).text
    assert "5 messages wait" in text
    assert "1 person you do not know wrote to you" in text
    twin = (await client.get("/", params={"format": "json"})).json()["data"]
    assert twin["messages"] == {"unread": 5, "requests": 1}


def test_names_that_are_keys_are_cut():
    assert handle(KEY_NAME) == "abcdefghijkl\u2026.dms3"
    assert handle("0x" + "5B" * 20) == "0x5B5B5B5B5B\u2026"
    for same in ("bob", "alice.dms3", "bob.eth", "a" * 51 + ".dms3", "0x12"):
        assert handle(same) == same


def test_what_is_counted_is_who_reacted() -> Any:
    given = row(0, "bob", reactions=[{"text": "+1", "from": KEY_NAME, "mine": False}])
    [one] = shown_row(given, stranger=False)["reactions"]
    assert one == {"text": "+1", "of": ["abcdefghijkl\u2026.dms3"], "mine": False}
