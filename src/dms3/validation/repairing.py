"""Which neighbour to compare with next, so that those who are to hold a key soon do.

Source: docs/chains.md, "Repaired". A neighbour is *due* while this node has not compared all that
the two share now: it has just come, it was away, or it shares more than before because another one
has gone. Whoever is due comes before the others, nearest first; they are visited in turn. Whom to
ask how is for `reconciling.py`. Pure but for what it remembers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dms3.core.ids import PeerId
from dms3.core.limits import (
    GOSSIP_PERIOD_US,
    GOSSIP_REST_US,
    NEIGHBOUR_STALE_US,
)
from dms3.core.neighbourhood import Duty
from dms3.core.overlay import Neighbours, NodeAt
from dms3.core.reconcile import Tree
from dms3.core.shared_ranges import Standing, common, covers, shared_ranges

_STEPS = 16  # of an uptime: one that changes by less changes nothing
_TRIES_MAX = 5


@dataclass(slots=True)
class _Visit:
    """What was compared with a neighbour, and when (monotonic); `again_us`: not before.

    `ranges`: as far as the two have shared them ever since. While others came between, nobody
    brought this node what was written there.
    """

    ranges: tuple[bytes, ...]
    at_us: int
    again_us: int = 0
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """A neighbour with whom `ranges` are to be compared; `due`: now, else when there is time."""

    node: NodeAt
    ranges: tuple[bytes, ...]
    due: bool


class Repairing:
    """The neighbours of this node in one overlay that asks for `duty`."""

    def __init__(self, duty: Duty) -> None:
        self._duty = duty
        self._own = Standing(0, 1.0)
        self._nodes: dict[PeerId, tuple[NodeAt, Standing]] = {}
        self._shared: dict[PeerId, tuple[bytes, ...]] = {}
        self._visits: dict[PeerId, _Visit] = {}

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._nodes

    def see(self, neighbours: Neighbours) -> None:
        """Who is there now, nearest first."""
        own = Standing(int.from_bytes(neighbours.at, "big"), 1.0)
        nodes = {
            node.peer: (node, Standing(int.from_bytes(place, "big"), _rounded(share)))
            for node, place, share in neighbours.nodes
        }
        if own != self._own or _standings(nodes) != _standings(self._nodes):
            self._shared.clear()
        self._own, self._nodes = own, nodes
        self._visits = {peer: visit for peer, visit in self._visits.items() if peer in nodes}

    def forget(self) -> None:
        """Everybody is due: this node was away."""
        self._visits.clear()

    def next(self, now_us: int) -> Choice | None:
        """The neighbour that is due, nearest first; else the one not visited for longest."""
        self._look()
        near = self.candidates(now_us)
        due = next((peer for peer in near if self._is_due(peer)), None)
        if due is not None:
            return self._choice(due, due=True)
        longest = min(near, key=lambda peer: self._visits[peer].at_us, default=None)
        return None if longest is None else self._choice(longest, due=False)

    def candidates(self, now_us: int) -> list[PeerId]:
        """Who shares anything with this node and may be asked now, nearest first."""
        return [peer for peer in self._near() if self._shared.get(peer) and self._may(peer, now_us)]

    def pick(self, peer: PeerId) -> Choice:
        """One of the candidates, though nothing makes it due."""
        return self._choice(peer, due=False)

    def waited_us(self, peer: PeerId, now_us: int) -> int:
        """How long ago one that is not due was visited."""
        return now_us - self._visits[peer].at_us

    def done(self, peer: PeerId, ranges: tuple[bytes, ...], now_us: int) -> None:
        """Everything in `ranges` was compared with `peer`, and what was missing is on its way."""
        self._visits[peer] = _Visit(ranges, now_us)

    def failed(self, peer: PeerId, now_us: int) -> None:
        """It could not be compared with: it is left alone for a while."""
        visit = self._visits.setdefault(peer, _Visit((), now_us - NEIGHBOUR_STALE_US))
        wait_us = min(GOSSIP_PERIOD_US << min(visit.failures, _TRIES_MAX), GOSSIP_REST_US)
        visit.failures += 1
        visit.again_us = now_us + wait_us

    def came(self, peer: PeerId, now_us: int) -> bool:
        """`peer` has connected: whether it is a neighbour that is to be compared with at once."""
        visit = self._visits.get(peer)
        if peer not in self._nodes or (visit and now_us - visit.at_us < NEIGHBOUR_STALE_US):
            return False
        self._visits.pop(peer, None)
        return True

    def short(self, tree: Tree) -> int:
        """How many ops lie where a neighbour is due: it may not hold them yet."""
        wanted = {
            path for peer, ranges in self._shared.items() if self._is_due(peer) for path in ranges
        }
        above = {path for path in wanted for length in range(len(path)) if path[:length] in wanted}
        return sum(tree.summary(path).count for path in sorted(wanted - above))

    def _near(self) -> Sequence[PeerId]:
        """Those who may share anything, nearest first."""
        return list(self._nodes)[: self._duty.most]

    def _look(self) -> None:
        """Find out what is shared with each of them: that takes some milliseconds."""
        near = self._near()
        if any(peer not in self._shared for peer in near):
            standings = [standing for _, standing in self._nodes.values()]
            wanted, others = standings[: len(near)], standings[len(near) :]
            found = shared_ranges(self._own, wanted, others, self._duty)
            self._shared = dict(zip(near, found, strict=True))
            for peer, visit in self._visits.items():
                visit.ranges = common(visit.ranges, self._shared.get(peer, ()))

    def _may(self, peer: PeerId, now_us: int) -> bool:
        visit = self._visits.get(peer)
        return visit is None or visit.again_us <= now_us

    def _is_due(self, peer: PeerId) -> bool:
        """Whether more is shared with it than was compared."""
        visit, shared = self._visits.get(peer), self._shared[peer]
        return visit is None or not (visit.ranges == shared or covers(visit.ranges, shared))

    def _choice(self, peer: PeerId, *, due: bool) -> Choice:
        return Choice(self._nodes[peer][0], self._shared[peer], due)


def _standings(nodes: dict[PeerId, tuple[NodeAt, Standing]]) -> dict[PeerId, Standing]:
    return {peer: standing for peer, (_, standing) in nodes.items()}


def _rounded(share: float) -> float:
    return round(share * _STEPS) / _STEPS
