"""Scenario "devices": one person's devices share places that fail; nothing acknowledged is lost.

Source: docs/simulator.md, "The scenario devices". Every node is a device with the production
machine "storage" and a mailbox that only keeps. The places are outside of all nodes: they cannot
be reached, take a writing and lose the answer, or hand out what lay there before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId
from dms3.core.limits import SECOND_US
from dms3.core.machine import Entropy
from dms3.crypto.keys import KeyTree
from dms3.crypto.words import words_of_entropy
from dms3.node.inbox import Hosted
from dms3.sim.checkers import Checker, ViolationError
from dms3.sim.faults import FaultPlan, draw_plan
from dms3.sim.mailbox import ITEMS, SETTLED, SimMailbox
from dms3.sim.scenario import Scenario
from dms3.sim.seeds import stream
from dms3.sim.world import Build, Port, SimNode, World
from dms3.storage.operations import DeleteObject, GetObject, Place, PutObject
from dms3.storage.storage import Storage

PLACES = (Place("webdav", "https://one.example"), Place("s3", "https://two.example"))
WRITE_EVERY_US = 4 * SECOND_US
CUT_EVERY_US = 40 * SECOND_US
CUT_FOR_US = 10 * SECOND_US
MOVE_EVERY_US = 70 * SECOND_US
_WORDS = words_of_entropy(b"dms3 sim devices")


class SimPlace:
    """What lies at one place, and what lay there before."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.before: dict[str, bytes] = {}

    def answer(self, arguments: Any, random: Random, faulty: int) -> Any:
        """An operation of port "place"; `faulty`: how many in a thousand go wrong."""
        draw = random.randrange(1_000)
        if draw < faulty // 2:
            raise Dms3Error("peer_unreachable", "The place does not answer.")
        if isinstance(arguments, PutObject):
            if arguments.name in self.objects:
                self.before[arguments.name] = self.objects[arguments.name]
            self.objects[arguments.name] = arguments.data
        elif isinstance(arguments, DeleteObject):
            self.objects.pop(arguments.name, None)
        elif isinstance(arguments, GetObject):
            if faulty // 2 <= draw < faulty:  # an old state, or one with an altered bit
                old = self.before.get(arguments.name)
                data = self.objects.get(arguments.name) if old is None else old
                return None if data is None else bytes([data[0] ^ (old is None)]) + data[1:]
            return self.objects.get(arguments.name)
        if draw < faulty:
            raise Dms3Error("timed_out", "The answer was lost.")
        return None


class DevicesScenario(Scenario):
    """`faulty`: of a thousand operations of a place, those that fail or lie while there is work."""

    name = "devices"
    minutes_default = 6.0

    def __init__(self, faulty: int = 40) -> None:
        self._faulty = faulty
        self._tree = KeyTree.of_words(_WORDS)
        self._places = {place.url: SimPlace() for place in PLACES}
        self._local: dict[int, SimPlace] = {}
        self._cut: dict[int, int] = {}  # node -> until when it reaches no place
        self._until_us = 0
        self._written = 0
        self._moves = 0
        self._checker = _Union()
        self._answers: Random | None = None
        self._looked_us = 0

    def build(self) -> Build:
        """A device per node."""

        def machines(index: int, _peers: Sequence[PeerId], entropy: Entropy) -> list[Hosted]:
            device = index.to_bytes(16, "big")
            storage = Storage(self._tree, device, f"device {index}", entropy)
            return [Hosted("storage", storage), Hosted("mailbox", SimMailbox())]

        return machines

    def plan(self, seed: int) -> FaultPlan:
        """As for all scenarios, with crashes that leave time to do something between them."""
        plan = draw_plan(seed)
        crash_us = 20 * SECOND_US if plan.crash_every_us else 0
        return replace(plan, crash_every_us=crash_us)

    def checkers(self) -> Sequence[Checker]:
        """Everything acknowledged is everywhere in the end."""
        return [self._checker]

    def ports(self) -> Mapping[str, Port]:
        """The places."""
        return {"place": self._place}

    def begin(self, world: World, until_us: int) -> None:
        """All choose a place; then they write, are cut off, and move."""
        self._until_us = until_us
        self._answers = stream(world.seed, "places")
        work = stream(world.seed, "work")
        for node in world.nodes:
            world.at(SECOND_US + node.index, self._choose, world, node, PLACES[0])
            world.at(SECOND_US, self._write, world, node, work)
        world.at(work.randrange(CUT_EVERY_US), self._cut_off, world, work)
        world.at(MOVE_EVERY_US, self._move, world, work)

    def finished(self, world: World) -> bool:
        """Whether every device has everything that was written."""
        if world.time_us < self._until_us:
            return False
        if world.time_us - self._looked_us > 10 * SECOND_US:  # as a person who opens the page
            self._looked_us = world.time_us
            for node in world.nodes:
                node.call("storage.look", None, lambda _body: None)
        tables = [node.disk.table(f"mailbox/{ITEMS}") for node in world.nodes]
        same = all(rows.keys() == tables[0].keys() for rows in tables)
        return same and all(state == SETTLED for rows in tables for state in rows.values())

    def figures(self, world: World) -> dict[str, Any]:
        """How much was written and moved, and what lies at the places in the end."""
        return {
            "written": len(self._checker.keys),
            "moves": self._moves,
            "objects": sum(len(place.objects) for place in self._places.values()),
            "commits": sum(node.disk.commits for node in world.nodes),
        }

    def _place(self, node: SimNode, _operation: str, arguments: Any) -> Any:
        place = arguments if isinstance(arguments, Place) else arguments.place
        random = self._answers
        assert random is not None, "asked before the work began"
        working = node.world.time_us < self._until_us
        if place.kind == "local":
            mine = self._local.setdefault(node.index, SimPlace())
            return mine.answer(arguments, random, 0)
        if working and self._cut.get(node.index, 0) > node.world.time_us:
            raise Dms3Error("peer_unreachable", "There is no line.")
        faulty = self._faulty if working else 0
        return self._places[place.url].answer(arguments, random, faulty)

    def _write(self, world: World, node: SimNode, random: Random) -> None:
        if world.time_us >= self._until_us:
            return
        pause_us = random.randrange(1, 2 * WRITE_EVERY_US)
        world.at(world.time_us + pause_us, self._write, world, node, random)
        if node.driver is not None:
            key = str(self._written)
            self._written += 1
            node.call("mailbox.write", key, partial(self._checker.written, key))

    def _choose(self, world: World, node: SimNode, place: Place) -> None:
        """Ask for it until it is done: a person would, too."""

        def done(body: object) -> None:
            if isinstance(body, Failure):
                world.at(world.time_us + SECOND_US, self._choose, world, node, place)

        if node.driver is None:
            done(Failure("node_unreachable", "The device is off."))
        else:
            node.call("storage.choose", place, done)

    def _move(self, world: World, random: Random) -> None:
        if world.time_us < self._until_us:
            world.at(world.time_us + MOVE_EVERY_US, self._move, world, random)
            self._moves += 1
            place = PLACES[self._moves % len(PLACES)]
            self._choose(world, random.choice(world.nodes), place)

    def _cut_off(self, world: World, random: Random) -> None:
        if world.time_us < self._until_us:
            world.at(world.time_us + random.randrange(CUT_EVERY_US), self._cut_off, world, random)
            node = random.choice(world.nodes)
            self._cut[node.index] = world.time_us + random.randrange(CUT_FOR_US)
            world.record(node.index, "cut", b"")


class _Union(Checker):
    """Looks at committed rows: no device loses what it had, and in the end all have the same."""

    def __init__(self) -> None:
        self.keys: dict[bytes, None] = {}
        self._counts: dict[int, int] = {}

    def written(self, key: str, _body: object) -> None:
        """A device has said that `key` is durable on it."""
        self.keys[key.encode()] = None

    def restarted(self, node: SimNode) -> None:
        """No row is gone after a crash."""
        count = len(node.disk.table(f"mailbox/{ITEMS}"))
        if count < self._counts.get(node.index, 0):
            raise ViolationError(f"node {node.index} has {count} items, and had more")
        self._counts[node.index] = count

    def sweep(self, world: World) -> None:
        """No device has lost anything."""
        for node in world.nodes:
            self.restarted(node)

    def quiet(self, world: World) -> None:
        """All devices have the same."""
        for node in world.nodes:
            rows = node.disk.table(f"mailbox/{ITEMS}")
            lost = [key.decode() for key in self.keys if key not in rows]
            if lost:
                raise ViolationError(f"node {node.index} never got {', '.join(lost[:8])}")
