"""The folder of an app as files in memory: from the disk, uploads, a CID, or what comes with dms3.

Source: docs/dapps.md, "The folder". Bounded while it is read. What the files mean is
`node/dapps_parts.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from dms3 import dapps
from dms3.core.cid import DAG_PB, Cid
from dms3.core.dag_pb import Link
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    DAPP_BYTES_MAX,
    DAPP_FILE_BYTES_MAX,
    DAPP_FILES_MAX,
    DAPP_PATH_BYTES_MAX,
    PATH_PARTS_MAX,
)
from dms3.core.unixfs import name_fault
from dms3.node.table import BlobOrPath, nearest

MANIFEST = "dapp.toml"
INDEX = "index.html"
SHIPPED = Path(dapps.__file__).parent
LEFT_OUT = ("__pycache__",)


class Content(Protocol):
    """A file that can be read (`node/content.py`)."""

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        ...

    def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `end` in pieces."""
        ...


class Reading(Protocol):
    """The parts of a node that files can come from."""

    async def content(self, cid: Cid) -> Content:
        """The file `cid`, from here or from peers."""
        ...

    async def folder(self, cid: Cid) -> Sequence[Link]:
        """The entries of the folder `cid`."""
        ...


class Spool(Protocol):
    """Uploads (`io/spool.py`)."""

    def size(self, name: str) -> int:
        """Bytes of a finished upload; raises `not_found`."""
        ...

    def read(self, name: str) -> Iterator[bytes]:
        """The bytes of an upload, in pieces."""
        ...


@dataclass(slots=True)
class Files:
    """The files of an app by path; `add` keeps the bounds."""

    files: dict[str, bytes] = field(default_factory=dict)
    total: int = 0

    def announce(self, path: str, size: int) -> None:
        """Refuse a file before it is read; raises `limit_reached`, `argument_invalid`."""
        parts = path.split("/")
        fault = next((one for one in map(name_fault, parts) if one is not None), None)
        if fault is None and len(parts) > PATH_PARTS_MAX:
            fault = f"it lies deeper than {PATH_PARTS_MAX} folders"
        if fault is None and len(path.encode()) > DAPP_PATH_BYTES_MAX:
            fault = f"its path is longer than {DAPP_PATH_BYTES_MAX} bytes"
        if fault is not None:
            raise Dms3Error("argument_invalid", f"The file {path[:80]!r} cannot be taken: {fault}.")
        if size > DAPP_FILE_BYTES_MAX:
            raise _too_much(f"{path} has {size:,} bytes", DAPP_FILE_BYTES_MAX, "bytes in a file")
        if self.total + size > DAPP_BYTES_MAX:
            raise _too_much(f"{self.total + size:,} bytes", DAPP_BYTES_MAX, "bytes")
        if len(self.files) >= DAPP_FILES_MAX:
            raise _too_much(f"more than {DAPP_FILES_MAX} files", DAPP_FILES_MAX, "files")

    def add(self, path: str, data: bytes) -> None:
        """Take a file; raises as `announce`, `already_exists` for the same path again."""
        self.announce(path, len(data))
        if path in self.files:
            raise Dms3Error("already_exists", f"The app has the file {path[:80]!r} twice.")
        self.files[path] = data
        self.total += len(data)


def belongs(path: str) -> bool:
    """Whether a file is part of an app: nothing hidden, nothing that Python leaves behind."""
    parts = path.split("/")
    return not any(part.startswith(".") or part in LEFT_OUT for part in parts)


def shipped() -> list[str]:
    """The names of the apps that come with dms3."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{MANIFEST}"))


def shipped_folder(name: str) -> Path:
    """The folder of the app `name` that comes with dms3; raises `not_found`."""
    known = shipped()
    if name not in known:
        near = nearest(name, known)
        raise Dms3Error(
            "not_found",
            f"There is no folder, no CID and no app called {name[:64]!r}.",
            hint=f"Did you mean {near}?" if near else f"dms3 brings {', '.join(known)}.",
        )
    return SHIPPED / name


def read_folder(folder: Path) -> dict[str, bytes]:
    """The files of an app on this machine; raises `not_found`, `argument_invalid`. For a thread."""
    if not (folder / MANIFEST).is_file():
        raise Dms3Error(
            "not_found",
            f"{folder} is no app: it has no {MANIFEST}.",
            hint="dms3 dapp new NAME makes the folder of an app.",
        )
    found = Files()
    try:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if belongs(name) and path.is_file() and not path.is_symlink():
                found.announce(name, path.stat().st_size)
                found.add(name, path.read_bytes())
    except OSError as cause:
        raise Dms3Error(
            "argument_invalid", f"{cause.filename} cannot be read: {cause.strerror}."
        ) from cause
    return found.files


def read_uploads(uploads: Sequence[BlobOrPath], spool: Spool) -> dict[str, bytes]:
    """The files of an app that were uploaded, `ID/FOLDER/NAME` each. For a thread.

    The folder that holds the manifest is the app; what lies outside of it is refused.
    """
    named = {"/".join((*one.folders, one.name)): one for one in uploads}
    tops = sorted(PurePosixPath(path).parent for path in named if path.endswith(MANIFEST))
    if not tops:
        raise Dms3Error("not_found", f"Among the uploads is no {MANIFEST}.")
    top = min(tops, key=lambda one: len(one.parts))
    found = Files()
    for path, one in sorted(named.items()):
        inside = PurePosixPath(path)
        if not inside.is_relative_to(top):
            raise Dms3Error("argument_invalid", f"{path[:80]!r} lies outside of the app {top}.")
        name = inside.relative_to(top).as_posix()
        if belongs(name):
            blob = one.blob
            assert blob is not None
            found.announce(name, spool.size(blob))
            found.add(name, b"".join(spool.read(blob)))
    return found.files


async def read_cid(node: Reading, cid: Cid) -> dict[str, bytes]:
    """The files of the app whose folder is `cid`, from here or from peers.

    Raises `content_unavailable`, `argument_invalid` when it is no app.
    """
    found = Files()
    waiting: list[tuple[str, Sequence[Link]]] = [("", await node.folder(cid))]
    while waiting:
        prefix, links = waiting.pop()
        for link in links:
            path = prefix + link.name
            if not belongs(path):
                continue
            found.announce(path, 0)
            folder = await _folder(node, link.cid)
            if folder is not None:
                waiting.append((f"{path}/", folder))
                continue
            content = await node.content(link.cid)
            found.announce(path, content.size)
            pieces = [piece async for piece in content.read(0, content.size)]
            found.add(path, b"".join(pieces))
    if MANIFEST not in found.files:
        raise Dms3Error(
            "argument_invalid",
            f"{cid} is no app: it has no {MANIFEST}.",
            hint="dms3 dapp discover lists the apps that others have published.",
        )
    return found.files


async def _folder(node: Reading, cid: Cid) -> Sequence[Link] | None:
    """The entries of `cid`, or None when it is a file."""
    if cid.codec != DAG_PB:
        return None
    try:
        return await node.folder(cid)
    except Dms3Error as error:
        if error.code == "argument_invalid":  # a large file
            return None
        raise


async def read_path(path: Path) -> dict[str, bytes]:
    """As `read_folder`, beside the loop."""
    return await asyncio.to_thread(read_folder, path)


def _too_much(what: str, most: int, unit: str) -> Dms3Error:
    return Dms3Error(
        "limit_reached",
        f"The app has {what}; at most {most:,} {unit} are taken.",
        hint="Import large things as documents and let the app name them by their CID.",
    )
