"""Conditions on typed fields as people write them: `bytes:..10KB`, `modified:2026..`, `name:*.py`.

Source: docs/interfaces.md, `search --where FIELD:RANGE`. A range is `LOW..HIGH` with both ends
included and either left out, or one value. Turning conditions into SQL is `io/index.py`.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    CONDITION_CHARS_MAX,
    CONDITION_STARS_MAX,
    CONDITIONS_MAX,
    SECOND_US,
)
from dms3.search.kind import FIELDS, FieldType

_INTEGER = re.compile(r"(\d{1,18})\s*([KMGT]?)(i?)B?", re.ASCII | re.IGNORECASE)
_TIME = re.compile(
    r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?(Z|[+-]\d\d:\d\d)?)?)?)?", re.ASCII
)
_INTEGER_MAX = (1 << 63) - 1  # SQLite


@dataclass(frozen=True, slots=True)
class Condition:
    """A field whose value lies between two bounds (None: open), or matches a pattern.

    Times are microseconds since the Unix epoch. `pattern` is set for text only.
    """

    field: str
    low: int | None = None
    high: int | None = None
    pattern: str | None = None


def parse_conditions(texts: Sequence[str]) -> tuple[Condition, ...]:
    """The conditions in `texts`; raises `argument_invalid` with what was expected instead."""
    if len(texts) > CONDITIONS_MAX:
        raise _refused(f"{len(texts)} conditions are too many", f"at most {CONDITIONS_MAX}")
    return tuple(_parse(text) for text in texts)


def _parse(text: str) -> Condition:
    if len(text) > CONDITION_CHARS_MAX:
        raise _refused("A condition is too long", f"at most {CONDITION_CHARS_MAX} characters")
    name, colon, written = text.partition(":")
    field = FIELDS.get(name.strip())
    if not colon or field is None:
        raise _refused(
            f"{text!r} is not a condition", f"FIELD:RANGE, where FIELD is {', '.join(FIELDS)}"
        )
    written = written.strip()
    if field.type is FieldType.TEXT:
        return _text(field.name, written)
    low, dots, high = written.partition("..")
    if not dots:
        high = low
    if not low and not high:
        raise _refused(f"{text!r} has no bound", "LOW..HIGH, LOW.., ..HIGH or one value")
    bounds = _integer if field.type is FieldType.INTEGER else _time
    return Condition(
        field.name,
        bounds(low.strip())[0] if low else None,
        bounds(high.strip())[1] if high else None,
    )


def _text(name: str, written: str) -> Condition:
    if written.count("*") > CONDITION_STARS_MAX:
        raise _refused(f"{written!r} has too many *", f"at most {CONDITION_STARS_MAX}")
    return Condition(name, pattern=written)


def _integer(written: str) -> tuple[int, int]:
    """A whole number with an optional unit, as lowest and highest value it can mean."""
    match = _INTEGER.fullmatch(written)
    if match is None:
        raise _refused(f"{written!r} is not a size", "a whole number, for example 300, 4KB or 2MiB")
    digits, unit, binary = match.groups()
    step = 1024 if binary else 1000
    value = int(digits) * step ** " KMGT".index(unit.upper() or " ")
    if value > _INTEGER_MAX:
        raise _refused(f"{written!r} is too large", "a size below 2**63")
    return value, value


def _time(written: str) -> tuple[int, int]:
    """A date or time as the first and last microsecond it can mean."""
    match = _TIME.fullmatch(written)
    if match is None:
        raise _refused(
            f"{written!r} is not a time", "2026, 2026-03, 2026-03-01 or 2026-03-01T09:30"
        )
    year, month, day, hour, minute, second, zone = match.groups()
    try:
        first = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0),
            int(second or 0), tzinfo=UTC,
        )  # fmt: skip
        shift = _shift_seconds(zone)
        last_day = calendar.monthrange(first.year, int(month or 12))[1]
        last = first.replace(
            month=int(month or 12),
            day=int(day or last_day),
            hour=int(hour or 23),
            minute=int(minute or 59),
            second=int(second or 59),
        )
    except ValueError as cause:
        raise _refused(f"{written!r} is not a time", str(cause)) from None
    start = (calendar.timegm(first.timetuple()) - shift) * SECOND_US
    end = (calendar.timegm(last.timetuple()) - shift) * SECOND_US
    return start, end + SECOND_US - 1


def _shift_seconds(zone: str | None) -> int:
    """How far `zone` is ahead of UTC."""
    if zone is None or zone == "Z":
        return 0
    sign = -1 if zone[0] == "-" else 1
    return sign * (int(zone[1:3]) * 3600 + int(zone[4:6]) * 60)


def _refused(what: str, expected: str) -> Dms3Error:
    return Dms3Error("argument_invalid", f"{what}.", hint=f"Expected: {expected}.")
