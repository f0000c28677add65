"""Whose fault it is that peers cannot be reached: theirs, or this node's own.

Source: docs/attacks.md, "Somebody in an app's overlay". Failures are not believed at once: for a
moment it is watched who else fails and who is heard, and a few connected peers are probed. When
nobody is heard, or more fail that were there before than are heard, the fault may be here: nobody
is blamed, and what lies before counts for nothing. The same after a sleep. Plain state that
`p2p/world.py` drives.
"""

from __future__ import annotations

from dms3.core.ids import PeerId
from dms3.core.limits import FAULT_JUDGED_MAX, FAULT_WAIT_US
from dms3.core.machine import Now


class Faults:
    """The failures that are being watched."""

    def __init__(self) -> None:
        self.timer: int | None = None
        self.sound_us = 0  # wall: since when this node's own network is known to work
        self._failed: dict[PeerId, bool] = {}  # -> whether it was there at the last look
        self._heard: set[PeerId] = set()

    def failed(self, peer: PeerId, now: Now, *, fresh: bool) -> bool:
        """`peer` cannot be reached; `fresh`: it was there before. Whether a watch begins."""
        begins = self.timer is None
        if begins:
            self.timer = now.mono_us + FAULT_WAIT_US
        if peer in self._failed or len(self._failed) < FAULT_JUDGED_MAX:
            self._failed[peer] = fresh
        self._heard.discard(peer)
        return begins

    def heard(self, peer: PeerId) -> None:
        """`peer` is there: it has connected, asked or answered."""
        if self.timer is not None:
            self._failed.pop(peer, None)
            if len(self._heard) < FAULT_JUDGED_MAX:
                self._heard.add(peer)

    def due(self, now: Now) -> tuple[PeerId, ...]:
        """Who is to blame, in order of ids, when the watch is over; else nobody."""
        if self.timer is None or now.mono_us < self.timer:
            return ()
        fresh = sum(self._failed.values())
        ours = not self._heard or fresh > len(self._heard)
        blamed = () if ours else tuple(sorted(self._failed))
        if ours:
            self.sound_us = now.wall_us
        self._end()
        return blamed

    def slept(self, now: Now) -> None:
        """This node has begun, or slept, or is in another network: nobody else's fault."""
        self.sound_us = now.wall_us
        self._end()

    def _end(self) -> None:
        self.timer = None
        self._failed.clear()
        self._heard.clear()
