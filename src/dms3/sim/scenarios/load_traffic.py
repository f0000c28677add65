"""Puts, gets and lookups in a bare world by nodes that are drawn, and what became of them.

Source: docs/growth.md. How many hold a note is what its writer was told, not what was looked for on
the disks.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from dms3.core.errors import Failure
from dms3.core.overlay import (
    LOCATION_BYTES,
    PUBLIC,
    Content,
    FindNodes,
    FoundNodes,
    GetContent,
    Got,
    Placed,
    PutContent,
)
from dms3.sim.bare import BareNode, BareWorld
from dms3.sim.measures import mean
from dms3.sim.scenarios.notes import NOTE, Note
from dms3.sim.statement import require

HELD = "dht/held"


class Traffic:
    """What is asked of the nodes of `world`; `placed`: holders of each note that was put."""

    def __init__(self, world: BareWorld, random: Random) -> None:
        self._world = world
        self._random = random
        self._failed = 0
        self._puts = self._gets = self._looks = 0
        self.placed: list[int] = []
        self.hops: list[int] = []
        self.asked: list[int] = []
        self.found: list[bool] = []

    def put(self, notes: Sequence[Note], nodes: Sequence[BareNode], within_us: int) -> None:
        """Let each of `notes` be put by one of `nodes`, from now on `within_us`."""
        self._puts += len(notes)
        for note in notes:
            self._at(within_us, self._put, self._random.choice(nodes), note)

    def get(
        self, notes: Sequence[Note], nodes: Sequence[BareNode], count: int, within_us: int
    ) -> None:
        """Let one of `nodes` get one of `notes`, `count` times."""
        self._gets += count
        for _ in range(count):
            note = self._random.choice(notes)
            self._at(within_us, self._get, self._random.choice(nodes), note)

    def look(self, nodes: Sequence[BareNode], count: int, within_us: int) -> None:
        """Let one of `nodes` look up who is nearest to a location, `count` times."""
        self._looks += count
        for _ in range(count):
            target = self._random.randbytes(LOCATION_BYTES)
            self._at(within_us, self._find, self._random.choice(nodes), target)

    def putting(self) -> dict[str, Any]:
        """Figures of the puts; raises ViolationError when one failed."""
        require(self._failed == 0, f"{self._failed} of {self._puts} puts failed")
        open_puts = self._puts - len(self.placed)
        require(not open_puts, f"{open_puts} puts did not end")
        return {"notes": self._puts, "holders_mean": round(mean(self.placed), 3)}

    def finding(self) -> dict[str, Any]:
        """Figures of gets and lookups; raises ViolationError when one failed."""
        require(len(self.hops) == self._looks, "some lookups did not end")
        found = sum(self.found)
        require(found == self._gets, f"{self._gets - found} gets did not find their note")
        return {
            "lookups": self._looks,
            "hops_mean": round(mean(self.hops), 3),
            "asked_mean": round(mean(self.asked), 2),
            "gets": self._gets,
            "found": found,
        }

    def held(self) -> list[int]:
        """How many notes lie with each node that runs."""
        return [len(node.disk.table(HELD)) for node in self._world.living()]

    def _at(self, within_us: int, action: Any, node: BareNode, what: Note | bytes) -> None:
        at_us = self._world.time_us + self._random.randrange(within_us)
        self._world.at(at_us, action, node, what)

    def _put(self, node: BareNode, note: Note) -> None:
        def done(body: Placed | Failure) -> None:
            if isinstance(body, Placed):
                self.placed.append(body.holders[0])
            else:
                self._failed += 1

        content = Content(NOTE, note.key, note.value)
        self._world.call(node, "dht.put", PutContent(PUBLIC, (content,)), done)

    def _find(self, node: BareNode, target: bytes) -> None:
        def done(body: FoundNodes | Failure) -> None:
            if isinstance(body, FoundNodes):
                self.hops.append(body.hops)
                self.asked.append(body.asked)

        self._world.call(node, "dht.find", FindNodes(PUBLIC, target), done)

    def _get(self, node: BareNode, note: Note) -> None:
        def done(body: Got | Failure) -> None:
            self.found.append(isinstance(body, Got) and note.value in body.values)

        self._world.call(node, "dht.get", GetContent(PUBLIC, NOTE, note.key), done)
