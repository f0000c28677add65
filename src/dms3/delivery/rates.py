"""How much somebody may do in a time: one bucket per name, the fullest forgotten first.

Source: the token bucket (ITU-T I.371, "virtual scheduling"). Time is an argument. It limits only:
whoever refuses says why.
"""

from __future__ import annotations

from dms3.core.limits import SECOND_US


class Rates:
    """`burst` at once, then `per_second`, for each of at most `noted` names."""

    def __init__(self, per_second: int, burst: int, noted: int) -> None:
        self._cost_us = SECOND_US // per_second
        self._burst_us = burst * self._cost_us
        self._noted = noted
        self._due: dict[str, int] = {}  # when each would have done everything; oldest use first

    def take(self, name: str, mono_us: int) -> int:
        """0 when `name` may do one more now, else how many microseconds it has to wait.

        `mono_us`: the monotonic clock. Names beyond `noted` are forgotten, the longest quiet one
        first, and start with a full burst again.
        """
        due = max(self._due.pop(name, 0), mono_us)
        wait = due + self._cost_us - mono_us - self._burst_us
        self._due[name] = due if wait > 0 else due + self._cost_us
        if len(self._due) > self._noted:
            del self._due[next(iter(self._due))]
        return max(0, wait)
