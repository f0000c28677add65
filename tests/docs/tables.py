"""Tables of the pages in docs/, as cells."""

import re
from collections.abc import Iterator

from docs.fences import ROOT

DOCS = ROOT / "docs"


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table whose head begins with `heading`."""
    lines = iter((DOCS / page).read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {heading} |"):
            next(lines)
            return list(cells(lines))
    raise AssertionError(f"{page} has no table that begins with {heading!r}")


def cells(lines: Iterator[str]) -> Iterator[list[str]]:
    """The cells of each row, up to the end of the table."""
    for line in lines:
        if not line.startswith("| "):
            return
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def words(cell: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall(r"`([^`]+)`", cell)
