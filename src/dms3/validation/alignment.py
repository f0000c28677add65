"""What keeps this node and its neighbours equal, put together: rounds, answers, drops.

Source: docs/architecture.md, "The machine"; docs/chains.md, "Repaired". Decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from dms3.chain.messages import ChainQuestion
from dms3.chain.operations_validation import OpFigures, RepairFigures
from dms3.core.codec import encode
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId, PeerId, RequestId
from dms3.core.neighbourhood import Duty
from dms3.validation.answering import Answering
from dms3.validation.dropping import Dropping
from dms3.validation.fetching import Fetching, Means
from dms3.validation.passing import Passing
from dms3.validation.reconciling import Reconciling
from dms3.validation.serving import Serving

_NAMES_PER_WEIGHT = 16  # ops that are read and sent take as long as one small question
_RANGES_PER_WEIGHT = 8  # and so do ranges that are summed up and listed


_SUMMED = (
    *("rounds", "failed", "brought", "refused", "barred", "far", "absent"),
    *("offered", "dropped", "asked", "short"),
)


class Alignment:
    """All of it, on one `desk`; `own`: this node."""

    def __init__(self, desk: Desk, means: Means, serving: Serving, own: PeerId) -> None:
        self._desk = desk
        self._serving = serving
        located = means.holding.located
        fetching = self._fetching = Fetching(means)
        self.reconciling = Reconciling(desk, located, means.holders, fetching, own)
        self.dropping = Dropping(desk, means)
        self.passing = Passing(desk, means.holding)
        means.deciding.published = self.passing.published
        self.answering = Answering(desk, means.holding, means.deciding, fetching)

    def open(self, overlay: OverlayId, duty: Duty) -> None:
        """An app runs; `duty`: how many are to hold what is written in it."""
        self.reconciling.open(overlay, duty)
        self.dropping.open(overlay, duty)
        self.passing.open(overlay, duty)

    def shut(self, overlay: OverlayId) -> None:
        """It does not any more."""
        self.reconciling.shut(overlay)
        self.dropping.shut(overlay)
        self.passing.shut(overlay)
        self._fetching.aside.leave(overlay)

    def pardoned(self, overlay: OverlayId) -> None:
        """Somebody is blocked no more: what they wrote may be brought."""
        self._fetching.aside.pardoned(overlay)

    def answer(self, peer: PeerId, question: ChainQuestion, request: RequestId) -> None:
        """Answer a question that is neither a publish nor a fetch."""
        overlay = OverlayId(question.overlay)
        if question.reconcile is not None:
            self.answering.reconcile(peer, overlay, question.reconcile, request)
        elif question.bring is not None:
            self._desk.reply(request, encode(self._serving.bring(overlay, question.bring.ops)))
        elif question.vouch is not None:
            self.answering.vouch(overlay, question.vouch, request)

    def figures(self, overlay: OverlayId) -> RepairFigures:
        """What was done since the app was opened."""
        figures = self.reconciling.figures(overlay)
        haul = self.answering.haul(overlay)
        dropped, asked = self.dropping.figures(overlay)
        return replace(
            figures,
            brought=figures.brought + haul.taken,
            refused=figures.refused + haul.refused,
            barred=figures.barred + haul.barred,
            far=figures.far + haul.far,
            absent=figures.absent + haul.absent,
            offered=figures.offered + self.passing.wanted(overlay),
            dropped=dropped,
            asked=asked,
        )


def together(figures: Iterable[OpFigures]) -> OpFigures:
    """The sums of several; `differing` and `at_us` of none."""
    states: dict[str, int] = {}
    size = 0
    sums = dict.fromkeys(_SUMMED, 0)
    for one in figures:
        size += one.bytes
        for state, count in one.states:
            states[state] = states.get(state, 0) + count
        for name in _SUMMED:
            sums[name] += getattr(one.repair, name)
    return OpFigures(tuple(sorted(states.items())), size, RepairFigures(**sums, whole=True))


def weight_of(question: ChainQuestion) -> int:
    """What a question weighs beyond one that is small."""
    if question.reconcile is not None:
        names, ranges = question.reconcile.lacks, question.reconcile.ranges
        return len(names) // _NAMES_PER_WEIGHT + len(ranges) // _RANGES_PER_WEIGHT
    if question.bring is not None:
        return len(question.bring.ops) // _NAMES_PER_WEIGHT
    return 0 if question.vouch is None else len(question.vouch.ops) // _NAMES_PER_WEIGHT
