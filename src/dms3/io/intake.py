"""Opening files that other programs own: reads them whole or in parts, or says why not.

Source: issue of bad input (unreadable, vanishing, huge, changing files and things that are no
files). `take_files` is what a worker process runs; `read_parts` serves large files from a thread.
It follows no symbolic link, waits on no pipe, and stores nothing.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from dms3.core.limits import IMPORT_PART_BYTES
from dms3.core.unixfs import Built, build_file
from dms3.io.extract import Extracted, extract

VANISHED = "it vanished before it was read"
CHANGED = "it changed while it was read"
NOT_A_FILE = "not a regular file"
SYMLINK = "a symbolic link; links are not followed"
_TRIES = 2  # a file that changes twice while it is read is being written

_REASONS = {
    errno.ENOENT: VANISHED,
    errno.ENOTDIR: VANISHED,
    errno.ELOOP: SYMLINK,
    errno.ENXIO: NOT_A_FILE,
    errno.ENAMETOOLONG: "its path is too long",
}


class UnreadableError(Exception):
    """A file that cannot be imported now; `reason` is a clause for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Taken:
    """A file read by a worker: its tree and text, or the `fault` that kept it from being read.

    `stamp`: its modification time in nanoseconds, as the file system has it.
    """

    source: str
    fault: str = ""
    stamp: int = 0
    built: Built | None = field(default=None, repr=False)
    extracted: Extracted | None = field(default=None, repr=False)


def take_files(sources: Sequence[str]) -> list[Taken]:
    """Each file of `sources` (at most IMPORT_PART_BYTES long) with its blocks and its text."""
    return [_take(source) for source in sources]


def extract_beginning(name: str, data: bytes) -> Extracted:
    """What the file called `name` is, judged by its first part."""
    return extract(name, data)


def extract_beginnings(files: Sequence[tuple[str, bytes]]) -> list[Extracted]:
    """The same of several files, each a name and its first part."""
    return [extract(name, data) for name, data in files]


def read_parts(source: str, stamp: int, size: int) -> Generator[bytes, None, None]:
    """The file in parts of IMPORT_PART_BYTES; raises UnreadableError.

    `stamp`, `size`: as seen when the folder was listed; another file now, or at the end, is one
    that changed.
    """
    with _opened(source) as (number, before):
        if (before.st_mtime_ns, before.st_size) != (stamp, size):
            raise UnreadableError(CHANGED)
        while data := _read(number, IMPORT_PART_BYTES):
            yield data
        if _changed(number, before):
            raise UnreadableError(CHANGED)


def explain(cause: OSError) -> str:
    """Why the operating system refused, as a clause for people."""
    known = _REASONS.get(cause.errno or 0)
    return known or f"it cannot be read: {(cause.strerror or 'unknown error').lower()}"


def _take(source: str) -> Taken:
    fault = ""
    for _ in range(_TRIES):
        try:
            data, stamp = _read_whole(source)
        except UnreadableError as error:
            fault = error.reason
            if fault != CHANGED:
                break
            continue
        name = os.path.basename(source)  # noqa: PTH119 - text in, text out
        return Taken(source, "", stamp, build_file(data), extract(name, data))
    return Taken(source, fault)


def _read_whole(source: str) -> tuple[bytes, int]:
    with _opened(source) as (number, before):
        if before.st_size > IMPORT_PART_BYTES:
            raise UnreadableError(CHANGED)  # it was smaller when the folder was listed
        data = _read(number, before.st_size + 1)
        if len(data) != before.st_size or _changed(number, before):
            raise UnreadableError(CHANGED)
        return data, before.st_mtime_ns


@contextmanager
def _opened(source: str) -> Iterator[tuple[int, os.stat_result]]:
    try:
        number = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as cause:
        raise UnreadableError(explain(cause)) from cause
    except ValueError as cause:  # a NUL in the name
        raise UnreadableError("it has no usable name") from cause
    try:
        before = os.fstat(number)
        if not stat.S_ISREG(before.st_mode):
            raise UnreadableError(NOT_A_FILE)
        yield number, before
    finally:
        os.close(number)


def _read(number: int, wanted: int) -> bytes:
    """Exactly `wanted` bytes, or what is left of the file."""
    parts: list[bytes] = []
    while wanted > 0:
        try:
            data = os.read(number, wanted)
        except OSError as cause:
            raise UnreadableError(explain(cause)) from cause
        if not data:
            break
        parts.append(data)
        wanted -= len(data)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _changed(number: int, before: os.stat_result) -> bool:
    after = os.fstat(number)
    return (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
