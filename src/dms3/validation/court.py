"""What convicts, put together: accused actions, convictions, blocks, warrants and who wrote them.

Source: docs/architecture.md, "The machine". Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dms3.chain.operations_validation import Block, Pardon, WarnedOf, Warranted
from dms3.core.admission import Admission
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId, RequestId
from dms3.validation.accusing import Accusing
from dms3.validation.bench import Bench
from dms3.validation.blocking import Blocking
from dms3.validation.convicting import Convicting
from dms3.validation.deciding import Deciding
from dms3.validation.hearing import Hearing
from dms3.validation.holders import Holders, Signatures
from dms3.validation.holding import Holding
from dms3.validation.recalling import Recalling
from dms3.validation.voices import Voices
from dms3.validation.warranting import Tools, Warranting


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a court sits: what it looks at, whom it asks, for which node (its peer id)."""

    holding: Holding
    holders: Holders
    admission: Admission
    node: bytes


class Court:
    """All of them; `deciding` tells it of verdicts and forks."""

    def __init__(self, desk: Desk, bench: Bench, deciding: Deciding, seat: Seat) -> None:
        self._desk = desk
        self.pardoned: Callable[[OverlayId], None]  # told of an app in which somebody was
        holding = seat.holding
        self.blocking = Blocking(desk)
        accusing = bench.judging.accusing = Accusing(deciding, bench.judging, holding)
        self.convicting = Convicting(holding.rows, self.blocking, lambda: desk.now.wall_us)
        self.voices = Voices(desk, holding, seat.holders, seat.admission)
        seat.admission.warrants = self.voices.against
        known = bench.known
        tools = Tools(holding, known, self.convicting, self.blocking, accusing, self.voices)
        self.warranting = deciding.heed = Warranting(desk, tools, seat.node)
        self.hearing = Hearing(bench.judging, deciding, tools, Signatures(), self.warranting)
        self.recalling = Recalling(desk, seat.holders, self.hearing)

    def open(self, overlay: OverlayId) -> None:
        """An app is judged from now on."""
        self.warranting.open(overlay)
        self.recalling.open(overlay)

    def shut(self, overlay: OverlayId) -> None:
        """An app is judged no more."""
        self.recalling.shut(overlay)
        self.hearing.shut(overlay)
        self.warranting.shut(overlay)

    # Commands

    def list(self, overlay: OverlayId, request: RequestId) -> None:
        """Answer with everybody against whom something is known."""
        found: tuple[Warranted, ...] = self.convicting.all(overlay)
        self._desk.reply(request, found)

    def voices_of(self, asked: WarnedOf, request: RequestId) -> None:
        """Answer of whom some people have warned."""
        self._desk.reply(request, tuple(self.voices.all(asked.apps, asked.by)))

    def block(self, asked: Block, request: RequestId) -> None:
        """The person takes nothing more of an agent."""
        self.convicting.block(asked)
        self._desk.reply(request, None)

    def pardon(self, asked: Pardon, request: RequestId) -> None:
        """The person looks over what is known."""
        self.convicting.pardon(asked)
        self.voices.pardoned(asked.overlay, asked.agent)
        self.pardoned(asked.overlay)
        self._desk.reply(request, None)
