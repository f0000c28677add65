"""Every view, light and dark, on a telephone and on a desk: no barrier, nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect

from browser.conftest import Visit
from browser.person import PHONE, SIZES, THEMES, barriers, overflow
from dms3.web.page import VIEWS
from network.running import Running

PATHS = (
    *(view.path for view in VIEWS if "{" not in view.path),
    *("/search?q=nothing", "/search?q=godwit", "/documents?space=waders", "/docs"),
)


@pytest.fixture
def document(alice: Running, tmp_path: Path) -> str:
    """The view of a document of alice's, in a space of hers."""
    (tmp_path / "godwit.txt").write_text("The godwit probes the mud.\n" * 60)
    alice.call("store", "add", paths=[str(tmp_path / "godwit.txt")], space="waders")
    one = alice.call("store", "list", space="waders")["documents"][0]
    return f"/documents/{one['cid']}"


@pytest.mark.parametrize("view", [*PATHS, "a document"])
def test_a_view_has_no_barrier_and_fits(alice: Running, visit: Visit, view: str, document: str):
    page = visit(alice).go(document if view == "a document" else view)
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            assert barriers(page) == [], (theme, width)
        assert overflow(page) <= 0, width


def test_somebody_who_is_not_logged_in_is_told_how(alice: Running, visit: Visit):
    person = visit(alice, size=PHONE)
    person.expect("401")
    person.context.clear_cookies()
    page = person.go("/")
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert barriers(page) == []
