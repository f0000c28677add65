"""The fenced blocks of the documentation, and the commands in those that a reader can type.

In a block fenced as `sh`, a line that begins with `$ ` or `NAME$ ` is a command for the node NAME
(alice where none is named); the lines below it are what it prints on a pipe. `...` stands for
anything within a line, a line of `...` alone for any lines. A command without lines below it has
only to succeed. A block fenced as `text` is shown and not run.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
LANGUAGES = {"sh", "python", "toml", "html", "js", "text"}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"^(\w*)\$ (.*)$")
_FILE = re.compile(r"(?:#|//|<!--) ([\w-]+\.(?:py|toml|html|js))(?: -->)?\n")


@dataclass(frozen=True)
class Fence:
    """One block: its `language`, its text, and the line of the file on which it begins."""

    document: Path
    line: int
    language: str
    text: str

    @property
    def file_name(self) -> str:
        """The name in a first line such as `# tour.py`: the file the reader puts the block into."""
        match = _FILE.match(self.text)
        return match[1] if match else ""


@dataclass(frozen=True)
class Command:
    """One command as typed for `node`, and the lines it prints (none: they do not matter)."""

    where: str
    node: str
    text: str
    expected: tuple[str, ...]


def fences(document: Path) -> list[Fence]:
    """Every fenced block of `document`, in order."""
    text = document.read_text()
    return [
        Fence(document, text.count("\n", 0, match.start()) + 1, match[1], match[2])
        for match in _FENCE.finditer(text)
    ]


def commands(fence: Fence) -> Iterator[Command]:
    """The commands of an `sh` block; lines before the first prompt are an error of the page."""
    found: list[tuple[int, str, list[str], list[str]]] = []
    continues = False
    for number, line in enumerate(fence.text.splitlines(), fence.line + 1):
        match = _PROMPT.match(line)
        if match and not continues:
            found.append((number, match[1] or "alice", [match[2]], []))
        else:
            assert found, f"{fence.document.name}:{number}: no prompt before {line!r}"
            found[-1][2 if continues else 3].append(line)
        continues = (continues or match is not None) and line.endswith("\\")
    for number, node, typed, expected in found:
        where = f"{fence.document.name}:{number}"
        yield Command(where, node, "\n".join(typed), tuple(expected))


def differs(expected: Sequence[str], printed: Sequence[str]) -> str:
    """What of `printed` is not as `expected`, or "" when all is."""
    pattern = "".join(
        "(?:.*\n)*" if line.strip() == "..." else _line_pattern(line) + "\n" for line in expected
    )
    text = "".join(f"{_folded(line)}\n" for line in printed)
    if re.fullmatch(pattern, text):
        return ""
    return "expected:\n" + "\n".join(expected) + "\nprinted:\n" + "\n".join(printed)


def _line_pattern(line: str) -> str:
    return ".*".join(re.escape(part) for part in _folded(line).split("..."))


def _folded(line: str) -> str:
    """White space counts as one space: a page aligns what a program separates with tabs."""
    return " ".join(line.split())
