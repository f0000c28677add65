"""Which connections exist: dialling, crashes and silence, the same for both fidelities.

Source: docs/architecture.md, "Tests". A connection is a number between two nodes. Each end learns
of its opening and of its loss at its own moment; what travels on it is the network's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from dms3.core.limits import SIM_SILENCE_US
from dms3.sim.world import World


class Weather(Protocol):
    """What a network asks about faults (`sim/faults.py`)."""

    @property
    def reorder(self) -> bool:
        """Whether messages may overtake each other."""
        ...

    def delays_us(self) -> Sequence[int]:
        """The delays of the copies of one message that arrive: none, one or two."""
        ...

    def delay_us(self) -> int:
        """The delay of something that is never lost."""
        ...

    def blocked(self, source: int, target: int) -> bool:
        """Whether nothing gets from node `source` to node `target` now."""
        ...


class Wired(Protocol):
    """The network that uses the connections."""

    def opened(self, dialer: int, other: int, link: int) -> None:
        """Connection `link` is open; both nodes run."""
        ...

    def lost(self, index: int, far: int, link: int, reason: str) -> None:
        """Node `index` notices that its connection `link` to `far` is over, if it still has it."""
        ...


class Wiring:
    """The connections of all nodes.

    Arguments: `wired`, told of openings and losses; `neighbours`, for each node those it keeps
    connections to (default: all).
    """

    def __init__(
        self,
        world: World,
        weather: Weather,
        wired: Wired,
        neighbours: Sequence[Sequence[int]] | None = None,
    ) -> None:
        count = len(world.nodes)
        self._world = world
        self._weather = weather
        self._wired = wired
        self._neighbours = neighbours or [
            [other for other in range(count) if other != index] for index in range(count)
        ]
        self._links: dict[tuple[int, int], int] = {}  # (low, high) -> number
        self._count = 0

    def has(self, one: int, two: int, link: int) -> bool:
        """Whether connection `link` between two nodes is still there."""
        return self._links.get(_pair(one, two)) == link

    def dial_all(self, index: int) -> None:
        """Node `index` runs: it dials its neighbours."""
        for other in self._neighbours[index]:
            self._dial_later(index, other)

    def cut_all(self, index: int) -> None:
        """Node `index` has crashed: the other ends notice later."""
        for other in self._neighbours[index]:
            link = self._links.pop(_pair(index, other), None)
            if link is not None:
                # mostly after what the node said last: its system still sends that
                delay = self._weather.delay_us() + self._weather.delay_us()
                if self._weather.blocked(index, other):
                    delay = SIM_SILENCE_US
                self.later(delay, self._wired.lost, other, index, link, "connection reset")

    def rewired(self) -> None:
        """Partitions have changed: silence breaks blocked connections, others are dialled."""
        for index, others in enumerate(self._neighbours):
            for other in others:
                pair = _pair(index, other)
                link = self._links.get(pair)
                if link is None:
                    self._dial_later(index, other)
                elif index == pair[0] and self._blocked(pair):
                    delay = SIM_SILENCE_US + self._weather.delay_us()
                    self.later(delay, self._break_silent, pair, link)

    def closed(self, index: int, far: int, link: int, reason: str) -> None:
        """Node `index` has closed its end: the other one notices later, and one of them redials."""
        pair = _pair(index, far)
        if self._links.get(pair) == link:
            del self._links[pair]
            self.later(self._weather.delay_us(), self._wired.lost, far, index, link, reason)
            self.later(SIM_SILENCE_US, self._connect, index, far)

    def later(self, delay_us: int, action: Callable[..., None], *arguments: Any) -> None:
        """Put something on the heap, `delay_us` from now."""
        self._world.at(self._world.time_us + delay_us, action, *arguments)

    def _dial_later(self, index: int, other: int) -> None:
        self.later(self._weather.delay_us(), self._connect, index, other)

    def _connect(self, index: int, other: int) -> None:
        nodes = self._world.nodes
        pair = _pair(index, other)
        running = nodes[index].driver is not None and nodes[other].driver is not None
        if running and pair not in self._links and not self._blocked(pair):
            self._count += 1
            self._links[pair] = self._count
            self._wired.opened(index, other, self._count)

    def _break_silent(self, pair: tuple[int, int], link: int) -> None:
        if self._links.get(pair) == link and self._blocked(pair):
            del self._links[pair]
            low, high = pair
            self._wired.lost(low, high, link, "silent for too long")
            self._wired.lost(high, low, link, "silent for too long")

    def _blocked(self, pair: tuple[int, int]) -> bool:
        low, high = pair
        return self._weather.blocked(low, high) or self._weather.blocked(high, low)


def _pair(one: int, two: int) -> tuple[int, int]:
    return (one, two) if one < two else (two, one)
