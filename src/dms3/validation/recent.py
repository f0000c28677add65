"""What this node need not ask others for again at once: it holds it, and has just looked.

Source: docs/chains.md, "What is read". Whoever changes something tells the nodes that hold it, so a
holder that looked a moment ago knows what there is; the time bounds what a missed word costs.
"""

from __future__ import annotations

from dms3.chain.messages import Fetch
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId
from dms3.core.limits import READ_FRESH_US, READ_LOOKS_MAX
from dms3.validation.holders import Heard


class Recent:
    """The last READ_LOOKS_MAX looks, in order of their time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._looks: dict[tuple[OverlayId, Fetch], int] = {}

    def looked(self, overlay: OverlayId, fetch: Fetch, heard: Heard) -> None:
        """Others were asked; it counts when this node holds it too, and nobody failed to answer.

        A page of many counts for nothing: what comes behind it was not seen.
        """
        told = len(heard.answers) >= min(heard.members, 1)
        if not heard.near or not told or any(answer.more for answer in heard.answers):
            return
        key = (overlay, fetch)
        self._looks.pop(key, None)
        if len(self._looks) >= READ_LOOKS_MAX:
            del self._looks[next(iter(self._looks))]
        self._looks[key] = self._desk.now.mono_us + READ_FRESH_US

    def knows(self, overlay: OverlayId, fetch: Fetch) -> bool:
        """Whether what lies here is what a look would show."""
        return self._looks.get((overlay, fetch), 0) > self._desk.now.mono_us

    def has_just(self, received_us: int) -> bool:
        """Whether what came at `received_us` (wall clock) is as new as a look."""
        return 0 <= self._desk.now.wall_us - received_us < READ_FRESH_US
