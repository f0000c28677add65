"""Machine "validation": it joins its parts and gives each its events.

Source: docs/chains.md, "How an op is judged"; `chain/operations_validation.py` lists what it is
asked. Which apps are open is not kept: the node opens them at every start, and what waited goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dms3.chain.membrane import membrane_values
from dms3.chain.messages import MINORS, PROTOCOL, decode_chain_question, decode_receipt_note
from dms3.chain.operations import NoteReceipts
from dms3.chain.operations_validation import (
    KeepRecords,
    OpenApp,
    OpFigures,
    OpState,
    Recall,
)
from dms3.core.admission import STRANGER, Admission
from dms3.core.cid import Cid
from dms3.core.codec import encode
from dms3.core.desk import Desk, Operation
from dms3.core.errors import DecodeError, Dms3Error, Failure, Retry
from dms3.core.gossip import HeardGossip
from dms3.core.ids import OverlayId, PeerId, RequestId, short
from dms3.core.limits import CHAIN_ASK_BURST_US, CHAIN_ASK_COST_US, READS_OPEN_MAX
from dms3.core.machine import (
    Answered,
    Called,
    ClockJumped,
    Effect,
    Event,
    Now,
    PeerDown,
    PeerUp,
    Received,
    Requested,
    View,
    Withdrawn,
)
from dms3.core.neighbourhood import Duty
from dms3.core.overlay import JoinOverlay
from dms3.core.pace import Pace
from dms3.crypto.signing import SigningKey
from dms3.validation.alignment import together, weight_of
from dms3.validation.blocking import SHUNNED
from dms3.validation.holders import MALFORMED
from dms3.validation.parts import Parts
from dms3.validation.telling import TOPIC

__all__ = ["MINORS", "NAME", "PROTOCOL", "Validation"]

NAME = "validation"
_LATE = "late rows"
_READS = ("get", "links", "activity")
_TOO_OFTEN = Failure("limit_reached", "You ask too often; wait a moment.", Retry.LATER)
_ELSEWHERE = Failure("not_found", "This node is not in that app.", Retry.OTHER_PEER)


class Validation:
    """The machine of the node whose key is `signing`; `admission`: who may be answered."""

    def __init__(self, signing: SigningKey, admission: Admission | None = None) -> None:
        self._admission = admission or Admission()
        self._desk = Desk()
        self._parts = Parts(self._desk, signing, self._admission)
        self._open: dict[OverlayId, None] = {}
        self._pace = Pace(CHAIN_ASK_COST_US, CHAIN_ASK_BURST_US)
        parts = self._parts
        self._operations: dict[str, Operation] = {
            "open": self._open_app,
            "shut": self._shut,
            "judge": parts.bench.own.judge,
            "keep": self._keep,
            "get": parts.reads.finding.get,
            "links": parts.reads.linking.links,
            "activity": parts.reads.following.activity,
            "trace": self._trace,
            "figures": self._figures,
            "reconcile": self._reconcile,
            "totals": self._totals,
            "warrants": parts.court.list,
            "voices": parts.court.voices_of,
            "block": parts.court.block,
            "pardon": parts.court.pardon,
            "heard": self._heard,
            "heed": self._heed,
            "recall": self._recall,
        }
        self._topics: dict[str, Callable[[HeardGossip, RequestId], None]] = {
            TOPIC: parts.court.hearing.heard,
        }

    # The machine

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Nothing is open yet."""
        self._desk.now = now
        self._parts.rows.load(view)
        return self._desk.take()

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Commands, answers, peers' questions."""
        self._desk.now = now
        match event:
            case Answered(token, body):
                self._desk.answered(token, body)
            case Called(operation, arguments, request):
                self._called(operation, arguments, request)
            case Requested():
                self._requested(event)
            case Received(peer, _, body):
                self._noted(peer, body)
            case Withdrawn(request):
                self._parts.withdrawn(request)
            case PeerUp(peer, _, inbound):
                self._parts.alignment.reconciling.up(peer, inbound=inbound)
            case PeerDown(peer):
                self._pace.forget(peer)
            case ClockJumped():
                self._parts.deciding.clock_jumped()
                self._parts.alignment.reconciling.woken()
        return self._take()

    def on_timer(self, now: Now) -> list[Effect]:
        """Pauses that are over."""
        self._desk.now = now
        self._desk.ring()
        return self._take()

    def next_timer(self) -> int | None:
        """The earliest alarm."""
        return self._desk.next_alarm()

    def _take(self) -> list[Effect]:
        parts = self._parts
        parts.judging.settle()
        if not parts.rows.has_late:
            parts.holding.write_counts()
        elif not self._desk.has_alarm(_LATE):
            self._desk.after(_LATE, 0, parts.rows.flush)
        parts.rows.settle()
        return self._desk.take()

    # Questions

    def _called(self, operation: str, arguments: Any, request: RequestId) -> None:
        try:
            self._operation(operation, arguments)(arguments, request)
        except Dms3Error as error:
            self._desk.reply(request, Failure.of(error))

    def _operation(self, name: str, arguments: Any) -> Callable[[Any, RequestId], None]:
        """What carries out operation `name`; raises when it cannot be now."""
        method = self._operations.get(name)
        if method is None:
            raise Dms3Error("method_unknown", f"validation has no {name!r}.")
        overlay = getattr(arguments, "overlay", None)
        if overlay is not None and overlay not in self._open:
            raise Dms3Error("not_found", f"App {short(overlay)} is not open on this node.")
        if name in _READS and self._parts.reads.open >= READS_OPEN_MAX:
            raise Dms3Error("limit_reached", "Too many reads are under way; try again later.")
        return method

    def _requested(self, event: Requested) -> None:
        peer, request = event.peer, event.request
        if self._pace.wait_us(peer, 1, self._desk.now):
            self._desk.reply(request, _TOO_OFTEN)
            return
        try:
            question = decode_chain_question(event.body)
        except DecodeError as error:
            self._desk.reply(request, Failure(MALFORMED, error.message))
            self._parts.holders.blame(peer, MALFORMED)
            return
        overlay = OverlayId(question.overlay)
        if overlay not in self._open:
            self._desk.reply(request, _ELSEWHERE)
        elif not self._admission.admits(overlay, peer, self._desk.now.wall_us):
            self._desk.reply(request, STRANGER)
        elif self._parts.court.blocking.shuns(overlay, peer):
            self._desk.reply(request, SHUNNED)
        elif question.fetch is not None:
            answer = self._parts.serving.answer(overlay, question.fetch)
            self._desk.reply(request, encode(answer))
        elif question.publish is not None:
            self._publish(peer, overlay, question.publish, request)
        elif self._pace.wait_us(peer, weight_of(question), self._desk.now):
            self._desk.reply(request, _TOO_OFTEN)
        else:
            self._parts.alignment.answer(peer, question, request)

    def _noted(self, peer: PeerId, body: bytes) -> None:
        """A peer says what became of pending ops: machine "source" knows whose they are."""
        if self._pace.wait_us(peer, 1, self._desk.now):
            return
        try:
            note = decode_receipt_note(body)
        except DecodeError:
            self._parts.holders.blame(peer, MALFORMED)
            return
        pairs = zip(note.ops, note.results, strict=True)
        receipts = tuple((op, result.receipt) for op, result in pairs if result.receipt)
        if receipts and note.overlay in self._open:
            told = NoteReceipts(OverlayId(note.overlay), peer, receipts)
            self._desk.call("source.receipts", told, lambda _: None)

    def _publish(self, peer: PeerId, overlay: OverlayId, publish: Any, request: RequestId) -> None:
        weight = len(publish.ops) - 1
        if weight and self._pace.wait_us(peer, weight, self._desk.now):
            self._desk.reply(request, _TOO_OFTEN)
            return
        self._parts.intake.publish(peer, overlay, publish, request)

    def _heard(self, asked: HeardGossip, request: RequestId) -> None:
        """What gossip brings; whose topic it is stands in `core/gossip.py`."""
        topic = self._topics.get(asked.topic)
        if topic is None:
            self._desk.reply(request, False)
        else:
            topic(asked, request)

    def _heed(self, apps: tuple[OverlayId, ...], request: RequestId) -> None:
        """Warrants of these apps count for a network from now on."""
        for overlay in apps:
            if overlay in self._open:
                self._parts.court.warranting.heed(overlay)
        self._desk.reply(request, None)

    def _recall(self, asked: Recall, request: RequestId) -> None:
        """Somebody has come into a network for which these apps count."""
        for app in asked.apps:
            self._parts.court.recalling.recall(OverlayId(app), asked.root)
        self._desk.reply(request, None)

    # Apps

    def _open_app(self, asked: OpenApp, request: RequestId) -> None:
        dna = asked.dna
        duty = Duty(dna.r, dna.q_min, dna.q_max)
        if dna.id not in self._open:
            self._open[dna.id] = None
            self._parts.judging.open(dna)
            self._parts.court.open(dna.id)
            self._parts.deciding.resume(dna.id)
            self._parts.alignment.open(dna.id, duty)

        def joined(body: Any) -> None:
            failed = isinstance(body, Failure)
            self._desk.reply(request, body if failed else None)

        join = JoinOverlay(
            dna.id, membrane_values(dna.gates.outer), asked.proof, duty, asked.certificate
        )
        self._desk.call("dht.join", join, joined)

    def _shut(self, overlay: OverlayId, request: RequestId) -> None:
        if overlay in self._open:
            del self._open[overlay]
            self._parts.shut(overlay)
            self._desk.call("dht.leave", overlay, lambda _: None)
        self._desk.reply(request, None)

    # Own actions, and what is asked of what is here

    def _keep(self, asked: KeepRecords, request: RequestId) -> None:
        """Machine "source" has them on disk, and asks again after a crash: it is answered at once.

        The rows are written with the next event, before any peer can have answered for them: so
        whoever finds them published finds them here, too. No more than one bundle is late.
        """
        deciding, rows = self._parts.deciding, self._parts.rows
        known = any(deciding.find(asked.overlay, each.signed.hash) for each in asked.records)
        if known or rows.has_late:
            deciding.keep(asked.overlay, asked.records)  # of what is known somebody may be told
        else:
            with rows.late():
                deciding.keep(asked.overlay, asked.records)
        self._desk.reply(request, None)

    def _trace(self, hash_: Cid, request: RequestId) -> None:
        found: list[OpState] = []
        for overlay in self._open:
            found += self._parts.deciding.trace(overlay, hash_)
        self._desk.reply(request, tuple(found))

    def _totals(self, _: None, request: RequestId) -> None:
        """The figures of all apps that are open, together."""
        self._desk.reply(request, together(map(self._op_figures, self._open)))

    def _figures(self, overlay: OverlayId, request: RequestId) -> None:
        self._desk.reply(request, self._op_figures(overlay))

    def _op_figures(self, overlay: OverlayId) -> OpFigures:
        counts = self._parts.holding.counts(overlay)
        states = tuple(sorted(counts.ops.items()))
        repair = self._parts.alignment.figures(overlay)
        return OpFigures(states, counts.bytes, repair)

    def _reconcile(self, overlay: OverlayId, request: RequestId) -> None:
        """Compare with a neighbour now."""
        if overlay not in self._open:
            raise Dms3Error("not_found", f"App {short(overlay)} is not open on this node.")
        self._parts.alignment.reconciling.hurry(overlay)
        self._desk.reply(request, None)
