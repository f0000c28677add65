"""Import, search, open, share, find from the other node: as a person does it on the page."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, Route, expect

from browser.conftest import Visit
from browser.person import drop
from network.running import Running, wait_until

LETTER = "The {} left the weir at dawn.\n"
SEEN = """() => {
  window.said = [];
  new MutationObserver(() => {
    for (const bar of document.querySelectorAll("[data-imports] progress")) {
      const text = bar.closest(".import").querySelector("span").textContent;
      window.said.push([bar.value / bar.max, text]);
    }
  }).observe(document.querySelector("[data-imports]"), {subtree: true, childList: true,
    attributes: true, characterData: true});
}"""


def write(folder: Path, bird: str) -> list[Path]:
    """A letter about a bird, and something larger so that progress can be seen."""
    letter, large = folder / "letter.txt", folder / "tide tables.txt"
    letter.write_text(LETTER.format(bird))
    large.write_text(f"high water for the {bird} at noon\n" * 150_000)
    return [letter, large]


def import_chosen(page: Page, files: list[Path], space: str) -> None:
    """Choose files on the Documents view and wait until all are imported."""
    page.goto("/documents")
    page.get_by_label("Into the space").fill(space)
    page.get_by_label("Choose files").set_input_files(files)
    done = page.get_by_text(re.compile(rf"{len(files)} files? imported into {space}\."))
    expect(done).to_be_visible()


def test_chosen_files_are_imported_with_progress(alice: Running, visit: Visit, tmp_path: Path):
    page = visit(alice).go("/documents")
    page.evaluate(SEEN)
    page.get_by_label("Into the space").fill("chosen")
    page.get_by_label("Choose files").set_input_files(write(tmp_path, "dipper"))
    expect(page.get_by_text("2 files imported into chosen.")).to_be_visible()
    seen = page.evaluate("window.said")
    parts = [part for part, _ in seen]
    assert parts == sorted(parts), "the bar went back"
    assert any(0 < part < 1 for part in parts), seen
    assert all(text.startswith("Into chosen: ") for _, text in seen)
    card = page.get_by_role("article").filter(has_text="chosen")
    expect(card).to_contain_text("2 documents")
    card.get_by_role("link", name="chosen").click()
    expect(page.get_by_role("heading", name="chosen", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="letter.txt")).to_be_visible()


def test_a_dropped_folder_is_imported_with_what_lies_in_it(
    alice: Running, visit: Visit, tmp_path: Path
):
    folder = tmp_path / "harbour"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "a.txt").write_text("bollard\n")
    (folder / "deep" / "er" / "b.txt").write_text("hawser and fairlead\n")
    page = visit(alice).go("/")
    page.get_by_label("Into the space").fill("dropped")
    drop(page, [folder])
    expect(page.get_by_text("2 files imported into dropped.")).to_be_visible()
    page.get_by_role("searchbox", name="Search everything").fill("fairlead")
    hit = page.get_by_role("listitem").filter(has_text="hawser and fairlead")
    expect(hit.get_by_role("link")).to_contain_text("b.txt")


def test_searching_as_one_types_and_opening_what_was_found(
    alice: Running, visit: Visit, tmp_path: Path
):
    page = visit(alice).page
    import_chosen(page, write(tmp_path, "kingfisher"), "read")
    box = page.get_by_role("searchbox", name="Search everything")
    box.press_sequentially("kingf", delay=20)
    hits = page.locator(".hits").get_by_role("listitem")
    expect(page.get_by_text("Nothing matches kingf")).to_be_visible()
    box.press_sequentially("isher weir", delay=20)
    expect(hits).to_have_count(1)
    expect(hits.locator("mark")).to_have_text(["kingfisher", "weir"])
    assert page.url.endswith("/search?q=kingfisher+weir&scope=local")
    box.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_label("The text")).to_contain_text("left the weir at dawn")
    with page.expect_download() as started:
        page.get_by_role("link", name="Download").click()
    assert Path(started.value.path()).read_text() == LETTER.format("kingfisher")
    assert started.value.suggested_filename == "letter.txt"
    page.go_back()
    expect(hits).to_have_count(1)


def test_a_space_is_shared_and_found_and_opened_from_the_other_page(
    alice: Running, bob: Running, visit: Visit, tmp_path: Path
):
    mine = visit(alice).page
    import_chosen(mine, write(tmp_path, "bittern"), "river")
    theirs = visit(bob).go("/")
    card = mine.get_by_role("article").filter(has_text="river")
    card.get_by_role("button", name="Share ...").click()
    dialog = mine.get_by_role("dialog", name="Share a space")
    dialog.get_by_label("With").select_option("bob")
    dialog.get_by_label("Until").fill("2030-03-01")
    expect(dialog).to_contain_text("bob can read and search river until March 1, 2030.")
    dialog.get_by_role("button", name="Share").click()
    expect(mine.get_by_text("bob can now read and search river.")).to_be_visible()
    expect(card).to_contain_text("bob until March 1, 2030")
    # the other page was open all the time and is told
    expect(theirs.get_by_text("alice lets you read and search river")).to_be_visible()
    box = theirs.get_by_role("searchbox", name="Search everything")
    theirs.get_by_role("radio", name="peers").check(force=True)
    box.fill("bittern weir")
    hit = theirs.locator(".hits").get_by_role("listitem").filter(has_text="of alice")
    expect(hit).to_contain_text("river")
    hit.get_by_role("link").click()
    expect(theirs.get_by_label("The text")).to_contain_text("left the weir at dawn")


def test_a_document_is_removed_and_that_can_be_undone(alice: Running, visit: Visit, tmp_path: Path):
    page = visit(alice).page
    import_chosen(page, write(tmp_path, "heron")[:1], "passing")
    page.goto("/documents?space=passing")
    page.get_by_role("button", name="Remove letter.txt").click()
    expect(page.get_by_role("link", name="letter.txt")).to_be_hidden()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("link", name="letter.txt")).to_be_visible()
    page.get_by_role("button", name="Remove letter.txt").click()
    page.goto("/documents")  # leaving does it at once
    wait_until(lambda: not alice.call("store", "list", space="passing")["documents"])
    page.goto("/documents?space=passing")
    expect(page.get_by_text("There is nothing in it yet.")).to_be_visible()


def test_what_another_program_adds_and_removes_shows_at_once(
    alice: Running, visit: Visit, tmp_path: Path
):
    (tmp_path / "quick.txt").write_text("a turnstone, gone in a moment\n")
    page = visit(alice).go("/documents")
    alice.call("store", "add", paths=[str(tmp_path / "quick.txt")], space="quick")
    card = page.get_by_role("article").filter(has=page.get_by_role("link", name="quick"))
    expect(card).to_contain_text("1 document,")
    one = page.locator("#recent").get_by_role("link", name="quick.txt")
    expect(one).to_be_visible()
    cid = alice.call("store", "list", space="quick")["documents"][0]["cid"]
    alice.call("store", "remove", cid=cid, space="quick")
    expect(card).to_contain_text("0 documents")
    expect(one).to_be_hidden()


def test_what_happens_before_the_page_listens_is_not_missed(
    alice: Running, visit: Visit, tmp_path: Path
):
    (tmp_path / "early.txt").write_text("a sanderling that did not wait\n")
    visitor = visit(alice)

    def happen_first(route: Route) -> None:
        alice.call("store", "add", paths=[str(tmp_path / "early.txt")], space="early")
        route.continue_()

    visitor.page.route("**/api/v1/events**", happen_first, times=1)
    page = visitor.go("/documents")
    card = page.get_by_role("article").filter(has=page.get_by_role("link", name="early"))
    expect(card).to_contain_text("1 document,")
