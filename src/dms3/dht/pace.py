"""How much each peer may ask: a line of time per peer that questions use up by their weight.

Source: docs/attacks.md, "The public overlay". Bounded by the connections: who goes is forgotten.
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

    def admit(self, peer: PeerId, weight: int, now: Now) -> bool:
        """Whether `peer` may ask something of `weight` now; counts it when it may."""
        begins = max(self._lines.get(peer, 0), now.mono_us)
        ends = begins + weight * self.cost_us
        if ends - now.mono_us > self.burst_us:
            return False
        self._lines[peer] = ends
        return True

    def forget(self, peer: PeerId) -> None:
        """The peer has gone."""
        self._lines.pop(peer, None)
