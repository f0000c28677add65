"""The machine's clocks and randomness: the only place where the program asks for either.

Source: docs/architecture.md, "The machine" (`Now`, `Entropy`). A wall clock that jumps is noticed
by the driver, which compares the two clocks at every step; nothing is corrected here.
"""

from __future__ import annotations

import os
import time

from dms3.core.machine import Now


class SystemClock:
    """The operating system's monotonic and wall clock."""

    def now(self) -> Now:
        """This instant, in microseconds of both clocks."""
        return Now(time.monotonic_ns() // 1_000, time.time_ns() // 1_000)


class SystemEntropy:
    """The operating system's source of random bytes."""

    def draw(self, count: int) -> bytes:
        """`count` bytes fit for keys."""
        return os.urandom(count)
