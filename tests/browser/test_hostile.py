"""Names and documents with script in them are text; pages of other origins get nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from browser.conftest import Visit
from network.running import Running

SCRIPT = "<script>window.taken=1</script>"
PICTURE = '<img src=x onerror="window.taken=1">'
TURNED = "invoice\u202efdp.exe.txt"
LONG = "n" * 251 + ".txt"
NAMES = (f"{SCRIPT}.txt".replace("/", "\u2215"), f"{PICTURE}.txt", TURNED, LONG)
HTML = f"""<!doctype html><title>wolf</title><h1>sheep</h1>{SCRIPT}{PICTURE}
<iframe src="javascript:parent.taken=1"></iframe>
<meta http-equiv=refresh content="0;url=http://127.0.0.1:1/"><form action=http://127.0.0.1:1/>"""


def is_untouched(page: Page) -> bool:
    """Whether nothing of what was shown has run."""
    strange = page.locator("main script, main iframe, main [onerror]").count()
    return strange == 0 and bool(page.evaluate("window.taken === undefined"))


def test_names_and_documents_are_text_wherever_they_are_shown(
    alice: Running, bob: Running, visit: Visit, tmp_path: Path
):
    folder = tmp_path / "gift"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        (folder / name).write_text(f"zander {SCRIPT} {PICTURE} {number}")
    (folder / "page.html").write_text(HTML)
    space = f"{PICTURE[:60]}"
    bob.call("store", "add", paths=[str(folder)], space=space)
    bob.call("store", "share", space=space, **{"with": "alice"})
    theirs = visit(bob).page
    theirs.goto("/documents")
    assert is_untouched(theirs)
    theirs.get_by_role("link", name=space).first.click()
    rows = theirs.locator("#listed").get_by_role("listitem")
    for name in NAMES:
        expect(rows.filter(has_text=name.replace("\u202e", ""))).to_have_count(1)
    assert is_untouched(theirs)
    assert "\u202e" not in theirs.content()
    mine = visit(alice).go("/search?q=zander&scope=peers")
    hits = mine.locator(".hits").get_by_role("listitem")
    expect(hits).to_have_count(len(NAMES))
    assert is_untouched(mine)
    assert mine.evaluate("document.documentElement.scrollWidth <= innerWidth")
    for number in range(len(NAMES)):
        hits.nth(number).get_by_role("link").click()
        expect(mine.get_by_label("The text")).to_contain_text(f"zander {SCRIPT}")
        assert is_untouched(mine)
        mine.go_back()


def test_an_html_file_is_shown_as_text_and_never_opened_as_a_page(
    alice: Running, visit: Visit, tmp_path: Path
):
    (tmp_path / "wolf.html").write_text(HTML)
    alice.call("store", "add", paths=[str(tmp_path / "wolf.html")], space="wolves")
    [document] = alice.call("store", "list", space="wolves")["documents"]
    person = visit(alice)
    person.expect("?inline")
    page = person.go(f"/documents/{document['cid']}")
    expect(page.get_by_label("The text")).to_contain_text("<h1>sheep</h1>")
    assert is_untouched(page)
    with page.expect_download():  # even asked for by itself it is a file, not a page
        page.evaluate(f"location.href = '/api/v1/blob/{document['cid']}'")
    refused = page.evaluate(
        "async path => (await fetch(path)).status", f"/api/v1/blob/{document['cid']}?inline"
    )
    assert refused >= 400


def test_what_was_searched_is_repeated_as_text(alice: Running, visit: Visit):
    page = visit(alice).go(f"/search?q={SCRIPT}")
    expect(page.get_by_text(f"Nothing matches {SCRIPT}")).to_be_visible()
    assert is_untouched(page)


class Attacker(BaseHTTPRequestHandler):
    """Another web server on this machine; `came` counts what reaches it."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title><body>")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """The origin of a page on another port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Attacker)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    serving.join()
    server.server_close()


TRY = """async ([node, path, options]) => {
  try {
    const response = await fetch(node + path, {credentials: "include", ...options});
    return [response.type, response.status, await response.text()];
  } catch (error) {
    return ["refused", 0, String(error)];
  }
}"""
FRAME = """node => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.onload = () => {
    try { resolve(frame.contentDocument ? frame.contentDocument.body.innerText : ""); }
    catch { resolve(""); }
  };
  frame.src = node + "/";
  document.body.append(frame);
})"""
FORM = """([node, path]) => {
  document.body.innerHTML = `<form method="post" enctype="text/plain" action="${node}${path}">
    <input name='{"space":"taken","a' value='b"}'></form>`;
  document.forms[0].submit();
}"""


def test_a_page_from_another_origin_reads_and_changes_nothing(
    alice: Running, visit: Visit, elsewhere: str
):
    person = visit(alice)
    node, page = person.origin, person.page
    spaces = alice.call("store", "list")
    page.goto(elsewhere)
    post = {"method": "POST", "headers": {"Content-Type": "application/json"}, "body": "{}"}
    plain = {"method": "POST", "mode": "no-cors", "body": "{}"}
    for path, options in (
        ("/", {}),
        ("/", {"mode": "no-cors"}),
        ("/api/v1/store/list", post),
        ("/api/v1/store/list", plain),
        ("/api/v1/id/confirm", plain),
        ("/api/v1/events", {}),
        ("/settings/words", plain),
    ):
        kind, status, text = page.evaluate(TRY, [node, path, options])
        assert (status, kind in ("refused", "opaque")) == (0, True), (path, kind, status)
        assert "alice" not in text
    assert page.evaluate(FRAME, node) == ""
    page.evaluate(FORM, [node, "/api/v1/store/publish"])
    page.wait_for_url(f"{node}/**")
    assert "origin_refused" in page.content() or "may not use this node" in page.content()
    assert alice.call("store", "list") == spaces
    assert alice.call("status")["words_written"] is False
    person.requests = [url for url in person.requests if not url.startswith(elsewhere)]
    person.complaints.clear()  # of the attacker's page, which has met with refusals
