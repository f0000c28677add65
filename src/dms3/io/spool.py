"""Uploads on their way in: sealed temporary files that only this process can read back.

Source: docs/architecture.md, "Private by default". The key of an upload lives in memory only, so a
file left by a crash is noise; it is removed at the next start. It does not look at the content.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    DISK_RESERVE_BYTES_MIN,
    MIB,
    UPLOAD_BYTES_MAX,
    UPLOADS_MAX,
)
from dms3.core.machine import Entropy
from dms3.crypto.seal import KEY_BYTES, SEALED_CHUNK_BYTES, StreamOpener, StreamSealer
from dms3.io.disk import check_space, hold_folder, write_error

ID_BYTES = 16
_READ_BYTES = 16 * SEALED_CHUNK_BYTES  # one read gives about 1 MiB


@dataclass(frozen=True, slots=True)
class Upload:
    """A finished upload: its `id` (hex) and its `size` in bytes."""

    id: str
    size: int


@dataclass(slots=True)
class _Entry:
    path: Path
    key: bytes = field(repr=False)
    size: int | None = None  # None until it is finished


class Receiving:
    """One upload being written; ends with `finish` or `abandon`; thread-safe."""

    def __init__(self, spool: Spool, name: str, entry: _Entry, limit: int) -> None:
        self.id = name
        self._spool = spool
        self._entry = entry
        self._limit = limit
        self._size = 0
        self._lock = threading.Lock()  # a sender may go away while a thread still writes
        self._sealer = StreamSealer(entry.key, bytes.fromhex(name))
        self._file = _create(entry.path)

    def write(self, data: bytes) -> None:
        """Append `data`; raises `body_too_large` or `disk_full`, after which the upload is gone."""
        with self._lock, self._gone_on_error():
            self._size += len(data)
            if self._size > self._limit:
                raise Dms3Error(
                    "body_too_large",
                    f"The upload is larger than {self._limit} bytes.",
                    hint="Split it into smaller files.",
                )
            self._spool.check_space(len(data))
            self._append(self._sealer.update(data))

    def finish(self) -> Upload:
        """The upload, readable by `Spool.read` from now on; raises `disk_full`."""
        with self._lock, self._gone_on_error():
            self._append(self._sealer.finish())
            self._file.close()
            self._entry.size = self._size
            return Upload(self.id, self._size)

    def abandon(self) -> None:
        """Remove the upload, finished or not; a second time changes nothing."""
        with self._lock:
            self._drop()

    @contextlib.contextmanager
    def _gone_on_error(self) -> Iterator[None]:
        if self._file.closed:
            raise Dms3Error("cancelled", "The upload was ended before.")
        try:
            yield
        except BaseException:
            self._drop()
            raise

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as cause:
            raise write_error(cause, "an upload") from cause

    def _drop(self) -> None:
        self._file.close()
        self._spool.remove(self.id)


class Spool:
    """The uploads of one home, in `folder`; one object per folder at a time; thread-safe."""

    def __init__(
        self,
        folder: Path,
        entropy: Entropy,
        *,
        limit: int = UPLOAD_BYTES_MAX,
        reserve: int = DISK_RESERVE_BYTES_MIN,
    ) -> None:
        """Makes `folder` when missing and removes every upload an earlier process left.

        `limit`: bytes of one upload. `reserve`: bytes that stay free on the disk. Raises
        `home_in_use` while another object or process has the folder open.
        """
        self._folder = folder
        self._entropy = entropy
        self._limit = limit
        self._reserve = reserve
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._held: int | None = hold_folder(folder)
        for path in sorted(folder.glob("*.upload")):
            path.unlink()

    def begin(self, limit: int | None = None) -> Receiving:
        """A new upload of at most `limit` bytes (and at most the spool's own limit).

        Raises `node_busy` when too many uploads are open, `disk_full`.
        """
        self.check_space(0)
        with self._lock:
            if len(self._entries) >= UPLOADS_MAX:
                raise Dms3Error(
                    "node_busy", f"{UPLOADS_MAX} uploads are open.", hint="Try again in a moment."
                )
            name = self._entropy.draw(ID_BYTES).hex()
            key = self._entropy.draw(KEY_BYTES)
            entry = _Entry(self._folder / f"{name}.upload", key)
            self._entries[name] = entry
        try:
            return Receiving(self, name, entry, min(limit or self._limit, self._limit))
        except OSError as cause:
            self.remove(name)
            raise write_error(cause, "an upload") from cause

    async def receive(self, chunks: AsyncIterable[bytes], limit: int | None = None) -> Upload:
        """Write all of `chunks` off the event loop, about 1 MiB at a time.

        When it fails or is cancelled (the sender went away) nothing is left. Raises as `begin` and
        `Receiving.write`.
        """
        upload = self.begin(limit)
        try:
            waiting = bytearray()
            async for chunk in chunks:
                waiting += chunk
                if len(waiting) >= MIB:
                    await asyncio.to_thread(upload.write, bytes(waiting))
                    waiting.clear()
            await asyncio.to_thread(upload.write, bytes(waiting))
            return await asyncio.to_thread(upload.finish)
        except BaseException:
            upload.abandon()
            raise

    def read(self, name: str) -> Iterator[bytes]:
        """The bytes of a finished upload in pieces of about 1 MiB; may be read more than once.

        Raises `not_found`; `store_corrupt` when the file was changed on disk.
        """
        return self._pieces(name, self._entry(name))

    def _pieces(self, name: str, entry: _Entry) -> Iterator[bytes]:
        opener = StreamOpener(entry.key, bytes.fromhex(name))
        try:
            with entry.path.open("rb", buffering=0) as file:
                while sealed := file.read(_READ_BYTES):
                    if data := opener.update(sealed):
                        yield data
                if data := opener.finish():
                    yield data
        except OSError as cause:
            raise write_error(cause, "an upload") from cause
        except DecodeError as cause:
            raise Dms3Error(
                "store_corrupt", f"Upload {name} was damaged on disk.", hint="Upload it again."
            ) from cause

    def size(self, name: str) -> int:
        """Bytes of a finished upload; raises `not_found`."""
        size = self._entry(name).size
        assert size is not None, "an entry without a size is not found"
        return size

    def remove(self, name: str) -> None:
        """Delete an upload; nothing happens when there is none of that name."""
        with self._lock:
            entry = self._entries.pop(name, None)
        if entry is not None:
            entry.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Delete every upload; a second time changes nothing."""
        for name in list(self._entries):
            self.remove(name)
        held, self._held = self._held, None
        if held is not None:
            os.close(held)

    def check_space(self, bytes_wanted: int) -> None:
        """Raise `disk_full` unless the disk holds `bytes_wanted` and the reserve beside it."""
        check_space(self._folder, self._reserve, bytes_wanted)

    def _entry(self, name: str) -> _Entry:
        with self._lock:
            entry = self._entries.get(name)
        if entry is None or entry.size is None:
            raise Dms3Error(
                "not_found",
                f"There is no upload {name[:32]!r}.",
                hint="It was imported or discarded, or the node has restarted: upload it again.",
            )
        return entry


def _create(path: Path) -> BinaryIO:
    """A new file that only its owner can read."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    return os.fdopen(number, "wb", buffering=0)
