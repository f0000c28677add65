"""Networks on the page: made, an invitation shown and used, left; a block that is taken back."""

from __future__ import annotations

from playwright.sync_api import expect

from browser.conftest import Visit
from browser.person import barriers
from dms3.core.multibase import encode_base32
from network.running import Running

SOMEBODY = encode_base32(b"an agent that nobody has seen...")


def test_a_network_is_made_joined_and_left(alice: Running, bob: Running, visit: Visit):
    page = visit(alice, permissions=["clipboard-read", "clipboard-write"]).go("/network")
    page.get_by_text("Make a network").click()
    page.get_by_label("Name", exact=True).fill("walks")
    page.get_by_label("Who may be in").select_option("seed")
    expect(page.get_by_label("Seed", exact=True)).to_be_visible()
    page.get_by_label("Who may be in").select_option("invite")
    expect(page.get_by_label("Seed", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Make it").click()
    mine = page.locator("#networks").get_by_role("listitem").filter(has_text="walks")
    expect(mine).to_contain_text("whom its admin invites")
    mine.get_by_role("button", name="Invite ...").click()
    page.get_by_label("Whom").fill("bob")
    page.get_by_role("button", name="Make an invitation").click()
    shown = page.get_by_role("dialog", name="The invitation")
    invitation = shown.get_by_role("textbox").input_value()
    assert invitation.startswith("dms3net:")
    expect(shown).to_contain_text("Give this line to bob, and to nobody else.")
    shown.get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == invitation
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


def test_whom_this_node_blocks_is_shown_and_pardoned(alice: Running, visit: Visit):
    if not any(one["name"] == "guestbook" for one in alice.call("dapp", "list")["dapps"]):
        alice.call("dapp", "install", what="guestbook")
    alice.call("warrant", "block", dapp="guestbook", agent=SOMEBODY, why="rude")
    page = visit(alice).go("/network")
    row = page.locator("#warrants").get_by_role("listitem").filter(has_text=SOMEBODY[:8])
    expect(row).to_contain_text("blocked by you")
    expect(row).to_contain_text("You said: rude")
    assert barriers(page) == []
    row.get_by_role("button", name="Pardon").click()
    expect(row).to_contain_text("pardoned by you")
    expect(row.get_by_role("button", name="Pardon")).to_have_count(0)
    (one,) = alice.call("warrant", "list", dapp="guestbook")["warrants"]
    assert one["standing"] == "pardoned"
