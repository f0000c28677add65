"""Who has proven on an open connection that they may be in a closed overlay.

Source: docs/networks.md; docs/attacks.md. Machine "dht" writes it (`dht/admitting.py`); every
machine that answers questions about an overlay asks it first. Nothing here survives a connection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dms3.core.errors import Failure
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import MEMBERS_ADMITTED_MAX

NOT_ADMITTED = "not_admitted"
STRANGER = Failure(NOT_ADMITTED, "This overlay is closed: show that you are a member first.")


@dataclass(frozen=True, slots=True)
class Heeded:
    """Whose warrants count for an overlay: of the people `by`, in `apps`; `own`: this node's."""

    apps: tuple[bytes, ...]
    by: tuple[bytes, ...]
    own: bytes


class Admission:
    """Closed overlays of this node, and which peers are admitted to them, and until when.

    `warrants`: set by whoever knows: how many of some people (third) hold a valid warrant in some
    apps (first) against somebody (second, as `chain/membrane.py` has them). `stake`: its `Staked`,
    to be set by a ledger.
    """

    def __init__(self) -> None:
        self.stake: Callable[[bytes, Any, bytes], int | None] = lambda *_: None
        self.warrants: Callable[[tuple[bytes, ...], Any, tuple[bytes, ...]], int] = lambda *_: 0
        self._heeded: dict[OverlayId, Heeded] = {}
        self._closed: set[OverlayId] = set()  # asked whether it contains, never iterated
        self._until: dict[tuple[OverlayId, PeerId], int] = {}

    def close(self, overlay: OverlayId) -> None:
        """Nobody is admitted to `overlay` from now on without a proof."""
        self._closed.add(overlay)

    def leave(self, overlay: OverlayId) -> None:
        """This node is in it no more."""
        self._closed.discard(overlay)
        self._heeded.pop(overlay, None)
        for key in [key for key in self._until if key[0] == overlay]:
            del self._until[key]

    def staked(self, overlay: bytes, who: Any, proof: bytes) -> int | None:
        """What `stake` says, whoever has set it."""
        return self.stake(overlay, who, proof)

    # Whom warrants put out

    def heed(self, overlay: OverlayId, heeded: Heeded) -> None:
        """Who is in `overlay` depends on these warrants from now on."""
        self._heeded[overlay] = heeded

    def counts(self, app: bytes, root: bytes) -> bool:
        """Whether a warrant of the person `root` in `app` counts for any overlay of this node."""
        return any(app in each.apps and root in each.by for each in self._heeded.values())

    def asked(self, app: bytes) -> bytes:
        """This node's own person, if a warrant of theirs in `app` counts; else b""."""
        own = [each.own for each in self._heeded.values() if app in each.apps]
        return next((root for root in own if self.counts(app, root)), b"")

    def apps(self, overlay: OverlayId) -> tuple[OverlayId, ...]:
        """The apps whose warrants count for `overlay`."""
        heeded = self._heeded.get(overlay)
        return () if heeded is None else tuple(map(OverlayId, heeded.apps))

    def heeding(self, app: bytes) -> list[OverlayId]:
        """The overlays for which warrants of `app` count."""
        return [overlay for overlay, each in self._heeded.items() if app in each.apps]

    # Who is admitted

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
