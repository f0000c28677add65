"""Looking into the files of homes while nodes may be writing there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """The files below `folder` in order, with what is in them; a part that has gone is none."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with contextlib.suppress(FileNotFoundError):
                yield path, path.read_bytes()
