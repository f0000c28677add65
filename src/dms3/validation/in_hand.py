"""Actions in hand: they are being judged and nothing of them is written yet.

Source: docs/chains.md, "How an op is judged"; docs/adr/0011-written-with-the-verdict.md. Nobody has
been promised anything about them. What a crash takes is brought again: whoever published it has no
receipt, and neighbours compare. Bounded in number, bytes and time; `keeping.py` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from dms3.chain.action import SignedAction
from dms3.chain.ops import Op, op_id, op_id_of
from dms3.core.cid import Cid
from dms3.core.ids import OverlayId
from dms3.core.limits import IN_HAND_ACTIONS_MAX, IN_HAND_BYTES_MAX, IN_HAND_US_MAX
from dms3.core.machine import Now


@dataclass(slots=True, eq=False)
class Taken:
    """An action with the ops that have come of it; `entries`: what these carry, by hash.

    `peer`: who brought it first. `received_us`: wall clock, `since_us`: monotonic.
    """

    overlay: OverlayId
    signed: SignedAction
    peer: bytes
    received_us: int
    since_us: int
    ops: dict[tuple[str, bytes], None] = field(default_factory=dict)
    entries: dict[Cid, bytes] = field(default_factory=dict)

    @property
    def key(self) -> tuple[OverlayId, Cid]:
        """Under which it is found."""
        return self.overlay, self.signed.hash


class InHand:
    """Of all overlays, the oldest first."""

    def __init__(self) -> None:
        self._taken: dict[tuple[OverlayId, Cid], Taken] = {}
        self._ids: set[bytes] = set()  # overlay and id of each op; asked whether it contains
        self._entries: dict[tuple[OverlayId, Cid], tuple[bytes, int]] = {}  # and of how many
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._taken)

    def find(self, overlay: OverlayId, hash_: Cid) -> Taken | None:
        """The action with that hash, if it is in hand."""
        return self._taken.get((overlay, hash_)) if self._taken else None

    def has_op(self, overlay: OverlayId, op_id_: bytes) -> bool:
        """Whether the op with that id is in hand."""
        return overlay + op_id_ in self._ids

    def entry(self, overlay: OverlayId, cid: Cid) -> bytes | None:
        """The entry with that hash, if an action in hand has brought it."""
        found = self._entries.get((overlay, cid)) if self._entries else None
        return None if found is None else found[0]

    def has_room(self, op: Op) -> bool:
        """Whether one more action may come with `op`."""
        size = len(op.signed.data) + sum(len(data) for _, data in carried(op))
        return len(self._taken) < IN_HAND_ACTIONS_MAX and self._bytes + size <= IN_HAND_BYTES_MAX

    def has_room_beside(self, taken: Taken, op: Op) -> bool:
        """Whether `op`, of an action that is in hand, may come, too."""
        more = sum(len(data) for cid, data in carried(op) if cid not in taken.entries)
        return self._bytes + more <= IN_HAND_BYTES_MAX

    def begin(self, overlay: OverlayId, op: Op, peer: bytes, now: Now) -> None:
        """An action has come with its first op."""
        taken = Taken(overlay, op.signed, peer, now.wall_us, now.mono_us)
        self._taken[taken.key] = taken
        self._bytes += len(op.signed.data)
        self.add(taken, op)

    def add(self, taken: Taken, op: Op) -> None:
        """One more op of an action that is in hand."""
        taken.ops[op.kind, op.basis] = None
        self._ids.add(taken.overlay + op_id(op))
        for cid, data in carried(op):
            if cid not in taken.entries:
                taken.entries[cid] = data
                count = self._entries.get((taken.overlay, cid), (b"", 0))[1]
                self._entries[taken.overlay, cid] = data, count + 1
                self._bytes += len(data)

    def remove(self, taken: Taken) -> None:
        """It is in hand no more: it is written now."""
        del self._taken[taken.key]
        for kind, basis in taken.ops:
            self._ids.discard(taken.overlay + op_id_of(kind, basis, taken.signed))
        for cid in taken.entries:
            data, count = self._entries.pop((taken.overlay, cid))
            if count > 1:
                self._entries[taken.overlay, cid] = data, count - 1
        self._bytes -= len(taken.signed.data) + sum(map(len, taken.entries.values()))

    def of(self, overlay: OverlayId) -> list[Taken]:
        """All of an overlay."""
        return [taken for taken in self._taken.values() if taken.overlay == overlay]

    def late(self, now: Now) -> list[Taken]:
        """Those that have been in hand for too long."""
        before_us = now.mono_us - IN_HAND_US_MAX
        return [taken for taken in self._taken.values() if taken.since_us <= before_us]

    @property
    def due_us(self) -> int | None:
        """When (monotonic) the oldest will have been in hand for too long."""
        taken = next(iter(self._taken.values()), None)
        return None if taken is None else taken.since_us + IN_HAND_US_MAX


def carried(op: Op) -> Iterator[tuple[Cid, bytes]]:
    """The entries that an op carries, with their hashes."""
    action = op.signed.action
    for cid, data in ((action.entry, op.entry), (action.sealed, op.sealed)):
        if cid is not None and data is not None:
            yield cid, data
