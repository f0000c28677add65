"""Which files an import is about: walks folders with bounds and leaves out what cannot be kept.

Source: docs/interfaces.md, `store add`. Runs in a thread. Symbolic links inside folders are not
followed (a path a person names may be one); nothing is opened here.
"""

# ruff: noqa: PTH100, PTH116, PTH118, PTH119, PTH120 - paths are text: names need not be Unicode
from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field

from dms3.core.dag_pb import Link
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    IMPORT_FILE_BYTES_MAX,
    IMPORT_SKIPS_LISTED_MAX,
    PATH_PARTS_MAX,
    WALK_FILES_MAX,
)
from dms3.core.unixfs import name_fault
from dms3.io.intake import NOT_A_FILE, SYMLINK, explain

NODE_HOME = "the home of a node; it holds keys"
_HOME_FILES = ("key", "store.db")  # side by side only in the home of a node, or a copy of one


@dataclass(frozen=True, slots=True)
class Skip:
    """A file that is not searchable: `reason` is a clause for people.

    `kept`: its bytes are stored and its name can be found.
    """

    path: str
    reason: str
    kept: bool = False


@dataclass(slots=True)
class Skips:
    """What is not searchable: the first IMPORT_SKIPS_LISTED_MAX by name, the rest counted.

    `kept`: how many of `count` are stored all the same.
    """

    listed: list[Skip] = field(default_factory=list)
    count: int = 0
    kept: int = 0

    def add(self, path: str, reason: str, *, kept: bool = False) -> None:
        """Note a file; its name is made printable."""
        self.count += 1
        self.kept += kept
        if len(self.listed) < IMPORT_SKIPS_LISTED_MAX:
            self.listed.append(Skip(printable(path), reason, kept))


@dataclass(slots=True, eq=False)
class Folder:
    """A folder of the tree that the import builds: entries are added as files are stored."""

    name: str
    source: str
    entries: dict[str, Link] = field(default_factory=dict)
    folders: list[Folder] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class File:
    """A file to import: `folder` takes its entry, `chosen` when a person named this very file."""

    source: str
    name: str
    size: int
    stamp: int
    folder: Folder
    chosen: bool


@dataclass(slots=True)
class Walked:
    """All files in a stable order; `top` holds what was named, each under its own name."""

    top: Folder
    files: list[File] = field(default_factory=list)
    skips: Skips = field(default_factory=Skips)
    bytes: int = 0


def walk(paths: Sequence[str]) -> Walked:
    """Everything under `paths`; raises `not_found` when one is not there at all.

    Raises `limit_reached` beyond WALK_FILES_MAX files, and `argument_invalid` for the home of a
    node: whoever may read the space would have its keys.
    """
    walked = Walked(Folder("", "selection"))
    names: set[str] = set()
    for path in paths:
        source = os.path.abspath(path)
        if "\0" in source or source.encode("utf-8", "replace") != os.fsencode(source):
            raise Dms3Error("argument_invalid", f"{printable(path)} is not a path in UTF-8.")
        name = _free_name(os.path.basename(source) or "folder", names)
        try:
            found = os.stat(source)
        except (FileNotFoundError, NotADirectoryError) as cause:
            raise Dms3Error(
                "not_found",
                f"There is no file or folder {printable(source)}.",
                hint="Nothing was imported; check the path.",
            ) from cause
        except OSError as cause:
            raise Dms3Error(
                "not_found", f"{printable(path)}: {explain(cause)}.", hint="Check the path."
            ) from cause
        _check_outside_homes(source)
        if stat.S_ISDIR(found.st_mode):
            folder = Folder(name, source)
            walked.top.folders.append(folder)
            _walk_folder(walked, folder, 0)
        else:
            source = os.path.realpath(source)  # a link that a person names is followed
            _take(walked, walked.top, name, source, found, chosen=True)
    return walked


def printable(path: str) -> str:
    """`path` as text that can be shown and sent: odd bytes and control characters escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _check_outside_homes(source: str) -> None:
    """Raise `argument_invalid` when `source` is the home of a node or lies in one."""
    path = os.path.realpath(source)
    while path != os.path.dirname(path):
        if all(os.path.lexists(os.path.join(path, name)) for name in _HOME_FILES):
            raise Dms3Error(
                "argument_invalid",
                f"{printable(path)} is {NODE_HOME}.",
                hint="Import documents from elsewhere.",
            )
        path = os.path.dirname(path)


def _walk_folder(walked: Walked, folder: Folder, depth: int) -> None:
    if depth == PATH_PARTS_MAX:
        walked.skips.add(folder.source, f"deeper than {PATH_PARTS_MAX} folders")
        return
    try:
        with os.scandir(folder.source) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as cause:
        walked.skips.add(folder.source, explain(cause))
        return
    if {entry.name for entry in entries}.issuperset(_HOME_FILES):
        walked.skips.add(folder.source, NODE_HOME)
        return
    for entry in entries:
        fault = name_fault(entry.name)
        if fault is not None:
            walked.skips.add(entry.path, fault)
            continue
        try:
            state = entry.stat(follow_symlinks=False)
        except OSError as cause:
            walked.skips.add(entry.path, explain(cause))
            continue
        if stat.S_ISDIR(state.st_mode):
            inside = Folder(entry.name, entry.path)
            folder.folders.append(inside)
            _walk_folder(walked, inside, depth + 1)
        else:
            _take(walked, folder, entry.name, entry.path, state, chosen=False)


def _take(
    walked: Walked, folder: Folder, name: str, source: str, state: os.stat_result, *, chosen: bool
) -> None:
    """Note one thing that is no folder, as a file or with the reason why not."""
    fault = name_fault(name)
    if stat.S_ISLNK(state.st_mode):
        fault = SYMLINK
    elif not stat.S_ISREG(state.st_mode):
        fault = NOT_A_FILE
    elif state.st_size > IMPORT_FILE_BYTES_MAX:
        fault = f"larger than {IMPORT_FILE_BYTES_MAX >> 30} GiB"
    if fault is not None:
        walked.skips.add(source, fault)
        return
    if len(walked.files) == WALK_FILES_MAX:
        raise Dms3Error(
            "limit_reached",
            f"The folders hold more than {WALK_FILES_MAX} files.",
            hint="Import them one by one.",
        )
    walked.files.append(File(source, name, state.st_size, state.st_mtime_ns, folder, chosen))
    walked.bytes += state.st_size


def _free_name(name: str, names: set[str]) -> str:
    """`name`, or with a number when it is in `names` already, where it is noted."""
    candidate, number = name, 2
    while candidate in names:
        candidate, number = f"{name} ({number})", number + 1
    names.add(candidate)
    return candidate
