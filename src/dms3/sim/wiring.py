"""Which connections exist: opening, crashes and silence, the same for both fidelities.

Source: docs/architecture.md, "Tests". A connection is a number between two nodes. Each end learns
of its opening and of its loss at its own moment; what travels on it is the network's matter, and
who wants one is that of `sim/dials.py`.
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
    """The connections of all nodes: nobody is connected until somebody dials.

    Argument: `wired`, told of openings and losses.
    """

    def __init__(self, world: World, weather: Weather, wired: Wired) -> None:
        self._world = world
        self._weather = weather
        self._wired = wired
        self._links: list[dict[int, int]] = [{} for _ in world.nodes]  # far node -> number
        self._count = 0

    def has(self, one: int, two: int, link: int) -> bool:
        """Whether connection `link` between two nodes is still there."""
        return self._links[one].get(two) == link

    def count(self, index: int) -> int:
        """How many connections node `index` has."""
        return len(self._links[index])

    def blocked(self, one: int, two: int) -> bool:
        """Whether one of the two cannot reach the other."""
        return self._weather.blocked(one, two) or self._weather.blocked(two, one)

    def started(self, index: int) -> None:
        """Node `index` runs."""

    def connect(self, index: int, other: int) -> None:
        """Open a connection, unless there is one; nothing happens when they cannot have it."""
        nodes = self._world.nodes
        running = nodes[index].driver is not None and nodes[other].driver is not None
        if running and other not in self._links[index] and not self.blocked(index, other):
            self._count += 1
            self._links[index][other] = self._links[other][index] = self._count
            self._wired.opened(index, other, self._count)

    def cut_all(self, index: int) -> None:
        """Node `index` has crashed: the other ends notice later."""
        links, self._links[index] = self._links[index], {}
        for other, link in links.items():
            del self._links[other][index]
            # mostly after what the node said last: its system still sends that
            delay = self._weather.delay_us() + self._weather.delay_us()
            if self._weather.blocked(index, other):
                delay = SIM_SILENCE_US
            self.later(delay, self._wired.lost, other, index, link, "connection reset")

    def rewired(self) -> None:
        """Partitions have changed: silence breaks blocked connections."""
        for index, links in enumerate(self._links):
            for other, link in links.items():
                if index < other and self.blocked(index, other):
                    delay = SIM_SILENCE_US + self._weather.delay_us()
                    self.later(delay, self._break_silent, index, other, link)

    def closed(self, index: int, far: int, link: int, reason: str) -> None:
        """Node `index` has closed its end: the other one notices later."""
        if self._links[index].get(far) == link:
            del self._links[index][far]
            del self._links[far][index]
            self.later(self._weather.delay_us(), self._wired.lost, far, index, link, reason)

    def later(self, delay_us: int, action: Callable[..., None], *arguments: Any) -> None:
        """Put something on the heap, `delay_us` from now."""
        self._world.at(self._world.time_us + delay_us, action, *arguments)

    def _break_silent(self, low: int, high: int, link: int) -> None:
        if self._links[low].get(high) == link and self.blocked(low, high):
            del self._links[low][high]
            del self._links[high][low]
            self._wired.lost(low, high, link, "silent for too long")
            self._wired.lost(high, low, link, "silent for too long")


class Mesh(Wiring):
    """All nodes stay connected to all others, as far as faults let them."""

    def started(self, index: int) -> None:
        """Node `index` runs: it dials everybody."""
        for other in range(len(self._links)):
            if other != index:
                self._connect_later(index, other)

    def rewired(self) -> None:
        """Silence breaks blocked connections; who is not connected tries again."""
        super().rewired()
        for index, links in enumerate(self._links):
            for other in range(len(self._links)):
                if other != index and other not in links:
                    self._connect_later(index, other)

    def closed(self, index: int, far: int, link: int, reason: str) -> None:
        """The other end notices later, and then this one dials again."""
        super().closed(index, far, link, reason)
        self.later(SIM_SILENCE_US, self.connect, index, far)

    def _connect_later(self, index: int, other: int) -> None:
        self.later(self._weather.delay_us(), self.connect, index, other)


WiringOf = Callable[[World, Weather, Wired], Wiring]
"""How the nodes of a scenario are connected: `Mesh`, or `Wiring` with a machine that dials."""
