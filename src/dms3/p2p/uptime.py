"""How much of the time a peer is there, as this node has seen it itself: an average that forgets.

Source: docs/chains.md, "Published". A new peer counts little until it was seen. What others say of
a peer is not in it, and time in which nobody looked says nothing.
"""

from __future__ import annotations

from dms3.core.limits import ABSENCE_US_MAX, UPTIME_HALF_US

_WHOLE = 1_000_000


def seen(ppm: int, for_us: int) -> int:
    """The average in millionths after a connection that lasted `for_us` microseconds."""
    return _WHOLE - round((_WHOLE - ppm) * _kept(for_us))


def missed(ppm: int, for_us: int) -> int:
    """The same after a dial that failed, `for_us` after the last look; at most an hour counts."""
    return round(ppm * _kept(min(for_us, ABSENCE_US_MAX)))


def share(ppm: int) -> float:
    """The average as a share of one."""
    return min(max(ppm, 0), _WHOLE) / _WHOLE


def _kept(for_us: int) -> float:
    """How much of what was known still counts."""
    return float(0.5 ** (max(0, for_us) / UPTIME_HALF_US))
