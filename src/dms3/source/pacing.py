"""How many questions of a publishing are under way, for each app: fewer while holders are busy.

Source: docs/chains.md, "Published"; halved when refused and one more after each success, as TCP
does it (RFC 5681). It also knows how large an overlay is, which the first question tells.
"""

from __future__ import annotations

from dms3.core.ids import OverlayId
from dms3.core.limits import PUBLISH_PARALLEL_MAX, SECOND_US

BUSY_US = SECOND_US
"""After a refusal for being asked too much, the app is left alone for so long."""


class Pacing:
    """Of all apps."""

    def __init__(self) -> None:
        self._flying: dict[OverlayId, int] = {}
        self._window: dict[OverlayId, int] = {}
        self._held_us: dict[OverlayId, int] = {}
        self._sounding: set[OverlayId] = set()
        self._small: dict[OverlayId, bool] = {}

    def small(self, overlay: OverlayId) -> bool | None:
        """Whether everybody there is near everything; None before anybody answered."""
        return self._small.get(overlay)

    def sized(self, overlay: OverlayId, *, small: bool) -> None:
        """An answer has shown how large the overlay is."""
        self._small[overlay] = small

    def has_room(self, overlay: OverlayId, now_us: int) -> bool:
        """Whether another question may be put now (monotonic)."""
        window = self._window.get(overlay, PUBLISH_PARALLEL_MAX)
        return (
            sum(self._flying.values()) < PUBLISH_PARALLEL_MAX
            and self._flying.get(overlay, 0) < window
            and overlay not in self._sounding
            and self._held_us.get(overlay, 0) <= now_us
        )

    def sent(self, overlay: OverlayId) -> None:
        """A question is under way; while the size is not known, it is the only one."""
        self._flying[overlay] = self._flying.get(overlay, 0) + 1
        if overlay not in self._small:
            self._sounding.add(overlay)

    def answered(self, overlay: OverlayId, now_us: int, *, busy: bool) -> None:
        """Its answer is here; `busy`: most were asked too much."""
        self._flying[overlay] -= 1
        self._sounding.discard(overlay)
        window = self._window.get(overlay, PUBLISH_PARALLEL_MAX)
        if busy:
            self._window[overlay] = max(1, window // 2)
            self._held_us[overlay] = now_us + BUSY_US
        else:
            self._window[overlay] = min(PUBLISH_PARALLEL_MAX, window + 1)

    def held_us(self, overlay: OverlayId) -> int:
        """Until when (monotonic) the app is left alone; 0: it is not."""
        return self._held_us.get(overlay, 0)
