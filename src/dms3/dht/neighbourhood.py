"""Neighbourhoods: which nodes are nearest to a location, remembered from lookups for a while.

Source: Kademlia, section 2.3. The nodes that a lookup found around its target are all there are
within the radius that it has seen of them, so they also answer for locations close by: a put of
many values sorted by location needs few lookups, and one of an overlay below k nodes a single one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import NEIGHBOURHOOD_LIFE_US, NEIGHBOURHOODS_MAX
from dms3.core.overlay import HOLDERS_MIN, NodeAt
from dms3.dht.presence import node_location

Located = tuple[int, NodeAt]
"""A node with its location as a number."""


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """The nodes around `centre`: all within `radius` of it, or (None) all of the overlay.

    `known`: how many nodes the routing table had then.
    """

    overlay: OverlayId
    centre: int
    nodes: tuple[Located, ...]
    radius: int | None
    at_us: int
    known: int

    def nearest(self, target: int) -> list[Located]:
        """Its nodes, nearest to `target` first."""
        return sorted(self.nodes, key=lambda located: located[0] ^ target)

    def covers(self, target: int) -> bool:
        """Whether the HOLDERS_MIN nodes nearest to `target` are surely among these.

        A node within r of the target is within r + d(centre, target) of the centre.
        """
        if self.radius is None:
            return True
        apart = self.centre ^ target
        if apart > self.radius or len(self.nodes) < HOLDERS_MIN:
            return False
        return apart + (self.nearest(target)[HOLDERS_MIN - 1][0] ^ target) <= self.radius


class Neighbourhoods:
    """The latest of them."""

    def __init__(self) -> None:
        self._kept: list[Neighbourhood] = []

    def add(
        self,
        overlay: OverlayId,
        centre: int,
        nodes: Sequence[NodeAt],
        radius: int | None,
        now_us: int,
        known: int,
    ) -> Neighbourhood:
        """Remember what a lookup of `centre` found: all nodes within `radius`, and some beyond."""
        near = tuple(nearest_first(nodes, centre))
        found = Neighbourhood(overlay, centre, near, radius, now_us, known)
        self._kept = [found, *self._kept[: NEIGHBOURHOODS_MAX - 1]]
        return found

    def covering(
        self, overlay: OverlayId, target: int, now_us: int, known: int, count: int = 0
    ) -> Neighbourhood | None:
        """A neighbourhood that answers for `target`, or None; `known`: as in Neighbourhood, now.

        `count`: so many nodes it has to have, if the overlay has.

        One of a whole overlay is not believed any more when more nodes are known than were then.
        """
        for each in self._kept:
            fresh = now_us - each.at_us < NEIGHBOURHOOD_LIFE_US
            grown = each.radius is None and known > each.known
            wide = each.radius is None or len(each.nodes) >= count
            fits = each.overlay == overlay and fresh and not grown and wide
            if fits and each.covers(target):
                return each
        return None

    def gone(self, peer: PeerId) -> None:
        """`peer` does not answer any more: neighbourhoods with it are to be looked up again."""
        self._kept = [
            each for each in self._kept if all(node.peer != peer for _, node in each.nodes)
        ]

    def leave(self, overlay: OverlayId) -> None:
        """This node is in `overlay` no more."""
        self._kept = [each for each in self._kept if each.overlay != overlay]


def nearest_first(nodes: Sequence[NodeAt], target: int) -> list[Located]:
    """`nodes` with their locations, in order of their distance to the location `target`."""
    located = [(int.from_bytes(node_location(node.peer), "big"), node) for node in nodes]
    return sorted(located, key=lambda each: each[0] ^ target)
