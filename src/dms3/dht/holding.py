"""What this node holds for overlays: valid values in their slots, within quotas, until they expire.

Source: docs/architecture.md, "Overlays" (validate, merge, retention); the rule of a full
store is that of the Portal wire protocol: the farthest value gives way to a nearer one; `radius.py`
says when no farther one is taken any more. Rows lie in the machine's tables and are read through
the View, so memory does not grow with them. Asks nobody: `taking.py` has the values of peers,
`upkeep.py` puts them again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from dms3.core.cid import Cid
from dms3.core.codec import decode, encode
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    DHT_ANSWER_BYTES_MAX,
    DHT_VALUES_MAX,
    HELD_EVICTED_MAX,
    HELD_SHRUNK_MAX,
    HELD_SLOT_BYTES_MAX,
)
from dms3.core.machine import Delete, Effect, Now, Persist, View, scan
from dms3.core.overlay import LOCATION_BYTES, ContentType, RadiusFigures, distance, location
from dms3.core.verdict import Invalid, Valid
from dms3.dht.farthest import farthest_first
from dms3.dht.messages import MARK_BYTES, Code, Offered, PutValue, Within
from dms3.dht.radius import Radius, RadiusRow
from dms3.dht.slots import Slots, are_many

HELD, COUNTS, RADII = "held", "counts", "radii"
_PAGE = 64


@dataclass(frozen=True, slots=True)
class Row:
    """One held value; `value` is empty for a type whose values are blocks of the library."""

    v: int
    key: bytes
    size: int
    until_us: int
    mark: bytes
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many values of one type are held in one overlay, and their bytes."""

    values: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row lies: its table key is overlay, type, location, slot."""

    overlay: OverlayId
    type: ContentType
    location: bytes
    slot: bytes

    @property
    def base(self) -> bytes:
        """The beginning of the keys of all rows at this location."""
        return prefix(self.overlay, self.type) + self.location

    @property
    def key(self) -> bytes:
        """The key of the row."""
        return self.base + self.slot


@dataclass(frozen=True, slots=True)
class Admitted:
    """A value that may be held at `place`; `row` is what will be written.

    `evicted`: farther values that are to be removed for it.
    """

    place: Place
    row: Row
    evicted: tuple[tuple[Place, Row], ...] = ()


class Holding:
    """The rows of one node that lies at `own`; `types` are the content types it knows."""

    def __init__(self, own: bytes, types: Sequence[ContentType]) -> None:
        self._own = own
        self._types = {each.name: each for each in types}
        self._view: View
        self._slots_of: Slots
        self._counts: dict[bytes, Counts] = {}  # as written, the writes of this event included
        self._radii: dict[bytes, Radius] = {}  # those that are not whole
        self._full: dict[bytes, tuple[OverlayId, ContentType]] = {}  # beyond their quotas

    def load(self, view: View) -> None:
        """Read through `view` from now on."""
        self._view = view
        self._slots_of = Slots(view)
        self._counts = {key: decode(Counts, data) for key, data in scan(view, COUNTS)}
        rows = scan(view, RADII)
        self._radii = {key: decode(RadiusRow, data).radius for key, data in rows}

    def start(self) -> list[Effect]:
        """Look at quotas, which a person may have changed."""
        effects: list[Effect] = []
        for base in sorted(self._counts):
            kind = self._types.get(base[LOCATION_BYTES + 1 :].decode())
            if kind is not None and kind.has_radius:
                overlay = OverlayId(base[:LOCATION_BYTES])
                effects += self._ease(overlay, kind)
                self._look(overlay, kind)
        return effects

    def type_of(self, name: str) -> ContentType | None:
        """The content type called `name`, if it is known here."""
        return self._types.get(name)

    # Reading

    def values(
        self, overlay: OverlayId, kind: ContentType, key: bytes, after: bytes, now: Now
    ) -> tuple[tuple[bytes, ...], bool]:
        """The values under `key` in slots behind `after`, in order; whether there are more.

        At most DHT_VALUES_MAX of DHT_ANSWER_BYTES_MAX, and at least one if there is one.
        """
        found: list[bytes] = []
        size = 0
        for _, row in self._slots(overlay, kind, location(key), after):
            if row.until_us <= now.wall_us:
                continue
            size += len(row.value)
            if found and (size > DHT_ANSWER_BYTES_MAX or len(found) == DHT_VALUES_MAX):
                return tuple(found), True
            found.append(row.value)
        return tuple(found), False

    def has(self, overlay: OverlayId, kind: ContentType, key: bytes, now: Now) -> bool:
        """Whether anything is held under `key`."""
        rows = self._slots(overlay, kind, location(key), b"")
        return any(row.until_us > now.wall_us for _, row in rows)

    def knows_block(self, cid: Cid, but: Container[bytes] = ()) -> bool:
        """Whether some overlay has the block here, as a row of a type of blocks.

        `but`: table keys of rows that are being removed.
        """
        at = location(cid.binary)
        kinds = [self._types[name] for name in sorted(self._types)]
        overlays = {OverlayId(key[:LOCATION_BYTES]) for key in self._counts}
        keys = [
            Place(overlay, kind, at, b"").key
            for overlay in sorted(overlays)
            for kind in kinds
            if kind.kept_as == "blocks"
        ]
        return any(key not in but and self._row(key) is not None for key in keys)

    def counts(self, overlay: OverlayId, kind: ContentType) -> Counts:
        """How much of `kind` is held."""
        return self._counts.get(prefix(overlay, kind), Counts(0, 0))

    def rows(self) -> int:
        """How many values are held in all."""
        return sum(counts.values for counts in self._counts.values())

    def figures(self, overlay: OverlayId) -> tuple[tuple[str, int, int], ...]:
        """(type, values, bytes) for every type."""
        counted = [(name, self.counts(overlay, self._types[name])) for name in sorted(self._types)]
        return tuple((name, counts.values, counts.bytes) for name, counts in counted)

    def radius(self, overlay: OverlayId, kind: ContentType) -> Radius:
        """How far away may be what is kept of a type that has a radius."""
        return self._radii.get(prefix(overlay, kind), Radius())

    def radius_figures(self, overlay: OverlayId) -> tuple[RadiusFigures, ...]:
        """Of every type that has a radius."""
        kinds = [self._types[name] for name in sorted(self._types)]
        return tuple(
            RadiusFigures(kind.name, kind.quota_bytes, self.radius(overlay, kind).share)
            for kind in kinds
            if kind.has_radius
        )

    def told(self, overlay: OverlayId, names: Sequence[str]) -> tuple[Within, ...]:
        """The radii of those of the types called `names` that have one."""
        kinds = [self._types[name] for name in sorted({*names} & self._types.keys())]
        return tuple(
            Within(kind.name, self.radius(overlay, kind).data) for kind in kinds if kind.has_radius
        )

    def page(self, after: bytes, limit: int) -> list[tuple[bytes, Row]]:
        """At most `limit` rows with table key > `after`, in order."""
        rows = self._view.range(HELD, after + b"\0", limit)
        return [(key, decode(Row, data)) for key, data in rows]

    def place_of(self, table_key: bytes) -> Place | None:
        """Where the row with this table key lies; None for a type no longer known."""
        end = LOCATION_BYTES + 1 + table_key[LOCATION_BYTES]
        kind = self._types.get(table_key[LOCATION_BYTES + 1 : end].decode())
        if kind is None:
            return None
        overlay = OverlayId(table_key[:LOCATION_BYTES])
        at, slot = table_key[end : end + LOCATION_BYTES], table_key[end + LOCATION_BYTES :]
        return Place(overlay, kind, at, slot)

    # Writing

    def offered(self, overlay: OverlayId, offer: Offered, now: Now) -> tuple[Code, list[Effect]]:
        """Whether the value of `offer` is wanted; one that is held is kept longer if it says so."""
        kind = self._types.get(offer.type)
        if kind is None:
            return Code.UNKNOWN, []
        until_us = _bounded(kind, offer.until_us, now)
        for key, row in self._marked(overlay, kind, offer):
            if row.mark == offer.mark and row.until_us > now.wall_us:
                return Code.HELD, self._extend(key, row, kind, until_us)
        is_inside = self.takes(Place(overlay, kind, location(offer.key), b""))
        return Code.WANTED if is_inside else Code.OUTSIDE, []

    def takes(self, place: Place) -> bool:
        """Whether what lies at `place` is within the radius of its type."""
        far = self._far(place)
        return not place.type.has_radius or self.radius(place.overlay, place.type).takes(far)

    def admit(
        self, overlay: OverlayId, put: PutValue, now: Now
    ) -> tuple[Admitted | Code, list[Effect]]:
        """What `put` may be held as, or the code that says why not.

        Effects keep for longer what is held already. A nearer value takes the room of farther ones:
        those of `Admitted`, or of a type with a radius those that `shrink` gives up afterwards.
        """
        kind = self._types.get(put.type)
        if kind is None:
            return Code.UNKNOWN, []
        refused = _refused(kind, put, now)
        if refused is not None:
            return refused, []
        kept = kind.retention(put.key, put.value)
        until_us = _bounded(kind, put.until_us, now, kept.until_us)
        place = Place(overlay, kind, location(put.key), kept.slot)
        inline = b"" if kind.kept_as == "blocks" else put.value
        mark = mark_of(put.value)
        held = self._row(place.key)
        if held is not None and held.mark == mark:
            return Code.HELD, self._extend(place.key, held, kind, until_us)
        in_force = held is not None and inline and held.until_us > now.wall_us
        if held is not None and in_force and kind.merge(held.value, put.value) == held.value:
            return Code.HELD, []
        row = Row(1, put.key, len(put.value), until_us, mark, inline)
        if kind.has_radius:
            code, effects = self._inside(place, row.size, held)
            return Admitted(place, row) if code is Code.WANTED else code, effects
        evicted = self._room(place, len(put.value), held, now)
        return Code.BUSY if evicted is None else Admitted(place, row, evicted), []

    def write(self, admitted: Admitted) -> list[Effect]:
        """Hold what was admitted (its block, if it is one, is durable by now)."""
        place, row = admitted.place, admitted.row
        held = self._row(place.key)
        values = 0 if held is not None else 1
        more = row.size - (0 if held is None else held.size)
        slots: list[Effect] = []
        if are_many(place.type):
            before = None if held is None else held.mark
            slots = self._slots_of.put(place.base, place.slot, row.mark, before)
        counted = self._count(place.overlay, place.type, values, more)
        self._look(place.overlay, place.type)
        return [*slots, Persist(HELD, place.key, encode(row)), counted]

    def remove(self, place: Place, row: Row) -> list[Effect]:
        """Hold it no longer; a block is released by whoever calls this."""
        slots = self._slots_of.remove(place.base, row.mark) if are_many(place.type) else []
        counted = self._count(place.overlay, place.type, -1, -row.size)
        eased = self._ease(place.overlay, place.type)
        return [*slots, Delete(HELD, place.key), counted, *eased]

    @property
    def is_full(self) -> bool:
        """Whether there is something to be given up."""
        return bool(self._full)

    def shrink(self) -> tuple[list[tuple[Place, Row]], list[Effect]]:
        """What to give up for quotas that are passed, the farthest first, and smaller radii.

        At most HELD_SHRUNK_MAX values of each type; `is_full` tells whether more are to follow.
        """
        given_up: list[tuple[Place, Row]] = []
        effects: list[Effect] = []
        for base, (overlay, kind) in list(self._full.items()):
            excess = self.counts(overlay, kind).bytes - kind.quota_bytes
            radius = self.radius(overlay, kind)
            rows = list(islice(self._farthest(overlay, kind), HELD_SHRUNK_MAX))
            for place, row in rows:
                if excess <= 0:
                    break
                given_up.append((place, row))
                radius = radius.without(self._far(place), row.size)
                excess -= row.size
            if excess <= 0 or not rows:
                del self._full[base]
            effects.append(self._set_radius(overlay, kind, radius))
        return given_up, effects

    def under(self, overlay: OverlayId, kind: ContentType, key: bytes) -> list[tuple[Place, Row]]:
        """Every row under `key`, expired ones too."""
        at = location(key)
        return [
            (Place(overlay, kind, at, table_key[len(prefix(overlay, kind)) + len(at) :]), row)
            for table_key, row in self._slots(overlay, kind, at, b"")
        ]

    # Small parts

    def _row(self, table_key: bytes) -> Row | None:
        data = self._view.get(HELD, table_key)
        return None if data is None else decode(Row, data)

    def _marked(
        self, overlay: OverlayId, kind: ContentType, offer: Offered
    ) -> Iterator[tuple[bytes, Row]]:
        """The rows among which one with the mark of `offer` is, if it is held."""
        at = location(offer.key)
        if not are_many(kind):
            yield from self._slots(overlay, kind, at, b"")
            return
        base = prefix(overlay, kind) + at
        slot = self._slots_of.of_mark(base, offer.mark)
        row = None if slot is None else self._row(base + slot)
        if slot is not None and row is not None:
            yield base + slot, row

    def _taken(self, place: Place) -> int:
        """How many slots at the location of `place` are taken."""
        if are_many(place.type):
            return self._slots_of.count(place.base)
        rows = self._slots(place.overlay, place.type, place.location, b"")
        return sum(1 for _ in rows)

    def _slots(
        self, overlay: OverlayId, kind: ContentType, at: bytes, after: bytes
    ) -> Iterator[tuple[bytes, Row]]:
        """The rows at one location, in order of slot, behind slot `after`."""
        base = prefix(overlay, kind) + at
        start = base + after + b"\0" if after else base
        for _ in range(kind.slots_max // _PAGE + 1):
            rows = self._view.range(HELD, start, min(_PAGE, kind.slots_max))
            for key, data in rows:
                if not key.startswith(base):
                    return
                yield key, decode(Row, data)
            if len(rows) < min(_PAGE, kind.slots_max):
                return
            start = rows[-1][0] + b"\0"

    def _extend(self, key: bytes, row: Row, kind: ContentType, until_us: int) -> list[Effect]:
        """Keep a value that says nothing of its end for as long as was asked last."""
        if kind.kept_as == "rows" and kind.retention(row.key, row.value).until_us is not None:
            return []
        if until_us <= row.until_us:
            return []
        longer = Row(row.v, row.key, row.size, until_us, row.mark, row.value)
        return [Persist(HELD, key, encode(longer))]

    def _room(
        self, place: Place, size: int, held: Row | None, now: Now
    ) -> tuple[tuple[Place, Row], ...] | None:
        """The values that have to go so that `size` bytes fit at `place`; None when they may not.

        A place under a key whose slots are all taken is refused: who was there first stays.
        """
        if held is None and self._taken(place) >= place.type.slots_max > 1:
            return None
        counts = self.counts(place.overlay, place.type)
        excess = counts.bytes + size - (0 if held is None else held.size) - place.type.quota_bytes
        if excess <= 0:
            return ()
        own_distance = self._far(place)
        evicted: list[tuple[Place, Row]] = []
        others = (each for each in self._farthest(place.overlay, place.type) if each[0] != place)
        for other, row in islice(others, HELD_EVICTED_MAX):
            if row.until_us > now.wall_us and self._far(other) <= own_distance:
                continue
            evicted.append((other, row))
            excess -= row.size
            if excess <= 0:
                return tuple(evicted)
        return None

    def _inside(self, place: Place, size: int, held: Row | None) -> tuple[Code, list[Effect]]:
        """Whether a value of a type with a radius is wanted; one that finds no room ends it."""
        kind, far = place.type, self._far(place)
        radius = self.radius(place.overlay, kind)
        if not radius.takes(far):
            return Code.OUTSIDE, []
        if size > kind.quota_bytes:
            return Code.BUSY, []
        more = size - (0 if held is None else held.size)
        if self.counts(place.overlay, kind).bytes + more <= kind.quota_bytes:
            return Code.WANTED, []
        farthest = next(self._farthest(place.overlay, kind), None)
        if farthest is None or self._far(farthest[0]) >= far:
            return Code.WANTED, []
        return Code.OUTSIDE, [self._set_radius(place.overlay, kind, radius.without(far, size))]

    def _look(self, overlay: OverlayId, kind: ContentType) -> None:
        """Note when the quota of a type with a radius is passed."""
        if kind.has_radius and self.counts(overlay, kind).bytes > kind.quota_bytes:
            self._full[prefix(overlay, kind)] = overlay, kind

    def _ease(self, overlay: OverlayId, kind: ContentType) -> list[Effect]:
        """Make a radius whole when there is room for what did not fit."""
        base = prefix(overlay, kind)
        room = kind.quota_bytes - self.counts(overlay, kind).bytes
        if base not in self._radii or self._radii[base].eased(room) != Radius():
            return []
        del self._radii[base]
        return [Delete(RADII, base)]

    def _set_radius(self, overlay: OverlayId, kind: ContentType, radius: Radius) -> Effect:
        base = prefix(overlay, kind)
        self._radii[base] = radius
        return Persist(RADII, base, encode(RadiusRow.of(radius)))

    def _farthest(self, overlay: OverlayId, kind: ContentType) -> Iterator[tuple[Place, Row]]:
        """The rows of a type, the farthest from this node first."""
        base = prefix(overlay, kind)
        for key, data in farthest_first(self._view, HELD, base, self._own):
            at, slot = key[len(base) :][:LOCATION_BYTES], key[len(base) + LOCATION_BYTES :]
            yield Place(overlay, kind, at, slot), decode(Row, data)

    def _far(self, place: Place) -> int:
        return distance(place.location, self._own)

    def _count(self, overlay: OverlayId, kind: ContentType, values: int, size: int) -> Effect:
        counts = self.counts(overlay, kind)
        changed = Counts(counts.values + values, counts.bytes + size)
        self._counts[prefix(overlay, kind)] = changed
        return Persist(COUNTS, prefix(overlay, kind), encode(changed))


def prefix(overlay: OverlayId, kind: ContentType) -> bytes:
    """The beginning of the table keys of `kind` in `overlay`."""
    name = kind.name.encode()
    return overlay + bytes((len(name),)) + name


def mark_of(value: bytes) -> bytes:
    """The beginning of the SHA-256 of a value, by which an offer names it."""
    return hashlib.sha256(value).digest()[:MARK_BYTES]


def _refused(kind: ContentType, put: PutValue, now: Now) -> Code | None:
    """The code that refuses a value whatever is held, or None."""
    if len(put.value) > kind.value_bytes_max:
        return Code.INVALID
    verdict = kind.validate(put.key, put.value, now.wall_us)
    if not isinstance(verdict, Valid):
        return Code.INVALID if isinstance(verdict, Invalid) else Code.BUSY
    kept = kind.retention(put.key, put.value)
    over = _bounded(kind, put.until_us, now, kept.until_us) <= now.wall_us
    return Code.INVALID if over or len(kept.slot) > HELD_SLOT_BYTES_MAX else None


def _bounded(kind: ContentType, until_us: int, now: Now, own_us: int | None = None) -> int:
    """The instant until which to hold: the least of what was asked, may be, and the value says."""
    most = min(until_us, now.wall_us + kind.life_us)
    return most if own_us is None else min(most, own_us)
