"""The parts of machine "validation", put together: who uses whom. Decides nothing.

Source: docs/architecture.md, "The machine".
"""

from __future__ import annotations

from collections.abc import Callable

from dms3.chain.operations import Record
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId, RequestId
from dms3.core.verdict import Verdict
from dms3.crypto.signing import SigningKey
from dms3.validation.bringing import Bringing
from dms3.validation.charges import Charges
from dms3.validation.deciding import Deciding
from dms3.validation.finding import Finding
from dms3.validation.following import Following
from dms3.validation.holders import Holders, Signatures, Told
from dms3.validation.holding import Holding
from dms3.validation.intake import Intake
from dms3.validation.judging import Case, Judging
from dms3.validation.linking import Linking
from dms3.validation.needs import Known
from dms3.validation.own import OwnJudging
from dms3.validation.reading import Readers
from dms3.validation.rows import Rows
from dms3.validation.serving import Serving


class Parts:
    """All of them, on one `desk`; `signing`: the node key."""

    def __init__(self, desk: Desk, signing: SigningKey) -> None:
        self.rows = Rows(desk)
        self.holding = Holding(self.rows)
        self.serving = Serving(self.holding)
        signatures, charges = Signatures(), Charges()
        self.holders = Holders(desk, signatures)
        known = Known(self.holding)
        self.judging = Judging(desk, known, charges)
        self.deciding = Deciding(desk, self.holding, self.judging, charges, signing)
        self.bringing = Bringing(desk, self.holders, known, self.judging, self._borrow)
        self.judging.bringer = self.bringing
        self.intake = Intake(self.deciding, self.holders, signatures)
        self.own = OwnJudging(desk, self.judging)
        readers = Readers(desk, self.serving, self.holders, self.deciding, self.judging)
        self.finding = Finding(readers)
        self.linking = Linking(readers)
        self.following = Following(readers)

    @property
    def reads(self) -> int:
        """Reads under way."""
        return self.finding.open + self.linking.open + self.following.open

    def withdrawn(self, request: RequestId) -> None:
        """Nobody waits for the answer to `request`."""
        for part in (self.intake, self.own, self.finding, self.linking, self.following):
            part.withdrawn(request)

    def shut(self, overlay: OverlayId) -> None:
        """An app is judged no more."""
        self.intake.shut(overlay)
        self.own.shut(overlay)
        self.deciding.shut(overlay)
        self.judging.shut(overlay)

    def _borrow(
        self, overlay: OverlayId, told: Told, then: Callable[[Verdict], None]
    ) -> Case | None:
        return self.deciding.borrow(overlay, Record(told.op.signed, told.op.entry), then)
