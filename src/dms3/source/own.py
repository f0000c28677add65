"""The parts of machine "source" that write, publish and restore chains, put together.

Source: docs/architecture.md, "The machine". Decides nothing; `source.py` joins them with the parts
that talk to other agents.
"""

from __future__ import annotations

from collections.abc import Callable

from dms3.core.ids import OverlayId
from dms3.source.beginning import Beginning
from dms3.source.bringing import Bringing
from dms3.source.chains import Chain
from dms3.source.confirming import Confirming
from dms3.source.grounds import Grounds
from dms3.source.parts import Part
from dms3.source.publishing import Publishing
from dms3.source.reading import Reading
from dms3.source.restoring import Restoring
from dms3.source.revoking import Revoking
from dms3.source.warranting import Warranting
from dms3.source.writing import Writing


class OwnChains:
    """The parts; `writing` is what others use to write."""

    def __init__(self, grounds: Grounds) -> None:
        self._publishing = Publishing(grounds)
        self.writing = Writing(grounds, self._publishing)
        self._beginning = Beginning(grounds, self.writing, self._publishing)
        bringing = Bringing(grounds)
        confirming = Confirming(grounds, self._publishing, bringing, self.writing.wake)
        self._restoring = Restoring(grounds, confirming, bringing)
        self.parts: tuple[Part, ...] = (
            confirming,
            self._publishing,
            self.writing,
            self._beginning,
            Revoking(grounds, self.writing),
            Warranting(grounds, self.writing),
            Reading(grounds),
            self._restoring,
        )

    def tell(
        self,
        taken_up: tuple[Callable[[Chain], None], ...],
        ended: tuple[Callable[[OverlayId], None], ...],
    ) -> None:
        """Who is told that the app of a chain runs, and that an app was removed."""
        self._beginning.taken_up = (*taken_up, self._restoring.taken_up)
        self._publishing.ended = ended
