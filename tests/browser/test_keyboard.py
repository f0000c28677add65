"""Without a mouse, on a narrow screen, without motion: the same work."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.conftest import Visit
from browser.person import overflow, reached_by_tab
from dms3.web.page import VIEWS
from network.running import Running

LISTED = [view for view in VIEWS if view.listed]


def test_the_main_job_is_done_with_keys_alone(alice: Running, visit: Visit, tmp_path: Path):
    (tmp_path / "keys.txt").write_text("a plover on the keys\n")
    page = visit(alice).page
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("g")
    page.keyboard.press("d")
    expect(page.get_by_role("heading", name="Documents", exact=True)).to_be_visible()
    files = page.get_by_label("Choose files")
    # Keys and the wish to be told of the chooser reach the page on two ways: what is asked of the
    # page in between makes sure that the wish is there first.
    with page.expect_file_chooser() as opened:
        reached_by_tab(page, files)
        page.keyboard.press("Enter")
    opened.value.set_files(tmp_path / "keys.txt")
    expect(page.get_by_text("1 file imported into documents.")).to_be_visible()
    share = page.get_by_role("article").filter(has_text="documents").get_by_role("button")
    reached_by_tab(page, share.first)
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Share a space")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(share.first).to_be_focused()
    page.keyboard.press("/")
    page.keyboard.type("plover")
    expect(page.locator(".hits").get_by_role("listitem")).to_have_count(1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_label("The text")).to_contain_text("a plover on the keys")


def test_the_keys_stay_where_they_are_when_the_view_changes_under_them(
    alice: Running, visit: Visit, tmp_path: Path
):
    (tmp_path / "one.txt").write_text("one")
    alice.call("store", "add", paths=[str(tmp_path / "one.txt")], space="kept")
    page = visit(alice).go("/documents")
    article = page.get_by_role("article").filter(has_text="kept")
    share = article.get_by_role("button", name="Share ...")
    share.focus()
    alice.call("store", "share", space="kept", **{"with": "bob"})
    expect(article).to_contain_text("bob can read and search it")
    expect(share).to_be_focused()


def test_a_link_into_the_view_does_not_ask_for_it_again(alice: Running, visit: Visit):
    person = visit(alice)
    asked = len(person.requests)
    person.page.keyboard.press("Tab")
    person.page.keyboard.press("Enter")
    expect(person.page).to_have_url(f"{person.origin}/#main")
    person.page.keyboard.press("?")
    expect(person.page.get_by_role("dialog", name="Keys")).to_be_visible()
    assert [
        url for url in person.requests[asked:] if "/api/" not in url and "/static/" not in url
    ] == []


@pytest.mark.parametrize("view", LISTED, ids=[view.title for view in LISTED])
def test_nothing_is_wider_than_the_narrowest_screen(alice: Running, visit: Visit, view):
    page = visit(alice, size=(360, 740)).go(view.path)
    assert overflow(page) <= 0
    for details in page.locator("summary").all():
        details.click()
    assert overflow(page) <= 0


def test_nothing_moves_for_whoever_wants_no_motion(alice: Running, visit: Visit):
    page = visit(alice, reduced_motion="reduce").page
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0
    moving = page.evaluate(
        """() => [...document.querySelectorAll("*")].filter((element) => {
          const style = getComputedStyle(element);
          return style.animationName !== "none" || parseFloat(style.transitionDuration) > 0;
        }).length"""
    )
    assert moving == 0


def test_a_letter_leads_somewhere_only_after_g(alice: Running, visit: Visit):
    page = visit(alice).go("/people")
    page.keyboard.press("e")  # at once: a page that has just begun has heard no "g"
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    assert page.url.endswith("/people")
