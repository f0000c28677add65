"""Results on a terminal: styled lines, fields, tables, a contact card as a picture to scan.

Source: docs/interfaces.md, "Command line". Importing it costs what rich costs, so only `output`
does, when a person looks on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import segno
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dms3.cli.lines import Line
from dms3.cli.output import cell

COLUMNS_MAX = 6  # a list whose rows have more is shown row by row
QUIET_MODULES = 2  # white border of a QR code; ISO 18004 wants 4, telephones are content with 2


def new_console(*, stderr: bool = False) -> Console:
    """A console that honours NO_COLOR."""
    return Console(stderr=stderr, highlight=False, no_color=bool(os.environ.get("NO_COLOR")))


def show(data: Mapping[str, Any]) -> None:
    """Print a result for a person: short values first, then each list."""
    console = new_console()
    fields = Table.grid(padding=(0, 2))
    fields.add_column(no_wrap=True)
    fields.add_column(overflow="fold")
    lists: list[tuple[str, Sequence[Mapping[str, Any]]]] = []
    for key, value in data.items():
        if _is_rows(value):
            lists.append((key, value))
        elif isinstance(value, Mapping):
            inner = ", ".join(f"{name} {cell(part)}" for name, part in value.items())
            fields.add_row(Text(key, "bold"), Text(inner))
        elif isinstance(value, Sequence) and not isinstance(value, str):
            fields.add_row(Text(key, "bold"), Text("\n".join(map(cell, value)) or "none"))
        else:
            fields.add_row(Text(key, "bold"), Text(cell(value)))
    for key, rows in lists:
        _show_rows(console, key, rows)
    if fields.row_count:
        console.print(fields)


def show_lines(lines: Sequence[Line]) -> None:
    """Print lines of styled pieces; the terminal wraps them, so that they can be copied whole."""
    console = new_console()
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True)


def _show_rows(console: Console, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    columns = list(rows[0])
    if len(columns) > COLUMNS_MAX:
        for row in rows:
            console.print(Text(cell(row[columns[0]]), "bold"))
            for name in columns[1:]:
                console.print(Text(f"  {name}  {cell(row.get(name))}"), soft_wrap=True)
        return
    table = Table(title=title, title_justify="left", box=None, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(row.get(name))) for name in columns))
    console.print(table)


def show_picture(card: str) -> None:
    """The contact card as a QR code, when it fits on this terminal."""
    picture = segno.make(card.upper(), error="l", micro=False)
    if picture.symbol_size(border=QUIET_MODULES)[0] <= new_console().width:
        picture.terminal(out=sys.stdout, border=QUIET_MODULES, compact=True)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, Mapping) for v in value)
