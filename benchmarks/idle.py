"""What a node costs that does nothing, how fast it is ready, and how fast its page is there.

    python benchmarks/idle.py [--seconds 60]

One real node without peers. Idle: resident memory and processor over the given time, of the node
and its worker processes. Page: every byte that a browser without a cache receives for the first
view (headers included, as Chromium counts them), and the time from the request to `load`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import nodes
from measure import Row, note
from playwright.sync_api import Browser, sync_playwright

from dms3.sdk.blocking import SyncClient

SECONDS = 60
STARTS, STATUSES, VIEWS = 5, 5, 5
PAGE_BYTES, PAGE_SECONDS = 100_000, 0.5
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def idle(node: nodes.Running, seconds: float) -> tuple[float, float]:
    """Bytes resident at the end, and the part of one processor used."""
    _, before = node.usage()
    begun = time.perf_counter()
    time.sleep(seconds)
    resident, after = node.usage()
    return resident, (after - before) / (time.perf_counter() - begun)


def starts(folder: Path) -> list[float]:
    """Seconds from the start of the process to ready, with a home that is there."""
    found = []
    for _ in range(STARTS):
        with nodes.node(folder) as node:
            found.append(node.seconds)
    return found


def run_seconds(*words: str) -> float:
    begun = time.perf_counter()
    subprocess.run([*nodes.PROGRAM, *words], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def view(browser: Browser, home: Path) -> tuple[float, float]:
    """Bytes received and seconds, of the first view in a browser that knows nothing."""
    context = browser.new_context()
    try:
        page = context.new_page()
        with SyncClient(home) as client:
            page.goto(client.login_url(), wait_until="load")
        url = page.url
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        received: list[float] = []

        def arrived(event: dict[str, Any]) -> None:
            received.append(event["encodedDataLength"])

        session.on("Network.loadingFinished", arrived)
        begun = time.perf_counter()
        page.goto(url, wait_until="load")
        seconds = time.perf_counter() - begun
        page.wait_for_timeout(500)  # whatever the page asks for afterwards belongs to it
        return sum(received), seconds
    finally:
        context.close()


def views(home: Path) -> list[tuple[float, float]]:
    """One view after another; none when there is no browser on this machine."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        note("no Chromium on this machine: the page is not measured")
        return []
    arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=arguments)
        try:
            return [view(browser, home) for _ in range(VIEWS + 1)][1:]  # the browser warms up
        finally:
            browser.close()


def rows(seconds: float = SECONDS) -> list[Row]:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name) / "home"
        with nodes.node(home) as node:
            resident, part = idle(node, seconds)
            status = [run_seconds("--home", str(home), "status") for _ in range(STATUSES)]
            bare = [run_seconds("--version") for _ in range(STATUSES)]
            seen = views(home)
        begun = starts(home)
    note(f"load {os.getloadavg()[0]:.1f}: idle {resident / 1e6:.0f} MB, {part:.2%} of a processor")
    lines = [
        Row(
            "idle node: resident memory", resident / 1e6, None, "", "MB", None, "Python, SQLCipher"
        ),
        Row(
            f"idle node: processor over {seconds:.0f} s", part * 100, None, "", "%", None, "timers"
        ),
        Row("start to ready", statistics.median(begun), None, "", "s", None, "imports of Python"),
        Row(
            "dms3 status",
            statistics.median(status),
            statistics.median(bare),
            "dms3 --version",
            "s",
            None,
            "the start of Python is most of both",
        ),
    ]
    if seen:
        size = statistics.median(one for one, _ in seen) / 1e3
        ready = statistics.median(one for _, one in seen)
        lines += [
            Row(
                "page: first load", size, None, "", "kB", PAGE_BYTES / 1e3, "no cache, headers too"
            ),
            Row("page: request to ready", ready, None, "", "s", PAGE_SECONDS, "loopback, Chromium"),
        ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    for row in rows(parser.parse_args().seconds):
        print(row)


if __name__ == "__main__":
    main()
