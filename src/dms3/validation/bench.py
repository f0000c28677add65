"""What judges, put together: cases, what they look at, what is brought for them, own bundles.

Source: docs/architecture.md, "The machine". Decides nothing.
"""

from __future__ import annotations

from dms3.core.desk import Desk
from dms3.validation.bringing import Borrow, Bringing
from dms3.validation.charges import Charges
from dms3.validation.holders import Holders
from dms3.validation.holding import Holding
from dms3.validation.judging import Judging
from dms3.validation.needs import Known
from dms3.validation.own import OwnJudging


class Bench:
    """The parts that judge, on one `desk`; `connect` comes before anything is judged."""

    def __init__(self, desk: Desk, holding: Holding, holders: Holders) -> None:
        self._desk = desk
        self._holders = holders
        self.known = Known(holding)
        self.charges = Charges()
        self.judging = Judging(desk, self.known, self.charges)
        self.own = OwnJudging(desk, self.judging)
        self.bringing: Bringing

    def connect(self, borrow: Borrow) -> None:
        """`borrow` judges what a holder calls rejected."""
        self.bringing = Bringing(self._desk, self._holders, self.known, self.judging, borrow)
        self.judging.bringer = self.bringing
