"""What a command shows: results on stdout, all else on stderr; colour and bars on a terminal only.

Source: docs/interfaces.md, "Command line"; no-color.org. It knows shapes of data, no command.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dms3.core.errors import Dms3Error

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

CELL_CHARS_MAX = 120  # of one value in a table; --json shows everything


class Output:
    """Writes one command's results. Arguments: `as_json`, the machine-readable form."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._bar: tuple[Progress, TaskID] | None = None

    def result(self, data: Mapping[str, Any]) -> None:
        """The result, or one of many."""
        self.end_progress()
        if self.as_json:
            line = json.dumps({"v": 1, "data": data}, ensure_ascii=False, separators=(",", ":"))
            _write(line + "\n")
        elif sys.stdout.isatty():
            _show_rich(data)
        else:
            _write("\n".join(plain(data)) + "\n")

    def line(self, data: Mapping[str, Any]) -> None:
        """One line of a program's own stream, which is JSON in every case (`sim run`)."""
        _write(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n")

    def note(self, text: str) -> None:
        """Something for people that is not a result."""
        if not self.as_json:
            print(text, file=sys.stderr)

    def progress(self, step: Mapping[str, Any]) -> None:
        """A step of long work; shown on a terminal only."""
        if self.as_json or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
            return
        if self._bar is None:
            self._bar = _new_bar(step)
        bar, task = self._bar
        bar.update(
            task,
            completed=step.get("done", 0),
            total=step.get("total"),
            description=printable(step.get("text") or step.get("unit") or ""),
        )

    def end_progress(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None

    def error(self, error: Dms3Error) -> None:
        """A failure, on stderr."""
        self.end_progress()
        if self.as_json:
            body = {"code": error.code, "message": error.message, "hint": error.hint}
            print(json.dumps({"v": 1, "error": body}, ensure_ascii=False), file=sys.stderr)
            return
        print(printable(error.message), file=sys.stderr)
        if error.hint:
            print(printable(error.hint), file=sys.stderr)


def plain(data: Mapping[str, Any]) -> list[str]:
    """`data` as lines for programs without JSON: `key<TAB>value`, and rows of lists below."""
    lines: list[str] = []
    for key, value in data.items():
        if isinstance(value, Sequence) and not isinstance(value, str):
            lines += ["\t".join([key, *_cells(row)]) for row in value]
        elif isinstance(value, Mapping):
            lines += [f"{key}.{line}" for line in plain(value)]
        else:
            lines.append(f"{key}\t{_cell(value)}")
    return lines


def printable(text: Any) -> str:
    """`text` without control characters: what others wrote does not steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in str(text))


def _cells(row: Any) -> list[str]:
    return [_cell(value) for value in row.values()] if isinstance(row, Mapping) else [_cell(row)]


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping | list | tuple):
        return printable(json.dumps(value, ensure_ascii=False))
    return printable(value)


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console  # noqa: PLC0415 - 50 ms that help does not need

    return Console(stderr=stderr, highlight=False, no_color=bool(os.environ.get("NO_COLOR")))


def _new_bar(step: Mapping[str, Any]) -> tuple[Progress, TaskID]:
    from rich import progress  # noqa: PLC0415 - 50 ms that help does not need

    bar = progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=_console(stderr=True),
        transient=True,
    )
    bar.start()
    return bar, bar.add_task("", total=step.get("total"))


def _show_rich(data: Mapping[str, Any]) -> None:
    from rich.table import Table  # noqa: PLC0415 - 50 ms that help does not need
    from rich.text import Text  # noqa: PLC0415 - as above

    console = _console()
    fields = Table.grid(padding=(0, 2))
    tables: list[tuple[str, Table]] = []
    for key, value in data.items():
        rows = value if isinstance(value, Sequence) and not isinstance(value, str) else None
        if rows and all(isinstance(row, Mapping) for row in rows):
            table = Table(title=key, title_justify="left", box=None, header_style="bold")
            for column in rows[0]:
                table.add_column(column, overflow="fold")
            for row in rows:
                table.add_row(*(Text(_cell(row.get(c))[:CELL_CHARS_MAX]) for c in rows[0]))
            tables.append((key, table))
        elif rows is not None:
            fields.add_row(Text(key, "bold"), Text(", ".join(map(_cell, rows)) or "none"))
        else:
            fields.add_row(Text(key, "bold"), Text(_cell(value)))
    if fields.row_count:
        console.print(fields)
    for _, table in tables:
        console.print(table)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
