"""What validation says of a value: valid, invalid by which rule, waiting for what, or given up.

Source: docs/architecture.md, "Errors". Validation returns one of these and never raises; only
Invalid speaks against whoever made the value.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Valid:
    """Every rule holds."""


@dataclass(frozen=True, slots=True)
class Invalid:
    """`rule` (a stable name) is broken; `detail` is one clause for people."""

    rule: str
    detail: str


@dataclass(frozen=True, slots=True)
class Unresolved:
    """It cannot be said before the values under the keys `missing` are known."""

    missing: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The check was stopped, for example by a bound; says nothing about the value."""

    reason: str


Verdict = Valid | Invalid | Unresolved | Abandoned
