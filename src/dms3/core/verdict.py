"""What validation says of a value: valid, invalid by which rule, waiting for what, or given up.

Source: docs/architecture.md, "Errors". Validation returns one of these and never raises; only
Invalid speaks against whoever made the value.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.limits import CLOCK_AHEAD_US_MAX


@dataclass(frozen=True, slots=True)
class Valid:
    """Every rule holds."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """`rule` (a stable name) is broken; `detail` is one clause for people.

    `line`: where in the rules of an app the rule stands, 0 for a rule of the system.
    """

    rule: str
    detail: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Unresolved:
    """It cannot be said before the values under the keys `missing` are known."""

    missing: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The check was stopped, for example by a bound; says nothing about the value."""

    reason: str


Verdict = Valid | Invalid | Unresolved | Abandoned


def in_date(since_us: int, until_us: int, wall_us: int) -> Valid | Abandoned:
    """Whether a dated word holds at `wall_us`: not over, nor from later than clocks may differ.

    It may be the clock of this node that is wrong, so nobody is blamed.
    """
    if until_us <= wall_us:
        return Abandoned("expired")
    if since_us > wall_us + CLOCK_AHEAD_US_MAX:
        return Abandoned("from the future")
    return Valid()
