"""Networks on the page: made, an invitation shown and used, left."""

from __future__ import annotations

from playwright.sync_api import expect

from browser.conftest import Visit
from browser.person import barriers
from network.running import Running


def test_a_network_is_made_joined_and_left(alice: Running, bob: Running, visit: Visit):
    page = visit(alice).go("/network")
    page.get_by_text("Make a network").click()
    page.get_by_label("Name", exact=True).fill("walks")
    page.get_by_role("button", name="Make it").click()
    mine = page.locator("#networks").get_by_role("listitem").filter(has_text="walks")
    expect(mine).to_contain_text("whom its admin invites")
    mine.get_by_role("button", name="Invite ...").click()
    page.get_by_label("Whom").fill("bob")
    page.get_by_role("button", name="Make an invitation").click()
    shown = page.get_by_role("dialog", name="The invitation")
    invitation = shown.get_by_role("textbox").input_value()
    assert invitation.startswith("dms3net:")
    assert barriers(page) == []
    shown.get_by_role("button", name="Close").click()
    theirs = visit(bob).go("/network")
    theirs.get_by_label("Invitation", exact=True).fill(invitation)
    theirs.get_by_role("button", name="Join", exact=True).click()
    row = theirs.locator("#networks").get_by_role("listitem").filter(has_text="walks")
    expect(row).to_contain_text("you")
    row.get_by_role("button", name="Leave ...").click()
    theirs.get_by_role("dialog").get_by_role("button", name="Leave", exact=True).click()
    expect(row).to_have_count(0)
    mine.get_by_role("button", name="Leave ...").click()
    page.get_by_role("dialog").get_by_role("button", name="Leave", exact=True).click()
    expect(mine).to_have_count(0)
