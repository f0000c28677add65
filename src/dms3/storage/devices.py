"""The other devices of the person: which there are, what they have written, what of it is read.

Source: docs/adr/0008-conversation-storage.md. A head counts when its device signed it and it is not
older than one that was seen before. What was read is kept as spans of appends, so that merging
chunks makes nothing be read twice, and nothing be left out.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from dms3.core.codec import decode, encode
from dms3.core.errors import DecodeError
from dms3.core.limits import STORAGE_PARTING_US, STORAGE_REMOVED_MAX, STORAGE_SPANS_MAX
from dms3.core.machine import Notify, scan
from dms3.storage.book import Book, altered, digest_of_head, withheld
from dms3.storage.head import Head, Ref, decode_head, is_head_of
from dms3.storage.operations import Device, Durable, Item
from dms3.storage.slots import Claim, Ground, decode_claim

DEVICES, HEADS, APART = "devices", "heads", "apart"
_APART_KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Span:
    """Appends from `first` to `end` (without)."""

    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Known:
    """A row: what is known of another device.

    `base`: how much it had written when it was first seen; what came later is brought at once.
    `spans`: what of it was read. `gone`: it was removed.
    """

    v: int
    claim: Claim
    base: int = -1
    spans: tuple[Span, ...] = ()
    gone: bool = False


@dataclass(slots=True)
class Other:
    """Another device: its row, and its newest head."""

    known: Known
    head: Head | None = None

    @property
    def id(self) -> bytes:
        """Its id."""
        return self.known.claim.device

    @property
    def age(self) -> tuple[int, int]:
        """Of its newest head; of none before all."""
        return (-1, -1) if self.head is None else self.head.age

    def has_read(self, ref: Ref) -> bool:
        """Whether everything that `ref` stands for was read."""
        return any(span.first <= ref.first and ref.end <= span.end for span in self.known.spans)


class Devices:
    """All other devices; their order is that of their ids."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._others: dict[bytes, Other] = {}
        self._claims: dict[bytes, Claim] = {}  # whose signature was checked

    def load(self) -> None:
        """Read the rows."""
        view = self._book.view
        for key, data in scan(view, DEVICES):
            head = view.get(HEADS, key)
            other = Other(decode(Known, data), None if head is None else decode_head(head))
            self._others[key] = other
        own = self._book.device
        if own in self._others:
            self._forget(own)

    def all(self) -> list[Other]:
        """All that were ever seen, in order."""
        return [self._others[key] for key in sorted(self._others)]

    def listed(self) -> list[Other]:
        """Those that were not removed."""
        return [other for other in self.all() if not other.known.gone]

    def get(self, device: bytes) -> Other | None:
        """The device of that id."""
        return self._others.get(device)

    def meet(self, data: bytes) -> Claim:
        """Take the claim of a device; raises DecodeError when the person has not signed it."""
        claim = self._claims.get(data)
        if claim is None:
            claim = decode_claim(data, self._book.root)
            if len(self._claims) >= STORAGE_REMOVED_MAX:
                self._claims.clear()
            self._claims[data] = claim
        other = self._others.get(claim.device)
        if claim.device == self._book.device:
            return claim
        if other is None:
            gone = claim.device in self._book.state.removed
            self._others[claim.device] = Other(Known(1, claim, gone=gone))
            self._keep(claim.device)
            self._tell(claim)
        return claim

    def strike(self, removed: Sequence[bytes]) -> None:
        """These were removed: what they write from now on does not count."""
        for device in removed:
            other = self._others.get(device)
            if other is not None and not other.known.gone:
                self._change(other, gone=True)
                self._tell(other.known.claim)

    def take(self, other: Other, head: Head, ground: Ground) -> bool:
        """Take a checked head of `other` that lay at `ground`; whether it is news.

        Raises `content_invalid`, which names the place, for an older one or another of its age.
        """
        if head.age < other.age:
            raise withheld(ground.place, f"the newest state of your device {_called(other)}")
        if head.age == other.age:
            assert other.head is not None
            if digest_of_head(head) != digest_of_head(other.head):
                raise altered(ground.place, f"two states of {_called(other)} have one number")
            return False
        if other.head is not None and head.sequence < other.head.sequence:
            raise altered(ground.place, f"{_called(other)} has written less than before")
        other.head = head
        self._book.keep(HEADS, other.id, encode(head))
        if other.known.base < 0:
            self._change(other, base=head.sequence)
        return True

    def checked(self, other: Other, data: bytes, ground: Ground) -> Head:
        """The head in `data`, signed by `other`; raises `content_invalid`."""
        try:
            head = decode_head(data)
        except DecodeError as error:
            raise altered(ground.place, error.reason) from error
        if not is_head_of(head, other.id, other.known.claim.public):
            raise altered(ground.place, f"the state of {_called(other)} is not signed by it")
        return head

    def read(self, other: Other, ref: Ref) -> None:
        """What `ref` stands for is kept here."""
        spans = joined((*other.known.spans, Span(ref.first, ref.end)))
        self._change(other, spans=spans)

    def shown(self) -> tuple[Device, ...]:
        """This device and the others, for people."""
        book = self._book
        mine = Device(book.device.hex(), book.name, book.head.wall_us, this=True)
        rows = [mine] if not book.state.struck else []
        for other in self.listed():
            seen_us = other.known.claim.since_us if other.head is None else other.head.wall_us
            name = other.known.claim.name if other.head is None else other.head.name
            rows.append(Device(other.id.hex(), name, seen_us, this=False))
        return tuple(rows)

    # Whether items lie where all devices read them

    def durable(self, items: Sequence[Item]) -> Durable:
        """What is said of items that lie at the place.

        At a place of this node alone nothing reaches the others: it is said so, until they had
        time enough to bring it from the delivery services themselves.
        """
        book = self._book
        others = self.listed()
        if not book.ground.alone or not others:
            return Durable(shared=True)
        now_us = book.works.now.wall_us
        waits = False
        for item in items:
            key = hashlib.sha256(f"{item.kind}\0{item.key}".encode()).digest()[:_APART_KEY_BYTES]
            data = book.view.get(APART, key)
            since_us = now_us if data is None else int.from_bytes(data, "big")
            if data is None:
                book.keep(APART, key, now_us.to_bytes(8, "big"))
            if now_us - since_us < STORAGE_PARTING_US:
                waits = True
            else:
                book.forget(APART, key)
        if waits:
            return Durable(shared=False, waiting_for=tuple(map(_called, others)))
        return Durable(shared=True)

    # Rows

    def _tell(self, claim: Claim) -> None:
        data = {"id": claim.device.hex(), "name": claim.name}
        self._book.works.effects.append(Notify("message.device", data))

    def _change(self, other: Other, **changes: object) -> None:
        other.known = dataclasses.replace(other.known, **changes)  # type: ignore[arg-type]
        self._keep(other.id)

    def _keep(self, device: bytes) -> None:
        self._book.keep(DEVICES, device, encode(self._others[device].known))

    def _forget(self, device: bytes) -> None:
        del self._others[device]
        self._book.forget(DEVICES, device)
        self._book.forget(HEADS, device)


def joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """The spans in order, those that touch made one; the oldest are forgotten beyond the bound."""
    out: list[Span] = []
    for span in sorted(spans, key=lambda each: (each.first, each.end)):
        if out and span.first <= out[-1].end:
            out[-1] = Span(out[-1].first, max(out[-1].end, span.end))
        else:
            out.append(span)
    return tuple(out[-STORAGE_SPANS_MAX:])


def _called(other: Other) -> str:
    name = other.known.claim.name if other.head is None else other.head.name
    return name or other.id.hex()[:8]
