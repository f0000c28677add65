"""Back-end of places: a folder in the home of this node, for this node alone.

Source: docs/storage.md. An object is one file, written aside, flushed, renamed, and its name
flushed, so a crash leaves the old or the new one, whole. Knows no keys: what it is given is sealed.

    HOME/conversations/3f/3f09...
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    DISK_RESERVE_BYTES_MIN,
    PLACE_LIST_NAMES_MAX,
    PLACE_OBJECT_BYTES_MAX,
)
from dms3.io.disk import check_space, flush_folder, write_error

_SHELF = re.compile(r"[0-9a-f]{2}")
_OBJECT = re.compile(r"[0-9a-f]{64}")
_PART = ".part"


class LocalPlace:
    """The objects in `folder`, which is made when it is needed; `reserve`: bytes that stay free."""

    def __init__(self, folder: Path, *, reserve: int = DISK_RESERVE_BYTES_MIN) -> None:
        self._folder = folder
        self._reserve = reserve
        self._count = 0

    async def put(self, name: str, data: bytes) -> None:
        """Replace an object; raises `limit_reached` when the disk is full, `home_unusable`."""
        self._count += 1  # two writers of one name do not share a file
        await asyncio.to_thread(self._put, name, data, self._count)

    async def get(self, name: str) -> bytes | None:
        """An object, or None; raises `home_unusable`."""
        return await asyncio.to_thread(self._get, name)

    async def names(self, after: str) -> tuple[str, ...]:
        """A page of names."""
        return await asyncio.to_thread(self._list, after)

    async def delete(self, name: str) -> None:
        """Remove an object; its name is gone durably."""
        await asyncio.to_thread(self._delete, name)

    async def close(self) -> None:
        """Nothing is open."""

    def _put(self, name: str, data: bytes, number: int) -> None:
        path = self._path(name)
        part = path.with_name(f"{name}.{os.getpid()}.{number}{_PART}")
        try:
            self._make(path.parent)
            check_space(path.parent, self._reserve, len(data))
            try:
                _write(part, data)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            flush_folder(path.parent)
        except OSError as cause:
            raise _full(write_error(cause, "the conversations")) from cause
        except Dms3Error as error:
            raise _full(error) from error

    def _make(self, shelf: Path) -> None:
        if shelf.is_dir():
            return
        shelf.mkdir(mode=0o700, parents=True, exist_ok=True)
        flush_folder(self._folder)
        flush_folder(self._folder.parent)

    def _get(self, name: str) -> bytes | None:
        try:
            with self._path(name).open("rb") as file:
                return file.read(PLACE_OBJECT_BYTES_MAX + 1)
        except FileNotFoundError:
            return None
        except OSError as cause:
            raise write_error(cause, "the conversations") from cause

    def _list(self, after: str) -> tuple[str, ...]:
        found: list[str] = []
        for shelf in _names(self._folder, _SHELF):
            if shelf < after[:2]:
                continue
            found += [name for name in _names(self._folder / shelf, _OBJECT) if name > after]
            if len(found) >= PLACE_LIST_NAMES_MAX:
                break
        return tuple(found[:PLACE_LIST_NAMES_MAX])

    def _delete(self, name: str) -> None:
        path = self._path(name)
        try:
            path.unlink(missing_ok=True)
            if path.parent.is_dir():
                flush_folder(path.parent)
        except OSError as cause:
            raise write_error(cause, "the conversations") from cause

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name


def _write(path: Path, data: bytes) -> None:
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(number, rest) :]
        os.fsync(number)
    finally:
        os.close(number)


def _names(folder: Path, form: re.Pattern[str]) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if form.fullmatch(path.name))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as cause:
        raise write_error(cause, "the conversations") from cause


def _full(error: Dms3Error) -> Dms3Error:
    """A full disk is a full place."""
    if error.code != "disk_full":
        return error
    return Dms3Error("limit_reached", error.message.rstrip("."), hint=error.hint)
