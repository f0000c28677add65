"""When something goes wrong, the page says what happened, with which file, and what to do."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from playwright.sync_api import expect

from browser.conftest import Visit
from browser.person import Person
from network.running import Running, running


def test_an_upload_that_is_cut_off_is_named_and_the_others_arrive(
    alice: Running, visit: Visit, tmp_path: Path
):
    person = visit(alice)
    person.expect("ERR_")
    page = person.go("/documents")
    for name in ("whole.txt", "cut.txt"):
        (tmp_path / name).write_text(f"curlew {name}\n")
    page.route("**/api/v1/blob?name=cut.txt", lambda route: route.abort("connectionreset"))
    page.get_by_label("Into the space").fill("cut")
    page.get_by_label("Choose files").set_input_files(
        [tmp_path / "whole.txt", tmp_path / "cut.txt"]
    )
    failed = page.locator("[data-imports]").get_by_role("listitem")
    expect(failed).to_contain_text("cut.txt: The upload was cut off after")
    expect(failed).to_contain_text("add it again")
    expect(page.get_by_text("1 file imported into cut, 1 file failed.")).to_be_visible()
    page.unroute("**/api/v1/blob?name=cut.txt")
    page.get_by_label("Choose files").set_input_files(
        [tmp_path / "whole.txt", tmp_path / "cut.txt"]
    )
    expect(page.get_by_text("1 file imported into cut, 1 file were there already")).to_be_visible()


def test_a_file_that_is_too_large_is_refused_by_name(tmp_path: Path, visit: Visit):
    with running(tmp_path / "small", "--upload-max", "100000") as node:
        person = visit(node)
        person.expect("status of 413", "ERR_CONNECTION_RE")
        page = person.go("/documents")
        (tmp_path / "large.txt").write_bytes(b"x" * 100_001)
        page.get_by_label("Choose files").set_input_files([tmp_path / "large.txt"])
        failed = page.locator("[data-imports]").get_by_role("listitem")
        expect(failed).to_contain_text("large.txt: ")
        expect(failed).to_contain_text(re.compile("too large|larger than|cut off"))
        person.page.goto("about:blank")


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_node_that_stops_and_comes_back(tmp_path: Path, visit: Visit):
    home, api = tmp_path / "node", f"127.0.0.1:{free_port()}"
    with running(home, "--api-listen", api) as node:
        person: Person = visit(node)
        person.expect("ERR_", "status of 401")
        page = person.page
        away = page.get_by_text("The node does not answer. What you see is from before")
        expect(away).to_be_hidden()
    expect(away).to_be_visible()
    page.get_by_role("searchbox", name="Search everything").fill("anything")
    expect(page.get_by_role("heading", level=1)).to_be_visible()  # what was there stays
    with running(home, "--api-listen", api) as node:
        again = Person(person.context.browser, node).log_in()
        expect(again.page.get_by_text("The node does not answer")).to_be_hidden()
        again.expect("ERR_")
        again.page.goto("about:blank")
        again.leave()
        page.goto("/")
        expect(page.get_by_role("heading", name="Log in")).to_be_visible()  # sessions ended with it
        expect(page.get_by_text("dms3 open")).to_be_visible()
