"""What a view is made of: lines of styled pieces, and how sizes, counts and dates are written.

Source: docs/interfaces.md, "Command line". `cli/output.py` prints lines, coloured on a terminal,
plain elsewhere. It knows no command; the views of each noun are in `cli/views_*.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

Piece = tuple[str, str]  # text and the style of it ("" for none)
Line = list[Piece]
View = Callable[[Mapping[str, Any]], list[Line]]

FOREVER_YEAR = 9000  # a grant without an end carries the last date there is
_UNITS = ("B", "kB", "MB", "GB", "TB")


def shown(view: View, data: Mapping[str, Any]) -> list[Line] | None:
    """The lines of `view`, or None for data of another version in which it misses something."""
    try:
        return view(data)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError):
        return None


def size(count: int) -> str:
    """`count` bytes as people write it: 393 kB."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}" if value < 1000 else f"{value:.0f} {_UNITS[unit]}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """`3 documents`, `1 document`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def until(moment_us: int) -> str:
    """`until 2027-03-01`, or nothing for a grant without an end."""
    if moment_us >= int(datetime(FOREVER_YEAR, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000:
        return ""
    return f" until {datetime.fromtimestamp(moment_us // 1_000_000, UTC):%Y-%m-%d}"


def got(data: Mapping[str, Any]) -> list[Line]:
    """The view of every command that writes one file."""
    return [[(f"{data['file']}", "bold"), (f"  {size(data['size'])}", "")]]
