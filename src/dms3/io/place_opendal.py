"""Back-end of places: S3, WebDAV and cloud drives, through Apache OpenDAL (extra `dms3[cloud]`).

Source: docs/storage.md; the documentation of Apache OpenDAL. What is secret comes from the place's
secret alone: neither environment nor configuration files of other programs are read. An object is
put whole: S3 shows nothing unfinished; where a server writes in place it is uploaded under another
name and moved. A WebDAV server removes what lies at the end of a move before it moves (RFC 4918,
section 9.9.3), so what replaces an object is moved twice, and a server that dies in between leaves
it under the name NAME.new. S3 and WebDAV are tested against servers; the drives are not.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    PLACE_LIST_NAMES_MAX,
    PLACE_LISTED_MAX,
    PLACE_OBJECT_BYTES_MAX,
    PLACE_PART_OLD_US_MIN,
    SECOND_US,
)
from dms3.storage.operations import Place

DRIVES = ("gdrive", "dropbox", "onedrive")
"""Services of kind `opendal` that are offered; no server of theirs is tested here."""

_OBJECT = re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{16}\.part")
_NEW = ".new"
_STATUS = re.compile(r"status: (\d{3})")
_FULL = re.compile(r"QuotaExceeded|StorageFull|EntityTooLarge|insufficient|quota", re.IGNORECASE)
_HTTP = ("http", "https")
_RETRIES, _PAUSE_S = 1, 0.1  # a connection that was kept open may be closed by now
_INSTALL = "Install it with: pip install 'dms3[cloud]'"


class OpendalPlace:
    """The objects below the root of `operator`.

    `tag`: 16 hex characters of this run, so that two devices never write one unfinished file;
    `wall_us`: the wall clock in microseconds.
    """

    def __init__(self, operator: Any, tag: str, wall_us: Callable[[], int]) -> None:
        self._operator = operator
        self._tag = tag
        self._wall_us = wall_us
        capability = operator.capability()
        self._moves = bool(capability.rename)
        self._starts = bool(capability.list_with_start_after)
        self._swept = False

    async def put(self, name: str, data: bytes) -> None:
        """Replace an object."""
        try:
            if not self._moves:
                await self._operator.write(name, data)
                return
            part = f"{name}.{self._tag}.part"
            await self._operator.write(part, data)
            if await self._operator.exists(name):
                await self._operator.rename(part, name + _NEW)
                await self._operator.rename(name + _NEW, name)
            else:
                await self._operator.rename(part, name)
        except _errors() as error:
            raise _explained(error) from None

    async def get(self, name: str) -> bytes | None:
        """An object, or None."""
        found = await self._read(name)
        if found is None and self._moves:
            found = await self._read(name + _NEW)
            if found is None:  # moved in between?
                found = await self._read(name)
        return found

    async def _read(self, name: str) -> bytes | None:
        try:
            return await self._read_some(name)
        except _reading_errors() as error:
            if _kind(error) == "NotFound":
                return None
            raise _explained(error) from None

    async def _read_some(self, name: str) -> bytes:
        """No more of an object than one can have, whatever the server sends."""
        found = bytearray()
        async with await self._operator.open(name, "rb") as file:
            while len(found) <= PLACE_OBJECT_BYTES_MAX:
                piece = await file.read(PLACE_OBJECT_BYTES_MAX + 1 - len(found))
                if not piece:
                    break
                found += piece
        return bytes(found)

    async def names(self, after: str) -> tuple[str, ...]:
        """A page of names; unfinished files of devices that died long ago are removed."""
        try:
            if not self._starts and not self._swept:
                self._swept = True
                await self._sweep()
            return await self._names(after)
        except _not_found():
            return ()  # nothing was ever written
        except _errors() as error:
            raise _explained(error) from None

    async def delete(self, name: str) -> None:
        """Remove an object."""
        try:
            if self._moves:
                await self._remove(name + _NEW)
            await self._remove(name)
        except _errors() as error:
            raise _explained(error) from None

    async def close(self) -> None:
        """Connections go with the operator."""

    async def _remove(self, name: str) -> None:
        try:
            await self._operator.delete(name)
        except _not_found():
            return

    async def _names(self, after: str) -> tuple[str, ...]:
        if self._starts:
            lister = await self._operator.list("", start_after=after or None)
            found: list[str] = []
            async for entry in lister:
                if _OBJECT.fullmatch(entry.name) and entry.name > after:
                    found.append(entry.name)
                if len(found) == PLACE_LIST_NAMES_MAX:
                    break
            return tuple(found)
        names = {entry.name.removesuffix(_NEW) for entry in await self._all()}
        later = (name for name in sorted(names) if _OBJECT.fullmatch(name) and name > after)
        return tuple(itertools.islice(later, PLACE_LIST_NAMES_MAX))

    async def _all(self) -> list[Any]:
        entries: list[Any] = []
        async for entry in await self._operator.list(""):
            entries.append(entry)
            if len(entries) > PLACE_LISTED_MAX:
                raise Dms3Error("limit_reached", f"more than {PLACE_LISTED_MAX} files lie there")
        return entries

    async def _sweep(self) -> None:
        for entry in await self._all():
            if not _PART.fullmatch(entry.name):
                continue
            changed = (await self._operator.stat(entry.name)).last_modified
            if changed is None:
                continue
            age_us = self._wall_us() - int(changed.timestamp() * SECOND_US)
            if age_us > PLACE_PART_OLD_US_MIN:
                await self._operator.delete(entry.name)


def open_opendal(place: Place, tag: str, wall_us: Callable[[], int]) -> OpendalPlace:
    """The back-end of an `s3`, `webdav` or `opendal` place; raises `argument_invalid`.

    Addresses: `https://SERVER/BUCKET/FOLDER`, `https://SERVER/FOLDER`, `gdrive:///FOLDER`.
    """
    scheme, options = _options(place)
    try:
        import opendal  # noqa: PLC0415  # 20 MB of an extra that few nodes have
    except ImportError as cause:
        why = f"a place of kind {place.kind} needs the extra `cloud` of this program"
        raise Dms3Error("argument_invalid", why, hint=_INSTALL) from cause
    try:
        operator = opendal.AsyncOperator(scheme, **options)
    except _opening_errors():
        known = ", ".join(sorted(set(options) - {"root", "endpoint", "bucket"})) or "nothing"
        why = f"the options of its secret ({known}) do not open {scheme}"
        raise Dms3Error("argument_invalid", why, hint="docs/storage.md lists them.") from None
    again = opendal.layers.RetryLayer(max_times=_RETRIES, min_delay=_PAUSE_S, max_delay=_PAUSE_S)
    return OpendalPlace(operator.layer(again), tag, wall_us)


def _options(place: Place) -> tuple[str, dict[str, str]]:
    """The service of opendal, and its options."""
    secret = _secret(place)
    parts = urlsplit(place.url)
    path = unquote(parts.path).strip("/")
    if place.kind == "opendal":
        if parts.scheme not in DRIVES:
            offered = ", ".join(f"{drive}:///FOLDER" for drive in DRIVES)
            raise Dms3Error("argument_invalid", "no such drive", hint=f"Offered are {offered}.")
        return parts.scheme, {**secret, "root": f"/{path}"}
    if parts.scheme not in _HTTP or not parts.hostname:
        why = "its address does not begin with https:// and the name of a server"
        raise Dms3Error("argument_invalid", why)
    server = f"{parts.scheme}://{parts.netloc}"
    if place.kind == "webdav":
        return "webdav", {**secret, "endpoint": server, "root": f"/{path}"}
    bucket, _, folder = path.partition("/")
    if not bucket:
        raise Dms3Error("argument_invalid", "its address names no bucket: https://SERVER/BUCKET")
    fixed = {
        "endpoint": server,
        "bucket": bucket,
        "root": f"/{folder}",
        "disable_config_load": "true",  # nothing of another program's configuration
        "disable_ec2_metadata": "true",
    }
    return "s3", {"region": "us-east-1", **secret, **fixed}


def _secret(place: Place) -> dict[str, str]:
    """The options in the secret of a place: one JSON object of text values."""
    try:
        found = json.loads(place.secret or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        why = "its secret is no JSON object with text values"
        raise Dms3Error("argument_invalid", why, hint="docs/storage.md shows one.")
    return found


def _errors() -> tuple[type[Exception], ...]:
    from opendal import exceptions as known  # noqa: PLC0415  # as in open_opendal

    found: tuple[type[Exception], ...] = (
        known.Error,
        known.Unexpected,
        known.Unsupported,
        known.ConfigInvalid,
        known.PermissionDenied,
        known.IsADirectory,
        known.NotADirectory,
        known.AlreadyExists,
        known.IsSameFile,
        known.ConditionNotMatch,
        known.RateLimited,
        known.RangeNotSatisfied,
        known.Conflict,
        known.NotFound,
    )
    return found


def _opening_errors() -> tuple[type[Exception], ...]:
    return (*_errors(), TypeError, ValueError)


def _reading_errors() -> tuple[type[Exception], ...]:
    return (*_errors(), OSError)


def _not_found() -> type[Exception]:
    from opendal import exceptions as known  # noqa: PLC0415  # as in open_opendal

    found: type[Exception] = known.NotFound
    return found


def _kind(error: Exception) -> str:
    """What opendal calls it; an open file gives all of them as OSError, the kind in front."""
    return str(error).partition(" ")[0] if isinstance(error, OSError) else type(error).__name__


def _explained(error: Exception) -> Dms3Error:
    """What happened; the library's text stays inside, since it quotes what was sent."""
    text = str(error)
    kind = _kind(error)
    match = _STATUS.search(text)
    status = int(match[1]) if match else 0
    if kind == "PermissionDenied" or status in (401, 403) or "credential" in text:
        return Dms3Error("unauthorized", "it refuses the credentials of its secret")
    if status in (413, 507) or _FULL.search(text):
        return Dms3Error("limit_reached", "it is full")
    if kind == "RateLimited" or status == 429:
        return Dms3Error("limit_reached", "it is asked too often", hint="It is tried again.")
    if kind == "ConfigInvalid":
        what = "bucket" if "NoSuchBucket" in text else "folder or an option of its secret"
        return Dms3Error("argument_invalid", f"it does not know the {what}")
    if kind == "NotFound":
        return Dms3Error("peer_unreachable", "a folder there is gone")
    answered = f"it answered with status {status}" if status else "no connection, or it was cut"
    return Dms3Error("peer_unreachable", answered)
