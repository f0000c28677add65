"""Scenario "load": what holding and finding cost a node, in an overlay of so many nodes.

Source: docs/growth.md. Notes are put by random nodes, looked up and got, by the production dht over
tables that lie on the disks before the start. Besides, entries of apps are dealt to nodes by the
rule of uptimes, without a message: that part is arithmetic over the same nodes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

from dms3.core.errors import Failure
from dms3.core.limits import REPUT_US, SECOND_US, SIM_PRESENCES_KEPT_MAX
from dms3.core.machine import Entropy
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
from dms3.dht.presence import Verified, node_location
from dms3.sim.bare import BareNode, BareWorld, Made
from dms3.sim.ground import Ground, draw_uptimes
from dms3.sim.measures import mean, quantile
from dms3.sim.scenarios.bare_members import bare_dht, peer_book
from dms3.sim.scenarios.notes import NOTE, Note, new_note
from dms3.sim.seeds import stream
from dms3.sim.statement import Statement, require
from dms3.sim.warm import warm

HELD = "dht/held"
OFF_MAX = 0.05  # how far the mean of what is held may be from n q / m
PEAK_MAX = 3.0  # times the mean: what 99 of 100 nodes hold at most...
PEAKED_MIN = 5  # ...of so many notes for each: of fewer, chance makes more of the peak
LOOKS_MAX, LOOKS_OF_ONE = 500, 4  # in all, for each node
SETTLE_US = 20 * SECOND_US


class LoadScenario(Statement):
    """n = `per_node` m notes are put; `looks`: lookups and gets, so many each at most."""

    name = "load"
    minutes_default = 0.6

    def __init__(self, *, per_node: float = 5, looks: int = LOOKS_MAX) -> None:
        super().__init__()
        self._per_node = per_node
        self._looks = looks
        self._verified = Verified(SIM_PRESENCES_KEPT_MAX)
        self._placed: list[int] = []  # holders of each note, as its writer was told
        self._failed = 0
        self._hops: list[int] = []
        self._asked: list[int] = []
        self._found: list[bool] = []

    def play(self, nodes: int, seed: int, work_us: int) -> None:
        """Half of the time for puts, the rest for lookups and gets."""
        world = BareWorld(seed, nodes, self._machines, {"peers": peer_book, "library": peer_book})
        self.trace = world.trace
        warm(seed, world.nodes, self._verified)
        for node in world.nodes:
            world.start(node)
        random = stream(seed, "work")
        self._looks = min(self._looks, LOOKS_OF_ONE * nodes)
        notes = [new_note(random) for _ in range(round(self._per_node * nodes))]
        half = work_us // 2
        for note in notes:
            world.at(random.randrange(half), self._put, world, random.randrange(nodes), note)
        world.run(half + SETTLE_US)
        putting = world.requests
        answered = [node.answered for node in world.nodes]
        held = [len(node.disk.table(HELD)) for node in world.nodes]  # before a get mends anything
        self._look(world, random, notes, half)
        world.run(world.time_us + half + SETTLE_US)
        self.time_us = world.time_us
        self.figures = {
            **self._storing(nodes, held),
            "requests_per_put": round(putting / max(1, len(notes)), 2),
            "answered_per_node": round(mean(answered), 2),
            "answered_p99": quantile(answered, 0.99),
            **self._finding(),
            **_dealt(world, seed, len(notes)),
        }
        self._check(len(notes))

    def _machines(self, node: BareNode, entropy: Entropy) -> Sequence[Made]:
        return [bare_dht(node, entropy, self._verified, REPUT_US)]

    # Work

    def _put(self, world: BareWorld, index: int, note: Note) -> None:
        def done(body: Placed | Failure) -> None:
            if isinstance(body, Placed):
                self._placed.append(body.holders[0])
            else:
                self._failed += 1

        content = Content(NOTE, note.key, note.value)
        world.call(world.nodes[index], "dht.put", PutContent(PUBLIC, (content,)), done)

    def _look(self, world: BareWorld, random: Random, notes: Sequence[Note], for_us: int) -> None:
        for _ in range(self._looks):
            at = world.time_us + random.randrange(for_us)
            target = random.randbytes(LOCATION_BYTES)
            world.at(at, self._find, world, random.randrange(len(world.nodes)), target)
            note, index = random.choice(notes), random.randrange(len(world.nodes))
            world.at(at, self._get, world, index, note)

    def _find(self, world: BareWorld, index: int, target: bytes) -> None:
        def done(body: FoundNodes | Failure) -> None:
            if isinstance(body, FoundNodes):
                self._hops.append(body.hops)
                self._asked.append(body.asked)

        world.call(world.nodes[index], "dht.find", FindNodes(PUBLIC, target), done)

    def _get(self, world: BareWorld, index: int, note: Note) -> None:
        def done(body: Got | Failure) -> None:
            self._found.append(isinstance(body, Got) and note.value in body.values)

        world.call(world.nodes[index], "dht.get", GetContent(PUBLIC, NOTE, note.key), done)

    # Figures

    def _storing(self, nodes: int, held: Sequence[int]) -> dict[str, Any]:
        holders = mean(self._placed)
        expected = sum(self._placed) / nodes
        return {
            "notes": len(self._placed),
            "holders_mean": round(holders, 3),
            "stored_expected": round(expected, 3),
            "stored_mean": round(mean(held), 3),
            "stored_p99": quantile(held, 0.99),
            "stored_max": max(held),
        }

    def _finding(self) -> dict[str, Any]:
        return {
            "lookups": len(self._hops),
            "hops_mean": round(mean(self._hops), 3),
            "asked_mean": round(mean(self._asked), 2),
            "gets": len(self._found),
            "found": sum(self._found),
        }

    def _check(self, notes: int) -> None:
        figures = self.figures
        require(self._failed == 0, f"{self._failed} of {notes} puts failed")
        require(len(self._placed) == notes, f"{notes - len(self._placed)} puts did not end")
        off = abs(figures["stored_mean"] / figures["stored_expected"] - 1)
        require(off <= OFF_MAX, f"a node holds {off:.1%} other than n q / m")
        for what in ("stored", "entries") if self._per_node >= PEAKED_MIN else ():
            peak = figures[f"{what}_p99"] / figures[f"{what}_mean"]
            require(
                peak <= PEAK_MAX, f"{what}: 99 of 100 nodes hold up to {peak:.2f} times the mean"
            )
        require(len(self._hops) == self._looks, "some lookups did not end")
        require(figures["found"] == self._looks, "some gets did not find their note")


def _dealt(world: BareWorld, seed: int, count: int) -> dict[str, Any]:
    """What nodes would hold of `count` entries, by the rule of uptimes."""
    random = stream(seed, "entries")
    places = [int.from_bytes(node_location(node.peer), "big") for node in world.nodes]
    ground = Ground(places, draw_uptimes(random, len(places)))
    held: Counter[int] = Counter()
    for _ in range(count):
        name = hashlib.sha256(random.randbytes(LOCATION_BYTES)).digest()
        held.update(ground.holders(int.from_bytes(name, "big")))
    loads = [held[index] for index in range(len(places))]
    return {
        "entries_q": round(sum(loads) / count, 3),
        "entries_mean": round(mean(loads), 3),
        "entries_p99": quantile(loads, 0.99),
        "entries_max": max(loads),
    }
