"""The last part of the tour: half of the nodes die at once, and nothing that was shared is lost.

What `dms3 demo` shows at the end: how much each node holds for the others, before and after; every
published document is found and opened on every node that is left, and every line of the guestbook
is read there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from dms3.cli.demo_messages import Nodes, Step, expect
from dms3.cli.dev import DevNetwork

APP = "guestbook"
BARS = "▁▂▃▄▅▆▇█"
GONE = "·"


class Documents(Nodes, Protocol):
    """Nodes that have published documents."""

    async def published(self) -> list[tuple[str, str]]:
        """(words, CID) of every document of the published space."""
        ...

    async def found(self, name: str, words: str, cid: str) -> None:
        """The node called `name` finds and opens a public document; raises when it does not."""
        ...


class SurvivalTour:
    """The steps, over `nodes` of `network`."""

    def __init__(self, nodes: Documents, network: DevNetwork) -> None:
        self._nodes = nodes
        self._names = list(network.nodes)
        self._killed = self._names[: len(self._names) // 2]
        self._documents: list[tuple[str, str]] = []
        self._lines: set[str] = set()
        self._before = ""

    def steps(self) -> list[Step]:
        """What to show, in order."""
        dead, all_ = len(self._killed), len(self._names)
        return [
            ("everybody holds a part for the others", self._look),
            (f"{dead} of {all_} nodes are killed; all documents are found", self._find_all),
            ("the guestbook too; then the dead come back", self._read_all),
        ]

    async def _look(self) -> str:
        self._documents = await self._nodes.published()
        expect(bool(self._documents), "no document was published")
        self._lines = await self._guestbook(self._names[-1])  # alice's app has only begun to start
        held = await self._held(self._names)
        self._before = picture(self._names, held)
        least, most = min(held.values()), max(held.values())
        return f"{len(self._documents)} documents in {least} to {most} parts each {self._before}"

    async def _find_all(self) -> str:
        for name in self._killed:
            await self._nodes.lose(name)
        left = self._left()
        for name in left:
            for words, cid in self._documents:
                await self._nodes.found(name, words, cid)
        after = picture(self._names, await self._held(left))
        return (
            f"{len(self._documents)} documents at {len(left)} nodes; before {self._before}, "
            f"after {after}"
        )

    async def _read_all(self) -> str:
        left = self._left()
        try:
            for name in left:
                lines = await self._guestbook(name)
                expect(lines >= self._lines, f"{name} lacks {len(self._lines - lines)} lines")
        finally:
            async with asyncio.TaskGroup() as group:
                for name in self._killed:
                    group.create_task(self._nodes.bring_back(name))
        return f"{len(self._lines)} lines at {', '.join(left)}"

    def _left(self) -> list[str]:
        return [name for name in self._names if name not in self._killed]

    async def _held(self, names: list[str]) -> dict[str, int]:
        """How many values each node holds in the public overlay."""
        held = {}
        for name in names:
            status = await self._nodes.call(name, "status", "")
            held[name] = int(status["overlay"]["held"])
        return held

    async def _guestbook(self, name: str) -> set[str]:
        done: dict[str, Any] = await self._nodes.call(
            name, "dapp", "call", dapp=APP, function="entries", arguments={}
        )
        return {line["text"] for line in done["value"]}


def picture(names: list[str], held: Mapping[str, int]) -> str:
    """One sign for each node, in order: how much it holds beside the most; · for one that is gone.

    >>> picture(["alice", "bob", "carol"], {"bob": 8, "carol": 4})
    '·█▅'
    """
    most = max(held.values(), default=0) or 1
    step = (len(BARS) - 1) / most
    return "".join(BARS[round(held[name] * step)] if name in held else GONE for name in names)
