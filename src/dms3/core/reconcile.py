"""Two sets made equal: ranges are compared by count and hash, unequal ones split, small ones told.

Source: Meyer, "Range-Based Set Reconciliation" (2023); Merkle, "A Digital Signature Based on a
Conventional Encryption Function" (1987); docs/wire.md, "/dms3/chain/1". An item is a location and
an id; it stands at its *place*: the first bytes of the location, then the id, so that many items of
one location are split as well as those of many. A *path* is the beginning of places, one byte for
each four bits. A range is hashed as a tree, because a sum of ids, though cheaper to keep, can be
hit: who makes many items finds two sets of equal sums (Wagner, "A Generalized Birthday Problem",
2002). Who answers keeps nothing between questions; who asks, and when, is not said here.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from dms3.core.codec import INTEGER_MAX, need
from dms3.core.limits import (
    RECONCILE_LEAF_MAX,
    RECONCILE_LISTED_MAX,
    RECONCILE_OPEN_MAX,
    RECONCILE_RANGES_MAX,
)

ID_BYTES = 32
LOCATED_BYTES = 4
"""Of a location in a place: ranges that two nodes share are never finer."""

PLACE_BYTES = LOCATED_BYTES + ID_BYTES
PATH_MAX = 2 * PLACE_BYTES
MARK_BYTES = 16
EVERYTHING = b""
"""The path of all places."""

_WAYS = 16
_OF_PLACES, _OF_WAYS = b"\0", b"\1"  # before what is hashed


@dataclass(frozen=True, slots=True)
class Summary:
    """What one set has in the range `path`: how many items, and a fingerprint of them."""

    path: bytes
    count: int
    mark: bytes

    def __post_init__(self) -> None:
        _need_path(self.path)
        need(0 <= self.count <= INTEGER_MAX, "not a number of items")
        need(len(self.mark) == MARK_BYTES, f"a fingerprint has {MARK_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of one range that was asked for.

    `equal`: the sets are equal there. Otherwise `below`: all items there lie in these ranges, which
    are the ways in which `at` is split; or, when they are few, `ids`: all of them.
    """

    equal: bool = False
    at: bytes = b""
    below: tuple[Summary, ...] = ()
    ids: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        _need_path(self.at)
        need(self.equal + bool(self.below) + bool(self.ids) < 2, "one answer for a range")
        need(bool(self.below) or not self.at, "nothing is below")
        need(len(self.ids) < RECONCILE_LISTED_MAX, "too many ids")
        need(all(len(id_) == ID_BYTES for id_ in self.ids), "an id has 32 bytes")
        need(len(set(self.ids)) == len(self.ids), "an id twice")
        paths = [one.path for one in self.below]
        need(all(path[:-1] == self.at and path for path in paths), "a part lies elsewhere")
        need(paths == sorted(set(paths)), "parts are not in order")
        need(all(one.count for one in self.below), "an empty part")


def place_of(location: bytes, id_: bytes) -> bytes:
    """Where an item stands; `location` and `id_` have 32 bytes."""
    return location[:LOCATED_BYTES] + id_


def path_of(place: bytes, length: int) -> bytes:
    """The first `length` steps to a place."""
    return bytes(_step(place, depth) for depth in range(length))


class UnfitError(Exception):
    """What no honest partner answers to what it was asked."""


class _Inner:
    """A range with RECONCILE_LEAF_MAX items or more, and what its sixteenths are.

    `digest`: b"" until somebody asks for it, and again when something in the range changes.
    """

    __slots__ = ("count", "digest", "ways")

    def __init__(self, count: int, ways: list[bytes | _Inner]) -> None:
        self.count = count
        self.digest = b""
        self.ways = ways


_Node = bytes | _Inner
"""A range: the places in it, in order and joined, or what it is split into."""


class Tree:
    """A set of places with the hashes of its ranges; equal sets have equal trees."""

    def __init__(self) -> None:
        self._root: _Node = b""

    def __len__(self) -> int:
        return _count(self._root)

    def __contains__(self, place: bytes) -> bool:
        leaf = self._descend(place)[1]
        return _find(leaf, place)[1]

    def add(self, place: bytes) -> bool:
        """Put it in; False when it was there."""
        trail, leaf = self._descend(place)
        at, there = _find(leaf, place)
        if there:
            return False
        self._change(trail, place, _grown(leaf[:at] + place + leaf[at:], len(trail)))
        for inner in trail:
            inner.count += 1
            inner.digest = b""
        return True

    def remove(self, place: bytes) -> bool:
        """Take it out; False when it was not there."""
        trail, leaf = self._descend(place)
        at, there = _find(leaf, place)
        if not there:
            return False
        self._change(trail, place, leaf[:at] + leaf[at + PLACE_BYTES :])
        for inner in trail:
            inner.count -= 1
            inner.digest = b""
        for depth, inner in enumerate(trail):
            if inner.count < RECONCILE_LEAF_MAX:
                self._change(trail[:depth], place, b"".join(_leaves(inner)))
                break
        return True

    def summary(self, path: bytes) -> Summary:
        """Of the range `path`."""
        return _summary(path, self._at(path))

    def places(self, path: bytes = EVERYTHING) -> Iterator[bytes]:
        """Those in the range, in order; the set must not change meanwhile."""
        for leaf in _leaves(self._at(path)):
            yield from _places(leaf)

    def after(self, place: bytes, most: int) -> list[bytes]:
        """At most `most` places behind `place` (b"": from the first on), in order."""
        return list(islice(_behind(self._root, place, 0), most))

    def told(self, asked: Summary) -> Told:
        """What is said to a partner of whom `asked` is known."""
        node, path = self._at(asked.path), asked.path
        if _summary(path, node) == asked:
            return Told(equal=True)
        if isinstance(node, bytes) and _count(node) < RECONCILE_LISTED_MAX:
            return Told(ids=tuple(place[LOCATED_BYTES:] for place in _places(node)))
        while True:
            ways = _ways(node, len(path))
            filled = [way for way in range(_WAYS) if _count(ways[way])]
            only = ways[filled[0]]
            if len(filled) > 1 or _count(only) < RECONCILE_LISTED_MAX:
                break
            node, path = only, path + bytes((filled[0],))
        below = (_summary(path + bytes((way,)), ways[way]) for way in filled)
        return Told(at=path, below=tuple(below))

    # Small parts

    def _descend(self, place: bytes) -> tuple[list[_Inner], bytes]:
        """The inner ranges down to the leaf of a place, and that leaf."""
        trail: list[_Inner] = []
        node = self._root
        while isinstance(node, _Inner):
            trail.append(node)
            node = node.ways[_step(place, len(trail) - 1)]
        return trail, node

    def _change(self, trail: list[_Inner], place: bytes, node: _Node) -> None:
        """Set what stands at the end of `trail`."""
        if trail:
            trail[-1].ways[_step(place, len(trail) - 1)] = node
        else:
            self._root = node

    def _at(self, path: bytes) -> _Node:
        node = self._root
        for way in path:
            if isinstance(node, bytes):
                return _under(node, path)
            node = node.ways[way]
        return node


class Session:
    """The side that asks, in one comparison of `ranges` (paths) of `tree` with a partner's set.

    The tree may change meanwhile: what is found then is a little older.

    `missing`: ids that only the partner has; `lacking`: ids that the partner has not, at most
    `most` of each, for the rest is found the next time. `differing`: ranges that were unequal.
    `turn`: another number each time has other ranges come first, so that a difference which stays
    for good hides no other one behind it.
    """

    def __init__(self, tree: Tree, ranges: Sequence[bytes], most: int, turn: int = 0) -> None:
        self._tree = tree
        self._most = most
        self._turn = turn
        self._queue: deque[bytes] = deque(ranges)
        self._queue.rotate(turn % max(1, len(ranges)))
        self.missing: dict[bytes, None] = {}
        self.lacking: dict[bytes, None] = {}
        self.differing = 0

    def question(self) -> tuple[Summary, ...]:
        """What is asked next; nothing: it is over."""
        if len(self.missing) >= self._most:
            return ()
        count = min(len(self._queue), RECONCILE_RANGES_MAX)
        return tuple(self._tree.summary(self._queue.popleft()) for _ in range(count))

    def heard(self, asked: Sequence[Summary], told: Sequence[Told]) -> None:
        """The partner has answered; raises UnfitError for what no honest one says."""
        if len(told) != len(asked):
            raise UnfitError(f"{len(told)} answers for {len(asked)} ranges")
        for one, answer in zip(asked, told, strict=True):
            if not answer.equal:
                self.differing += 1
                self._compare(one.path, answer)

    def _compare(self, path: bytes, answer: Told) -> None:
        if answer.below:
            self._split(path, answer)
            return
        there = dict.fromkeys(answer.ids)
        if len(path) > 2 * LOCATED_BYTES and not all(_has_path(id_, path) for id_ in there):
            raise UnfitError("an id lies elsewhere")
        here = self._tree.places(path)
        mine = {place[LOCATED_BYTES:]: None for place in islice(here, self._most + len(there))}
        self._note(self.missing, (id_ for id_ in there if id_ not in mine))
        self._note(self.lacking, (id_ for id_ in mine if id_ not in there))

    def _split(self, path: bytes, answer: Told) -> None:
        if not answer.at.startswith(path):
            raise UnfitError("what is said is of another range")
        first = self._turn >> 4 * (len(answer.at) % _WAYS)
        for one in sorted(answer.below, key=lambda one: (first - one.path[-1]) % _WAYS):
            if one != self._tree.summary(one.path) and len(self._queue) < RECONCILE_OPEN_MAX:
                self._queue.appendleft(one.path)  # what lies deep has its turn, too
        ways = {one.path[-1] for one in answer.below}
        for other in _beside(path, answer.at, ways):
            room = self._most - len(self.lacking)
            ids = (place[LOCATED_BYTES:] for place in islice(self._tree.places(other), room))
            self._note(self.lacking, ids)

    def _note(self, found: dict[bytes, None], ids: Iterator[bytes]) -> None:
        for id_ in ids:
            if len(found) >= self._most:
                return
            found[id_] = None


def _beside(path: bytes, at: bytes, ways: set[int]) -> Iterator[bytes]:
    """The ranges of `path` that are in none of the `ways` of `at`."""
    for depth in range(len(path), len(at)):
        yield from (at[:depth] + bytes((way,)) for way in range(_WAYS) if way != at[depth])
    yield from (at + bytes((way,)) for way in range(_WAYS) if way not in ways)


def _has_path(id_: bytes, path: bytes) -> bool:
    """Whether an item with that id may stand under `path`, which reaches into ids."""
    return _is_under(bytes(LOCATED_BYTES) + id_, path[2 * LOCATED_BYTES :], 2 * LOCATED_BYTES)


def _need_path(path: bytes) -> None:
    need(len(path) <= PATH_MAX and not any(way >> 4 for way in path), "not a path")


def _step(place: bytes, depth: int) -> int:
    byte = place[depth >> 1]
    return byte & 15 if depth & 1 else byte >> 4


def _is_under(place: bytes, path: bytes, depth: int) -> bool:
    """Whether the steps to `place` from `depth` on begin with `path`."""
    return all(_step(place, depth + more) == way for more, way in enumerate(path))


def _places(leaf: bytes) -> Iterator[bytes]:
    return (leaf[at : at + PLACE_BYTES] for at in range(0, len(leaf), PLACE_BYTES))


def _find(leaf: bytes, place: bytes) -> tuple[int, bool]:
    """Where `place` stands in a leaf, or would stand; whether it does."""
    low, high = 0, len(leaf) // PLACE_BYTES
    while low < high:
        middle = (low + high) // 2
        if leaf[middle * PLACE_BYTES : (middle + 1) * PLACE_BYTES] < place:
            low = middle + 1
        else:
            high = middle
    at = low * PLACE_BYTES
    return at, leaf[at : at + PLACE_BYTES] == place


def _under(leaf: bytes, path: bytes) -> bytes:
    """The part of a leaf in the range `path`."""
    whole = bytes(high << 4 | low for high, low in zip(path[::2], path[1::2], strict=False))
    half = path[-1] << 4 if len(path) & 1 else None
    first = whole if half is None else whole + bytes((half,))
    last = whole if half is None else whole + bytes((half | 15,))
    begin, _ = _find(leaf, first.ljust(PLACE_BYTES, b"\0"))
    end, there = _find(leaf, last.ljust(PLACE_BYTES, b"\xff"))
    return leaf[begin : end + PLACE_BYTES * there]


def _count(node: _Node) -> int:
    return len(node) // PLACE_BYTES if isinstance(node, bytes) else node.count


def _digest(node: _Node) -> bytes:
    if isinstance(node, bytes):
        return hashlib.sha256(_OF_PLACES + node).digest()
    if not node.digest:
        ways = b"".join(_digest(way) for way in node.ways)
        node.digest = hashlib.sha256(_OF_WAYS + ways).digest()
    return node.digest


def _summary(path: bytes, node: _Node) -> Summary:
    return Summary(path, _count(node), _digest(node)[:MARK_BYTES])


def _leaves(node: _Node) -> Iterator[bytes]:
    if isinstance(node, bytes):
        yield node
        return
    for way in node.ways:
        yield from _leaves(way)


def _behind(node: _Node, place: bytes, depth: int) -> Iterator[bytes]:
    """The places of a range behind `place`, which is in it or before it (b""), in order."""
    if isinstance(node, bytes):
        yield from (one for one in _places(node) if one > place)
        return
    first = _step(place, depth) if place else 0
    for way in range(first, _WAYS):
        yield from _behind(node.ways[way], place if way == first else b"", depth + 1)


def _ways(node: _Node, depth: int) -> list[_Node]:
    """The sixteen parts of a range; out of a leaf they are cut."""
    if isinstance(node, _Inner):
        return node.ways
    ways: list[list[bytes]] = [[] for _ in range(_WAYS)]
    for place in _places(node):
        ways[_step(place, depth)].append(place)
    return [b"".join(way) for way in ways]


def _grown(leaf: _Node, depth: int) -> _Node:
    """A leaf, split when it has too many places."""
    if _count(leaf) < RECONCILE_LEAF_MAX:
        return leaf
    return _Inner(_count(leaf), [_grown(way, depth + 1) for way in _ways(leaf, depth)])
