"""What judges, what decides by it, and what convicts, put together.

Source: docs/architecture.md, "The machine". Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from dms3.chain.operations_validation import Record
from dms3.core.admission import Admission
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId, PeerId
from dms3.core.verdict import Verdict
from dms3.crypto.certificate import PEER_ID_PREFIX
from dms3.crypto.signing import SigningKey
from dms3.validation.bench import Bench
from dms3.validation.court import Court, Seat
from dms3.validation.deciding import Deciding
from dms3.validation.holders import Holders, Told
from dms3.validation.holding import Holding
from dms3.validation.judging import Case


class Judgement:
    """All of them, on one `desk`; `signing`: the node key, `own` its peer id."""

    def __init__(
        self,
        desk: Desk,
        holding: Holding,
        holders: Holders,
        signing: SigningKey,
        admission: Admission,
    ) -> None:
        self.own = PeerId(PEER_ID_PREFIX + signing.public)
        self.bench = Bench(desk, holding, holders)
        self.judging = self.bench.judging
        self.judging.stake = admission.staked
        self.deciding = Deciding(desk, holding, self.judging, self.bench.charges, signing)
        self.bench.connect(self._borrow)
        seat = Seat(holding, holders, admission, self.own)
        self.court = Court(desk, self.bench, self.deciding, seat)

    def shut(self, overlay: OverlayId) -> None:
        """An app is judged no more."""
        self.court.shut(overlay)
        self.bench.own.shut(overlay)
        self.deciding.shut(overlay)
        self.judging.shut(overlay)

    def _borrow(
        self, overlay: OverlayId, told: Told, then: Callable[[Verdict], None]
    ) -> Case | None:
        return self.deciding.borrow(overlay, Record(told.op.signed, told.op.entry), then)
