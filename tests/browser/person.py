"""A person at a node's page: a real Chromium, and a record of all that the page did in it.

Whatever the page asks another origin for, and whatever the browser complains about (script errors,
violations of the content security policy), fails the test in which it happened.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Playwright
from playwright.sync_api import Request as Requested

from network.running import Running

ROOT = Path(__file__).parents[2]
AXE = ROOT / "build/peers/axe/node_modules/axe-core/axe.min.js"
PHONE = (390, 844)
DESK = (1440, 900)
SIZES = (PHONE, DESK)
THEMES = ("light", "dark")
WAIT_MS = 15_000  # the most that a person waits for one thing; never waited for when it is there
GRAVE = ("serious", "critical")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def absent(reason: str) -> None:
    """Skip the test; under DMS3_REQUIRE_PEERS=1 what is absent is a failure."""
    if os.environ.get("DMS3_REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def launch(playwright: Playwright) -> Browser:
    """The Chromium of this machine, without a window; skips where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        absent("no Chromium on this machine: apt-get install chromium")
    arguments = ["--disable-dev-shm-usage"]  # 64 MB of it in a container are too few
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium has no sandbox for root
    return playwright.chromium.launch(executable_path=found, args=arguments)


class Person:
    """One person at the page of `node`, logged in with a link as `dms3 open` makes it.

    `page` is the window. `requests` are all URLs that were asked for, `complaints` all errors of
    the console; `expect` names those that a test brings about on purpose.
    """

    def __init__(self, browser: Browser, node: Running, **context: Any) -> None:
        width, height = context.pop("size", DESK)
        self.node = node
        self.origin = f"http://{node.data['api']}"
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._expected: list[str] = []
        self._apps: set[str] = set()
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            base_url=self.origin,
            accept_downloads=True,
            **context,
        )
        self.context.set_default_timeout(WAIT_MS)
        self.context.on("request", self._asked)
        self.context.on("console", self._said)
        self.context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        self.page: Page = self.context.new_page()

    def log_in(self) -> Person:
        """Open the page by a fresh login link."""
        path = self._login_path()
        self.page.goto(path)
        return self

    def go(self, path: str) -> Page:
        """The view at `path`."""
        self.page.goto(path)
        return self.page

    def expect(self, *parts: str) -> None:
        """Complaints of the console that hold one of `parts` belong to this test."""
        self._expected += parts

    def opens(self, app: str) -> None:
        """The page of `app`, on an origin of its own, belongs to this test."""
        self._apps.add(f"{app}.localhost:{urlsplit(self.origin).port}")

    def foreign(self) -> list[str]:
        """The requests that left the origin of the node."""
        own = {urlsplit(self.origin).netloc, *self._apps}
        return [
            url
            for url in self.requests
            if urlsplit(url).scheme not in ("data", "blob", "about")
            and urlsplit(url).netloc not in own
        ]

    def unexpected(self) -> list[str]:
        """The complaints that no test expects."""
        return [
            said for said in self.complaints if not any(part in said for part in self._expected)
        ]

    def leave(self) -> None:
        """Close the window; fails for what the page must not have done."""
        self.context.close()
        foreign, unexpected = self.foreign(), self.unexpected()
        assert not foreign, f"asked of another origin: {foreign}"
        assert not unexpected, f"the browser complained: {unexpected}"

    def _login_path(self) -> str:
        answer = self.context.request.post(
            f"{self.origin}/api/v1/login", headers={"Authorization": f"Bearer {self.node.token}"}
        )
        return str(answer.json()["data"]["path"])

    def _asked(self, request: Requested) -> None:
        self.requests.append(request.url)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            place = message.location.get("url", "")
            self.complaints.append(f"{message.text} ({place})")


def barriers(page: Page, rules: Iterable[str] = ()) -> list[str]:
    """What axe-core finds serious or critical on the page: rule, element and what is wrong."""
    if not AXE.exists():
        absent("axe-core is not in build/peers: run `make peers`")
    page.evaluate(AXE.read_text())
    only: Mapping[str, Any] = {"runOnly": list(rules)} if rules else {}
    found = page.evaluate(
        "options => axe.run(document, options)", {**only, "resultTypes": ["violations"]}
    )
    return [
        f"{violation['id']}: {' '.join(node['target'])}: {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]


def drop(page: Page, paths: Iterable[Path]) -> None:
    """Drop files and folders of this machine on the middle of the page, as from a file manager."""
    size = page.viewport_size
    assert size is not None
    place = {"x": size["width"] // 2, "y": size["height"] // 2}
    carried = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    session = page.context.new_cdp_session(page)
    for step in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": step, **place, "data": carried})
    session.detach()


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def reached_by_tab(page: Page, wanted: Locator, most: int = 60) -> None:
    """Press Tab until `wanted` has the focus, as somebody without a mouse does."""
    for _ in range(most):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} cannot be reached with the Tab key")
