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
    reached_by_tab(page, files)
    with page.expect_file_chooser() as opened:
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
