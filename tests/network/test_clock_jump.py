"""A wall clock that jumps: the node goes on and keeps the order of its events."""

import asyncio
from pathlib import Path

import pytest

from dms3.core.limits import SECOND_US
from dms3.core.machine import Now
from dms3.core.network import MAIN
from dms3.io.clock import SystemClock
from dms3.node.documents import Documents
from dms3.node.home import Home
from dms3.node.metrics import Metrics
from dms3.node.node import Node, open_node
from dms3.node.people import People
from dms3.node.services_store import SearchAsked
from dms3.node.settings import Settings
from dms3.node.table import BlobOrPath, Result

YEAR_US = 365 * 24 * 3600 * SECOND_US
JUMPS_US = (10 * YEAR_US, -10 * YEAR_US, -30 * YEAR_US, 3600 * SECOND_US, 0)


class ShiftedClock:
    """The system's clock, its wall time shifted."""

    shift_us = 0

    def now(self) -> Now:
        now = SystemClock().now()
        return Now(now.mono_us, now.wall_us + type(self).shift_us)


class Failures:
    """A log that remembers what should not happen."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def info(self, event: str, **values: object) -> None:
        """Nothing to remember."""

    def error(self, event: str, **values: object) -> None:
        self.seen.append(f"{event} {values}")


async def use(node: Node, folder: Path, number: int) -> None:
    """Import, find and share something; at any date."""
    (folder / f"{number}.txt").write_text(f"heronnumber{number}")
    documents = Documents(node)
    async for step in documents.add([BlobOrPath(str(folder))], "letters", None):
        last = step
    assert isinstance(last, Result)
    assert (last.data["documents"], last.data["unchanged"]) == (1, number)
    asked = SearchAsked(f"heronnumber{number}", None, None, (), "all", 5)
    assert (await documents.search(asked))["total"] == 1
    card = await People(node).card()
    assert card["until_us"] > node.clock.now().wall_us


def test_a_node_goes_on_when_the_clock_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dms3.node.node.SystemClock", ShiftedClock)
    log = Failures()

    async def scenario() -> None:
        home = Home(tmp_path / "home")
        home.create()
        folder = tmp_path / "documents"
        folder.mkdir()
        settings = Settings("alice", ("/ip4/127.0.0.1/tcp/0",), (), MAIN)
        number = 0
        for _ in range(2):  # the second start is one with the clock where the last one left it
            async with open_node(home, bytes(32), settings, log, Metrics()) as node:
                for jump_us in JUMPS_US:
                    ShiftedClock.shift_us = jump_us
                    await use(node, folder, number)
                    number += 1
                ids = [event.id for event in node.store.events(0, 1_000)]
                assert ids == list(range(1, len(ids) + 1))
            ShiftedClock.shift_us = -20 * YEAR_US

    try:
        asyncio.run(scenario())
    finally:
        ShiftedClock.shift_us = 0
    assert log.seen == []
