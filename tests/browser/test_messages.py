"""Two people write to each other on two nodes: what each page shows while they do."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from browser.conftest import Visit
from browser.person import DESK, PHONE, THEMES, barriers, drop, overflow, reached_by_tab
from network.running import Running, running

SMALLEST = (360, 740)
SCRIPT = "<script>window.taken=1</script>"
FROM_TOP = """one => one.getBoundingClientRect().top
  - one.closest("[data-log]").getBoundingClientRect().top"""
PICTURE = '<img src=x onerror="window.taken=1">'


def png(colour: tuple[int, int, int]) -> bytes:
    """A picture of four by four pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    rows = (b"\0" + bytes(colour) * 4) * 4
    head = struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


@pytest.fixture(scope="module")
def writers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running, Running]]:
    """Alice and bob, who have each other's cards, and mallory, who has theirs and is unknown."""
    folder = tmp_path_factory.mktemp("writers")
    with ExitStack() as stack:
        alice = stack.enter_context(running(folder / "alice", "--name", "alice"))
        join = ("--join", alice.data["address"])
        bob = stack.enter_context(running(folder / "bob", "--name", "bob", *join))
        mallory = stack.enter_context(running(folder / "mallory", "--name", "mallory", *join))
        nodes = {"alice": alice, "bob": bob, "mallory": mallory}
        for who, known in (("alice", "bob"), ("bob", "alice"), ("mallory", "alice")):
            card = nodes[known].call("contact", "card")["card"]
            nodes[who].call("contact", "add", card=card)
        yield alice, bob, mallory


def talk(visit: Visit, node: Running, name: str, **context: Any) -> Page:
    """The page of `node` with the conversation with `name` open."""
    return visit(node, **context).go(f"/messages?with={name}")


def said(page: Page, text: str) -> Locator:
    """The message with `text`."""
    return page.locator("#said .said").filter(has_text=text)


def write(page: Page, text: str) -> Locator:
    """Send `text` with the Enter key; the message on one's own page."""
    box = page.get_by_role("textbox", name="Message to")
    box.fill(text)
    box.press("Enter")
    mine = said(page, text)
    expect(mine).to_be_visible()
    expect(box).to_have_value("")
    return mine


def do(message: Locator, what: str) -> None:
    """Open what can be done with a message and do it."""
    message.locator("summary").click()
    message.get_by_role("button", name=what).click()


def test_two_people_talk_and_both_pages_show_it_as_it_happens(
    writers: tuple[Running, Running, Running], visit: Visit
):
    alice, bob, _ = writers
    hers, his = talk(visit, alice, "bob"), talk(visit, bob, "alice")
    first = write(hers, "Are you coming to the weir?")
    arrived = said(his, "Are you coming to the weir?")
    expect(arrived).to_be_visible()
    expect(first.locator(".way")).to_have_text("read")
    do(arrived, "Reply")
    write(his, "Yes, at four.")
    answer = said(hers, "Yes, at four.")
    expect(answer.locator("blockquote")).to_have_text("Are you coming to the weir?")
    do(answer, "React with +1")
    expect(said(his, "Yes, at four.").locator(".reactions")).to_contain_text("+1")
    do(said(his, "Yes, at four."), "Edit")
    box = his.get_by_role("textbox", name="Message to")
    expect(box).to_have_value("Yes, at four.")
    box.fill("Yes, at five.")
    box.press("Enter")
    expect(said(hers, "Yes, at five.")).to_contain_text("edited")
    expect(said(hers, "Yes, at four.")).to_have_count(0)
    regret = write(hers, "Bring the wrong charts")
    expect(said(his, "wrong charts")).to_be_visible()
    do(regret, "Delete ...")
    hers.get_by_role("dialog", name="Delete a message").get_by_role("button", name="Delete").click()
    expect(said(his, "wrong charts")).to_have_count(0)
    expect(his.locator("#said")).to_contain_text("deleted")


def test_files_travel_with_a_message_and_pictures_are_shown(
    writers: tuple[Running, Running, Running], visit: Visit, tmp_path: Path
):
    alice, bob, _ = writers
    (tmp_path / "red.png").write_bytes(png((200, 30, 30)))
    (tmp_path / "chart.txt").write_text("rocks\n" * 50)
    hers, his = talk(visit, alice, "bob"), talk(visit, bob, "alice")
    hers.get_by_label("Attach files").set_input_files(tmp_path / "red.png")
    drop(hers, [tmp_path / "chart.txt"])
    expect(hers.locator("[data-attached] li")).to_have_count(2)
    hers.get_by_role("textbox", name="Message to").fill("Both of them")
    hers.get_by_role("button", name="Send").click()
    got = said(his, "Both of them")
    expect(got.get_by_role("img", name="red.png")).to_be_visible()
    wide = got.get_by_role("img", name="red.png").evaluate(
        "async one => (await one.decode(), one.naturalWidth)"
    )
    assert wide == 4
    with his.expect_download() as started:
        got.get_by_role("link", name="chart.txt").click()
    assert Path(started.value.path()).read_text() == "rocks\n" * 50
    assert started.value.suggested_filename == "chart.txt"


def test_a_draft_outlives_a_refresh_and_a_message_waits_until_it_can_go(
    writers: tuple[Running, Running, Running], visit: Visit
):
    alice, _, _ = writers
    page = talk(visit, alice, "bob")
    box = page.get_by_role("textbox", name="Message to")
    box.fill("half a thought")
    page.reload()
    expect(box).to_have_value("half a thought")
    box.press("Shift+Enter")
    page.keyboard.type("and the rest")
    box.press("Enter")
    expect(said(page, "half a thought\nand the rest")).to_be_visible()
    page.reload()
    expect(box).to_have_value("")


def hold(page: Page, what: str) -> list[Route]:
    """The requests of `page` for `what`, which wait until the test lets them go on."""
    held: list[Route] = []

    def kept(route: Route) -> None:
        held.append(route)

    page.route(what, kept)
    return held


HELD = """wanted => new Promise(done => {
  const look = () => Object.values(sessionStorage).some(one => one.includes(wanted)) ? done()
    : requestAnimationFrame(look);
  look();
})"""


def test_what_is_typed_before_a_script_comes_is_kept(
    writers: tuple[Running, Running, Running], visit: Visit
):
    alice, _, _ = writers
    person = visit(alice)
    page = person.page
    held = hold(page, "**/composing.js*")
    with page.expect_request("**/composing.js*"):
        person.go("/messages?with=bob")
    box = page.get_by_role("textbox", name="Message to")
    box.fill("typed at once")
    held.pop().continue_()
    page.evaluate(HELD, "typed at once")
    expect(box).to_have_value("typed at once")
    page.unroute_all()
    page.reload()
    expect(box).to_have_value("typed at once")
    box.fill("")


def test_what_is_typed_before_the_script_of_the_page_comes_is_searched_for(
    writers: tuple[Running, Running, Running], visit: Visit
):
    alice, _, _ = writers
    person = visit(alice)
    page = person.page
    held = hold(page, "**/page.js*")
    with page.expect_request("**/page.js*"):
        page.goto("/", wait_until="commit")  # the page is not loaded before its script is
    page.get_by_role("searchbox").fill("weir")
    held.pop().continue_()
    expect(page).to_have_url(re.compile(r"/search\?q=weir"))
    page.unroute_all()


def test_earlier_messages_come_without_a_jump(
    writers: tuple[Running, Running, Running], visit: Visit
):
    alice, bob, _ = writers
    for number in range(70):
        alice.call("message", "send", name="bob", text=f"step number {number}")
    page = talk(visit, alice, "bob")
    expect(said(page, "step number 69")).to_be_in_viewport()
    assert page.locator("#said .said").count() == 50
    top = page.locator("#said .said").first
    mark = top.get_attribute("id")
    page.locator("[data-log]").evaluate("log => { log.scrollTop = 0; }")
    expect(said(page, "step number 0").first).to_be_attached()
    assert abs(page.locator(f"#{mark}").evaluate(FROM_TOP)) < 120, "it stayed where it was"
    bob.call("message", "send", name="alice", text="while you look up")
    expect(page.get_by_role("button", name="New messages")).to_be_visible()
    page.get_by_role("button", name="New messages").click()
    expect(said(page, "while you look up")).to_be_in_viewport()
    assert page.locator("[data-above]").first.get_attribute("data-above") == "Today"


def test_a_stranger_is_a_request_of_whom_nothing_is_loaded(
    writers: tuple[Running, Running, Running], visit: Visit, tmp_path: Path
):
    alice, _, mallory = writers
    (tmp_path / f"{PICTURE[:40]}.png").write_bytes(png((1, 2, 3)))
    page = visit(alice).go("/messages")
    mallory.call(
        "message", "send", name="alice", text=f"{SCRIPT}{PICTURE} hello",
        attach=[str(tmp_path / f"{PICTURE[:40]}.png")],
    )  # fmt: skip
    requests = page.locator("#talks section").filter(has_text="1 request")
    expect(requests).to_be_visible()
    home = visit(alice).page
    expect(home.locator("#attention")).to_contain_text("1 person you do not know wrote to you")
    requests.get_by_role("link").click()
    expect(page.locator("#whom")).to_contain_text("You do not know")
    expect(said(page, "hello")).to_contain_text(SCRIPT)
    expect(said(page, "hello")).to_contain_text("not loaded")
    assert page.locator("#said img, #said a, #said script").count() == 0
    assert page.evaluate("window.taken === undefined")
    assert page.get_by_role("textbox", name="Message to").count() == 0
    [row] = mallory.call("message", "conversation", name="alice")["messages"]
    assert row["state"] in ("queued", "sent"), "a stranger gets no receipts"
    page.get_by_role("button", name="Accept").click()
    expect(said(page, "hello").get_by_role("img")).to_be_visible()
    assert page.evaluate("window.taken === undefined")
    write(page, "Hello yourself.")
    page.get_by_role("link", name="Compare keys").click()
    page.get_by_role("button", name="Block").click()
    expect(page.get_by_text("1 blocked person")).to_be_visible()


def test_keys_are_compared_over_another_way(
    writers: tuple[Running, Running, Running], visit: Visit
):
    alice, bob, _ = writers
    alice.call("message", "send", name="bob", text="shall we compare?")
    hers = visit(alice).go("/messages/person?name=bob")
    his = visit(bob).go("/messages/person?name=alice")
    words = hers.locator(".spoken").first.inner_text()
    assert words == his.locator(".spoken").last.inner_text()
    assert len(words.split()) == 8
    code = his.evaluate("document.querySelector('[data-compare]').dataset.compare")
    field = hers.get_by_label("What the picture on the other screen says")
    field.fill(code)
    expect(hers.get_by_text("Not the same.")).to_be_visible()
    field.fill(hers.evaluate("document.querySelector('[data-compare]').dataset.compare").lower())
    expect(hers.get_by_text("The same: nobody is in between.")).to_be_visible()
    hers.get_by_role("button", name="They are the same").click()
    expect(hers.get_by_text("yes, these keys")).to_be_visible()
    hers.goto("/messages")
    expect(hers.locator("#talks").get_by_role("link").filter(has_text="bob")).to_contain_text(
        "keys compared"
    )


def test_a_conversation_is_had_with_keys_alone(
    writers: tuple[Running, Running, Running], visit: Visit
):
    alice, bob, _ = writers
    bob.call("message", "send", name="alice", text="keys only, please")
    page = visit(alice).page
    page.keyboard.press("g")
    page.keyboard.press("m")
    expect(page.get_by_role("heading", name="Messages", exact=True)).to_be_visible()
    one = page.locator("#talks").get_by_role("link").filter(has_text="bob")
    reached_by_tab(page, one)
    page.keyboard.press("Enter")
    box = page.get_by_role("textbox", name="Message to")
    reached_by_tab(page, box)
    page.keyboard.press("ArrowUp")
    message = said(page, "keys only, please")
    message = page.locator(f"#{message.get_attribute('id')}")  # its answer quotes it
    expect(message).to_be_focused()
    page.keyboard.press("r")
    expect(box).to_be_focused()
    expect(page.locator("[data-about]")).to_contain_text("Reply to: keys only, please")
    page.keyboard.type("gladly")
    page.keyboard.press("Enter")
    mine = said(page, "gladly")
    expect(mine.locator("blockquote")).to_have_text("keys only, please")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("e")
    expect(box).to_have_value("gladly")
    page.keyboard.press("End")
    page.keyboard.type(", always")
    page.keyboard.press("Enter")
    expect(said(page, "gladly, always")).to_contain_text("edited")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    expect(message).to_be_focused()
    page.keyboard.press("+")
    page.get_by_role("dialog", name="React").get_by_label("With").fill("fine")
    page.keyboard.press("Enter")
    expect(message.locator(".reactions")).to_contain_text("fine")


def test_what_was_said_is_found_and_shown_where_it_was_said(
    writers: tuple[Running, Running, Running], visit: Visit
):
    alice, _, _ = writers
    alice.call("message", "send", name="bob", text="the ptarmigan in the far field")
    for number in range(60):
        alice.call("message", "send", name="bob", text=f"since then {number}")
    page = visit(alice).go("/search?q=ptarmigan")
    hit = page.locator(".hits").get_by_role("listitem")
    expect(hit).to_have_count(1)
    expect(hit).to_contain_text("bob")
    hit.get_by_role("link").click()
    found = said(page, "the ptarmigan in the far field")
    expect(found).to_be_in_viewport()
    page.get_by_role("link", name="To the latest messages").click()
    expect(said(page, "since then 59")).to_be_in_viewport()


@pytest.mark.parametrize("view", ["/messages?with=bob", "/messages/person?name=bob"])
def test_a_conversation_has_no_barrier_and_fits(
    writers: tuple[Running, Running, Running], visit: Visit, view: str
):
    alice, bob, _ = writers
    bob.call("message", "send", name="alice", text=f"{'long' * 60} {SCRIPT}")
    page = visit(alice).go(view)
    if "with" in view:
        expect(said(page, "longlong").last).to_be_visible()
    for size in (SMALLEST, PHONE, DESK):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            assert barriers(page) == [], (theme, size)
        assert overflow(page) <= 0, size
    assert page.evaluate("window.taken === undefined")


def test_settings_of_messages_are_changed_on_the_page(
    writers: tuple[Running, Running, Running], visit: Visit
):
    alice, _, _ = writers
    page = visit(alice).go("/settings")
    page.get_by_role("link", name="Settings of messages").click()
    page.get_by_role("radio", name="Tell nobody").check(force=True)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    assert alice.call("message", "settings") == {"receipts": False, "requests": True}
    page.reload()
    expect(page.get_by_role("radio", name="Tell nobody")).to_be_checked()
    alice.call("message", "settings", receipts="yes")
    expect(page.locator("#services")).to_contain_text(re.compile("this node|No service|answers"))
