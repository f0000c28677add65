"""Settings: the words on request and until they are confirmed, a passphrase, a locked node."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import expect

from browser.conftest import Visit
from browser.person import PHONE, barriers
from network.running import Running, running

REMINDER = "Write down your twelve words"


def test_the_words_are_shown_on_request_and_asked_for_until_confirmed(lone: Running, visit: Visit):
    page = visit(lone).page
    reminder = page.get_by_role("link", name=REMINDER)
    reminder.click()
    expect(page.get_by_text("Not written down yet.")).to_be_visible()
    assert page.locator("[data-words]").count() == 0
    page.get_by_role("button", name="Show the twelve words").click()
    shown = page.locator("[data-words] li").all_inner_texts()
    assert shown == lone.call("id", "words")["words"].split()
    assert barriers(page) == []
    page.go_back()
    page.goto("/people")
    expect(reminder).to_be_visible()  # seen is not yet written down
    page.goto("/settings")
    page.get_by_role("button", name="Show the twelve words").click()
    page.get_by_role("button", name="I wrote them down").click()
    expect(page.get_by_text("You have written them down.")).to_be_visible()
    page.goto("/people")
    expect(reminder).to_have_count(0)


def test_a_session_without_the_proof_of_its_login_shows_no_words(lone: Running, visit: Visit):
    person = visit(lone)
    person.expect("403")
    page = person.page
    page.evaluate("localStorage.clear()")
    page.goto("/settings")
    page.get_by_role("button", name="Show the twelve words").click()
    expect(page.get_by_role("alert")).to_contain_text("dms3 open")
    assert page.locator("[data-words]").count() == 0


def test_everything_is_checked_and_found_whole(alice: Running, visit: Visit):
    page = visit(alice).go("/settings")
    page.get_by_role("button", name="Check everything").click()
    expect(page.get_by_text(re.compile(r"Everything is whole: [\d,]+ documents?"))).to_be_visible()


def test_a_passphrase_locks_the_next_start_and_opens_it(tmp_path: Path, visit: Visit):
    home = tmp_path / "kept"
    with running(home, "--name", "kept") as node:
        person = visit(node)
        person.expect("400", "ERR_CONNECTION_REFUSED")  # the second: when the node has ended
        page = person.go("/settings")
        page.get_by_label("New passphrase", exact=True).fill("correct horse")
        page.get_by_label("New passphrase, again").fill("battery staple")
        page.get_by_role("button", name="Protect with a passphrase").click()
        expect(page.get_by_role("alert")).to_contain_text("not the same")
        page.get_by_label("New passphrase", exact=True).fill("correct horse")
        page.get_by_label("New passphrase, again").fill("correct horse")
        page.get_by_role("button", name="Protect with a passphrase").click()
        expect(page.get_by_text("asks for a passphrase whenever it starts")).to_be_visible()
    with running(home) as node:
        person = visit(node, size=PHONE)
        person.expect("403", "ERR_CONNECTION_REFUSED")
        page = person.page
        expect(page.get_by_role("heading", name="Locked")).to_be_visible()
        assert barriers(page) == []
        page.get_by_label("Passphrase").fill("wrong")
        page.get_by_role("button", name="Unlock").click()
        expect(page.get_by_role("alert")).to_contain_text("passphrase")
        page.get_by_label("Passphrase").fill("correct horse")
        page.get_by_role("button", name="Unlock").click()
        expect(page.get_by_role("heading", name="kept")).to_be_visible()
