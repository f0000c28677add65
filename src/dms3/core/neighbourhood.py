"""How many nodes are to hold what lies at a location: few that are always there, or more.

Source: docs/chains.md, "Published". With uptimes that add up to r, the chance that none of the
holders is there at some instant is at most e^-r. Pure; `dht/` knows which nodes are near and how
much of the time they are there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dms3.core.limits import NEIGHBOURS_MAX, NEIGHBOURS_MIN, RECEIPT_UPTIME

_ROUNDING = 1e-9  # forty times a fifth are eight


@dataclass(frozen=True, slots=True)
class Duty:
    """What an overlay asks for: uptimes that add up to `r`, of `least` to `most` nodes."""

    r: float = RECEIPT_UPTIME
    least: int = NEIGHBOURS_MIN
    most: int = NEIGHBOURS_MAX

    def __post_init__(self) -> None:
        if not (self.r > 0 and 1 <= self.least <= self.most <= NEIGHBOURS_MAX):
            raise ValueError(f"no duty for 1 to {NEIGHBOURS_MAX} nodes: {self}")

    def needed(self, shares: Iterable[float]) -> int:
        """How many of the nodes whose uptimes are `shares`, nearest first, are to hold a key."""
        return needed(shares, self.r, self.least, self.most)

    def met(self, total: float) -> bool:
        """Whether uptimes that add up to `total` are what it asks for."""
        return total > self.r - _ROUNDING


USUAL = Duty()
"""That of the public overlay, and of apps that say nothing else."""


def needed(shares: Iterable[float], r: float, least: int, most: int) -> int:
    """The least number of nodes whose uptimes `shares`, nearest first, add up to `r`.

    Not under `least`, whatever their uptimes, and not over `most`: also the answer when there are
    fewer nodes than that would take.
    """
    total = 0.0
    for count, share in enumerate(shares, start=1):
        total += share
        if count >= most:
            break
        if total > r - _ROUNDING and count >= least:
            return count
    return most
