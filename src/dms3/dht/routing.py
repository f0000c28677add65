"""The routing table of one overlay: nodes that have answered this one, few of them far, many near.

Source: Kademlia (Maymounkov, Mazieres 2002), sections 2.2, 2.4 and 4.1; S/Kademlia (Baumgart,
Mies 2007) for what an id must cost. A node enters when it has answered a question of ours, and
gives way only when it no longer answers: a flood of new identities displaces nobody. Asks nobody
itself: `membership.py` does.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from dms3.core.errors import DecodeError
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import (
    ID_WORK_BITS,
    NODE_FAILURES_MAX,
    PREFIX_NODES_PER_BUCKET_MAX,
    PREFIX_NODES_PER_TABLE_MAX,
    REPLACEMENTS_MAX,
)
from dms3.core.machine import Delete, Effect, Now, Persist, View, scan
from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import LOCATION_BYTES, NodeAt
from dms3.dht.presence import Proven, Verified, node_location
from dms3.p2p.reach import Reach, prefix_of, reach_of_text

TABLE = "nodes"
_BITS = 8 * LOCATION_BYTES


@dataclass(slots=True, eq=False)
class _Entry:
    """A node of the table, or one that may replace it."""

    proven: Proven
    node: NodeAt
    prefix: str | None
    heard_us: int  # monotonic, when it answered last or was read from disk
    heard: bool = True  # False: read from disk, and not answered since
    failures: int = 0
    counted: int = 0  # how many answers of others there had been when its last failure counted

    def answered(self, now_us: int) -> None:
        """It is there."""
        self.heard_us, self.heard, self.failures = now_us, True, 0


@dataclass(slots=True)
class _Bucket:
    """Nodes at one magnitude of distance, the least recently seen first; and who may come next."""

    entries: dict[PeerId, _Entry] = field(default_factory=dict)
    waiting: dict[PeerId, _Entry] = field(default_factory=dict)


class Table:
    """The nodes of `overlay` that node `own` knows.

    `work_bits`: what a peer id must cost (see `admit`); `size`: nodes per bucket (k).
    """

    def __init__(
        self,
        own: PeerId,
        overlay: OverlayId,
        *,
        work_bits: int = ID_WORK_BITS,
        size: int = BUCKET_SIZE,
    ) -> None:
        self._own = own
        self._at = int.from_bytes(node_location(own), "big")
        self._overlay = overlay
        self._work_bits = work_bits
        self._size = size
        self._buckets: dict[int, _Bucket] = {}
        self._entries: dict[PeerId, _Entry] = {}  # of all buckets
        self._prefixes: dict[str, int] = {}
        self._answers = 0  # of all nodes, since the start

    def load(self, view: View, verified: Verified, now: Now) -> list[Effect]:
        """Read the committed nodes, also those whose presence is over: they may still be there.

        The effects delete what cannot be read or finds no place.
        """
        effects: list[Effect] = []
        for key, data in scan(view, TABLE, self._overlay):
            try:
                proven = verified.remembered(data)
            except DecodeError:
                effects.append(Delete(TABLE, key))
                continue
            entry = _remembered(proven, now.mono_us)
            if entry is None or not self._insert(entry):
                effects.append(Delete(TABLE, key))
        return effects

    def forget(self, view: View) -> list[Effect]:
        """Delete what is committed of it."""
        return [Delete(TABLE, key) for key, _ in scan(view, TABLE, self._overlay)]

    # Looking

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, peer: PeerId) -> bool:
        return peer in self._entries

    def nearest(self, target: bytes, count: int) -> list[NodeAt]:
        """At most `count` nodes nearest to location `target`; the doubtful only for want of others.

        Doubtful is who did not answer last time.
        """
        sure: list[NodeAt] = []
        doubtful: list[NodeAt] = []
        for entry in self._outward(target):
            if len(sure) == count:
                break
            (doubtful if entry.failures else sure).append(entry.node)
        return [*sure, *doubtful][:count]

    def presences(
        self, target: bytes, count: int, wall_us: int, but: PeerId | None = None
    ) -> tuple[bytes, ...]:
        """Presences to tell `but`: of the nearest other nodes that are in date and not doubtful."""
        told: list[bytes] = []
        for entry in self._outward(target):
            if len(told) == count:
                break
            proven = entry.proven
            if not entry.failures and proven.presence.until_us > wall_us and proven.peer != but:
                told.append(proven.data)
        return tuple(told)

    def drop_lapsed(self, peer: PeerId, wall_us: int) -> list[Effect]:
        """Forget `peer` if its presence is over: nothing says any more that it may be here."""
        entry = self._entries.get(peer)
        if entry is None or entry.proven.presence.until_us > wall_us:
            return []
        return self.drop(peer, entry.proven.at)

    def sift(self, may_stay: Callable[[Proven], bool]) -> list[Effect]:
        """Forget every node that may not stay."""
        gone = [entry.proven for entry in self._entries.values() if not may_stay(entry.proven)]
        for bucket in self._buckets.values():
            gone += [one.proven for one in bucket.waiting.values() if not may_stay(one.proven)]
        return [effect for each in gone for effect in self.drop(each.peer, each.at)]

    def in_date(self, wall_us: int) -> int:
        """How many nodes have a presence that is in date."""
        return sum(entry.proven.presence.until_us > wall_us for entry in self._entries.values())

    def rank(self, target: bytes, count: int) -> int:
        """How many nodes, at most `count`, are nearer to `target` than this one and surely there.

        Sure is who has answered since the start, and last time too: else values would be refused
        for the sake of the dead.
        """
        at = int.from_bytes(target, "big")
        near = self._at ^ at
        nearer = (
            entry
            for entry in self._entries.values()
            if entry.proven.at ^ at < near and entry.heard and not entry.failures
        )
        return sum(1 for _ in islice(nearer, count))

    def peers(self) -> Iterable[PeerId]:
        """All of them, in no order that means anything."""
        return self._entries.keys()

    def live(self, target: bytes) -> Iterator[tuple[NodeAt, int]]:
        """The nodes that are surely there, with their locations as numbers, nearest first."""
        for entry in self._outward(target):
            if entry.heard and not entry.failures:
                yield entry.node, entry.proven.at

    def silent(self, before_us: int, wall_us: int, count: int) -> list[NodeAt]:
        """At most `count` nodes to ask whether they are there, the longest unheard first.

        Those not heard since the start or monotonic `before_us`, the doubtful, those whose presence
        is over.
        """
        found = [
            entry
            for entry in self._entries.values()
            if entry.heard_us < before_us
            or not entry.heard
            or entry.failures
            or entry.proven.presence.until_us <= wall_us
        ]
        found.sort(key=lambda entry: (entry.heard_us, entry.proven.at))
        return [entry.node for entry in found[:count]]

    def unheard(self, before_us: int, among: int) -> list[NodeAt]:
        """Of the `among` nearest, those not heard since monotonic `before_us`, longest first.

        The doubtful are `silent`.
        """
        near = islice(self._outward(self._at.to_bytes(LOCATION_BYTES, "big")), among)
        found = [each for each in near if each.heard_us < before_us and not each.failures]
        found.sort(key=lambda entry: (entry.heard_us, entry.proven.at))
        return [entry.node for entry in found]

    def sparse(self) -> list[int]:
        """The magnitudes of distance (256: the farthest half) with room, down to the neighbours."""
        lowest = min((index for index, each in self._buckets.items() if each.entries), default=0)
        if not lowest:
            return []
        return [index for index in range(_BITS, lowest - 1, -1) if self._has_room(index)]

    def target_in(self, magnitude: int, drawn: bytes) -> bytes:
        """A location at that magnitude of distance from this node, chosen by 32 `drawn` bytes."""
        low = 1 << (magnitude - 1)
        apart = low | (int.from_bytes(drawn, "big") & (low - 1))
        return (self._at ^ apart).to_bytes(LOCATION_BYTES, "big")

    # Admission

    def admit(self, peer: PeerId, work: int, address: str) -> bool:
        """Whether `peer`, whose key cost `work` bits, may enter from connection `address`.

        Its key must have cost `work_bits`, and few nodes share its network prefix; both are waived
        on a LAN and on this machine, where whoever attacks has better ways.
        """
        if peer == self._own:
            return False
        prefix = prefix_of(address)
        if prefix is None:
            return True
        return work >= self._work_bits and self._has_prefix_room(peer, prefix)

    # What happens to nodes

    def seen(self, proven: Proven, address: str, now_us: int) -> list[Effect]:
        """A node has answered us on connection `address` (its remote end) and shown `proven`.

        It is in the table now, or waits for a place in its bucket, or is not admitted.
        """
        self._answers += 1
        bucket = self._bucket(proven.at)
        entry = bucket.entries.pop(proven.peer, None)
        if entry is None:
            return self._newcomer(proven, address, now_us)
        bucket.entries[proven.peer] = entry
        entry.answered(now_us)
        if proven.presence.since_us <= entry.proven.presence.since_us:
            return []
        node = proven.node(reach_of_text(address))
        if node is None:
            return self.drop(proven.peer, proven.at)  # it has moved to where we cannot go
        entry.proven, entry.node = proven, node
        return [self._persist(entry)]

    def answered(self, peer: PeerId, at: int, now_us: int) -> list[Effect]:
        """A node at location `at` has answered us; what it showed before still counts."""
        self._answers += 1
        bucket = self._bucket(at)
        entry = bucket.entries.pop(peer, None)
        if entry is not None:
            bucket.entries[peer] = entry
            entry.answered(now_us)
            return []
        waiting = bucket.waiting.get(peer)
        if waiting is None or not self._has_room(self._index(at)):
            return []
        del bucket.waiting[peer]
        waiting.heard_us = now_us
        return [self._persist(waiting)] if self._insert(waiting) else []

    def introduced(self, proven: Proven, address: str, now_us: int) -> None:
        """A node asks us and shows `proven`: it may enter once it answers (see `candidates`)."""
        peer = proven.peer
        bucket = self._bucket(proven.at)
        entry = _met(proven, address, now_us)
        if entry is None or peer in bucket.entries or not self.admit(peer, proven.work, address):
            return
        bucket.waiting.pop(peer, None)
        if len(bucket.waiting) >= REPLACEMENTS_MAX:
            del bucket.waiting[next(iter(bucket.waiting))]
        bucket.waiting[peer] = entry

    def candidates(self, count: int, but: Container[PeerId]) -> list[NodeAt]:
        """At most `count` nodes, none of `but`, to be asked because a place for them is free."""
        found: list[NodeAt] = []
        for index in sorted(self._buckets):
            bucket = self._buckets[index]
            if not bucket.waiting or len(bucket.entries) >= self._size:
                continue
            fresh = [peer for peer in reversed(bucket.waiting) if peer not in but]
            found += [bucket.waiting[peer].node for peer in fresh[: count - len(found)]]
        return found

    def failed(self, peer: PeerId, at: int) -> list[Effect]:
        """A node at location `at` did not answer: it is doubtful; after some failures it goes.

        A failure counts only when another node has answered since the last: without a network
        nobody answers, and that is no reason to forget everybody.
        """
        bucket = self._bucket(at)
        bucket.waiting.pop(peer, None)
        entry = bucket.entries.get(peer)
        if entry is None or entry.counted >= self._answers:
            return []
        entry.counted = self._answers
        entry.failures += 1
        crowded = bool(bucket.waiting)
        if entry.failures < NODE_FAILURES_MAX and not crowded:
            return []
        return self.drop(peer, at)

    def drop(self, peer: PeerId, at: int) -> list[Effect]:
        """Forget a node, for example one that lied."""
        bucket = self._bucket(at)
        bucket.waiting.pop(peer, None)
        entry = bucket.entries.pop(peer, None)
        if entry is None:
            return []
        del self._entries[peer]
        if entry.prefix is not None:
            self._prefixes[entry.prefix] -= 1
            if not self._prefixes[entry.prefix]:
                del self._prefixes[entry.prefix]
        return [Delete(TABLE, self._overlay + peer)]

    # Small parts

    def _newcomer(self, proven: Proven, address: str, now_us: int) -> list[Effect]:
        entry = _met(proven, address, now_us)
        if entry is None or not self.admit(proven.peer, proven.work, address):
            return []
        self._bucket(proven.at).waiting.pop(proven.peer, None)
        if self._insert(entry):
            return [self._persist(entry)]
        self.introduced(proven, address, now_us)
        return []

    def _insert(self, entry: _Entry) -> bool:
        index = self._index(entry.proven.at)
        if not index or not self._has_room(index):
            return False
        if entry.prefix is not None:
            if not self._has_prefix_room(entry.proven.peer, entry.prefix):
                return False
            self._prefixes[entry.prefix] = self._prefixes.get(entry.prefix, 0) + 1
        self._bucket(entry.proven.at).entries[entry.proven.peer] = entry
        self._entries[entry.proven.peer] = entry
        return True

    def _has_prefix_room(self, peer: PeerId, prefix: str) -> bool:
        if self._prefixes.get(prefix, 0) >= PREFIX_NODES_PER_TABLE_MAX:
            return False
        at = int.from_bytes(node_location(peer), "big")
        beside = self._bucket(at).entries.values()
        same = sum(entry.prefix == prefix for entry in beside)
        return same < PREFIX_NODES_PER_BUCKET_MAX

    def _outward(self, target: bytes) -> Iterator[_Entry]:
        """All entries, the nearest to `target` first; sorted as far as somebody looks."""
        at = int.from_bytes(target, "big")
        for piece in self._pieces(self._index(at)):
            yield from sorted(piece, key=lambda entry: entry.proven.at ^ at)

    def _pieces(self, index: int) -> Iterator[Iterable[_Entry]]:
        """All entries in pieces, each of them nearer than the next to a location at `index`.

        Its own bucket, all that lie below together, then those above, one after another.
        """
        buckets = self._buckets
        if index in buckets:
            yield buckets[index].entries.values()
        yield [
            entry
            for lower, bucket in buckets.items()
            if lower < index
            for entry in bucket.entries.values()
        ]
        for upper in sorted(buckets):
            if upper > index:
                yield buckets[upper].entries.values()

    def _bucket(self, at: int) -> _Bucket:
        return self._buckets.setdefault(self._index(at), _Bucket())

    def _index(self, at: int) -> int:
        """The magnitude of the distance to `at`: 0 for this node itself, 256 for the farthest."""
        return (at ^ self._at).bit_length()

    def _has_room(self, index: int) -> bool:
        bucket = self._buckets.get(index)
        return bucket is None or len(bucket.entries) < self._size

    def _persist(self, entry: _Entry) -> Persist:
        return Persist(TABLE, self._overlay + entry.proven.peer, entry.proven.data)


def warm_rows(
    overlay: OverlayId, presences: Sequence[tuple[PeerId, bytes]]
) -> list[tuple[str, bytes, bytes]]:
    """The rows (table, key, value) of a table that knows these nodes, each with its presence.

    What a node that has run for a while would find on its disk; a simulation writes it there.
    """
    return [(TABLE, overlay + peer, data) for peer, data in presences]


def _met(proven: Proven, address: str, now_us: int) -> _Entry | None:
    """An entry for who was met on connection `address`; None when it could not be dialled again."""
    node = proven.node(reach_of_text(address))
    return None if node is None else _Entry(proven, node, prefix_of(address), now_us)


def _remembered(proven: Proven, now_us: int) -> _Entry | None:
    """An entry read from disk: where it was met is not known, so all its addresses are tried."""
    node = proven.node(Reach.MACHINE)
    if node is None:
        return None
    pairs = zip(proven.presence.addresses, proven.reaches, strict=True)
    far = next((address for address, reach in pairs if reach is Reach.EVERYWHERE), None)
    prefix = None if far is None else prefix_of(far)
    return _Entry(proven, node, prefix, now_us, heard=False)
