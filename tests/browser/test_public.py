"""Publishing: a stranger finds it by words, and it can be taken back."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect

from browser.conftest import Visit
from network.running import Running, running


def test_a_published_space_is_found_and_opened_by_a_stranger(
    alice: Running, visit: Visit, tmp_path: Path
):
    (tmp_path / "avocet.txt").write_text("The avocet sweeps its bill from side to side.\n")
    alice.call("store", "add", paths=[str(tmp_path / "avocet.txt")], space="birds")
    mine = visit(alice).go("/documents")
    card = mine.get_by_role("article").filter(has_text="birds")
    card.get_by_role("button", name="Publish ...").click()
    dialog = mine.get_by_role("dialog", name="Publish a space")
    expect(dialog).to_contain_text("Everybody can find and read birds")
    dialog.get_by_role("button", name="Publish").click()
    expect(mine.get_by_text("birds is public")).to_be_visible()
    expect(card.get_by_text("public", exact=True)).to_be_visible()
    with running(tmp_path / "stranger", "--join", alice.data["address"]) as stranger:
        person = visit(stranger)
        person.expect("ERR_")  # when the stranger's node has ended
        theirs = person.go("/search?q=avocet&scope=public")
        hit = theirs.locator(".hits").get_by_role("listitem")
        expect(hit).to_contain_text("sweeps its bill")
        hit.get_by_role("link").click()
        expect(theirs.get_by_label("The text")).to_contain_text("from side to side")
        theirs.goto("about:blank")
    card.get_by_role("button", name="Take back from the public ...").click()
    dialog = mine.get_by_role("dialog", name="Take back what is published")
    dialog.get_by_role("button", name="Take back").click()
    expect(mine.get_by_text("birds is not public any more.")).to_be_visible()
    expect(card).to_contain_text("Only you can read it.")
