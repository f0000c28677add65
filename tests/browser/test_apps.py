"""Apps on the page: installed by a click, called by forms, journeys, broken rules, agreements."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import Visit
from browser.person import PHONE, SIZES, THEMES, barriers, drop, overflow, reached_by_tab
from dms3.node.dapps_folder import SHIPPED
from network.running import Running

RULE = "an_entry_is_short_text"


def installed(node: Running, *names: str) -> None:
    here = {one["name"] for one in node.call("dapp", "list")["dapps"]}
    for name in names:
        if name not in here:
            node.call("dapp", "install", what=name)


@pytest.fixture(scope="module")
def both(pair: tuple[Running, Running]) -> tuple[Running, Running]:
    """Two nodes that have the same two apps."""
    for node in pair:
        installed(node, "guestbook", "agreement")
    return pair


def call(page: Page, function: str, **fields: str) -> None:
    """Open the form of a function, fill it, send it."""
    part = page.locator(f"#function-{function}")
    if part.get_attribute("open") is None:
        part.locator("summary").click()
    for name, text in fields.items():
        part.get_by_label(re.compile(f"^{name}")).fill(text)
    part.get_by_role("button", name=f"Call {function}").click()


def test_an_app_is_installed_by_a_click_called_by_its_form_and_removed(bob: Running, visit: Visit):
    person = visit(bob)
    person.expect("/apps/notes)")  # what is shown asks once more for the app that has gone
    page = person.go("/apps")
    page.get_by_role("button", name="Install Notes").click()
    expect(page.get_by_text("Notes is installed.")).to_be_visible()
    page.get_by_role("link", name="Look inside Notes").click()
    expect(page.get_by_role("heading", name="Notes", exact=True)).to_be_visible()
    call(page, "write", group="choir", title="Friday", text="<b>eight</b> o'clock")
    expect(page.locator("#function-write [data-result]")).to_contain_text("Answer")
    expect(page.locator("#function-write .command")).to_contain_text("dms3 dapp call notes write")
    expect(page.locator("#chain")).to_contain_text("<b>eight</b> o'clock")
    call(page, "save_draft", title="Only mine")
    expect(page.locator("#chain").get_by_role("listitem").first).to_contain_text("private")
    page.get_by_role("button", name="Remove ...").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove", exact=True).click()
    expect(page).to_have_url(re.compile("/apps$"))
    expect(page.get_by_role("link", name="Look inside Notes")).to_have_count(0)
    expect(page.get_by_role("button", name="Install Notes")).to_be_visible()


def test_what_is_written_reaches_everybody_and_is_seen_on_the_page_of_the_app(
    both: tuple[Running, Running], visit: Visit
):
    alice, bob = both
    page = visit(alice).go("/apps/guestbook")
    call(page, "sign", text="The tide is out", name="Alice")
    wrote = page.locator("#chain").get_by_role("listitem").filter(has_text="The tide is out")
    wrote.get_by_role("link", name="Wrote").first.click()
    expect(page.get_by_role("heading", name="Wrote entry")).to_be_visible()
    expect(page.locator("#how")).to_contain_text("Everybody holds it: 1 node signed a receipt.")
    expect(page.locator("#signed")).to_contain_text("everybody of 1")
    expect(page.locator("#signed").get_by_role("cell", name="bob")).to_have_count(3)
    expect(page.locator("#here")).to_contain_text("checked and held")

    theirs = visit(bob)
    theirs.opens("guestbook")
    theirs.expect("favicon.ico")
    apps = theirs.go("/apps")
    with apps.expect_popup() as opened:
        apps.get_by_role("button", name="Open Guestbook").click()
    book = opened.value
    expect(book.get_by_role("list", name="Lines")).to_contain_text("The tide is out")
    book.get_by_label("Your line").fill("And the weir is open")
    book.get_by_role("button", name="Sign").click()
    expect(book.get_by_role("list", name="Lines")).to_contain_text("And the weir is open")

    page.goto("/apps/guestbook")
    answer = page.locator("#function-entries [data-result]")
    for _ in range(20):  # nobody is told of what others write: it is asked for
        call(page, "entries")
        expect(answer).to_contain_text("The tide is out")
        if "And the weir is open" in answer.inner_text():
            break
    expect(answer).to_contain_text("And the weir is open")


def test_a_broken_rule_is_named_with_its_line_the_entry_and_the_author(
    both: tuple[Running, Running], visit: Visit
):
    alice, _ = both
    agent = alice.call("dapp", "show", dapp="guestbook")["agent"]
    before = alice.call("dapp", "show", dapp="guestbook")["chain"]["seq"]
    person = visit(alice)
    person.expect("status of 422")
    page = person.go("/apps/guestbook")
    call(page, "sign", text="x" * 601)
    problem = page.locator("#function-sign").get_by_role("alert")
    for part in (RULE, "line 9", "601 characters", "Nothing was written", agent[:12]):
        expect(problem).to_contain_text(part)
    expect(problem.get_by_role("button", name="Copy the identifier")).to_have_count(2)
    refused = page.locator("#refused")
    expect(refused).to_contain_text(RULE)
    expect(refused).to_contain_text("Written by you")
    expect(page.locator("#rules")).to_contain_text(RULE)
    assert alice.call("dapp", "show", dapp="guestbook")["chain"]["seq"] == before


def test_an_agreement_waits_for_the_other_and_counts_when_both_have_signed(
    both: tuple[Running, Running], visit: Visit
):
    alice, bob = both
    partner = bob.call("dapp", "show", dapp="agreement")["agent"]
    page = visit(alice).go("/apps/agreement")
    theirs = visit(bob).go("/apps")
    call(page, "propose", title="The boat", text="We share it.", partner=partner, hours="1")
    mine = page.locator("#sessions").get_by_role("listitem").filter(has_text="The boat").first
    expect(mine).to_contain_text("proposed")
    expect(mine.get_by_role("button")).to_have_count(0)
    theirs.get_by_role("link", name="1 agreement waits for your signature").click()
    waits = theirs.locator("#sessions").get_by_role("listitem").filter(has_text="The boat").first
    expect(waits).to_contain_text("We share it.")
    waits.get_by_role("button", name="Sign").click()
    expect(waits).to_contain_text("in force")
    expect(mine).to_contain_text("in force")
    expect(mine).to_contain_text("2 of 2 have signed")
    mine.get_by_role("link", name="Its journey").click()
    expect(page.get_by_role("heading", name="Signed together agreement")).to_be_visible()


def test_a_folder_is_installed_its_functions_are_granted_and_other_rules_gone_on_in(
    alice: Running, visit: Visit, tmp_path: Path
):
    folder = tmp_path / "album"
    shutil.copytree(SHIPPED / "guestbook", folder, ignore=shutil.ignore_patterns("__pycache__"))
    manifest = folder / "dapp.toml"
    manifest.write_text(re.sub("(?i)guestbook", "album", manifest.read_text(), count=2))
    functions = folder / "functions.py"
    functions.write_text(functions.read_text().replace("@expose()", '@expose("assigned")'))
    person = visit(alice)
    person.expect("status of 409")
    page = person.go("/apps")
    drop(page, [folder])
    expect(page).to_have_url(re.compile("/apps/album$"))
    page.get_by_role("button", name="Let somebody ...").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Function").select_option("entries")
    dialog.get_by_label("Who").select_option("bob")
    dialog.get_by_role("button", name="Let them").click()
    expect(page.locator("#grants")).to_contain_text("bob: entries")
    page.get_by_role("button", name="Take back from bob").click()
    expect(page.locator("#grants")).to_contain_text("Nobody but you")
    rules = folder / "rules.py"
    rules.write_text(rules.read_text() + "\n\nSTRICTER = True\n")
    page.locator("#update summary").click()
    drop(page, [folder])
    expect(page.locator("#update")).to_contain_text("Another app is called album here")
    before = alice.call("dapp", "show", dapp="album")["dna"]
    page.get_by_role("button", name="Go on in it").click()
    expect(page.locator("#about")).not_to_contain_text(before[:12])
    assert alice.call("dapp", "show", dapp="album")["dna"] != before
    page.close()  # which would look at what is not there any more
    alice.call("dapp", "remove", dapp="album")


def test_with_keys_alone(both: tuple[Running, Running], visit: Visit):
    page = visit(both[0]).page
    page.keyboard.press("g")
    page.keyboard.press("a")
    expect(page.get_by_role("heading", name="Apps", exact=True)).to_be_visible()
    reached_by_tab(page, page.get_by_role("link", name="Look inside Guestbook"))
    page.keyboard.press("Enter")
    form = page.locator("#function-entries")
    reached_by_tab(page, form.locator("summary"))
    page.keyboard.press("Enter")
    reached_by_tab(page, form.get_by_role("button", name="Call entries"))
    page.keyboard.press("Enter")
    expect(form.locator("[data-result]")).to_contain_text("dms3 dapp call guestbook entries")


def test_an_app_and_a_journey_have_no_barrier_and_fit(both: tuple[Running, Running], visit: Visit):
    alice, _ = both
    alice.call("dapp", "call", dapp="guestbook", function="sign", arguments={"text": "w" * 300})
    (last,) = alice.call("chain", "show", dapp="guestbook", limit=1000)["records"][-2:-1]
    page = visit(alice, size=PHONE).page
    for path in ("/apps/guestbook", f"/apps/guestbook/{last['action']['hash']}"):
        page.goto(path)
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        for width, height in (*SIZES, (360, 740), (3840, 2160)):
            page.set_viewport_size({"width": width, "height": height})
            assert overflow(page) <= 0, (path, width)
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            assert barriers(page) == [], (path, theme)
