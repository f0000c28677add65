"""What scenarios of the overlay share: members of one overlay, their puts and their gets.

Source: docs/simulator.md, "The scenarios of the overlay". What is put is in `notes.py`, the
machines in `members.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId
from dms3.core.limits import (
    REPUT_US,
    SECOND_US,
    SIM_COLD_NODES_MAX,
    SIM_PRESENCES_KEPT_MAX,
)
from dms3.core.machine import Entropy
from dms3.core.overlay import PUBLIC, Content, GetContent, Got, Placed, PutContent
from dms3.dht.presence import Verified
from dms3.node.inbox import Hosted
from dms3.sim.checkers import ViolationError
from dms3.sim.faults import FaultPlan
from dms3.sim.places import address_of
from dms3.sim.scenario import Scenario
from dms3.sim.scenarios.members import Members, empty_library
from dms3.sim.scenarios.notes import NOTE, Note, Tally
from dms3.sim.seeds import stream
from dms3.sim.warm import warm
from dms3.sim.wiring import Wiring
from dms3.sim.world import Build, Port, SimNode, World


class OverlayScenario(Scenario):
    """Nodes that dial each other, hold notes for each other and find them again.

    `reput_us`: how often holders put again what they hold; `cold_nodes_max`: above, routing
    tables lie on the disks before the start; below, everybody joins through the first three nodes.
    """

    wiring = Wiring
    minutes_default = 0.9  # before a minute is over, nodes begin to ask the whole table
    cold_nodes_max = SIM_COLD_NODES_MAX

    def __init__(self, *, reput_us: int = REPUT_US) -> None:
        self.tally = Tally()
        self._verified = Verified(SIM_PRESENCES_KEPT_MAX)
        self._members = Members(reput_us, self._verified)
        self._delivered: set[tuple[int, bytes]] = set()  # (number of the get, value); sorted later
        self._world: World | None = None
        self._is_cold = True

    def plan(self, seed: int) -> FaultPlan:
        """A country's distances; what else goes wrong, the scenario does itself."""
        slow = stream(seed, "plan").choice((0, 1_000, 10_000))
        return FaultPlan(delay_min_us=5_000, delay_max_us=40_000, slow_per_million=slow)

    @property
    def world(self) -> World:
        """The world of the run."""
        assert self._world is not None, "prepare comes first"
        return self._world

    def prepare(self, world: World) -> None:
        """Fill the routing tables of many nodes."""
        self._world = world
        self._is_cold = len(world.nodes) <= self.cold_nodes_max
        if not self._is_cold:
            warm(world.seed, world.nodes, self._verified)

    def build(self) -> Build:
        """A peer book and the dht."""
        return self.machines

    def machines(self, index: int, all_peers: Sequence[PeerId], entropy: Entropy) -> list[Hosted]:
        """Those of node `index`."""
        del all_peers
        return self._members.machines(self.world.nodes[index], entropy, joins=self._is_cold)

    def ports(self) -> Mapping[str, Port]:
        """A library without blocks: notes are rows."""
        return {"library": empty_library}

    def started(self, node: SimNode) -> None:
        """Tell the dht where its node can be reached."""
        node.call("dht.listening", (address_of(node.index),), _nothing)

    def finished(self, world: World) -> bool:
        """Whether every put and get has been answered."""
        del world
        return self.tally.open == 0

    def figures(self, world: World) -> dict[str, Any]:
        """What became of puts and gets, and a hash of what was delivered."""
        del world
        listed = b"".join(b"%d" % number + value for number, value in sorted(self._delivered))
        return {**self.tally.figures(), "delivered": hashlib.sha256(listed).hexdigest()[:16]}

    # Work

    def running_from(self, index: int) -> SimNode:
        """The first node that runs, from node `index` on."""
        nodes = self.world.nodes
        ring = (nodes[(index + step) % len(nodes)] for step in range(len(nodes)))
        return next(node for node in ring if node.driver is not None)

    def put(self, node: SimNode, note: Note) -> None:
        """Let `node` put `note`."""
        world, tally, boot = self.world, self.tally, node.boot
        tally.puts += 1

        def done(body: Placed | Failure) -> None:
            if isinstance(body, Failure):
                tally.alone += 1
                world.record(node.index, "put failed", body.code.encode())
                return
            note.holders = body.holders[0]
            world.record(node.index, "placed", b"%d" % note.holders)
            if note.holders > 1:
                note.placed_us = world.time_us
                tally.placed += 1
                least = tally.holders_min
                tally.holders_min = note.holders if least is None else min(least, note.holders)
            else:
                tally.alone += 1

        question = PutContent(PUBLIC, (Content(NOTE, note.key, note.value),))
        self._call(node, boot, "dht.put", question, done)

    def get(self, node: SimNode, note: Note, number: int) -> None:
        """Let `node` get `note`, for the `number`th get of the run."""
        world, tally, boot = self.world, self.tally, node.boot

        def done(body: Got | Failure) -> None:
            tally.gets += 1
            if isinstance(body, Failure):
                world.record(node.index, "get failed", body.code.encode())
                return
            tally.asked += body.asked
            world.record(node.index, "got", b"%d %d" % (len(body.values), body.hops))
            if note.value in body.values:
                tally.found += 1
                self._delivered.add((number, note.value))
                if body.hops:
                    tally.hops.append(body.hops)
            elif body.values:
                raise ViolationError(f"node {node.index} was given another value as {note.key!r}")

        self._call(node, boot, "dht.get", GetContent(PUBLIC, NOTE, note.key), done)

    def _call(self, node: SimNode, boot: int, operation: str, question: Any, done: Any) -> None:
        tally = self.tally
        tally.open += 1
        ended = False

        def answered(body: Any) -> None:
            nonlocal ended
            ended = True
            tally.open -= 1
            done(body)

        def look() -> None:
            """Whoever asked may have died on the way."""
            nonlocal ended
            if not ended and (node.boot != boot or node.driver is None):
                ended = True
                tally.open -= 1
                tally.lost += 1
            elif not ended:
                self.world.at(self.world.time_us + SECOND_US, look)

        try:
            node.call(operation, question, answered)
        except Dms3Error as error:
            if error.code not in ("node_unreachable", "limit_reached"):
                raise
            tally.open -= 1
            tally.refused += 1
            return
        look()


def _nothing(_answer: Any) -> None:
    """What is done with an answer that nobody waits for."""
