"""The parts of machine "validation", put together: who uses whom. Decides nothing.

Source: docs/architecture.md, "The machine".
"""

from __future__ import annotations

from collections.abc import Callable

from dms3.chain.operations import Record
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId, PeerId, RequestId
from dms3.core.verdict import Verdict
from dms3.crypto.certificate import PEER_ID_PREFIX
from dms3.crypto.signing import SigningKey
from dms3.validation.alignment import Alignment
from dms3.validation.bench import Bench
from dms3.validation.court import Court
from dms3.validation.deciding import Deciding
from dms3.validation.fetching import Means
from dms3.validation.holders import Holders, Signatures, Told
from dms3.validation.holding import Holding
from dms3.validation.intake import Intake
from dms3.validation.judging import Case
from dms3.validation.reading import Readers
from dms3.validation.reads import Reads
from dms3.validation.rows import Rows
from dms3.validation.serving import Serving


class Parts:
    """All of them, on one `desk`; `signing`: the node key."""

    def __init__(self, desk: Desk, signing: SigningKey) -> None:
        signatures = Signatures()
        self.rows = Rows(desk)
        self.holding = Holding(self.rows)
        self.serving = Serving(self.holding)
        self.holders = Holders(desk, signatures)
        self.bench = Bench(desk, self.holding, self.holders)
        judging = self.judging = self.bench.judging
        self.deciding = Deciding(desk, self.holding, judging, self.bench.charges, signing)
        self.bench.connect(self._borrow)
        node = PEER_ID_PREFIX + signing.public
        self.court = Court(desk, self.bench, self.deciding, self.holding, node)
        self.intake = Intake(self.deciding, self.holders, signatures)
        means = Means(self.holding, self.holders, self.deciding, judging, signatures)
        own = PeerId(PEER_ID_PREFIX + signing.public)
        self.alignment = Alignment(desk, means, self.serving, own)
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
        self.court.shut(overlay)
        self.bench.own.shut(overlay)
        self.deciding.shut(overlay)
        self.judging.shut(overlay)

    def _borrow(
        self, overlay: OverlayId, told: Told, then: Callable[[Verdict], None]
    ) -> Case | None:
        return self.deciding.borrow(overlay, Record(told.op.signed, told.op.entry), then)
