"""Warrants that gossip brings: judged as any action, and handed on when they were news.

Source: docs/chains.md, "Convicted"; `core/gossip.py`, HeardGossip. What is not signed, or no
warrant at all, is its sender's fault; a false one is handed on, since it convicts its issuer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from dms3.chain.action import SignedAction
from dms3.chain.operations_validation import Record
from dms3.chain.ops import Op, decode_op
from dms3.chain.warrant import FALSE, accused_of, check_evidence, decode_news
from dms3.core.errors import DecodeError, Failure, Retry
from dms3.core.gossip import HeardGossip
from dms3.core.ids import OverlayId, PeerId, RequestId
from dms3.core.limits import (
    ISSUERS_KEPT_MAX,
    SECOND_US,
    WARRANT_ANSWER_US,
    WARRANTS_OF_ONE_MAX,
    WARRANTS_OF_PEER_MAX,
    WARRANTS_OPEN_MAX,
    WARRANTS_OPEN_OF_PEER_MAX,
    WARRANTS_WAITING_MAX,
)
from dms3.core.verdict import Invalid, Valid, Verdict
from dms3.validation.deciding import Deciding
from dms3.validation.holders import LIED, MALFORMED, Signatures
from dms3.validation.judging import Case, Judging
from dms3.validation.needs import Need
from dms3.validation.warranting import Tools, Warranting

_HOUR_US = 3_600 * SECOND_US
_CROWDED = Failure("limit_reached", "Too many warrants are being judged.", Retry.LATER)
_LATE = Failure("timed_out", "The warrant could not be judged yet.", Retry.LATER)


class Hearing:
    """Warrants heard and not judged yet."""

    def __init__(
        self,
        judging: Judging,
        deciding: Deciding,
        tools: Tools,
        signatures: Signatures,
        warranting: Warranting,
    ) -> None:
        self._desk = deciding.desk
        self._judging = judging
        self._deciding = deciding
        self._known = tools.known
        self._signatures = signatures
        self._convicting = tools.convicting
        self._blocking = tools.blocking
        self._voices = tools.voices
        self._warranting = warranting
        self._open: dict[RequestId, tuple[OverlayId, PeerId]] = {}
        self._cases: dict[Case, PeerId] = {}  # by whom; they go on when gossip was answered
        self._heard: dict[tuple[OverlayId, bytes], list[int]] = {}  # when, within the last hour

    def heard(self, asked: HeardGossip, request: RequestId) -> None:
        """Answer whether it was news, or a Failure: the sender's, or that it could not be judged.

        What could not be judged may be heard again, and goes on by itself when it was good.
        """
        try:
            warrant, data = decode_news(asked.body)
            op = _op_of(warrant, data)
        except DecodeError as error:
            self._desk.reply(request, Failure(MALFORMED, error.message))
            return
        overlay, action = asked.overlay, warrant.action
        if not self._signatures.holds(warrant):
            self._desk.reply(request, Failure(LIED, "The issuer has not signed this warrant."))
            return
        wrong = check_evidence(action.proof, overlay, action.to)
        if wrong or action.dna != overlay:
            self._desk.reply(request, Failure(LIED, wrong or "It is a warrant of another app."))
            return
        if not self._is_news(overlay, warrant):
            self._desk.reply(request, self._is_kept(overlay, warrant))
        elif self._is_judged_now(overlay, warrant):
            self._desk.reply(request, _LATE)
        elif self._is_crowded(asked.peer):
            self._desk.reply(request, _CROWDED)
        elif not self._admits(overlay, action.author):
            self._desk.reply(request, False)
        else:
            self._bring(overlay, op)
            self._judge(asked, warrant, request)

    def shown(self, overlay: OverlayId, warrant: SignedAction, peer: PeerId) -> None:
        """`peer` holds a warrant, whose signature is good: judge it as one that gossip brings."""
        action = warrant.action
        is_fit = action.kind == "warrant" and not check_evidence(action.proof, overlay, action.to)
        is_new = is_fit and self._is_news(overlay, warrant)
        if not is_new or self._is_judged_now(overlay, warrant):
            return

        def judged(verdict: Verdict) -> None:
            if isinstance(verdict, Valid):
                self._warranting.holds(overlay, warrant)

        if self._admits(overlay, action.author):
            self._borrow(overlay, warrant, peer, judged)

    def withdrawn(self, request: RequestId) -> None:
        """Gossip waits no more; what is judged is judged."""
        self._open.pop(request, None)
        self._desk.no_alarm(_alarm(request))

    def shut(self, overlay: OverlayId) -> None:
        """Nothing is judged there any more."""
        for request in [each for each, (where, _) in self._open.items() if where == overlay]:
            self._answer(request, _LATE)
        for case in [case for case in self._cases if case.overlay == overlay]:
            self._leave(case)

    def _is_news(self, overlay: OverlayId, warrant: SignedAction) -> bool:
        """Whether it says what too few have said yet, and who says it is listened to."""
        row = self._convicting.row(overlay, warrant.action.to)
        known = self._deciding.find(overlay, warrant.hash)
        judged = known is not None and known.verdict is not None
        said = row is not None and bool(row.warrant) and row.standing != "pardoned"
        said = said and not self._voices.wants(overlay, warrant)
        return not judged and not said and not self._blocking.refuses(overlay, warrant)

    def _is_kept(self, overlay: OverlayId, warrant: SignedAction) -> bool:
        """Whether it came as an op, and was found valid: others may not have it."""
        known = self._deciding.find(overlay, warrant.hash)
        valid = known is not None and isinstance(known.verdict, Valid)
        return valid and self._voices.has(overlay, warrant)

    def _is_judged_now(self, overlay: OverlayId, warrant: SignedAction) -> bool:
        """Whether it was brought before, and waits."""
        return any(
            case.signed.hash == warrant.hash and case.overlay == overlay and not case.over
            for case in self._cases
        )

    def _is_crowded(self, peer: PeerId) -> bool:
        """Whether too many are being judged, of all or of those that `peer` has brought."""
        own = sum(by == peer for _, by in self._open.values())
        return len(self._open) >= WARRANTS_OPEN_MAX or own >= WARRANTS_OPEN_OF_PEER_MAX

    def _admits(self, overlay: OverlayId, issuer: bytes) -> bool:
        """Count one more of an issuer; whether it is looked at."""
        key, since_us = (overlay, issuer), self._desk.now.mono_us - _HOUR_US
        recent = [us for us in self._heard.pop(key, ()) if us > since_us]
        if len(self._heard) >= ISSUERS_KEPT_MAX:
            del self._heard[next(iter(self._heard))]
        self._heard[key] = recent
        if len(recent) >= WARRANTS_OF_ONE_MAX:
            return False
        recent.append(self._desk.now.mono_us)
        return True

    def _bring(self, overlay: OverlayId, op: Op | None) -> None:
        """What is to be judged again has come along."""
        if op is not None and op.entry is not None:
            entry = op.signed.action.entry
            assert entry is not None, "an op carries the entry of its action"
            self._known.bring(overlay, Need("entry", entry), op.entry)

    def _judge(self, asked: HeardGossip, warrant: SignedAction, request: RequestId) -> None:
        overlay, peer = asked.overlay, asked.peer
        self._open[request] = overlay, peer

        def late() -> None:
            self._answer(request, _LATE)

        def judged(verdict: Verdict) -> None:
            false = isinstance(verdict, Invalid) and verdict.rule == FALSE
            if isinstance(verdict, Valid):
                self._warranting.holds(overlay, warrant)
            news = false or isinstance(verdict, Valid)
            if not self._answer(request, news) and news:
                self._warranting.telling.spread(overlay, warrant)  # gossip did not wait for it

        self._desk.after(_alarm(request), WARRANT_ANSWER_US, late)
        self._borrow(overlay, warrant, peer, judged)

    def _borrow(
        self,
        overlay: OverlayId,
        warrant: SignedAction,
        peer: PeerId,
        judged: Callable[[Verdict], None],
    ) -> None:
        case = self._deciding.borrow(overlay, Record(warrant), judged)
        if case is not None:
            self._wait(case, peer)

    def _wait(self, case: Case, peer: PeerId) -> None:
        """Whoever waits for what nobody may have gives way: of `peer` when it has its share.

        Else of whoever has brought most, the oldest first.
        """
        self._cases = {each: by for each, by in self._cases.items() if not each.over}
        of_peer = Counter(self._cases.values())
        if of_peer[peer] >= WARRANTS_OF_PEER_MAX:
            self._leave_one(peer)
        elif len(self._cases) >= WARRANTS_WAITING_MAX:
            self._leave_one(max(of_peer, key=lambda each: of_peer[each]))
        self._cases[case] = peer

    def _leave_one(self, peer: PeerId) -> None:
        self._leave(next(case for case, by in self._cases.items() if by == peer))

    def _leave(self, case: Case) -> None:
        del self._cases[case]
        self._judging.cancel(case)

    def _answer(self, request: RequestId, answer: bool | Failure) -> bool:
        """Tell gossip; False when it was told, or has gone."""
        self._desk.no_alarm(_alarm(request))
        if self._open.pop(request, None) is None:
            return False
        self._desk.reply(request, answer)
        return True


def _op_of(warrant: SignedAction, data: bytes) -> Op | None:
    """The op that came with a warrant: of the action that it accuses; raises DecodeError."""
    if not data:
        return None
    op = decode_op(data)
    accused = accused_of(warrant.action)
    if accused is None or op.signed.hash != accused.hash:
        raise DecodeError(0, "it came with an op of another action than it accuses")
    return op


def _alarm(request: RequestId) -> str:
    return f"heard:{request}"
