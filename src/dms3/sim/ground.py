"""Where nodes lie and how much of the time each is there: who is to hold what, by the rule.

Source: docs/architecture.md, "Overlays" (one space, exclusive or); `core/neighbourhood.py` has the
rule. What an onlooker who knows all nodes would say; machines say it from their own tables.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Sequence
from random import Random

from dms3.core.neighbourhood import USUAL, Duty
from dms3.core.overlay import LOCATION_BYTES

UPTIMES = (0.2, 0.5, 0.8, 0.95, 0.99)
"""Of the time, that a node is there: one of these, each as often as the others."""

_ROUNDING = 1 / 32
_BITS = 8 * LOCATION_BYTES


def draw_uptimes(random: Random, count: int) -> list[float]:
    """The uptimes of `count` nodes."""
    return [random.choice(UPTIMES) for _ in range(count)]


class Ground:
    """Nodes by index: their `places` (locations as numbers) and `uptimes` (shares of one)."""

    def __init__(self, places: Sequence[int], uptimes: Sequence[float], duty: Duty = USUAL) -> None:
        self.places = places
        self.uptimes = uptimes
        self._duty = duty
        self._order = sorted(range(len(places)), key=places.__getitem__)
        self._ring = [places[index] for index in self._order]

    def without(self, gone: Container[int]) -> list[int]:
        """The nodes that are not `gone`, by index."""
        return [index for index in range(len(self.places)) if index not in gone]

    def nearest(self, target: int, count: int, gone: Container[int] = ()) -> list[int]:
        """At most `count` nodes, none of `gone`, nearest to `target` first.

        All nodes of one subtree of the space are nearer than those outside, so the smallest one
        with enough of them is all that has to be sorted.
        """
        magnitude = max(0, _BITS - max(1, len(self._ring) // max(1, count)).bit_length())
        while True:
            low = target >> magnitude << magnitude
            first = bisect_left(self._ring, low)
            end = bisect_left(self._ring, low + (1 << magnitude))
            inside = [index for index in self._order[first:end] if index not in gone]
            if len(inside) >= count or magnitude == _BITS:
                inside.sort(key=lambda index: self.places[index] ^ target)
                return inside[:count]
            magnitude += 1

    def holders(self, target: int, gone: Container[int] = ()) -> list[int]:
        """The nodes that are to hold what lies at `target`: as many as the rule asks for."""
        return self.first(self.nearest(target, self._duty.most, gone))

    def first(self, near: Sequence[int]) -> list[int]:
        """As many of `near`, the nearest first, as the rule asks for."""
        return list(near[: self._duty.needed(self.uptimes[index] for index in near)])

    def sum_of(self, nodes: Sequence[int]) -> float:
        """Their uptimes together."""
        return sum(self.uptimes[index] for index in nodes)

    def is_enough(self, held: Sequence[int], target: int, gone: Container[int] = ()) -> bool:
        """Whether living nodes `held` are as many as the rule asks for at `target`.

        Machines that compare know uptimes to a sixteenth: as much is allowed for each.
        """
        enough = self._duty.r - _ROUNDING * len(held)
        return self.sum_of(held) > enough or set(self.holders(target, gone)) <= set(held)
