"""What travels between simulated nodes: calm, until a test parts them.

Source: docs/testing.md, "Partitions and crashes". Implements what world and network ask about
faults (`sim/world.py`, `sim/wiring.py`); nothing strikes by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from dms3.sim.seeds import stream
from dms3.sim.world import World

_DELAY_US = (1_000, 20_000)  # of a message: one country
_COMMIT_US = (200, 2_000)  # of a transaction: a laptop's disk


class Weather:
    """Delays drawn from the seed; groups that hear nothing of each other."""

    reorder = False

    def __init__(self, seed: int) -> None:
        self._messages = stream(seed, "messages")
        self._disk = stream(seed, "disk")
        self._group: dict[int, int] = {}  # node -> its group; empty: no partition

    def part(self, world: World, inside: Collection[int]) -> None:
        """The nodes `inside` and the others do not hear each other, until `heal`."""
        self.split([inside, set(range(len(world.nodes))).difference(inside)])

    def split(self, groups: Sequence[Iterable[int]]) -> None:
        """Only nodes of one group hear each other."""
        self._group = {node: number for number, group in enumerate(groups) for node in group}

    def delays_us(self) -> Sequence[int]:
        """Of the copies of one message: it arrives once."""
        return (self.delay_us(),)

    def delay_us(self) -> int:
        """Of one message."""
        return self._messages.randrange(*_DELAY_US)

    def commit_us(self) -> int:
        """Of the next transaction."""
        return self._disk.randrange(*_COMMIT_US)

    def blocked(self, source: int, target: int) -> bool:
        """Whether nothing gets from one node to the other."""
        return bool(self._group) and self._group.get(source) != self._group.get(target)

    def install(self, world: World) -> None:
        """No faults of its own."""

    def heal(self, world: World) -> None:
        """All hear each other again."""
        self._group = {}
        world.network.rewired()
