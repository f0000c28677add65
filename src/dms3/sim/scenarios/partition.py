"""Scenario "partition": two halves write without each other for a day; healed, all hold the same.

Source: docs/chains.md, "Repaired". As scenario "converge", without any other fault.
"""

from __future__ import annotations

from random import Random

from dms3.core.limits import SECOND_US
from dms3.sim.faults import FaultPlan
from dms3.sim.scenarios.converge import ConvergeScenario
from dms3.sim.seeds import stream
from dms3.sim.world import World

WRITES = 30
_TOGETHER_US = 10 * SECOND_US  # before the network falls apart


class PartitionScenario(ConvergeScenario):
    """Writes at random moments, from nodes of both halves."""

    name = "partition"
    minutes_default = 24 * 60

    def plan(self, seed: int) -> FaultPlan:
        """A country's distances; what goes wrong, the scenario does itself."""
        del seed
        return FaultPlan(delay_min_us=5_000, delay_max_us=40_000)

    def begin(self, world: World, until_us: int) -> None:
        """Fall apart soon, and stay so until the end."""
        self._until_us = until_us
        random = stream(world.seed, "writes")
        half = frozenset(random.sample(range(len(world.nodes)), len(world.nodes) // 2))
        world.at(_TOGETHER_US, world.faults.part, world, half)
        for number in range(WRITES):
            side = half if number % 2 else frozenset(range(len(world.nodes))) - half
            index = random.choice(sorted(side))
            at = random.randrange(_TOGETHER_US, until_us)
            world.at(at, self._write_one, index, random)

    def _write_one(self, index: int, random: Random) -> None:
        self._commit(self.world.nodes[index], random)
