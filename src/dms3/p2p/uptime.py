"""How much of the time a peer is there, and how sure that is: averages that forget.

Source: docs/chains.md, "Published"; docs/attacks.md, "Somebody in an app's overlay". A new peer
counts little until it was seen, and time in which nobody looked says nothing but makes what is
known less sure. What others say of a peer is in `p2p/hearsay.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.limits import (
    HEARSAY_WEIGHT_MAX_PPM,
    UPTIME_HALF_US,
    UPTIME_NEWCOMER_PPM,
)

WHOLE = 1_000_000


@dataclass(frozen=True, slots=True)
class Metric:
    """An experience of a peer, `value`, and how sure it is: shares of one, in millionths."""

    value: int = UPTIME_NEWCOMER_PPM
    sure: int = 0

    def there(self, for_us: int) -> Metric:
        """It after a peer was there for `for_us` microseconds."""
        return Metric(seen(self.value, for_us), seen(self.sure, for_us))

    def away(self, for_us: int) -> Metric:
        """The same when it was not."""
        return Metric(missed(self.value, for_us), seen(self.sure, for_us))

    def unseen(self, for_us: int) -> Metric:
        """The same when nobody looked for so long."""
        return Metric(self.value, round(self.sure * _kept(for_us)))


def together(own: Metric, heard: Metric | None) -> int:
    """What both say of one peer, in millionths: hearsay counts half at most, however sure it is."""
    if heard is None or not heard.sure:
        return own.value
    weight = min(HEARSAY_WEIGHT_MAX_PPM, heard.sure * WHOLE // (own.sure + heard.sure))
    return (own.value * (WHOLE - weight) + heard.value * weight) // WHOLE


def seen(ppm: int, for_us: int) -> int:
    """The average in millionths after a connection that lasted `for_us` microseconds."""
    return WHOLE - round((WHOLE - ppm) * _kept(for_us))


def missed(ppm: int, for_us: int) -> int:
    """The same after a peer was away for `for_us` microseconds."""
    return round(ppm * _kept(for_us))


def share(ppm: int) -> float:
    """The average as a share of one."""
    return min(max(ppm, 0), WHOLE) / WHOLE


def _kept(for_us: int) -> float:
    """How much of what was known still counts."""
    return float(0.5 ** (max(0, for_us) / UPTIME_HALF_US))
