"""People and nodes: a card pasted, a person removed, the ring and the table that says the same."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from browser.conftest import Visit
from browser.person import PHONE, overflow
from network.running import Running


def test_a_person_is_added_by_their_card_and_removed(alice: Running, lone: Running, visit: Visit):
    theirs = visit(lone, permissions=["clipboard-read", "clipboard-write"]).go("/people")
    theirs.get_by_role("button", name="Copy your card").click()
    expect(theirs.get_by_role("button", name="copied")).to_be_visible()
    card = theirs.evaluate("navigator.clipboard.readText()")
    person = visit(alice)
    person.expect("status of 4")
    page = person.go("/people")
    page.get_by_label("Their card").fill(card[:-1])
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Their card").fill(card)
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_text("lone is a contact now.")).to_be_visible()
    known = page.locator("#contacts").get_by_role("listitem").filter(has_text="lone")
    expect(known).to_contain_text("reachable")
    known.get_by_role("button", name="Remove ...").click()
    dialog = page.get_by_role("dialog", name="Remove a person")
    expect(dialog).to_contain_text("lone will be forgotten")
    dialog.get_by_role("button", name="Remove").click()
    expect(known).to_have_count(0)


def test_the_ring_and_the_table_show_the_same_nodes(alice: Running, visit: Visit):
    page = visit(alice).go("/network")
    ring = page.get_by_role("img", name="The ring of nodes")
    expect(ring).to_contain_text("you")
    expect(ring).to_contain_text("bob")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="bob"))
    expect(row).to_contain_text("direct")
    expect(row).to_contain_text("you have their card")
    assert ring.locator(".dot:not(.own)").count() == page.locator("[data-peer]").count()
    expect(page.locator("[data-rate=in]")).to_have_text(re.compile(r"^\d.* [kKMG]?(B|bytes?)/s$"))
    row.get_by_role("button", name="Ping bob").click()
    expect(page.get_by_text(re.compile(r"bob answered in [\d.]+ ms"))).to_be_visible()


def test_a_node_nobody_knows_says_so_and_connects_by_address(
    alice: Running, lone: Running, visit: Visit
):
    person = visit(lone, size=PHONE)
    person.expect("status of 5")
    page = person.go("/network")
    page.get_by_text("Details: addresses").click()
    field = page.get_by_label("Address", exact=True)
    field.fill("/ip4/127.0.0.1/tcp/1")
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("/ip4/127.0.0.1/tcp/1")
    field.fill(alice.data["address"])
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.get_by_text(re.compile("^Connected to /ip4/"))).to_be_visible()
    row = page.locator(f"[data-peer='{alice.data['peer_id']}']")
    expect(row).to_contain_text("you gave its address")
    assert overflow(page) <= 0
