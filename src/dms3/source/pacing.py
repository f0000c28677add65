"""How many questions of a publishing are under way, for each app: fewer while holders are busy.

Source: docs/chains.md, "Published"; halved when refused and one more after each success, as TCP
does it (RFC 5681). A few questions go at once, behind them what comes is gathered. It also knows
how large an overlay is, which the first question tells; where nobody else is, one question in a
while looks for somebody, whatever waits.
"""

from __future__ import annotations

from dms3.core.ids import OverlayId
from dms3.core.limits import (
    PUBLISH_ALONE_US,
    PUBLISH_AT_ONCE_MAX,
    PUBLISH_GATHER_US,
    PUBLISH_PARALLEL_MAX,
    SECOND_US,
)

BUSY_US = SECOND_US
"""After a refusal for being asked too much, the app is left alone for so long."""

_LOOK_US = SECOND_US // 2  # twice as long after each look at which nobody is there
_DOUBLED_MAX = 16


class Pacing:
    """Of all apps."""

    def __init__(self) -> None:
        self._flying: dict[OverlayId, int] = {}
        self._window: dict[OverlayId, int] = {}
        self._held_us: dict[OverlayId, int] = {}
        self._sounding: set[OverlayId] = set()
        self._alone: dict[OverlayId, int] = {}  # how often nobody was there
        self._line_us: dict[OverlayId, int] = {}  # the time that its questions have used up
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

    def sent(self, overlay: OverlayId, now_us: int) -> None:
        """A question is under way; while it is not known who is there, it is the only one."""
        self._flying[overlay] = self._flying.get(overlay, 0) + 1
        self._line_us[overlay] = max(self._line_us.get(overlay, 0), now_us) + PUBLISH_GATHER_US
        if overlay not in self._small or overlay in self._alone:
            self._sounding.add(overlay)

    def gathers(self, overlay: OverlayId, now_us: int) -> bool:
        """Whether many questions were put in the last moments: what comes now travels together."""
        return self._gathered_us(overlay) > now_us

    def _gathered_us(self, overlay: OverlayId) -> int:
        """When the next question may be put that is not full."""
        ahead_us = (PUBLISH_AT_ONCE_MAX - 1) * PUBLISH_GATHER_US
        return self._line_us.get(overlay, 0) - ahead_us

    def is_alone(self, overlay: OverlayId) -> bool:
        """Whether nobody was there the last time."""
        return overlay in self._alone

    def met(self, overlay: OverlayId, now_us: int, *, somebody: bool) -> None:
        """Somebody was there to ask, or nobody: then the next look is later."""
        if somebody:
            self._alone.pop(overlay, None)
        else:
            looks = self._alone[overlay] = self._alone.get(overlay, 0) + 1
            wait_us = min(_LOOK_US << min(looks, _DOUBLED_MAX), PUBLISH_ALONE_US)
            self._held_us[overlay] = now_us + wait_us

    def look(self) -> None:
        """Somebody may have come: where nobody was, one may look now."""
        for overlay in self._alone:
            self._alone[overlay] = 0
            self._held_us.pop(overlay, None)

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

    def held_us(self, overlay: OverlayId, now_us: int) -> int:
        """Until when (monotonic) nothing more is asked there; in the past: it may be now."""
        held_us = self._held_us.get(overlay, 0)
        return held_us if held_us > now_us else self._gathered_us(overlay)
