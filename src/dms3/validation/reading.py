"""What several holders say, joined: who names which op, and which of them are to be believed.

Source: docs/chains.md, "What is read". An op is believed when it is valid here, when two holders
say that it is, or when judging it shows it: one liar adds nothing, and hides nothing that another
shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from dms3.chain.action import SignedAction
from dms3.chain.messages import Fetch
from dms3.chain.operations_validation import Record
from dms3.chain.ops import Op, encode_op
from dms3.core.cid import Cid
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import (
    DHT_ASK_US,
    READ_AGREE,
    READ_ENOUGH,
    READ_JUDGED_MAX,
    READ_OFFERS_MAX,
)
from dms3.core.verdict import Valid, Verdict
from dms3.validation.deciding import Deciding
from dms3.validation.holders import Answer, Heard, Holders, Reach
from dms3.validation.judging import Case, Judging
from dms3.validation.recent import Recent
from dms3.validation.serving import Row, Serving


@dataclass(slots=True)
class Seen:
    """An op and who holds it; `verdict` of this node, None as long as it has none."""

    op: Op
    holders: dict[PeerId, None] = field(default_factory=dict)
    valid: int = 0  # how many of them say that it is
    verdict: Verdict | None = None
    local: bool = False
    written_us: int = 0  # when this node wrote it, if it is its own (wall clock)

    @property
    def count(self) -> int:
        """How many nodes hold it, this one included."""
        return len(self.holders) + self.local

    @property
    def is_believed(self) -> bool:
        """Whether it may be shown as valid without judging it."""
        if self.verdict is not None:
            return isinstance(self.verdict, Valid)
        return self.valid >= READ_AGREE and self.valid == len(self.holders)


@dataclass(slots=True)
class Union:
    """All ops that anybody has named, by kind and action, in the order in which they were seen."""

    seen: dict[tuple[str, Cid], Seen] = field(default_factory=dict)

    def local(self, rows: Iterable[Row]) -> None:
        """What lies here."""
        for row in rows:
            one = self._at(row.op)
            one.local, one.verdict = True, row.held.verdict
            one.written_us = row.held.received_us if row.held.own else 0

    def heard(self, answers: Sequence[Answer]) -> None:
        """What others hold."""
        for answer in answers:
            for told in answer.ops:
                one = self._at(told.op)
                if answer.peer not in one.holders:
                    one.holders[answer.peer] = None
                    one.valid += told.state == "integrated"

    def of(self, *kinds: str) -> list[Seen]:
        """Those of some kinds."""
        return [each for (kind, _), each in self.seen.items() if kind in kinds]

    def _at(self, op: Op) -> Seen:
        return self.seen.setdefault((op.kind, op.signed.hash), Seen(op))


@dataclass(slots=True)
class _Judged:
    """Ops on their way to a verdict; `then` is told once, when all have one or time is up."""

    then: Callable[[], None]
    left: int = 0
    over: bool = False
    cases: list[Case] = field(default_factory=list)

    def taker(self, one: Seen) -> Callable[[Verdict], None]:
        """Takes the verdict of `one`."""

        def take(verdict: Verdict) -> None:
            one.verdict = verdict
            self.left -= 1
            if not self.left:
                self.end()

        return take

    def end(self) -> None:
        """Whatever has no verdict now is shown without one."""
        if not self.over:
            self.over = True
            self.then()


class Readers:
    """What reads have in common. `serving` reads here, `holders` elsewhere, `judging` judges."""

    def __init__(
        self, desk: Desk, serving: Serving, holders: Holders, deciding: Deciding, judging: Judging
    ) -> None:
        self.desk = desk
        self.serving = serving
        self.recent = Recent(desk)
        self._holders = holders
        self._deciding = deciding
        self._judging = judging
        self._count = 0

    def fetch(
        self,
        overlay: OverlayId,
        fetches: Sequence[Fetch],
        reach: Reach,
        then: Callable[[list[Heard]], None],
    ) -> None:
        """Ask all of `fetches` at once; `then` is told when every one has ended."""
        heard: dict[int, Heard] = {}

        def take(number: int, one: Heard) -> None:
            heard[number] = one
            if len(heard) == len(fetches):
                then([heard[each] for each in range(len(fetches))])

        for number, fetch in enumerate(fetches):
            self._holders.fetch(overlay, fetch, reach, partial(take, number))

    def judge(
        self, overlay: OverlayId, seen: Sequence[Seen], patience_us: int, then: Callable[[], None]
    ) -> None:
        """Give each of `seen` a verdict, as far as that can be had in time; then `then`, once."""
        if not seen:
            then()
            return
        self._count += 1
        judged = _Judged(then)
        some = seen[:READ_JUDGED_MAX]
        judged.left = len(some)

        def end() -> None:
            for case in judged.cases:
                self._judging.cancel(case)
            judged.end()

        for one in some:
            record = Record(one.op.signed, one.op.entry)
            case = self._deciding.borrow(overlay, record, judged.taker(one))
            if case is not None:
                judged.cases.append(case)
        if not judged.over:
            self.desk.after(f"read:{self._count}", max(1, patience_us), end)

    def forked(self, overlay: OverlayId, *pair: SignedAction) -> None:
        """A read has shown two actions of one author at one place."""
        if pair:
            self._deciding.heed.forked(overlay, *pair)

    def poke(self, overlay: OverlayId, seen: Sequence[Seen], peers: Sequence[PeerId]) -> None:
        """Offer to `peers` what they miss of `seen`, at most READ_OFFERS_MAX ops in all.

        Each of these has to be valid by the verdict of this node, which is made for it when need
        be: who brings what breaks a rule is taken for the node of its author.
        """
        missed = [one for one in seen if any(peer not in one.holders for peer in peers)]
        missed = missed[:READ_OFFERS_MAX]

        def offer() -> None:
            for peer in peers:
                ops = [
                    encode_op(one.op)
                    for one in missed
                    if isinstance(one.verdict, Valid) and peer not in one.holders
                ]
                if ops:
                    self._holders.offer(overlay, peer, tuple(ops))

        if missed:
            unsure = [one for one in missed if one.verdict is None]
            self.judge(overlay, unsure, DHT_ASK_US, offer)

    def mend(self, overlay: OverlayId, heard: Heard, ops: Sequence[Op]) -> None:
        """Offer valid ops to near nodes that answered and do not have them."""
        for answer in heard.answers[:READ_ENOUGH]:
            has = {told.op.signed.hash for told in answer.ops}
            missed = [op for op in ops if op.signed.hash not in has][:READ_OFFERS_MAX]
            if missed and not answer.more:
                encoded = tuple(encode_op(op) for op in missed)
                self._holders.offer(overlay, answer.peer, encoded)
