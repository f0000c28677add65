"""Pack files: how a record lies in them, appending to the newest, and reading from any.

Source: docs/architecture.md, "Where data lies". A pack file is its 8-byte mark and then records:
4-byte length, 12-byte nonce, then block and tag sealed under the pack's own random key and bound to
pack and CID. The pack's key is kept elsewhere, sealed under the store key. Part of the block store:
only `io/packs.py` and its parts use it. It knows no database.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from dms3.core.cid import Cid
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import PACK_BYTES_MAX, PACKS_OPEN_MAX
from dms3.core.machine import Entropy
from dms3.crypto.seal import KEY_BYTES, NONCE_BYTES, TAG_BYTES, open_sealed, seal
from dms3.io.disk import check_space, flush_folder, write_error

MARK = b"dms3pk1\n"
LENGTH_BYTES = 4
FRAME_BYTES = LENGTH_BYTES + NONCE_BYTES + TAG_BYTES  # what a record adds to its block
NAME_BYTES = 16
_KEY_PURPOSE = b"dms3 pack key 1"


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


def unseal_key(key: bytes, name: bytes, sealed_key: bytes) -> bytes:
    """The key of pack `name`, given the store key; raises DecodeError."""
    nonce, sealed = sealed_key[:NONCE_BYTES], sealed_key[NONCE_BYTES:]
    return open_sealed(key, nonce, sealed, _KEY_PURPOSE + name)


def seal_key(key: bytes, nonce: bytes, name: bytes, pack_key: bytes) -> bytes:
    """The key of pack `name` as it is kept in its row; `nonce`: 12 fresh random bytes."""
    return nonce + seal(key, nonce, pack_key, _KEY_PURPOSE + name)


def pack_path(folder: Path, name: bytes) -> Path:
    """Where pack `name` lies."""
    return folder / f"{name.hex()}.pack"


class PackFile:
    """A pack that is or was appended to; only `PackAppender` changes it.

    `end`: where the next record goes. `flushed`: bytes known to be durable. `broken`: a flush
    failed, so nothing behind `flushed` is ever trusted.
    """

    def __init__(self, path: Path, name: bytes, key: bytes, sealed_key: bytes, end: int) -> None:
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


@dataclass(frozen=True, slots=True)
class Record:
    """A block that was appended: `length` bytes at `place` of `pack`; it counts once attached."""

    cid: Cid
    size: int
    pack: PackFile
    place: int
    length: int

    def check_flushed(self) -> None:
        """Raise unless it is durable: the caller forgot `sync`, or the disk failed."""
        if self.pack.flushed < self.place + self.length:
            assert self.pack.broken, "a record is attached before sync"
            raise Dms3Error("home_unusable", "A pack could not be flushed to disk.")


class PackAppender:
    """Appends records to the newest pack of a folder and begins the next; thread-safe."""

    def __init__(self, folder: Path, key: bytes, entropy: Entropy, reserve: int) -> None:
        self._folder = folder
        self._key = key
        self._entropy = entropy
        self._reserve = reserve
        self._lock = threading.Lock()
        self._flushing = threading.Lock()  # one sync at a time
        self._current: PackFile | None = None
        self._full: list[PackFile] = []  # no longer appended to, maybe not flushed yet
        self._new_names = False  # a file was made and the folder not flushed since

    def resume(self, name: bytes, sealed_key: bytes, end: int) -> None:
        """Go on appending at byte `end` of pack `name`, unless that is damaged."""
        path = pack_path(self._folder, name)
        with contextlib.suppress(DecodeError, FileNotFoundError):
            if path.stat().st_size < end:
                return
            key = unseal_key(self._key, name, sealed_key)
            self._current = PackFile(path, name, key, sealed_key, end)

    def append(self, cid: Cid, data: bytes, *, frees_space: bool = False) -> Record:
        """Seal `data` and write it, not yet flushed; raises `disk_full` or `home_unusable`.

        `frees_space`: this is part of making room, so the disk reserve may be used.
        """
        if not frees_space:
            check_space(self._folder, self._reserve, len(data))
        length = len(data) + FRAME_BYTES
        with self._lock:
            try:
                pack = self._pack_for(length)
                nonce = self._entropy.draw(NONCE_BYTES)
                pack.write(encode_record(pack.key, nonce, pack.name, cid, data), pack.end)
            except OSError as cause:
                raise write_error(cause, "a pack") from cause
            place = pack.end
            pack.end += length
        return Record(cid, len(data), pack, place, length)

    def sync(self) -> None:
        """Make every appended record durable; raises `disk_full` or `home_unusable`."""
        with self._flushing:
            with self._lock:
                packs = [pack for pack in (*self._full, self._current) if pack is not None]
                ends = [pack.end for pack in packs]
                new_names, self._new_names = self._new_names, False
            try:
                if new_names:
                    flush_folder(self._folder)
                for pack, end in zip(packs, ends, strict=True):
                    if pack.flushed < end and not pack.broken:
                        os.fsync(pack.number)
                        pack.flushed = end
            except OSError as cause:
                self._give_up(packs)
                raise write_error(cause, "a pack") from cause
            with self._lock:
                over = [pack for pack in self._full if pack.broken or pack.flushed == pack.end]
                self._full = [pack for pack in self._full if pack not in over]
            for pack in over:
                os.close(pack.number)

    def retire(self, names: Collection[bytes]) -> None:
        """Append no more to the packs in `names`."""
        with self._lock:
            if self._current is not None and self._current.name in names:
                self._full.append(self._current)
                self._current = None

    def close(self) -> None:
        """Flush and close every file."""
        with self._lock:
            if self._current is not None:
                self._full.append(self._current)
                self._current = None
        self.sync()

    def _pack_for(self, length: int) -> PackFile:
        if self._current is not None and self._current.end + length > PACK_BYTES_MAX:
            self._full.append(self._current)
            self._current = None
        if self._current is None:
            self._current = self._begin()
            self._new_names = True
        return self._current

    def _begin(self) -> PackFile:
        """A new pack with nothing but its mark, not flushed; raises OSError."""
        name = self._entropy.draw(NAME_BYTES)
        key = self._entropy.draw(KEY_BYTES)
        nonce = self._entropy.draw(NONCE_BYTES)
        sealed = seal_key(self._key, nonce, name, key)
        pack = PackFile(pack_path(self._folder, name), name, key, sealed, len(MARK))
        pack.flushed = 0
        try:
            pack.write(MARK, 0)
        except OSError:
            os.close(pack.number)
            pack_path(self._folder, name).unlink()
            raise
        return pack

    def _give_up(self, packs: list[PackFile]) -> None:
        """What could not be flushed now is never trusted to be flushed later."""
        unsure = [pack for pack in packs if pack.flushed < pack.end]
        for pack in unsure:
            pack.broken = True
        self.retire([pack.name for pack in unsure])


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

    def size(self, name: bytes) -> int:
        """Bytes of pack `name` on disk; raises FileNotFoundError."""
        return pack_path(self._folder, name).stat().st_size

    def delete(self, name: bytes) -> None:
        """Let go of pack `name` and delete its file; one that is gone is no error."""
        with self._lock:
            self._open.pop(name, None)
        pack_path(self._folder, name).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of every file."""
        with self._lock:
            self._open.clear()
