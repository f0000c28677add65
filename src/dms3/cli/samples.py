"""Which files the guided tour walks through: real text, on every machine, without asking.

What `dms3 demo` imports when it is given a folder or none, and the words it looks for.
"""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from dms3.core.errors import Dms3Error
from dms3.core.limits import DEMO_FIRST_FILES_MIN, DEMO_WALK_FILES_MAX

FOREIGN_FOLDERS = frozenset({"site-packages", "dist-packages", "__pycache__"})


def default_documents() -> Path:
    """Python's own standard library: real text on every machine."""
    return Path(sysconfig.get_paths()["stdlib"])


def split_documents(folder: Path) -> tuple[list[Path], list[Path]]:
    """The entries of `folder` for the first import (500 files, or half of fewer), and the rest.

    Installed packages of others and compiled files are left out. Raises `argument_invalid` when
    there are not two of them.
    """
    entries = _entries(folder)
    while len(entries) == 1 and entries[0].is_dir():
        entries = _entries(entries[0])
    if len(entries) < 2:
        raise Dms3Error(
            "argument_invalid",
            f"{folder} holds fewer than two files or folders; the tour imports twice.",
            hint="Choose a folder with more documents, or leave --docs out.",
        )
    counts = [len(text_files([entry])) for entry in entries]
    enough = min(DEMO_FIRST_FILES_MIN, sum(counts) // 2)
    split = next(at for at in range(1, len(counts) + 1) if sum(counts[:at]) >= enough)
    split = min(split, len(entries) - 1)
    return entries[:split], entries[split:]


def _entries(folder: Path) -> list[Path]:
    return [
        entry
        for entry in sorted(folder.iterdir())
        if entry.name not in FOREIGN_FOLDERS and not entry.name.startswith(".")
    ]


def long_words(path: Path) -> list[str]:
    """The longest different words near the start of a text file, longest first."""
    text = path.read_text(errors="replace")[:20_000]
    return sorted(set(re.findall(r"\b[a-z]{9,18}\b", text)), key=lambda word: (-len(word), word))


def text_files(paths: Sequence[Path]) -> list[Path]:
    """At most `DEMO_WALK_FILES_MAX` plain files under `paths`."""
    found: list[Path] = []
    for path in paths:
        inside = path.rglob("*") if path.is_dir() else iter([path])
        own = (file for file in inside if not FOREIGN_FOLDERS & set(file.parts) and file.is_file())
        found += islice(own, DEMO_WALK_FILES_MAX)
    return found
