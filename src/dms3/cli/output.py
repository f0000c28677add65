"""What a command shows: results on stdout, all else on stderr; colour and bars on a terminal only.

Source: docs/interfaces.md, "Command line"; no-color.org. It knows shapes of data, no command.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dms3.cli.lines import Line, View, shown
from dms3.core.errors import Dms3Error

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Output:
    """Writes one command's results.

    Arguments: `as_json`, the machine-readable form; `view`, what people read of it (cli/views.py).
    """

    def __init__(self, *, as_json: bool, view: View | None = None) -> None:
        self.as_json = as_json
        self._view = view
        self._bar: tuple[Progress, TaskID] | None = None

    def result(self, data: Mapping[str, Any]) -> None:
        """The result, or one of many."""
        self.end_progress()
        if self.as_json:
            line = json.dumps({"v": 1, "data": data}, ensure_ascii=False, separators=(",", ":"))
            _write(line + "\n")
            return
        lines = None if self._view is None else shown(self._view, data)
        if lines is not None:
            self.lines(lines)
            self._picture(data)
        elif sys.stdout.isatty():
            from dms3.cli.screen import show  # noqa: PLC0415 - 50 ms that help does not need

            show(data)
        else:
            _write("\n".join(plain(data)) + "\n")

    def lines(self, lines: Sequence[Line]) -> None:
        """Lines of styled pieces: coloured on a terminal, plain text elsewhere."""
        if self.as_json:
            return
        if not sys.stdout.isatty():
            text = ["".join(printable(piece) for piece, _ in line) for line in lines]
            _write("\n".join(text) + "\n")
            return
        from dms3.cli.screen import show_lines  # noqa: PLC0415 - 50 ms that help does not need

        show_lines([[(printable(piece), style) for piece, style in line] for line in lines])

    def _picture(self, data: Mapping[str, Any]) -> None:
        """A contact card as something to scan, for people only."""
        if not self.as_json and sys.stdout.isatty() and isinstance(data.get("card"), str):
            from dms3.cli.screen import show_picture  # noqa: PLC0415 - as above

            show_picture(data["card"])

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
            body: dict[str, Any] = {"code": error.code, "message": error.message}
            body["hint"] = error.hint
            if error.about is not None:
                body["about"] = dict(error.about)
            print(json.dumps({"v": 1, "error": body}, ensure_ascii=False), file=sys.stderr)
            return
        print(printable(error.message), file=sys.stderr)
        if error.about is not None:
            for name, value in error.about.items():
                print(printable(f"  {name:<7} {cell(value)}"), file=sys.stderr)
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
            lines.append(f"{key}\t{cell(value)}")
    return lines


def printable(text: Any) -> str:
    """`text` without control characters: what others wrote does not steer a terminal."""
    return "".join(char if char.isprintable() else " " for char in str(text))


def _cells(row: Any) -> list[str]:
    return [cell(value) for value in row.values()] if isinstance(row, Mapping) else [cell(row)]


def cell(value: Any) -> str:
    """One value as text on one line."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping | list | tuple):
        return printable(json.dumps(value, ensure_ascii=False))
    return printable(value)


def _new_bar(step: Mapping[str, Any]) -> tuple[Progress, TaskID]:
    from rich import progress  # noqa: PLC0415 - 50 ms that help does not need

    from dms3.cli.screen import new_console  # noqa: PLC0415 - as above

    bar = progress.Progress(
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=new_console(stderr=True),
        transient=True,
    )
    bar.start()
    return bar, bar.add_task("", total=step.get("total"))


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
