"""Scenario "converge": people write while the network is in pieces; then all hold the same.

Source: docs/simulator.md, "The scenario converge"; docs/chains.md, "Repaired". As scenario "chain",
but nobody reads anything, so whatever a node lacks in the end it got by comparing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dms3.core.limits import SECOND_US
from dms3.sim.checkers import Checker, ViolationError
from dms3.sim.faults import FaultPlan
from dms3.sim.scenarios.chain import ChainScenario
from dms3.sim.scenarios.chain_rules import DNA
from dms3.sim.seeds import stream
from dms3.sim.world import SimNode, World

LOSS_PER_MILLION = 300_000
_OPS, _PENDING = "validation/ops", "validation/pending"
_ACTIONS = "validation/actions"


class ConvergeScenario(ChainScenario):
    """Writes under partitions, crashes and loss; equal sets of ops after them."""

    name = "converge"

    def plan(self, seed: int) -> FaultPlan:
        """Three of ten messages are lost, and the network falls apart again and again."""
        random = stream(seed, "converge")
        return replace(
            super().plan(seed),
            loss_per_million=LOSS_PER_MILLION,
            partition_every_us=random.choice((2, 4)) * SECOND_US,
            partition_for_us=random.choice((1, 3, 10)) * SECOND_US,
        )

    def begin(self, world: World, until_us: int) -> None:
        """Write all the time, from random nodes; nobody looks."""
        self._until_us = until_us
        world.at(SECOND_US, self._write, stream(world.seed, "writes"))

    def finished(self, world: World) -> bool:
        """Whether all hold the same ops, each with its verdict."""
        if world.time_us < self._until_us or self._open or not self.tally.committed:
            return False
        if any(node.disk.table(_PENDING) for node in world.nodes):
            return False
        return not self.lacking(world.nodes[0]) and _equal(world.nodes)

    def lacking(self, node: SimNode) -> list[bytes]:
        """Actions that were acknowledged and that the node has not: also by their author, at first.

        A commit is acknowledged when it is durable in its chain; its author judges it after that.
        """
        rows = node.disk.table(_ACTIONS)
        return sorted(
            hash_.digest for hash_ in self.tally.committed if DNA.id + hash_.digest not in rows
        )

    def checkers(self) -> Sequence[Checker]:
        """What was written is among what all hold."""
        return [_AllHeld(self)]

    def figures(self, world: World) -> dict[str, Any]:
        """What became of all; how many ops the nodes hold, and how many any of them."""
        counts = [len(_held(node)) for node in world.nodes]
        union = frozenset().union(*map(_held, world.nodes))
        return {**super().figures(world), "held": min(counts), "ops": len(union)}


class _AllHeld(Checker):
    """Looks at the end."""

    def __init__(self, scenario: ConvergeScenario) -> None:
        self._scenario = scenario

    def quiet(self, world: World) -> None:
        """Every node has every action that was acknowledged."""
        if not self._scenario.tally.committed:
            raise ViolationError("nothing was committed")
        for node in world.nodes:
            missing = self._scenario.lacking(node)
            if missing:
                raise ViolationError(f"node {node.index} lacks {len(missing)} actions")


def _held(node: SimNode) -> frozenset[bytes]:
    return frozenset(node.disk.table(_OPS))


def _equal(nodes: Sequence[SimNode]) -> bool:
    first = node_keys(nodes[0])
    return all(node_keys(node) == first for node in nodes[1:])


def node_keys(node: SimNode) -> Any:
    """The keys of the ops of a node, to be compared."""
    return node.disk.table(_OPS).keys()
