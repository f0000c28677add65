"""Work that came to nothing, charged to who wrote it and who brought it; an hour's worth is known.

Source: docs/attacks.md, "Somebody in an app's overlay". Fuel is what the sandbox counts, so equal
work costs equally on every machine. Kept in memory: a restart forgives.
"""

from __future__ import annotations

from dms3.core.limits import CHARGED_MAX, FUEL_LOST_AUTHOR_MAX, FUEL_LOST_PEER_MAX
from dms3.core.machine import Now
from dms3.core.units import SECOND_US

_HOUR_US = 3_600 * SECOND_US


class Charges:
    """Fuel by author and by peer; it is forgotten steadily, all of the most within an hour."""

    def __init__(self) -> None:
        self._spent: dict[bytes, tuple[int, int]] = {}  # -> (fuel, monotonic when it was that)

    def charge(self, author: bytes, peer: bytes, fuel: int, now: Now) -> None:
        """`fuel` was spent on an action of `author` that `peer` (b"": this node) has brought."""
        for who, most in _both(author, peer):
            spent = self._at(who, most, now) + fuel
            self._spent.pop(who, None)
            if len(self._spent) >= CHARGED_MAX:
                del self._spent[next(iter(self._spent))]
            self._spent[who] = (spent, now.mono_us)

    def refuses(self, author: bytes, peer: bytes, now: Now) -> str:
        """Why nothing more is judged for them now; "" when it is."""
        for who, most in _both(author, peer):
            if self._at(who, most, now) >= most:
                whom = "its author" if who == author else "who brought it"
                return f"judging for {whom} has cost too much lately"
        return ""

    def _at(self, who: bytes, most: int, now: Now) -> int:
        fuel, at_us = self._spent.get(who, (0, now.mono_us))
        return max(0, fuel - most * (now.mono_us - at_us) // _HOUR_US)


def _both(author: bytes, peer: bytes) -> list[tuple[bytes, int]]:
    pairs = [(author, FUEL_LOST_AUTHOR_MAX)]
    return [*pairs, (peer, FUEL_LOST_PEER_MAX)] if peer else pairs
