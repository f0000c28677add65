"""Which faults a run has, and when they strike: drawn from the seed, healed before the end.

Source: docs/architecture.md, "Tests" (swarm testing: every seed draws which faults are on). Says
nothing about what must hold; that is for checkers.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any

from dms3.core.limits import SECOND_US
from dms3.sim.seeds import stream
from dms3.sim.world import SimNode, World

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What can go wrong in a run; rates are per million, periods are means in microseconds.

    A period of 0 means never.
    """

    delay_min_us: int = 500
    delay_max_us: int = 2_000
    slow_per_million: int = 0  # messages that take twenty times as long
    loss_per_million: int = 0
    copies_per_million: int = 0  # messages that arrive twice
    reorder: bool = False
    partition_every_us: int = 0
    partition_for_us: int = SECOND_US
    crash_every_us: int = 0
    down_for_us: int = SECOND_US // 2
    clock_jump_every_us: int = 0
    commit_min_us: int = 200
    commit_max_us: int = 2_000
    stall_per_million: int = 0  # commits that take a hundred times as long

    def named(self) -> dict[str, Any]:
        """The faults that are on, by name."""
        normal = FaultPlan()
        return {
            name: value for name, value in asdict(self).items() if value != getattr(normal, name)
        }


CALM = FaultPlan()
"""Nothing goes wrong."""


def draw_plan(seed: int) -> FaultPlan:
    """The faults of run `seed`: each is on in about half of the runs."""
    random = stream(seed, "plan")

    def maybe(*values: int) -> int:
        return random.choice(values) if random.randrange(2) else 0

    far = random.randrange(3)  # same room, same country, round the world
    plan = FaultPlan(
        delay_min_us=(500, 5_000, 60_000)[far],
        delay_max_us=(2_000, 40_000, 250_000)[far],
        slow_per_million=maybe(1_000, 50_000),
        loss_per_million=maybe(1_000, 20_000, 200_000),
        copies_per_million=maybe(1_000, 100_000),
        reorder=bool(random.randrange(2)),
        partition_every_us=maybe(2 * SECOND_US, 5 * SECOND_US),
        partition_for_us=random.choice((SECOND_US // 5, SECOND_US, 6 * SECOND_US)),
        crash_every_us=maybe(SECOND_US // 10, SECOND_US),
        down_for_us=random.choice((1, SECOND_US // 5, 3 * SECOND_US)),
        clock_jump_every_us=maybe(SECOND_US),
        stall_per_million=maybe(1_000, 100_000),
    )
    if random.randrange(4) == 0:
        plan = replace(plan, commit_min_us=20_000, commit_max_us=200_000)  # a worn disk
    return plan


class Faults:
    """The faults of one run at work; implements what world and network ask about them."""

    def __init__(self, seed: int, plan: FaultPlan) -> None:
        self.plan = plan
        self.count = {"crashes": 0, "partitions": 0, "clock_jumps": 0}
        self._now = plan
        self._messages = stream(seed, "messages")
        self._disk = stream(seed, "disk")
        self._strikes = stream(seed, "strikes")
        self._blocked: set[tuple[int, int]] = set()  # looked up, never iterated
        self._partition = 0

    # What the world and the network ask

    @property
    def reorder(self) -> bool:
        """Whether messages may overtake each other."""
        return self._now.reorder

    def delays_us(self) -> Sequence[int]:
        """The delays of the copies of one message that arrive: none, one or two."""
        plan = self._now
        if plan.loss_per_million or plan.copies_per_million:
            draw = _below(self._messages, MILLION)
            if draw < plan.loss_per_million:
                return ()
            if draw >= MILLION - plan.copies_per_million:
                return (self.delay_us(), self.delay_us())
        return (self.delay_us(),)

    def delay_us(self) -> int:
        """The delay of something that is never lost."""
        plan, random = self._now, self._messages
        delay = plan.delay_min_us + int(random.random() * (plan.delay_max_us - plan.delay_min_us))
        if plan.slow_per_million and _below(random, MILLION) < plan.slow_per_million:
            delay *= 20
        return delay

    def commit_us(self) -> int:
        """How long the next transaction takes."""
        plan, random = self._now, self._disk
        time = plan.commit_min_us + _below(random, plan.commit_max_us - plan.commit_min_us)
        if plan.stall_per_million and _below(random, MILLION) < plan.stall_per_million:
            time *= 100
        return time

    def blocked(self, source: int, target: int) -> bool:
        """Whether nothing gets from node `source` to node `target` now."""
        return bool(self._blocked) and (source, target) in self._blocked

    # What strikes

    def install(self, world: World) -> None:
        """Put the first faults on the heap."""
        for every, strike in (
            (self.plan.partition_every_us, self._split),
            (self.plan.crash_every_us, self._crash),
            (self.plan.clock_jump_every_us, self._jump),
        ):
            if every:
                world.at(self._after(world, every), strike, world)

    def heal(self, world: World) -> None:
        """No more faults; every node runs and all can reach each other."""
        self._now = replace(CALM, delay_max_us=self.plan.delay_max_us)
        self._now = replace(self._now, delay_min_us=self.plan.delay_min_us)
        self._end_partition(world, self._partition)
        for node in world.nodes:
            node.crash_after = None
            world.restart(node)

    def part(self, world: World, inside: Collection[int]) -> None:
        """From now on nothing gets from the nodes `inside` to the others or back, until `heal`."""
        one = sorted(inside)
        two = [index for index in range(len(world.nodes)) if index not in inside]
        self._blocked = {pair for a in one for b in two for pair in ((a, b), (b, a))}
        self._partition += 1
        self.count["partitions"] += 1
        world.record(-1, "partition", b"%d" % len(self._blocked))
        world.network.rewired()

    def _after(self, world: World, mean_us: int) -> int:
        return world.time_us + self._strikes.randrange(1, 2 * mean_us)

    def _split(self, world: World) -> None:
        if not self._now.partition_every_us:
            return
        self._blocked = _partition(self._strikes, len(world.nodes))
        self._partition += 1
        self.count["partitions"] += 1
        world.record(-1, "partition", b"%d" % len(self._blocked))
        world.network.rewired()
        until = self._after(world, self._now.partition_for_us)
        world.at(until, self._end_partition, world, self._partition)
        world.at(self._after(world, self._now.partition_every_us), self._split, world)

    def _end_partition(self, world: World, number: int) -> None:
        if number == self._partition:
            self._blocked = set()
            world.record(-1, "rejoined", b"")
            world.network.rewired()

    def _crash(self, world: World) -> None:
        plan, random = self._now, self._strikes
        if not plan.crash_every_us:
            return
        node = random.choice(world.nodes)
        self.count["crashes"] += 1
        if random.randrange(2):
            node.crash(durable=bool(random.randrange(2)))
        else:
            node.crash_after = random.randrange(4)  # releases of a later commit
        world.at(self._after(world, plan.down_for_us), self._restart, world, node)
        world.at(self._after(world, plan.crash_every_us), self._crash, world)

    def _restart(self, world: World, node: SimNode) -> None:
        world.restart(node)
        if node.crash_after is not None:  # it has not happened yet: look again later
            world.at(self._after(world, SECOND_US), self._restart, world, node)

    def _jump(self, world: World) -> None:
        if not self._now.clock_jump_every_us:
            return
        node = self._strikes.choice(world.nodes)
        node.wall_offset_us += self._strikes.randrange(-3600, 3600) * SECOND_US
        self.count["clock_jumps"] += 1
        world.record(node.index, "clock", b"%d" % node.wall_offset_us)
        node.step()
        world.at(self._after(world, self._now.clock_jump_every_us), self._jump, world)


def _partition(random: Random, count: int) -> set[tuple[int, int]]:
    """Directed pairs that hear nothing: two halves, one isolated node, or one-way silence."""
    if random.randrange(2):
        inside = {random.randrange(count)}
    else:
        inside = {index for index in range(count) if random.randrange(2)}
    one_way = random.randrange(3) == 0
    blocked = set()
    for source in range(count):
        for target in range(count):
            if source in inside and target not in inside:
                blocked.add((source, target))
                if not one_way:
                    blocked.add((target, source))
    return blocked


def _below(random: Random, bound: int) -> int:
    """A number from 0 to `bound` - 1: a fifth of the time of randrange, as exact everywhere."""
    return int(random.random() * bound)
