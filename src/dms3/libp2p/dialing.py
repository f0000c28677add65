"""Which addresses of a peer to try, in which order, and when a failed one is due again.

Source: RFC 8305 (order and stagger of attempts). Sans-I/O; does not dial.
"""

from __future__ import annotations

from collections.abc import Sequence

from dms3.core import limits
from dms3.libp2p.multiaddr import Multiaddr


class Backoff:
    """Failed addresses and when each is due again: doubled at each failure, bounded."""

    def __init__(self) -> None:
        self._failed: dict[Multiaddr, tuple[int, int]] = {}  # address -> (due, delay) in us

    def failed(self, address: Multiaddr, now_us: int) -> None:
        """Note a failure of `address`; the oldest note is dropped when there are too many."""
        _, delay = self._failed.pop(address, (0, 0))
        delay = min(max(2 * delay, limits.BACKOFF_FIRST_US), limits.BACKOFF_US_MAX)
        self._failed[address] = (now_us + delay, delay)
        if len(self._failed) > limits.BACKOFF_ADDRESSES_MAX:
            del self._failed[next(iter(self._failed))]

    def worked(self, address: Multiaddr) -> None:
        """Forget the failures of `address`."""
        self._failed.pop(address, None)

    def due_us(self, address: Multiaddr) -> int:
        """The monotonic microsecond from which to try `address`; 0 when it never failed."""
        return self._failed.get(address, (0, 0))[0]

    def choose(self, addresses: Sequence[Multiaddr], now_us: int) -> list[Multiaddr]:
        """The addresses to try, in order, without repeats, at most DIAL_ADDRESSES_MAX.

        Those that failed lately are left out while there are others; when all failed, only the one
        that is due first is tried: a person who asks again is not refused.
        """
        known = list(dict.fromkeys(addresses))[: limits.DIAL_ADDRESSES_MAX]
        fresh = [address for address in known if self.due_us(address) <= now_us]
        if fresh or not known:
            return fresh
        return [min(known, key=self.due_us)]
