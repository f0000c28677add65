"""A folder of named objects and numbered manifests: where backups lie.

Source: docs/adr/0006-backups.md. An object is written once, whole or not at all, and flushed before
it has its name; a manifest is written last, so a generation that can be seen is complete. What no
manifest names goes when the next one is durable. Knows neither keys nor what an object is.

    FOLDER/generation-00000001.manifest
    FOLDER/objects/3f/3f09...
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from dms3.core.errors import Dms3Error
from dms3.core.limits import BACKUP_MANIFEST_BYTES_MAX, DISK_RESERVE_BYTES_MIN
from dms3.io.disk import flush_folder, hold_folder

_OBJECTS = "objects"
_PART = ".part"
_SHELF = re.compile(r"[0-9a-f]{2}")
_OBJECT = re.compile(r"[0-9a-f]{64}(\.part)?")
_MANIFEST = re.compile(r"generation-(\d{8})\.manifest")
_NO_SPACE = (28, 122, 27)  # ENOSPC, EDQUOT, EFBIG


def folder_of(url: str) -> Path:
    """The folder that `url` names: an absolute path, or file:///PATH; raises `argument_invalid`."""
    parts = urlsplit(url)
    if not parts.scheme:
        path = url
    elif parts.scheme == "file" and parts.netloc in ("", "localhost"):
        path = unquote(parts.path)
    else:
        raise Dms3Error(
            "argument_invalid",
            f"Backups to {parts.scheme}:// are not offered by this version.",
            hint="Give a folder: a path, or file:///PATH.",
        )
    if not path.startswith("/") or "\0" in path:
        raise Dms3Error("argument_invalid", f"{url[:200]!r} is not the path of a folder.")
    return Path(path)


class ObjectFolder:
    """The objects and manifests in `folder`; who writes holds it, reading changes nothing.

    `reserve`: bytes that stay free on its disk.
    """

    def __init__(self, folder: Path, *, reserve: int = DISK_RESERVE_BYTES_MIN) -> None:
        self.path = folder
        self._reserve = reserve
        self._dirty: set[Path] = set()  # folders whose names are not flushed

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder when it is missing and keep other writers out while the block runs.

        Raises `home_in_use`, `home_unusable`.
        """
        try:
            (self.path / _OBJECTS).mkdir(mode=0o700, parents=True, exist_ok=True)
            number = hold_folder(self.path)
        except OSError as cause:
            raise self._failed(cause) from cause
        except Dms3Error as cause:
            raise Dms3Error(
                "home_in_use", f"Another backup into {self.path} is under way."
            ) from cause
        self._dirty |= {self.path, self.path.parent}
        try:
            yield
        finally:
            os.close(number)

    # objects

    def has(self, name: bytes, size: int) -> bool:
        """Whether the object is there with `size` bytes."""
        try:
            return self._path(name).stat().st_size == size
        except OSError:
            return False

    def size(self, name: bytes) -> int:
        """The bytes of an object; raises `store_corrupt` when it is missing."""
        try:
            return self._path(name).stat().st_size
        except OSError as cause:
            raise self._lost(name, cause) from cause

    def put(self, name: bytes, data: bytes) -> None:
        """Write an object, durable once `settle` or `put_manifest` has returned.

        Raises `disk_full`, `home_unusable`.
        """
        self.check_space(len(data))
        path = self._path(name)
        try:
            if not path.parent.is_dir():
                path.parent.mkdir(mode=0o700)
                self._dirty.add(path.parent.parent)
            _write(path, data)
        except OSError as cause:
            raise self._failed(cause) from cause
        self._dirty.add(path.parent)

    def get(self, name: bytes, size_max: int) -> bytes:
        """The bytes of an object; raises `store_corrupt` when it is missing or cannot be read."""
        try:
            with self._path(name).open("rb") as file:
                return file.read(size_max + 1)
        except OSError as cause:
            raise self._lost(name, cause) from cause

    # manifests

    def generations(self) -> list[int]:
        """The numbers of all manifests, oldest first."""
        found = (_MANIFEST.fullmatch(name) for name in _names(self.path))
        return sorted(int(match[1]) for match in found if match)

    def manifest(self, number: int) -> bytes:
        """The manifest `number`; raises `not_found`."""
        try:
            with self._manifest_path(number).open("rb") as file:
                return file.read(BACKUP_MANIFEST_BYTES_MAX + 1)
        except FileNotFoundError as cause:
            there = ", ".join(map(str, self.generations())) or "none"
            raise Dms3Error(
                "not_found",
                f"{self.path} holds no generation {number}.",
                hint=f"There is {there}.",
            ) from cause
        except OSError as cause:
            raise self._failed(cause) from cause

    def put_manifest(self, number: int, data: bytes) -> None:
        """Write a manifest; when this returns the generation is there and durable."""
        self.check_space(len(data))
        try:
            self._settle()
            _write(self._manifest_path(number), data)
            flush_folder(self.path)
        except OSError as cause:
            raise self._failed(cause) from cause

    def prune(self, numbers: Collection[int], objects: Collection[bytes] | None) -> int:
        """Remove other manifests than `numbers`, then other objects than `objects`; bytes freed.

        `objects`: None leaves all objects alone.
        """
        freed = 0
        try:
            for number in self.generations():
                if number not in numbers:
                    self._manifest_path(number).unlink()
            flush_folder(self.path)
            if objects is not None:
                wanted = {name.hex() for name in objects}
                for path in self._objects():
                    if path.name not in wanted:
                        freed += path.lstat().st_size
                        path.unlink()
        except OSError as cause:
            raise self._failed(cause) from cause
        return freed

    def check_space(self, wanted: int) -> None:
        """Raise `disk_full` unless `wanted` bytes fit and leave the reserve free."""
        try:
            free = shutil.disk_usage(self.path).free
        except OSError as cause:
            raise self._failed(cause) from cause
        needed = self._reserve + wanted
        if free < needed:
            raise Dms3Error(
                "disk_full",
                f"{free >> 20} MiB are free in {self.path}, {needed >> 20} MiB are needed.",
                hint="Free some space there, or choose another folder; earlier backups are whole.",
            )

    def _objects(self) -> Iterator[Path]:
        """What this program may have written; whatever else lies here, or leads away, is left."""
        objects = self.path / _OBJECTS
        for shelf in () if objects.is_symlink() else sorted(objects.iterdir()):
            if _SHELF.fullmatch(shelf.name) and shelf.is_dir() and not shelf.is_symlink():
                yield from sorted(path for path in shelf.iterdir() if _OBJECT.fullmatch(path.name))

    def _settle(self) -> None:
        for folder in sorted(self._dirty):
            with contextlib.suppress(PermissionError):  # the folder above may be another's
                flush_folder(folder)
        self._dirty.clear()

    def _path(self, name: bytes) -> Path:
        text = name.hex()
        return self.path / _OBJECTS / text[:2] / text

    def _manifest_path(self, number: int) -> Path:
        return self.path / f"generation-{number:08}.manifest"

    def _lost(self, name: bytes, cause: OSError) -> Dms3Error:
        return Dms3Error(
            "store_corrupt",
            f"The backup lacks the file {self._path(name)}: {cause.strerror}.",
            hint="Take an older generation with --generation, or another copy of the folder.",
        )

    def _failed(self, cause: OSError) -> Dms3Error:
        if cause.errno in _NO_SPACE:
            return Dms3Error(
                "disk_full",
                f"No space is left in {self.path}.",
                hint="Free some space there, or choose another folder; earlier backups are whole.",
            )
        return Dms3Error(
            "home_unusable",
            f"The folder {self.path} cannot be used: {cause.strerror}.",
            hint="Check that it is there and that you may write to it.",
        )


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _write(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, flushed, readable by its owner only; its name is not flushed."""
    part = path.with_name(path.name + _PART)
    part.unlink(missing_ok=True)  # of a run that was killed, or a link that somebody laid there
    number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(number, rest) :]
        os.fsync(number)
    finally:
        os.close(number)
    part.replace(path)
