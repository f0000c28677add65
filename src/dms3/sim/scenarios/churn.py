"""Scenario "churn": a fifth of the nodes leaves every minute and returns later with its disk.

Source: docs/simulator.md, "The scenarios of the overlay". Puts and gets go on all the time from
random nodes; holders put again what they hold every two minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from dms3.core.limits import SECOND_US
from dms3.sim.checkers import Checker, ViolationError
from dms3.sim.scenarios.notes import Note, new_note
from dms3.sim.scenarios.overlay import OverlayScenario
from dms3.sim.seeds import stream
from dms3.sim.world import SimNode, World

LEAVING_PER_MINUTE = 5  # one node of so many
AWAY_US = 60 * SECOND_US
REPUT_US = 120 * SECOND_US
SETTLED_US = 60 * SECOND_US  # only what was placed so long ago is asked for
PUT_EVERY_US = 2 * SECOND_US
GET_EVERY_US = SECOND_US // 5
FOUND_MIN = 0.99
ALONE_MAX = 0.02
_MINUTE_US = 60 * SECOND_US


class ChurnScenario(OverlayScenario):
    """Nodes come and go from the first minute to the last."""

    name = "churn"
    minutes_default = 10.0

    def __init__(self) -> None:
        super().__init__(reput_us=REPUT_US)
        self._notes: list[Note] = []
        self._until_us = 0
        self._leavings = 0
        self._gets = 0

    def checkers(self) -> Sequence[Checker]:
        """Nearly everything is held by others, and found."""
        return [_MostFound(self)]

    def begin(self, world: World, until_us: int) -> None:
        """Put the leavings, the puts and the gets on the heap."""
        self._until_us = until_us
        leaving = stream(world.seed, "leaving")
        count = len(world.nodes) // LEAVING_PER_MINUTE
        for minute in range(0, until_us, _MINUTE_US):
            for _ in range(count):
                world.at(minute + leaving.randrange(_MINUTE_US), self._leave, leaving)
        world.at(SECOND_US, self._put, stream(world.seed, "puts"))
        world.at(SECOND_US, self._get, stream(world.seed, "gets"))

    def finished(self, world: World) -> bool:
        """Whether every put and get has been answered, after the time of work."""
        return world.time_us >= self._until_us and super().finished(world)

    def figures(self, world: World) -> dict[str, Any]:
        """Also how many nodes have left."""
        return {**super().figures(world), "leavings": self._leavings}

    def _leave(self, random: Random) -> None:
        world = self.world
        if world.time_us >= self._until_us:
            return
        node = self.running_from(random.randrange(len(world.nodes)))
        self._leavings += 1
        node.crash(durable=bool(random.randrange(2)))
        world.at(world.time_us + AWAY_US, self._return, node, node.boot)

    def _return(self, node: SimNode, boot: int) -> None:
        if node.boot == boot:
            self.world.restart(node)

    def _put(self, random: Random) -> None:
        world = self.world
        if world.time_us >= self._until_us:
            return
        world.at(world.time_us + random.randrange(1, 2 * PUT_EVERY_US), self._put, random)
        note = new_note(random)
        self._notes.append(note)
        self.put(self.running_from(random.randrange(len(world.nodes))), note)

    def _get(self, random: Random) -> None:
        world = self.world
        if world.time_us >= self._until_us:
            return
        world.at(world.time_us + random.randrange(1, 2 * GET_EVERY_US), self._get, random)
        before = world.time_us - SETTLED_US
        settled = [
            one for one in self._notes if one.placed_us is not None and one.placed_us <= before
        ]
        if settled:
            self._gets += 1
            node = self.running_from(random.randrange(len(world.nodes)))
            self.get(node, random.choice(settled), self._gets)


class _MostFound(Checker):
    """Looks at the tally at the end."""

    def __init__(self, scenario: ChurnScenario) -> None:
        self._scenario = scenario

    def quiet(self, world: World) -> None:
        """Enough of the puts have another holder, and enough of the gets have found."""
        del world
        tally = self._scenario.tally
        if tally.alone > ALONE_MAX * tally.puts:
            raise ViolationError(f"{tally.alone} of {tally.puts} puts found no other holder")
        if not tally.gets or tally.found < FOUND_MIN * tally.gets:
            raise ViolationError(f"{tally.found} of {tally.gets} gets found their note")
