"""The rows of own chains: actions in order, their entries, private ones apart; written and read.

Source: docs/chains.md, "My chain". An entry lies in parts, since a row holds less than 64 KB. What
is private lies in a table of its own and never in an op. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dms3.chain.action import SignedAction, decode_signed, encode_signed
from dms3.chain.operations_validation import Record
from dms3.core.cid import Cid
from dms3.core.codec import decode, encode
from dms3.core.desk import Desk
from dms3.core.limits import ENTRY_PART_BYTES_MAX
from dms3.core.machine import View

ACTIONS, PLACES, ENTRIES, PRIVATE = "action", "place", "entry", "private"
_SEQ_BYTES, _PART_BYTES = 8, 2
_PAGE = 256


@dataclass(frozen=True, slots=True)
class _Place:
    chain: bytes
    seq: int


class Shelf:
    """Own records; `view` sees what was written in earlier events."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._view: View | None = None

    def load(self, view: View) -> None:
        """Read from `view` from now on."""
        self._view = view

    def put(self, chain: bytes, record: Record) -> None:
        """Write a record of `chain` (its key) with whatever else is written in this event."""
        signed = record.signed
        action = signed.action
        place = _Place(chain, action.seq)
        self._desk.persist(ACTIONS, _key(chain, action.seq), encode_signed(signed))
        self._desk.persist(PLACES, signed.hash.binary, encode(place))
        if record.entry is None or action.entry is None:
            return
        table = PRIVATE if action.private else ENTRIES
        count = max(1, -(-len(record.entry) // ENTRY_PART_BYTES_MAX))
        for number in range(count):
            start = number * ENTRY_PART_BYTES_MAX
            key = action.entry.binary + number.to_bytes(_PART_BYTES, "big")
            self._desk.persist(table, key, record.entry[start : start + ENTRY_PART_BYTES_MAX])

    def record(self, hash_: Cid) -> Record | None:
        """The record of the action with this hash, None when it is not of an own chain."""
        data = self._rows.get(PLACES, hash_.binary)
        if data is None:
            return None
        place = decode(_Place, data)
        found = self._rows.get(ACTIONS, _key(place.chain, place.seq))
        return None if found is None else self._with_entry(decode_signed(found))

    def action(self, chain: bytes, seq: int) -> SignedAction | None:
        """The action at place `seq` of `chain`; None when none is there."""
        if seq < 0:
            return None
        data = self._rows.get(ACTIONS, _key(chain, seq))
        return None if data is None else decode_signed(data)

    def records(self, chain: bytes, after: int) -> Iterator[Record]:
        """The records of `chain` behind `after`, in order of seq."""
        while True:
            rows = self._rows.range(ACTIONS, _key(chain, after + 1), _PAGE)
            for key, value in rows:
                if not key.startswith(chain):
                    return
                signed = decode_signed(value)
                after = signed.action.seq
                yield self._with_entry(signed)
            if len(rows) < _PAGE:
                return

    def entry(self, hash_: Cid, *, private: bool) -> bytes | None:
        """The bytes of an entry; None when it does not lie here."""
        table = PRIVATE if private else ENTRIES
        parts: list[bytes] = []
        while True:
            key = hash_.binary + len(parts).to_bytes(_PART_BYTES, "big")
            part = self._rows.get(table, key)
            if part is None:
                return b"".join(parts) if parts else None
            parts.append(part)
            if len(part) < ENTRY_PART_BYTES_MAX:
                return b"".join(parts)

    def _with_entry(self, signed: SignedAction) -> Record:
        action = signed.action
        if action.entry is None:
            return Record(signed)
        return Record(signed, self.entry(action.entry, private=action.private))

    @property
    def _rows(self) -> View:
        assert self._view is not None, "read before the start"
        return self._view


def _key(chain: bytes, seq: int) -> bytes:
    return chain + seq.to_bytes(_SEQ_BYTES, "big")
