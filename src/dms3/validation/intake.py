"""Ops that peers publish: decoded, bounded, kept, judged, and answered with receipts.

Source: docs/wire.md, "/dms3/chain/1"; docs/attacks.md, "Somebody in an app's overlay". A verdict
is made once per action and serves all its ops. What is told is durable before it is told; the
answer waits for verdicts a little, and what is decided later is said in a note.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dms3.chain.action import SignedAction
from dms3.chain.messages import OpResult, Publish, Published
from dms3.chain.ops import Op, decode_op, op_id_of
from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Failure, Retry
from dms3.core.ids import OverlayId, PeerId, RequestId
from dms3.core.limits import (
    DETAIL_CHARS_MAX,
    PUBLISH_ANSWER_US,
    PUBLISHES_OF_ONE_MAX,
    PUBLISHES_OPEN_MAX,
)
from dms3.core.overlay import RankNear
from dms3.core.verdict import Valid, Verdict
from dms3.validation.blocking import RULE, WHY
from dms3.validation.deciding import Deciding
from dms3.validation.holders import LIED, Holders, Signatures
from dms3.validation.holding import Held

_BUSY = Failure("limit_reached", "Too many publishes are open here.", Retry.LATER)
_BLOCKED = OpResult("refused", rule=RULE, detail=WHY)
_FORGED = OpResult("refused", rule="signature", detail="its author has not signed it")


@dataclass(slots=True, eq=False)
class _Publishing:
    """A publish of `peer` on its way to its answer; `results` None: not decided yet."""

    number: int
    peer: PeerId
    overlay: OverlayId
    request: RequestId
    results: list[OpResult | None]
    ops: dict[int, Op] = field(default_factory=dict)  # that are not decided yet, by their place


class Intake:
    """What comes in. `deciding` keeps and judges."""

    def __init__(self, deciding: Deciding, holders: Holders, signatures: Signatures) -> None:
        self._deciding = deciding
        self._desk = deciding.desk
        self._holders = holders
        self._signatures = signatures
        self._open: dict[RequestId, _Publishing] = {}
        self._count = 0

    @property
    def open(self) -> int:
        """Publishes that are not answered yet."""
        return len(self._open)

    def publish(
        self, peer: PeerId, overlay: OverlayId, publish: Publish, request: RequestId
    ) -> None:
        """Take what may be taken; the answer comes now or within PUBLISH_ANSWER_US."""
        of_peer = sum(each.peer == peer for each in self._open.values())
        if len(self._open) >= PUBLISHES_OPEN_MAX or of_peer >= PUBLISHES_OF_ONE_MAX:
            self._desk.reply(request, _BUSY)
            return
        self._count += 1
        results: list[OpResult | None] = [None] * len(publish.ops)
        publishing = _Publishing(self._count, peer, overlay, request, results)
        self._open[request] = publishing
        for place, data in enumerate(publish.ops):
            self._read(publishing, place, data)
        self._deciding.heed.published(overlay, peer, publishing.ops.values())
        self._deciding.published(overlay, peer, tuple(publishing.ops.values()))
        targets = tuple(op.location for op in publishing.ops.values())
        if not targets:
            self._answer(publishing)
            return
        rank = RankNear(overlay, targets)
        self._desk.call("dht.rank", rank, lambda body: self._ranked(publishing, body))

    def withdrawn(self, request: RequestId) -> None:
        """The peer waits no more; what it brought is judged all the same."""
        publishing = self._open.pop(request, None)
        if publishing is not None:
            self._desk.no_alarm(_alarm(publishing))

    def shut(self, overlay: OverlayId) -> None:
        """Nothing is judged there any more."""
        for publishing in list(self._open.values()):
            if publishing.overlay == overlay:
                self._end(publishing, OpResult("unknown"))

    def _read(self, publishing: _Publishing, place: int, data: bytes) -> None:
        try:
            op = decode_op(data)
        except DecodeError as error:
            detail = error.reason[:DETAIL_CHARS_MAX]
            publishing.results[place] = OpResult("refused", detail=detail)
            self._holders.blame(publishing.peer, LIED)
            return
        if op.signed.action.dna != publishing.overlay:
            publishing.results[place] = OpResult("refused", detail="it is of another app")
        elif not self._signatures.holds(op.signed):
            publishing.results[place] = _FORGED
            self._holders.blame(publishing.peer, LIED)
        else:
            publishing.ops[place] = op

    def _ranked(self, publishing: _Publishing, body: Any) -> None:
        if self._open.get(publishing.request) is not publishing:
            return  # the peer has gone, and will bring it again
        if isinstance(body, Failure):
            self._end(publishing, OpResult("unknown"))
            return
        for (place, op), rank in zip(list(publishing.ops.items()), body, strict=True):
            self._take(publishing, place, op, near=rank.keeps)
        if publishing.ops:
            wait = PUBLISH_ANSWER_US
            pending = OpResult("pending")
            self._desk.after(_alarm(publishing), wait, lambda: self._end(publishing, pending))
        else:
            self._answer(publishing)

    def _take(self, publishing: _Publishing, place: int, op: Op, *, near: bool) -> None:
        deciding, overlay = self._deciding, publishing.overlay
        held = deciding.find(overlay, op.signed.hash)
        if held is not None and held.state == "integrated" and deciding.has(overlay, op):
            self._set(publishing, place, self._receipt(overlay, op))
            return
        if not near:
            self._set(publishing, place, OpResult("far"))
            return
        if held is None and deciding.heed.refuses(overlay, op.signed):
            self._set(publishing, place, _BLOCKED)
            return
        why = deciding.take(overlay, op, publishing.peer)
        held = deciding.find(overlay, op.signed.hash)
        if why:
            self._set(publishing, place, OpResult("busy", detail=why[:DETAIL_CHARS_MAX]))
        elif held is not None and held.verdict is not None:
            self._set(publishing, place, self._result(overlay, op, held))
        else:
            self._wait(publishing, place, op)

    def _wait(self, publishing: _Publishing, place: int, op: Op) -> None:
        """Its verdict comes, or its case begins to wait for something."""
        hash_ = op.signed.hash

        def decided(signed: SignedAction, verdict: Verdict) -> None:
            del signed, verdict
            held = self._deciding.find(publishing.overlay, hash_)
            if self._is_open(publishing, place) and held is not None:
                self._set(publishing, place, self._result(publishing.overlay, op, held))
                self._answer_if_done(publishing)

        def waits() -> None:
            if self._is_open(publishing, place):
                self._later(publishing, place, op)
                self._answer_if_done(publishing)

        if not self._deciding.watch(publishing.overlay, hash_, decided, waits):
            self._later(publishing, place, op)  # it waits for something already

    def _later(self, publishing: _Publishing, place: int, op: Op) -> None:
        self._set(publishing, place, OpResult("pending"))
        op_id = op_id_of(op.kind, op.basis, op.signed)
        self._deciding.tell(publishing.overlay, op.signed.hash, publishing.peer, op_id)

    def _result(self, overlay: OverlayId, op: Op, held: Held) -> OpResult:
        verdict = held.verdict
        if isinstance(verdict, Valid):
            return self._receipt(overlay, op)
        return self._deciding.refusal(held)

    def _receipt(self, overlay: OverlayId, op: Op) -> OpResult:
        op_id = op_id_of(op.kind, op.basis, op.signed)
        return OpResult("held", self._deciding.receipt(overlay, op_id))

    # The answer

    def _is_open(self, publishing: _Publishing, place: int) -> bool:
        is_there = self._open.get(publishing.request) is publishing
        return is_there and place in publishing.ops

    def _set(self, publishing: _Publishing, place: int, result: OpResult) -> None:
        publishing.results[place] = result
        publishing.ops.pop(place, None)

    def _end(self, publishing: _Publishing, rest: OpResult) -> None:
        """Answer now; `rest` is said of what is not decided."""
        for place, op in list(publishing.ops.items()):
            if rest.code == "pending":
                self._later(publishing, place, op)
            else:
                self._set(publishing, place, rest)
        self._answer_if_done(publishing)

    def _answer_if_done(self, publishing: _Publishing) -> None:
        if not publishing.ops and self._open.get(publishing.request) is publishing:
            self._answer(publishing)

    def _answer(self, publishing: _Publishing) -> None:
        self._desk.no_alarm(_alarm(publishing))
        del self._open[publishing.request]
        results = tuple(each for each in publishing.results if each is not None)
        self._desk.reply(publishing.request, encode(Published(results)))


def _alarm(publishing: _Publishing) -> str:
    return f"publish:{publishing.number}"
