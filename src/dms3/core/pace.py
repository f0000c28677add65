"""How much each peer may ask: a line of time per peer that questions use up by their weight.

Source: docs/wire.md, "/dms3/dht/1"; docs/attacks.md, "Somebody in the public overlay". The same at
both ends: an honest asker waits by itself and is never refused. Bounded by the connections.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.ids import PeerId
from dms3.core.machine import Now


@dataclass(slots=True)
class Pace:
    """`cost_us` for each unit of weight, after a burst worth `burst_us`.

    A peer's line is the monotonic instant up to which it has used its time; it may run ahead of
    the clock by the burst.
    """

    cost_us: int
    burst_us: int
    _lines: dict[PeerId, int] = field(default_factory=dict)

    def wait_us(self, peer: PeerId, weight: int, now: Now) -> int:
        """How long something of `weight` has to wait; 0: it may be asked now, and is counted."""
        begins = max(self._lines.get(peer, 0), now.mono_us)
        ends = begins + weight * self.cost_us
        late_us = ends - now.mono_us - self.burst_us
        if late_us > 0:
            return late_us
        self._lines[peer] = ends
        return 0

    def charge(self, peer: PeerId, weight: int, now: Now) -> None:
        """Count `weight` more of what was granted: an answer that cost more than its question."""
        begins = max(self._lines.get(peer, 0), now.mono_us)
        self._lines[peer] = begins + weight * self.cost_us

    def forget(self, peer: PeerId) -> None:
        """The peer has gone."""
        self._lines.pop(peer, None)
