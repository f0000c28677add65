"""Actions that are held: decided once, kept while they wait, told to whoever wants to know.

Source: docs/chains.md, "How an op is judged". A verdict is durable before it is told; `keeping.py`
says when the action is. Rejected actions stay as evidence; of abandoned ones nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from dms3.chain.action import SignedAction
from dms3.chain.messages import PROTOCOL, OpResult, ReceiptNote
from dms3.chain.operations_validation import OpState, Record
from dms3.chain.ops import Op, ops_of
from dms3.chain.receipt import issue_receipt
from dms3.chain.rules import is_ahead
from dms3.core.cid import Cid
from dms3.core.codec import encode
from dms3.core.desk import Desk
from dms3.core.errors import Dms3Error
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import (
    ABANDONED_US,
    CHAIN_OPS_MAX,
    CLOCK_AHEAD_US_MAX,
    NOTED_PEERS_MAX,
    PARKED_US_MAX,
)
from dms3.core.verdict import Abandoned, Invalid, Valid, Verdict
from dms3.crypto.signing import SigningKey
from dms3.validation.charges import Charges
from dms3.validation.holding import Held, Holding
from dms3.validation.judging import Case, Judging
from dms3.validation.keeping import Keeping
from dms3.validation.queue import Queue

Decided = Callable[[SignedAction, Verdict], None]

Doubt = Callable[[OverlayId, tuple[Cid, ...]], None]
"""Told of entries that may be of no use any more: see `leftovers.py`."""


Published = Callable[[OverlayId, PeerId, Sequence[Op]], None]
"""Told of ops that a peer brings by itself: see `passing.py`."""


class Heed(Protocol):
    """Who draws conclusions about authors: see `warranting.py`."""

    def judged(self, overlay: OverlayId, signed: SignedAction, verdict: Verdict) -> None:
        """The verdict on an action."""
        ...

    def forked(self, overlay: OverlayId, one: SignedAction, two: SignedAction) -> None:
        """Two actions of one author stand at one place."""
        ...

    def refuses(self, overlay: OverlayId, signed: SignedAction) -> bool:
        """Whether an action is not taken since its author is blocked."""
        ...

    def published(self, overlay: OverlayId, peer: PeerId, ops: Iterable[Op]) -> None:
        """`peer` has published these ops together."""
        ...

    def doubt(self, overlay: OverlayId, hash_: Cid) -> None:
        """The verdict on that action rests on what others say."""
        ...

    def lean(self, overlay: OverlayId, signed: SignedAction) -> None:
        """An action is valid, as far as what stands before it is."""
        ...


@dataclass(slots=True)
class _Watched:
    """Who is told when an action is decided, or begins to wait; `notes`: op ids by peer."""

    decided: list[Decided] = field(default_factory=list)
    waits: list[Callable[[], None]] = field(default_factory=list)
    notes: dict[PeerId, dict[bytes, None]] = field(default_factory=dict)


class Deciding:
    """Arguments: `desk`, `holding`, `judging`, `charges`; `signing`: the node key, for receipts."""

    def __init__(
        self, desk: Desk, holding: Holding, judging: Judging, charges: Charges, signing: SigningKey
    ) -> None:
        self.desk = desk
        self.queue = Queue()
        self._holding = holding
        self._keeping = Keeping(desk, holding, judging)
        self._judging = judging
        self._charges = charges
        self._signing = signing
        self._watched: dict[tuple[OverlayId, Cid], _Watched] = {}
        self.heed: Heed
        self.doubt: Doubt
        self.published: Published

    # Looking

    def find(self, overlay: OverlayId, hash_: Cid) -> Held | None:
        """The action with that hash, in whatever state."""
        return self._holding.action(overlay, hash_)

    def has(self, overlay: OverlayId, op: Op) -> bool:
        """Whether this op is held."""
        return self._holding.has_op(overlay, op.kind, op.basis, op.signed)

    def receipt(self, overlay: OverlayId, op_id: bytes) -> bytes:
        """This node's word that it holds the op, which is valid."""
        return issue_receipt(self._signing, overlay, op_id, self.desk.now.wall_us)

    def refusal(self, held: Held) -> OpResult:
        """What is said of an action that is not valid."""
        if held.state == "rejected":
            return OpResult("refused", b"", held.rule, held.detail, held.line)
        return OpResult("busy", detail=held.detail)

    # Taking

    def take(self, overlay: OverlayId, op: Op, peer: bytes) -> str:
        """Hold `op`, whose signature is good, and judge its action; why not, or ""."""
        signed = op.signed
        held = self._holding.action(overlay, signed.hash)
        if held is None:
            why = self._refuses(overlay, op, peer)
            if why:
                return why
            self._keeping.begin(overlay, op, peer)
            self._begin(overlay, signed, peer, _size(op))
            return ""
        if signed.signature < held.signed.signature:
            self._holding.resign(overlay, signed)
        if held.state == "abandoned":
            if held.received_us + ABANDONED_US > self.desk.now.wall_us:
                return held.detail or "it could not be judged here"
            why = self._refuses(overlay, op, peer)
            if why:
                return why
            self._add(overlay, op, "abandoned")
            self._holding.again(overlay, signed)
            self._holding.pend(overlay, signed.hash, peer)
            self._begin(overlay, signed, peer, _size(op))
            return ""
        why = self.queue.grow(overlay, signed.hash, self._keeping.brings(overlay, op))
        if not why:
            self._add(overlay, op, held.state)
        return why

    def _refuses(self, overlay: OverlayId, op: Op, peer: bytes) -> str:
        now, action = self.desk.now, op.signed.action
        if self.heed.refuses(overlay, op.signed):
            return "its author is blocked here"
        if action.time_us > now.wall_us + PARKED_US_MAX:
            return "its time is more than an hour ahead"
        why = self._charges.refuses(action.author, peer, now)
        if why:
            return why
        why = self.queue.refuses(overlay, action.author, peer, _size(op))
        old = self.queue.old(overlay, now) if why else None
        if old is not None:
            self._forget(old)
            why = self.queue.refuses(overlay, action.author, peer, _size(op))
        return why

    def _add(self, overlay: OverlayId, op: Op, state: str) -> None:
        """Keep an op and what it carries, of an action that is kept."""
        signed, action = op.signed, op.signed.action
        fork = self._keeping.add(overlay, op, state)
        self._tell_fork(overlay, signed, fork)
        if state == "rejected" or (state == "integrated" and action.kind == "agent"):
            held = self._holding.action(overlay, signed.hash)
            assert held is not None, "it is kept"
            assert held.verdict is not None, "it was decided"
            self.heed.judged(overlay, signed, held.verdict)  # more of it lies here than before

    def _begin(self, overlay: OverlayId, signed: SignedAction, peer: bytes, size: int) -> None:
        case = Case(
            overlay,
            signed,
            lambda verdict: self._decide(case, verdict),
            peer=peer,
            waits=lambda: self._waits(case),
        )
        self.queue.add(case, size)
        self._begin_when_due(case)

    def _begin_when_due(self, case: Case) -> None:
        """Judge it, or park it until its time has come."""
        wall_us = self.desk.now.wall_us
        if not is_ahead(case.signed.action, wall_us):
            self._judging.begin(case)
            return
        case.stage = "parked"
        wait_us = case.signed.action.time_us - CLOCK_AHEAD_US_MAX - wall_us
        key = f"park:{case.overlay.hex()}:{case.signed.hash}"
        self.desk.after(key, wait_us, lambda: self._due(case))

    def _due(self, case: Case) -> None:
        if not case.over and self._judging.is_open(case.overlay):
            self._begin_when_due(case)

    def clock_jumped(self) -> None:
        """The wall clock was set: who is parked may be due."""
        self.desk.hurry("park:")

    # Own actions, and those that are judged without being held

    def keep(self, overlay: OverlayId, records: Sequence[Record]) -> None:
        """Own actions, judged already; raises `content_invalid` for one that was refused here."""
        for record in records:
            signed = record.signed
            self._keeping.write_down(overlay, signed.hash)
            held = self._holding.action(overlay, signed.hash)
            if held is not None and held.state in ("rejected", "abandoned"):
                raise Dms3Error(
                    "content_invalid",
                    f"Action {signed.hash} was refused here: {held.detail}.",
                )
            if held is None:
                now_us = self.desk.now.wall_us
                own = Held(signed, "integrated", own=True, received_us=now_us)
                self._holding.add_action(overlay, own)
            elif not held.own:
                self._holding.make_own(overlay, signed)
            state = "integrated" if held is None else held.state
            for op in _public_ops(record):
                self._add(overlay, op, state)
            case = self.queue.find(overlay, signed.hash)
            if case is not None:
                self._judging.finish(case, Valid())
            elif held is None:
                self._decided(overlay, signed, Valid())

    def borrow(
        self, overlay: OverlayId, record: Record, then: Callable[[Verdict], None]
    ) -> Case | None:
        """Judge an action of elsewhere; only when it breaks a rule it is kept, as evidence.

        The result is its case, to be cancelled when the verdict is no longer wanted.
        """
        signed = record.signed
        held = self._holding.action(overlay, signed.hash)
        if held is not None and held.verdict is not None and held.state != "abandoned":
            then(held.verdict)
            return None
        if held is not None and held.state == "pending":
            self._watch(overlay, signed.hash).decided.append(lambda _, verdict: then(verdict))
            return None

        def decided(verdict: Verdict) -> None:
            if case.hearsay:
                self.heed.doubt(overlay, signed.hash)
            if isinstance(verdict, Invalid) and self._holding.action(overlay, signed.hash) is None:
                now_us = self.desk.now.wall_us
                self._holding.add_action(overlay, Held(signed, "pending", received_us=now_us))
                if record.entry is not None and signed.action.entry is not None:
                    self._holding.add_entry(overlay, signed.action.entry, record.entry)
                self._decided(overlay, signed, verdict)
            elif isinstance(verdict, Valid):
                self._judging.learn(overlay, record)
            then(verdict)

        case = Case(overlay, signed, decided, entry=record.entry, urgent=True)
        self._judging.begin(case)
        return None if case.over else case

    # Deciding

    def watch(
        self, overlay: OverlayId, hash_: Cid, decided: Decided, waits: Callable[[], None]
    ) -> bool:
        """Be told once of the verdict of a pending action, and once when it begins to wait.

        False: it waits already, and nothing is told.
        """
        case = self.queue.find(overlay, hash_)
        if case is None or case.absent or case.stage == "parked":
            return False
        watched = self._watch(overlay, hash_)
        watched.decided.append(decided)
        watched.waits.append(waits)
        return True

    def tell(self, overlay: OverlayId, hash_: Cid, peer: PeerId, op_id: bytes) -> None:
        """Send `peer` a note when that action is decided; of so many peers as may be.

        Whoever is told that it waits is told what is written.
        """
        self._keeping.write_down(overlay, hash_)
        notes = self._watch(overlay, hash_).notes
        if peer in notes or len(notes) < NOTED_PEERS_MAX:
            notes.setdefault(peer, {})[op_id] = None

    def _watch(self, overlay: OverlayId, hash_: Cid) -> _Watched:
        return self._watched.setdefault((overlay, hash_), _Watched())

    def _waits(self, case: Case) -> None:
        watched = self._watched.get((case.overlay, case.signed.hash))
        if watched is not None:
            waits, watched.waits = watched.waits, []
            for each in waits:
                each()

    def _decide(self, case: Case, verdict: Verdict) -> None:
        self.queue.remove(case)
        if self._holding.in_hand.find(case.overlay, case.signed.hash) is None:
            self._holding.unpend(case.overlay, case.signed.hash)
        if case.hearsay:
            self.heed.doubt(case.overlay, case.signed.hash)
        self._decided(case.overlay, case.signed, verdict)
        if case.unpaid and isinstance(verdict, Abandoned):
            self._drop(case.overlay, case.signed)  # whoever else brings it is listened to

    def _decided(self, overlay: OverlayId, signed: SignedAction, verdict: Verdict) -> None:
        fork = self._holding.decide(overlay, signed, verdict)
        if isinstance(verdict, Valid) and self._judging.has_rules(overlay):
            self.heed.lean(overlay, signed)
        if isinstance(verdict, Invalid):
            self._tell_rejected(overlay, signed, verdict)
        self._tell_fork(overlay, signed, fork)
        watched = self._watched.pop((overlay, signed.hash), _Watched())
        for each in watched.decided:
            each(signed, verdict)
        for peer, op_ids in watched.notes.items():
            self._note(overlay, signed, peer, list(op_ids))
        self.heed.judged(overlay, signed, verdict)
        self._judging.wake(overlay, signed.hash)

    def _note(
        self, overlay: OverlayId, signed: SignedAction, peer: PeerId, op_ids: list[bytes]
    ) -> None:
        held = self._holding.action(overlay, signed.hash)
        assert held is not None, "it was decided"
        if held.state == "abandoned":
            return
        ops = tuple(op_ids[:CHAIN_OPS_MAX])
        results = tuple(
            OpResult("held", self.receipt(overlay, op_id))
            if held.state == "integrated"
            else self.refusal(held)
            for op_id in ops
        )
        self.desk.send(peer, PROTOCOL, encode(ReceiptNote(overlay, ops, results)))

    def _forget(self, case: Case) -> None:
        """Let go of an action that has waited in vain: its author publishes it again."""
        overlay, signed = case.overlay, case.signed
        self._keeping.write_down(overlay, signed.hash)
        self._judging.cancel(case)
        self.queue.remove(case)
        self._holding.unpend(overlay, signed.hash)
        self._watched.pop((overlay, signed.hash), None)
        self._drop(overlay, signed)
        self._judging.wake(overlay, signed.hash)

    def _drop(self, overlay: OverlayId, signed: SignedAction) -> None:
        """Forget an action; its entry goes when no other one that lies here has made it."""
        self._holding.forget(overlay, signed)
        entries = (signed.action.entry, signed.action.sealed)
        self.doubt(overlay, tuple(cid for cid in entries if cid is not None))

    def trace(self, overlay: OverlayId, hash_: Cid) -> list[OpState]:
        """How far each op of an action has come here."""
        held = self._holding.action(overlay, hash_)
        if held is None:
            return []
        case = self.queue.find(overlay, hash_)
        stage = held.state if case is None or case.stage == "parked" else case.stage
        waiting = tuple(need.name for need in case.needs) if case is not None else ()
        return [
            OpState(
                kind,
                basis,
                stage,
                held.detail,
                held.rule,
                held.line,
                waiting,
                held.received_us,
            )
            for kind, basis in self._holding.ops(overlay, held.signed)
        ]

    # Opening and closing an overlay

    def resume(self, overlay: OverlayId) -> None:
        """Go on with what waited when the node stopped."""
        for held, peer in self._holding.pending(overlay):
            if self.queue.find(overlay, held.signed.hash) is None:
                self._begin(overlay, held.signed, peer, len(held.signed.data))

    def shut(self, overlay: OverlayId) -> None:
        """Judge nothing there for now; what waits stays as it is."""
        self._keeping.write_all(overlay)
        for case in self.queue.of(overlay):
            self._judging.cancel(case)
            self.queue.remove(case)
        for key in [key for key in self._watched if key[0] == overlay]:
            del self._watched[key]

    # What people are told

    def _tell_rejected(self, overlay: OverlayId, signed: SignedAction, verdict: Invalid) -> None:
        self.desk.notify(
            "chain.rejected",
            app=overlay.hex(),
            agent=signed.action.author.hex(),
            rule=verdict.rule,
            detail=verdict.detail,
            line=verdict.line,
            entry=None if signed.action.entry is None else str(signed.action.entry),
            action=str(signed.hash),
        )

    def _tell_fork(self, overlay: OverlayId, signed: SignedAction, other: Cid | None) -> None:
        if other is not None:
            self.desk.notify(
                "chain.forked",
                app=overlay.hex(),
                agent=signed.action.author.hex(),
                seq=signed.action.seq,
                actions=sorted((str(signed.hash), str(other))),
            )
            second = self._holding.action(overlay, other)
            assert second is not None, "what is listed is kept"
            self.heed.forked(overlay, signed, second.signed)


def _public_ops(record: Record) -> list[Op]:
    """Every op of an own action; a private entry stays where it is."""
    return list(ops_of(record.signed, record.entry, record.sealed))


def _size(op: Op) -> int:
    return len(op.signed.data) + len(op.entry or b"") + len(op.sealed or b"")
