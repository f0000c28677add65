"""How far from a node lies what it keeps: the radius that a quota of bytes leaves to it.

Source: Portal wire protocol, the data radius and its storage rule; docs/wire.md, "Content types". A
value is kept while it is nearer than every value for which there was no room. So what is held after
any offers, in whatever order they came, are the nearest of them that fit together. When the value
that did not fit would fit, the radius is whole again. Pure; `holding.py` has the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dms3.core.codec import need
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import RADII_KNOWN_MAX, RADIUS_TOLD_US
from dms3.core.machine import Now
from dms3.core.overlay import LOCATION_BYTES
from dms3.dht.messages import Within
from dms3.dht.presence import node_location

WHOLE = (1 << 8 * LOCATION_BYTES) - 1


@dataclass(frozen=True, slots=True)
class Radius:
    """Values at most `far` away are kept; `size`: bytes of the nearest one that was not."""

    far: int = WHOLE
    size: int = 0

    def takes(self, far: int) -> bool:
        """Whether a value so far away is kept."""
        return far <= self.far

    def without(self, far: int, size: int) -> Radius:
        """The radius when there is no room for a value of `size` bytes so far away."""
        return Radius(max(0, far - 1), size) if self.takes(far) else self

    def eased(self, room: int) -> Radius:
        """The radius when so many bytes of the quota are free."""
        return Radius() if self.size <= room else self

    @property
    def share(self) -> float:
        """How much of the whole space lies within it."""
        return (self.far + 1) / (WHOLE + 1)

    @property
    def data(self) -> bytes:
        """As it travels: 32 bytes."""
        return self.far.to_bytes(LOCATION_BYTES, "big")


@dataclass(frozen=True, slots=True)
class RadiusRow:
    """A radius that is not whole, as it is kept."""

    v: int
    far: bytes
    size: int

    def __post_init__(self) -> None:
        need(len(self.far) == LOCATION_BYTES, f"a radius has {LOCATION_BYTES} bytes")
        need(self.size >= 0, "a size is not negative")

    @classmethod
    def of(cls, radius: Radius) -> RadiusRow:
        """The row of `radius`."""
        return cls(1, radius.data, radius.size)

    @property
    def radius(self) -> Radius:
        """What it says."""
        return Radius(int.from_bytes(self.far, "big"), self.size)


class Radii:
    """What other nodes have said of their radii; of each the latest word, for RADIUS_TOLD_US."""

    def __init__(self) -> None:
        self._told: dict[tuple[OverlayId, PeerId, str], tuple[int, int]] = {}  # -> radius, when

    def learn(self, overlay: OverlayId, peer: PeerId, told: Sequence[Within], now: Now) -> None:
        """`peer` has answered."""
        for one in told:
            key = (overlay, peer, one.type)
            self._told.pop(key, None)
            if len(self._told) >= RADII_KNOWN_MAX:
                del self._told[next(iter(self._told))]
            self._told[key] = int.from_bytes(one.radius, "big"), now.mono_us

    def takes(self, overlay: OverlayId, peer: PeerId, kind: str, at: int, now: Now) -> bool:
        """Whether `peer` may keep a value of type `kind` at location `at`; unless it said no."""
        radius, since_us = self._told.get((overlay, peer, kind), (WHOLE, now.mono_us))
        if now.mono_us - since_us >= RADIUS_TOLD_US:
            return True
        return int.from_bytes(node_location(peer), "big") ^ at <= radius
