"""One browser and two nodes for all browser tests of a process; a window for each person."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from browser.person import WAIT_MS, Person, launch
from network.running import Running, running

Visit = Callable[..., Person]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The browser."""
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running]]:
    """Two nodes, alice's and bob's, that have each other's cards."""
    folder = tmp_path_factory.mktemp("pair")
    with ExitStack() as stack:
        alice = stack.enter_context(running(folder / "alice", "--name", "alice"))
        join = ("--join", alice.data["address"])
        bob = stack.enter_context(running(folder / "bob", "--name", "bob", *join))
        for one, other in ((alice, bob), (bob, alice)):
            one.call("contact", "add", card=other.call("contact", "card")["card"])
        yield alice, bob


@pytest.fixture
def alice(pair: tuple[Running, Running]) -> Running:
    """The node of alice."""
    return pair[0]


@pytest.fixture
def bob(pair: tuple[Running, Running]) -> Running:
    """The node of bob."""
    return pair[1]


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visit]:
    """Opens the page of a node in a window of its own; looks at what the page did at the end."""
    with ExitStack() as stack:

        def open_page(node: Running, **context: Any) -> Person:
            person = Person(chromium, node, **context)
            stack.callback(person.leave)
            return person.log_in()

        yield open_page


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Running]:
    """A node of its own, for what would spoil the others."""
    with running(tmp_path / "lone", "--name", "lone") as node:
        yield node
