"""What convicts, put together: accused actions, convictions, blocks, warrants written and heard.

Source: docs/architecture.md, "The machine". Decides nothing.
"""

from __future__ import annotations

from dms3.chain.operations import Block, Pardon, Warranted
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId, RequestId
from dms3.validation.accusing import Accusing
from dms3.validation.bench import Bench
from dms3.validation.blocking import Blocking
from dms3.validation.convicting import Convicting
from dms3.validation.deciding import Deciding
from dms3.validation.doubts import Doubts
from dms3.validation.hearing import Hearing
from dms3.validation.holders import Signatures
from dms3.validation.holding import Holding
from dms3.validation.warranting import Tools, Warranting


class Court:
    """All of them; `deciding` tells it of verdicts and forks, `node` is the peer id."""

    def __init__(
        self, desk: Desk, bench: Bench, deciding: Deciding, holding: Holding, node: bytes
    ) -> None:
        self._desk = desk
        self.blocking = Blocking(desk)
        doubts = Doubts(holding.rows)
        accusing = bench.judging.accusing = Accusing(deciding, bench.judging, doubts)
        self.convicting = Convicting(holding.rows, self.blocking, lambda: desk.now.wall_us)
        tools = Tools(holding, bench.known, self.convicting, self.blocking, accusing)
        self.warranting = deciding.heed = Warranting(desk, tools, node)
        self.hearing = Hearing(bench.judging, deciding, tools, Signatures(), self.warranting)

    def open(self, overlay: OverlayId) -> None:
        """An app is judged from now on."""
        self.warranting.open(overlay)

    def shut(self, overlay: OverlayId) -> None:
        """An app is judged no more."""
        self.hearing.shut(overlay)
        self.warranting.shut(overlay)

    # Commands

    def list(self, overlay: OverlayId, request: RequestId) -> None:
        """Answer with everybody against whom something is known."""
        found: tuple[Warranted, ...] = self.convicting.all(overlay)
        self._desk.reply(request, found)

    def block(self, asked: Block, request: RequestId) -> None:
        """The person takes nothing more of an agent."""
        self.convicting.block(asked)
        self._desk.reply(request, None)

    def pardon(self, asked: Pardon, request: RequestId) -> None:
        """The person looks over what is known."""
        self.convicting.pardon(asked)
        self._desk.reply(request, None)
