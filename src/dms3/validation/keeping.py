"""What comes is in hand while it is judged; written with its verdict, or as pending if it waits.

Source: docs/chains.md, "How an op is judged"; docs/adr/0011-written-with-the-verdict.md. Judges
nothing; whoever waits for what an op carries is woken.
"""

from __future__ import annotations

from dms3.chain.ops import Op
from dms3.chain.rules import is_ahead
from dms3.core.cid import Cid
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId
from dms3.core.limits import IN_HAND_US_MAX
from dms3.validation.holding import Held, Holding
from dms3.validation.in_hand import Taken, carried
from dms3.validation.judging import Judging

_LATE = "in hand"


class Keeping:
    """Fills `holding` with what comes."""

    def __init__(self, desk: Desk, holding: Holding, judging: Judging) -> None:
        self._desk = desk
        self._judging = judging
        self._holding = holding
        self._in_hand = holding.in_hand

    def begin(self, overlay: OverlayId, op: Op, peer: bytes) -> None:
        """An action that was not here comes with its first op; what is to wait is pending."""
        now, signed = self._desk.now, op.signed
        if self._in_hand.has_room(op) and not is_ahead(signed.action, now.wall_us):
            self._in_hand.begin(overlay, op, peer, now)
            self._wake(overlay, op)
            if not self._desk.has_alarm(_LATE):
                self._desk.after(_LATE, IN_HAND_US_MAX, self._late)
            return
        self._holding.add_action(overlay, Held(signed, "pending", received_us=now.wall_us))
        self._holding.pend(overlay, signed.hash, peer)
        self.add(overlay, op, "pending")

    def add(self, overlay: OverlayId, op: Op, state: str) -> Cid | None:
        """One more op of an action in `state`; another action at its place, if one is known now."""
        taken = self._in_hand.find(overlay, op.signed.hash)
        if taken is not None and self._in_hand.has_room_beside(taken, op):
            self._in_hand.add(taken, op)
            self._wake(overlay, op)
            return None
        self.write_down(overlay, op.signed.hash)
        for cid, data in carried(op):
            self._holding.add_entry(overlay, cid, data)
        self._wake(overlay, op)
        return self._holding.add_op(overlay, op.kind, op.basis, op.signed, state)

    def brings(self, overlay: OverlayId, op: Op) -> int:
        """The bytes that an op of an action that came before brings, and that do not lie here."""
        taken = self._in_hand.find(overlay, op.signed.hash)
        known = {} if taken is None else taken.entries
        return sum(
            len(data)
            for cid, data in carried(op)
            if cid not in known and not self._holding.has_entry(overlay, cid)
        )

    def write_down(self, overlay: OverlayId, hash_: Cid) -> None:
        """Keep an action that is in hand as pending; others are kept."""
        taken = self._in_hand.find(overlay, hash_)
        if taken is not None:
            self._write(taken)

    def write_all(self, overlay: OverlayId) -> None:
        """Keep all that is in hand there: nothing of it is judged now."""
        for taken in self._in_hand.of(overlay):
            self._write(taken)

    def _wake(self, overlay: OverlayId, op: Op) -> None:
        for cid, _ in carried(op):
            self._judging.wake(overlay, cid)

    def _write(self, taken: Taken) -> None:
        self._holding.write(taken)
        self._holding.pend(taken.overlay, taken.signed.hash, taken.peer)

    def _late(self) -> None:
        """What has been in hand for so long has to wait, whatever for."""
        for taken in self._in_hand.late(self._desk.now):
            self._write(taken)
        due_us = self._in_hand.due_us
        if due_us is not None:
            self._desk.after(_LATE, due_us - self._desk.now.mono_us, self._late)
