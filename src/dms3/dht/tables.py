"""The routing tables of a node, by overlay; they come and go while the node runs.

Source: docs/architecture.md, "Overlays". Decides nothing: `membership.py` and `meeting.py` join.
"""

from __future__ import annotations

from collections.abc import Sequence

from dms3.core.ids import OverlayId, PeerId
from dms3.core.neighbourhood import USUAL, Duty
from dms3.dht.routing import Table


class Tables(dict[OverlayId, Table]):
    """Those of node `own`, for `overlays` at first.

    What is still under way in an overlay that was left meets an empty table that nobody keeps.
    """

    def __init__(self, own: PeerId, overlays: Sequence[OverlayId] = ()) -> None:
        super().__init__({each: Table(own, each) for each in overlays})
        self._own = own
        self._duties: dict[OverlayId, Duty] = {}

    def __missing__(self, overlay: OverlayId) -> Table:
        return Table(self._own, overlay)

    def add(self, overlay: OverlayId, duty: Duty = USUAL) -> Table:
        """A new, empty table for `overlay`, which asks for `duty`."""
        table = self[overlay] = Table(self._own, overlay)
        self._duties[overlay] = duty
        return table

    def duty(self, overlay: OverlayId) -> Duty:
        """How many are to hold a key of `overlay`."""
        return self._duties.get(overlay, USUAL)
