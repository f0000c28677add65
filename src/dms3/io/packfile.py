"""One pack file: how a record lies in it, appending to it, and reading from many of them.

Source: docs/architecture.md, "Where data lies". A pack file is its 8-byte mark and then records:
4-byte length, 12-byte nonce, then block and tag sealed under the pack's own random key and bound to
pack and CID. Part of the block store: only `io/packs.py` uses it. It knows no database.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from pathlib import Path

from dms3.core.cid import Cid
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import PACKS_OPEN_MAX
from dms3.crypto.seal import NONCE_BYTES, TAG_BYTES, open_sealed, seal

MARK = b"dms3pk1\n"
LENGTH_BYTES = 4
FRAME_BYTES = LENGTH_BYTES + NONCE_BYTES + TAG_BYTES  # what a record adds to its block
NAME_BYTES = 16


class PackFile:
    """A pack file that is appended to; whoever holds it guards its fields by a lock.

    `end`: where the next record goes. `flushed`: bytes known to be durable. `broken`: a flush
    failed, so nothing after `flushed` is ever trusted.
    """

    def __init__(self, path: Path, name: bytes, key: bytes, sealed_key: bytes, end: int) -> None:
        self.path = path
        self.name = name
        self.key = key
        self.sealed_key = sealed_key
        self.number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self.end = end
        self.flushed = end
        self.broken = False

    def write(self, data: bytes, place: int) -> None:
        """All of `data` at byte `place`; raises OSError."""
        rest = memoryview(data)
        while rest:
            written = os.pwrite(self.number, rest, place)
            place += written
            rest = rest[written:]


class _OpenFile:
    """A file descriptor for reading that closes itself when the last reader lets go."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self.number)


class PackReader:
    """Reads records of any pack in a folder with a bounded number of open files; thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._open: dict[bytes, _OpenFile] = {}  # by pack name, least recently used first

    def read(self, name: bytes, place: int, length: int) -> bytes:
        """At most `length` bytes at `place` of pack `name`; raises DecodeError when it cannot."""
        with self._lock:
            file = self._open.pop(name, None)
            try:
                file = file or _OpenFile(pack_path(self._folder, name))
            except OSError as cause:
                raise DecodeError(0, f"its pack cannot be opened: {cause.strerror}") from cause
            self._open[name] = file
            if len(self._open) > PACKS_OPEN_MAX:
                del self._open[next(iter(self._open))]
        try:
            return os.pread(file.number, length, place)
        except OSError as cause:
            raise DecodeError(place, f"its pack cannot be read: {cause.strerror}") from cause

    def forget(self, name: bytes) -> None:
        """Let go of a pack that is being deleted."""
        with self._lock:
            self._open.pop(name, None)

    def close(self) -> None:
        """Let go of every file."""
        with self._lock:
            self._open.clear()


def encode_record(key: bytes, nonce: bytes, pack: bytes, cid: Cid, data: bytes) -> bytes:
    """A block as it lies in pack `pack` (16-byte name): length, nonce, sealed block."""
    sealed = seal(key, nonce, data, pack + cid.binary)
    return len(sealed).to_bytes(LENGTH_BYTES, "big") + nonce + sealed


def decode_record(key: bytes, pack: bytes, cid: Cid, record: bytes) -> bytes:
    """The block in `record`; raises DecodeError unless it is exactly that record of that pack."""
    start = LENGTH_BYTES + NONCE_BYTES
    if len(record) < FRAME_BYTES:
        raise DecodeError(len(record), "record is cut off")
    if int.from_bytes(record[:LENGTH_BYTES], "big") != len(record) - start:
        raise DecodeError(0, "record has another length")
    return open_sealed(key, record[LENGTH_BYTES:start], record[start:], pack + cid.binary)


def pack_path(folder: Path, name: bytes) -> Path:
    """Where pack `name` lies."""
    return folder / f"{name.hex()}.pack"


def explain(cause: OSError) -> Dms3Error:
    """The error people see for a failed write."""
    if cause.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
        return Dms3Error("disk_full", "No space is left for blocks.", hint="Free some space.")
    return Dms3Error(
        "home_unusable",
        f"A pack cannot be written: {cause.strerror}.",
        hint="Check the disk and the permissions of the home folder.",
    )


def flush_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
