"""The parts of machine "validation", put together: who uses whom. Decides nothing.

Source: docs/architecture.md, "The machine".
"""

from __future__ import annotations

from dms3.core.admission import Admission
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId, RequestId
from dms3.crypto.signing import SigningKey
from dms3.validation.alignment import Alignment
from dms3.validation.fetching import Means
from dms3.validation.holders import Holders, Signatures
from dms3.validation.holding import Holding
from dms3.validation.intake import Intake
from dms3.validation.judgement import Judgement
from dms3.validation.reading import Readers
from dms3.validation.reads import Reads
from dms3.validation.rows import Rows
from dms3.validation.serving import Serving


class Parts:
    """All of them, on one `desk`; `signing`: the node key; `admission`: see `core/admission.py`."""

    def __init__(self, desk: Desk, signing: SigningKey, admission: Admission) -> None:
        signatures = Signatures()
        self.rows = Rows(desk)
        self.holding = Holding(self.rows)
        self.serving = Serving(self.holding)
        self.holders = Holders(desk, signatures)
        self._judgement = Judgement(desk, self.holding, self.holders, signing, admission)
        self.bench, self.deciding = self._judgement.bench, self._judgement.deciding
        self.court, judging = self._judgement.court, self._judgement.judging
        self.judging = judging
        self.intake = Intake(self.deciding, self.holders, signatures)
        means = Means(self.holding, self.holders, self.deciding, judging, signatures)
        self.alignment = Alignment(desk, means, self.serving, self._judgement.own)
        self.court.pardoned = self.alignment.pardoned
        readers = Readers(desk, self.serving, self.holders, self.deciding, judging)
        self.reads = Reads(readers)

    def withdrawn(self, request: RequestId) -> None:
        """Nobody waits for the answer to `request`."""
        self.intake.withdrawn(request)
        self.court.hearing.withdrawn(request)
        self.bench.own.withdrawn(request)
        self.reads.withdrawn(request)

    def shut(self, overlay: OverlayId) -> None:
        """An app is judged no more."""
        self.intake.shut(overlay)
        self.alignment.shut(overlay)
        self._judgement.shut(overlay)
