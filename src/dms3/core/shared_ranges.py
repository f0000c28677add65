"""Which keys two nodes are both to hold: aligned ranges of the space, as one of them sees it.

Source: docs/chains.md, "Repaired". Nodes are nearest to different keys in different order, so what
two of them share is no single range. A range belongs to both when each is surely among the `needed`
nearest for every key of it; one that does so for a part of its keys is split, down to a depth.
Paths are those of `core/reconcile.py`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from dms3.core.limits import SHARED_DEPTH_MAX, SHARED_RANGES_MAX
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


def shared_ranges(
    own: Standing, other: Standing, others: Sequence[Standing], duty: Duty
) -> tuple[bytes, ...]:
    """The paths of the ranges that nodes `own` and `other` are both to hold, in order.

    `others`: all other live nodes that are known. At most SHARED_RANGES_MAX ranges: where a third
    node lies so near to one of the two that every other fine range is shared, those are left out,
    and the keys in them are others' to compare.
    """
    near = [(0, node.share, node.at) for node in (own, other, *others)]
    found: list[bytes] = []
    for depth in range(SHARED_DEPTH_MAX, -1, -1):
        every = _shared(b"", near, (own.at, other.at), duty, depth)
        found = list(islice(every, SHARED_RANGES_MAX + 1))
        if len(found) <= SHARED_RANGES_MAX:
            break
    return tuple(found)


def covers(ranges: Sequence[bytes], wanted: Sequence[bytes]) -> bool:
    """Whether every range of `wanted` lies in one of `ranges`."""
    known = frozenset(ranges)
    return all(any(path[:length] in known for length in range(len(path) + 1)) for path in wanted)


def _shared(
    path: bytes, near: Sequence[_Near], both: tuple[int, int], duty: Duty, depth: int
) -> Iterator[bytes]:
    """The shared ranges of `path`, of `depth` steps at most; `near`: all that may count there."""
    sure = True
    for at in both:
        apart = next((one[0] for one in near if one[2] == at), None)
        if apart is None or not _is_held([one[1] for one in near if one[0] < apart], duty):
            return
        perhaps = [one[1] for one in near if one[0] <= apart and one[2] != at]
        sure = sure and _is_held(perhaps, duty)
    if sure:
        yield path
        return
    if len(path) >= depth:
        return
    parts = [
        list(_shared(*_part(path, way, near, duty), both, duty, depth)) for way in range(_WAYS)
    ]
    if all(part == [path + bytes((way,))] for way, part in enumerate(parts)):
        yield path
        return
    for part in parts:
        yield from part


def _part(path: bytes, way: int, near: Sequence[_Near], duty: Duty) -> tuple[bytes, list[_Near]]:
    """One of the sixteen parts of a range, and who may hold anything there."""
    shift = _BITS - 4 * (len(path) + 1)
    parts = [(apart << 4 | (at >> shift & 15) ^ way, share, at) for apart, share, at in near]
    if len(parts) > duty.most:  # whoever is farther than so many holds nothing
        last = sorted(apart for apart, _, _ in parts)[duty.most - 1]
        parts = [one for one in parts if one[0] <= last]
    return path + bytes((way,)), parts


def _is_held(nearer: Sequence[float], duty: Duty) -> bool:
    """Whether a node holds a key when nodes with these uptimes are nearer to it."""
    return len(nearer) < duty.needed(nearer)
