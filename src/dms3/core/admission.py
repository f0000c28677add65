"""Who has proven on an open connection that they may be in a closed overlay.

Source: docs/networks.md; docs/attacks.md. Machine "dht" writes it (`dht/admitting.py`); every
machine that answers questions about an overlay asks it first. Nothing here survives a connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dms3.core.errors import Failure
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import MEMBERS_ADMITTED_MAX

NOT_ADMITTED = "not_admitted"
STRANGER = Failure(NOT_ADMITTED, "This overlay is closed: show that you are a member first.")


class Admission:
    """Closed overlays of this node, and which peers are admitted to them, and until when.

    `warrants`: set by whoever knows: how many of some keys (third) hold a valid warrant in an
    overlay (first) against somebody (second, as `chain/membrane.py` has them).
    """

    def __init__(self) -> None:
        self.warrants: Callable[[bytes, Any, tuple[bytes, ...]], int] = lambda *_: 0
        self._closed: set[OverlayId] = set()  # asked whether it contains, never iterated
        self._until: dict[tuple[OverlayId, PeerId], int] = {}

    def close(self, overlay: OverlayId) -> None:
        """Nobody is admitted to `overlay` from now on without a proof."""
        self._closed.add(overlay)

    def leave(self, overlay: OverlayId) -> None:
        """This node is in it no more."""
        self._closed.discard(overlay)
        for key in [key for key in self._until if key[0] == overlay]:
            del self._until[key]

    def admit(self, overlay: OverlayId, peer: PeerId, until_us: int) -> None:
        """`peer` has proven that it may be in `overlay` until `until_us` (wall clock)."""
        if overlay not in self._closed:
            return
        self._until.pop((overlay, peer), None)
        if len(self._until) >= MEMBERS_ADMITTED_MAX:
            del self._until[next(iter(self._until))]  # it shows itself again when it is refused
        self._until[overlay, peer] = until_us

    def expel(self, overlay: OverlayId, peer: PeerId) -> None:
        """`peer` may be in no more."""
        self._until.pop((overlay, peer), None)

    def on_down(self, peer: PeerId) -> None:
        """Its last connection has closed."""
        for key in [key for key in self._until if key[1] == peer]:
            del self._until[key]

    def admits(self, overlay: OverlayId, peer: PeerId, wall_us: int) -> bool:
        """Whether `peer` may be answered about `overlay`; of an open one everybody may."""
        return overlay not in self._closed or self._until.get((overlay, peer), 0) > wall_us
