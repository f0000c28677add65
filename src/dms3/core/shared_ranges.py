"""Which keys two nodes are both to hold: aligned ranges of the space, as one of them sees it.

Source: docs/chains.md, "Repaired". Nodes are nearest to different keys in different order, so what
two of them share is no single range. A range belongs to both when each is surely among the `needed`
nearest for every key of it; one that does so for a part of its keys is split, down to a depth.
Paths are those of `core/reconcile.py`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from dms3.core.limits import SHARED_DEPTH_MAX, SHARED_RANGES_MAX, SHARED_VISITS_MAX
from dms3.core.neighbourhood import Duty

_BITS = 256
_WAYS = 16


@dataclass(frozen=True, slots=True)
class Standing:
    """A live node: its location as a number, and its uptime, a share of one."""

    at: int
    share: float


_Near = tuple[int, float, int]
"""A node seen from a range: the first bits of its distance to all keys in it, uptime, location."""

_APART = itemgetter(0)


def shared_ranges(
    own: Standing, wanted: Sequence[Standing], others: Sequence[Standing], duty: Duty
) -> list[tuple[bytes, ...]]:
    """The paths of the ranges that node `own` is to hold as each of `wanted` is, in order.

    `others`: all other live nodes that are known. At most SHARED_RANGES_MAX ranges of each: where a
    third node lies so near to one of the two that every other fine range is shared, those are left
    out, and the keys in them are others' to compare. So are the finer ranges where a crowd of nodes
    lies so near to each other that looking at them takes more than SHARED_VISITS_MAX steps.
    """
    near = [(0, node.share, node.at) for node in (own, *wanted, *others)]
    found: dict[int, tuple[bytes, ...]] = {}
    for depth in range(SHARED_DEPTH_MAX, -1, -1):
        left = [node.at for node in wanted if node.at not in found]
        try:
            shared = _Walk(own.at, duty, depth).shared(b"", near, left)
        except _CrowdedError:
            continue
        ranges = ((at, shared.get(at, [])) for at in left)
        found |= {at: tuple(paths) for at, paths in ranges if len(paths) <= SHARED_RANGES_MAX}
        if len(found) == len(wanted):
            break
    return [found[node.at] for node in wanted]


def covers(ranges: Sequence[bytes], wanted: Sequence[bytes]) -> bool:
    """Whether every range of `wanted` lies in one of `ranges`."""
    known = frozenset(ranges)
    return all(_lies_in(known, path) for path in wanted)


def common(one: Sequence[bytes], two: Sequence[bytes]) -> tuple[bytes, ...]:
    """The ranges of what lies in both, in order."""
    both = ((one, frozenset(two)), (two, frozenset(one)))
    found = {path for ranges, other in both for path in ranges if _lies_in(other, path)}
    return tuple(sorted(found))


def _lies_in(known: frozenset[bytes], path: bytes) -> bool:
    return any(path[:length] in known for length in range(len(path) + 1))


class _CrowdedError(Exception):
    """A walk takes too many steps."""


@dataclass(slots=True)
class _Walk:
    """A walk through the ranges that the node at `own` may hold, of `depth` steps at most.

    `visits`: how many ranges were looked at.
    """

    own: int
    duty: Duty
    depth: int
    visits: int = 0

    def shared(
        self, path: bytes, near: Sequence[_Near], wanted: Iterable[int]
    ) -> dict[int, list[bytes]]:
        """The ranges of `path` that are shared with each of `wanted` (locations), if any.

        `near`: all nodes that may hold anything there. Raises _CrowdedError.
        """
        self.visits += 1
        if self.visits > SHARED_VISITS_MAX:
            raise _CrowdedError
        holders = self._holders(near)
        held = {at: sure for _, _, at, sure in holders}
        if self.own not in held:
            return {}
        fit = [at for at in wanted if at in held]
        found = {at: [path] for at in fit if held[at] and held[self.own]}
        split = [at for at in fit if at not in found]
        if not split or len(path) >= self.depth:
            return found
        parts: dict[int, list[bytes]] = {at: [] for at in split}
        wholes = dict.fromkeys(split, 0)
        shift = _BITS - 4 * (len(path) + 1)
        steps = [(apart << 4, at >> shift & 15, share, at) for apart, share, at, _ in holders]
        for way in range(_WAYS):
            below = path + bytes((way,))
            there = [(apart | step ^ way, share, at) for apart, step, share, at in steps]
            for at, paths in self.shared(below, there, split).items():
                parts[at] += paths
                wholes[at] += len(paths) == 1 and paths[0] == below
        for at in split:
            if wholes[at] == _WAYS:
                found[at] = [path]
            elif parts[at]:
                found[at] = parts[at]
        return found

    def _holders(self, near: Sequence[_Near]) -> list[tuple[int, float, int, bool]]:
        """Who is to hold anything in a range, and whether surely all of it.

        Nobody else is nearer to any key in it than one of them.
        """
        found: list[tuple[int, float, int, bool]] = []
        total = 0.0
        for _, level in groupby(sorted(near, key=_APART), _APART):
            if not self._is_held(len(found), total):
                break
            beside = list(level)
            count = len(found) + len(beside) - 1
            every = total + sum(share for _, share, _ in beside)
            found += [
                (apart, share, at, self._is_held(count, every - share))
                for apart, share, at in beside
            ]
            total = every
        return found

    def _is_held(self, nearer: int, total: float) -> bool:
        """Whether a node holds a key when `nearer` nodes, whose uptimes add up to `total`, are."""
        return nearer < self.duty.least or (nearer < self.duty.most and not self.duty.met(total))
