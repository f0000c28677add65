"""What stands before an honest machine, in its place, and changes what it likes of its events."""

from __future__ import annotations

from dms3.core.machine import Effect, Machine, Now, View


class Impostor:
    """Is the honest machine, but for `on_event`, which those who inherit write."""

    def __init__(self, honest: Machine) -> None:
        self._honest = honest

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """As the honest one."""
        return self._honest.on_start(view, now)

    def on_timer(self, now: Now) -> list[Effect]:
        """As the honest one."""
        return self._honest.on_timer(now)

    def next_timer(self) -> int | None:
        """As the honest one."""
        return self._honest.next_timer()
