"""Own actions before they are kept: judged one after another, each seeing those before it.

Source: docs/chains.md, JudgeRecords. The author judges as everybody else will, and waits for
what its rules refer to; what cannot be found in time is named, and nothing was refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.chain.operations_validation import JudgeRecords
from dms3.core.desk import Desk
from dms3.core.errors import Failure, Retry
from dms3.core.ids import RequestId
from dms3.core.verdict import Valid, Verdict
from dms3.validation.judging import Case, Judging
from dms3.validation.needs import Bundle


@dataclass(slots=True, eq=False)
class _Bundle:
    """Records on their way to one verdict; `place`: of the one that is judged now."""

    asked: JudgeRecords
    request: RequestId
    bundle: Bundle = field(default_factory=Bundle)
    place: int = 0
    case: Case | None = None


class OwnJudging:
    """The bundles under way."""

    def __init__(self, desk: Desk, judging: Judging) -> None:
        self._desk = desk
        self._judging = judging
        self._open: dict[RequestId, _Bundle] = {}

    def judge(self, asked: JudgeRecords, request: RequestId) -> None:
        """Answer with the verdict of the first that is not valid, else with Valid."""
        bundle = self._open[request] = _Bundle(asked, request)
        self._desk.after(_alarm(request), asked.patience_us, lambda: self._late(bundle))
        self._next(bundle)

    def withdrawn(self, request: RequestId) -> None:
        """Nobody waits for the verdict."""
        bundle = self._open.pop(request, None)
        if bundle is not None:
            self._desk.no_alarm(_alarm(request))
            if bundle.case is not None:
                self._judging.cancel(bundle.case)

    def shut(self, bundle_overlay: bytes) -> None:
        """The app is judged no more."""
        for request, bundle in list(self._open.items()):
            if bundle.asked.overlay == bundle_overlay:
                self.withdrawn(request)
                self._desk.reply(request, Failure("not_found", "The app was removed."))

    def _next(self, bundle: _Bundle) -> None:
        records = bundle.asked.records
        if bundle.place == len(records):
            self._end(bundle, Valid())
            return
        record = records[bundle.place]
        bundle.case = Case(
            bundle.asked.overlay,
            record.signed,
            lambda verdict: self._judged(bundle, verdict),
            bundle.bundle,
            entry=record.entry,
            urgent=True,
        )
        self._judging.begin(bundle.case)

    def _judged(self, bundle: _Bundle, verdict: Verdict) -> None:
        bundle.case = None
        if not isinstance(verdict, Valid):
            self._end(bundle, verdict)
            return
        bundle.bundle.add(bundle.asked.records[bundle.place])
        bundle.place += 1
        self._judging.soon(lambda: self._go_on(bundle))

    def _go_on(self, bundle: _Bundle) -> None:
        if self._open.get(bundle.request) is bundle:
            self._next(bundle)

    def _late(self, bundle: _Bundle) -> None:
        case = bundle.case
        if self._open.get(bundle.request) is not bundle:
            return
        missing = ", ".join(need.name for need in case.needs) if case is not None else ""
        if case is not None:
            self._judging.cancel(case)
        what = f"{missing} could not be found" if missing else "the rules took too long"
        why = f"This could not be checked in time: {what}. Nothing was written."
        self._end(bundle, Failure("timed_out", why, Retry.LATER))

    def _end(self, bundle: _Bundle, answer: Verdict | Failure) -> None:
        del self._open[bundle.request]
        self._desk.no_alarm(_alarm(bundle.request))
        self._desk.reply(bundle.request, answer)


def _alarm(request: RequestId) -> str:
    return f"own:{request}"
