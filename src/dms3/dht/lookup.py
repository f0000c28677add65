"""One search for the nodes nearest to a location, over disjoint paths; pure, asks nobody itself.

Source: Kademlia (Maymounkov, Mazieres 2002), section 2.3; S/Kademlia (Baumgart, Mies 2007), section
4.4, disjoint paths. A path knows only what nodes on it have told, and no node is asked on two
paths: one liar spoils one path. `lookups.py` asks, keeps the time and takes the values.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from heapq import nsmallest
from itertools import islice
from operator import attrgetter

from dms3.core.ids import PeerId
from dms3.core.limits import LOOKUP_CANDIDATES_MAX, LOOKUP_NODES_MAX, LOOKUP_PATHS
from dms3.core.network import BUCKET_SIZE, LOOKUP_PARALLELISM
from dms3.core.overlay import NodeAt


class _State(Enum):
    ASKED = 1
    SLOW = 2  # asked, and holds nobody up any more
    ANSWERED = 3
    FAILED = 4


@dataclass(frozen=True, slots=True, order=True)
class _Candidate:
    """A node that a path knows, `apart` from the target; `depth`: how many answers led to it."""

    apart: int
    node: NodeAt = field(compare=False)
    depth: int = field(compare=False)


_APART = attrgetter("apart")


@dataclass(slots=True)
class _Path:
    """Candidates, nearest first; `spent`: how many of them this path has asked."""

    candidates: list[_Candidate] = field(default_factory=list)
    known: dict[PeerId, None] = field(default_factory=dict)
    spent: int = 0
    in_flight: int = 0  # of those, asked and not slow yet

    def add(self, candidate: _Candidate) -> None:
        """Keep it when it is new and near enough."""
        if candidate.node.peer in self.known:
            return
        if len(self.candidates) >= LOOKUP_CANDIDATES_MAX:
            if candidate.apart > self.candidates[-1].apart:
                return
            del self.known[self.candidates.pop().node.peer]
        insort(self.candidates, candidate, key=_APART)
        self.known[candidate.node.peer] = None


@dataclass(frozen=True, slots=True)
class Nearest:
    """How a lookup ended.

    `nodes`: at most the count that was wanted, those that answered, nearest first; `complete`:
    whether all nearer nodes that were heard of failed to answer, rather than a bound ending it;
    `hops`: depth of the nearest (1: known at the start); `asked`: nodes asked in all; `radius`: how
    far from the target all nodes were heard of, those that failed included; None: everywhere.
    """

    nodes: tuple[NodeAt, ...]
    complete: bool
    hops: int
    asked: int
    radius: int | None = 0


class Lookup:
    """Looks for the `count` nodes nearest to location `target` (as a number), from `seeds`.

    `seeds`: (location, node) known at the start; `own` is never asked; `parallel` (alpha): how
    many are asked at once, slow ones not counted; `asked_max`: nodes asked in all.
    """

    def __init__(
        self,
        target: int,
        seeds: Sequence[tuple[int, NodeAt]],
        own: PeerId,
        *,
        count: int = BUCKET_SIZE,
        parallel: int = LOOKUP_PARALLELISM,
        asked_max: int = LOOKUP_NODES_MAX,
    ) -> None:
        self._target = target
        self._own = own
        self._count = count
        self._parallel = parallel
        self._spent_max = asked_max // LOOKUP_PATHS
        self._paths = [_Path() for _ in range(LOOKUP_PATHS)]
        self._path_of: dict[PeerId, _Path] = {}  # on which it was asked
        self._states: dict[PeerId, _State] = {}
        self._answered: list[_Candidate] = []  # nearest first
        self._found: dict[PeerId, _Candidate] = {}  # those asked
        self._awaited = 0  # answers that may still come, of the slow too
        self._deal(seeds, 1, self._paths)

    @property
    def asked(self) -> int:
        """How many nodes were asked."""
        return len(self._states)

    def next(self) -> list[NodeAt]:
        """The nodes to ask now; they count as asked."""
        chosen: list[NodeAt] = []
        while sum(path.in_flight for path in self._paths) < self._parallel:
            waiting = self._waiting_paths()
            if not waiting:
                break
            path, candidate = min(waiting, key=lambda each: each[0].in_flight)
            peer = candidate.node.peer
            path.spent += 1
            path.in_flight += 1
            self._awaited += 1
            self._path_of[peer] = path
            self._states[peer] = _State.ASKED
            self._found[peer] = candidate
            chosen.append(candidate.node)
        return chosen

    def answered(self, peer: PeerId, nodes: Sequence[tuple[int, NodeAt]]) -> None:
        """`peer` has named `nodes` (location, node).

        Nodes that are no nearer than others are harmless: they wait behind them.
        """
        candidate = self._found[peer]
        self._end(peer, _State.ANSWERED)
        insort(self._answered, candidate, key=_APART)
        path = self._path_of[peer]
        empty = [each for each in self._paths if not each.known and each is not path]
        self._deal(nodes, candidate.depth + 1, [path, *empty])

    def failed(self, peer: PeerId) -> None:
        """`peer` will not answer."""
        self._end(peer, _State.FAILED)

    def slow(self, peer: PeerId) -> None:
        """`peer` is taking long: it may still answer, and others are asked meanwhile."""
        if self._states.get(peer) is _State.ASKED:
            self._path_of[peer].in_flight -= 1
            self._states[peer] = _State.SLOW

    @property
    def done(self) -> bool:
        """Whether on every path the nearest known have answered or failed, or its bound is met."""
        return not self._awaited and not self._waiting_paths()

    def is_settled(self, count: int) -> bool:
        """Whether the `count` nearest nodes heard of on any path have all answered or failed."""
        heard = sorted({each for path in self._paths for each in self._near(path, count)})
        return all(self._states.get(each.node.peer) is _State.ANSWERED for each in heard[:count])

    def depth_of(self, peer: PeerId) -> int:
        """How many answers led to `peer`, which was asked; 1: known at the start."""
        return self._found[peer].depth

    def result(self) -> Nearest:
        """The end, or how far it has come."""
        near = self._answered[: self._count]
        depth = near[0].depth if near else 0
        nodes = tuple(candidate.node for candidate in near)
        complete = self.done and all(path.spent < self._spent_max for path in self._paths)
        return Nearest(nodes, complete, depth, self.asked, self._radius() if complete else 0)

    # Small parts

    def _radius(self) -> int | None:
        """How far all nodes were heard of, once it is complete.

        Whoever answers names so many of the nearest that it knows, dead or not, that nobody is
        missing this side of them; and nobody at all when there are fewer.
        """
        named = max(BUCKET_SIZE, self._count)
        if self.asked < named:
            return None
        return nsmallest(named, self._found.values())[-1].apart

    def _end(self, peer: PeerId, state: _State) -> None:
        """Nothing more will come from `peer`."""
        if self._states[peer] is _State.ASKED:
            self._path_of[peer].in_flight -= 1
        self._awaited -= 1
        self._states[peer] = state

    def _deal(self, nodes: Sequence[tuple[int, NodeAt]], depth: int, paths: list[_Path]) -> None:
        """Give each node to one of `paths`, in turn, so that paths begin apart."""
        new = {each[1].peer: each for each in nodes if each[1].peer != self._own}
        found = [_Candidate(at ^ self._target, node, depth) for at, node in new.values()]
        near = sorted(found, key=_APART)
        for index, candidate in enumerate(near):
            paths[index % len(paths)].add(candidate)

    def _waiting_paths(self) -> list[tuple[_Path, _Candidate]]:
        """The paths that have somebody to ask, with whom that is."""
        nexts = [(path, self._next_of(path)) for path in self._paths]
        return [(path, each) for path, each in nexts if each is not None]

    def _next_of(self, path: _Path) -> _Candidate | None:
        """The candidate of `path` to ask next, unless its nearest have been asked.

        The slow do not count among those, as they may be dead: else each would have to be waited
        for before somebody takes its place.
        """
        if path.spent >= self._spent_max:
            return None
        near = 0
        for candidate in path.candidates:
            state = self._states.get(candidate.node.peer)
            if state is None:
                return candidate
            near += state in (_State.ASKED, _State.ANSWERED)
            if near == self._count:
                break
        return None

    def _near(self, path: _Path, count: int) -> list[_Candidate]:
        """The `count` nearest candidates of `path` that have not failed."""
        alive = (
            candidate
            for candidate in path.candidates
            if self._states.get(candidate.node.peer) is not _State.FAILED
        )
        return list(islice(alive, count))
