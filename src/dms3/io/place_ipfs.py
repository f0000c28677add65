"""Back-end of places: any IPFS node, through the RPC interface of kubo.

Source: docs/storage.md; docs.ipfs.tech/reference/kubo/rpc. An object is an immutable file that is
added first; a name in a folder of the node's mutable file system then points to it, so a name never
shows half an object, and what has a name is not collected. Whoever knows a CID can ask the IPFS
network for the bytes: they are sealed. Publishes no names (IPNS).
"""

from __future__ import annotations

import asyncio
import heapq
import json
import re
from typing import Any
from urllib.parse import unquote, urlsplit

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    PLACE_LIST_NAMES_MAX,
    PLACE_LISTED_MAX,
    PLACE_OBJECT_BYTES_MAX,
    PLACE_SECONDS_MAX,
)
from dms3.storage.operations import Place

_OBJECT = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ABSENT = ("does not exist", "no link named")
_ANSWER_BYTES_MAX = 2 * PLACE_LISTED_MAX * 128  # a list of names with their CIDs
_FULL = ("no space left", "maximum storage")


class IpfsPlace:
    """The objects in `folder` of the node at `server` (`http://127.0.0.1:5001`).

    `headers`: what its RPC asks for; `tag`: 16 hex characters of this run.
    """

    def __init__(self, server: str, folder: str, headers: dict[str, str], tag: str) -> None:
        import httpx  # noqa: PLC0415  # 60 ms of a start, for a kind that few nodes use

        self._errors: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.InvalidURL)
        self._slow: type[Exception] = httpx.TimeoutException
        self._client = httpx.AsyncClient(
            base_url=server,
            headers=headers,
            timeout=PLACE_SECONDS_MAX,
            trust_env=False,
            follow_redirects=False,
        )
        self._folder = f"/{folder}"
        self._tag = tag
        self._made = False
        self._naming = asyncio.Lock()  # kubo loses names that are moved at the same time

    async def put(self, name: str, data: bytes) -> None:
        """Add the bytes, then let the name point to them."""
        await self._make()
        options = {"pin": "false", "cid-version": "1", "raw-leaves": "true", "quieter": "true"}
        added = await self._ask("add", options, files={"file": data})
        cid = _member(added, "Hash")
        aside = f"{self._folder}/{name}.{self._tag}"
        async with self._naming:
            await self._ask("files/rm", {"arg": aside, "force": "true"})
            await self._ask("files/cp", [("arg", f"/ipfs/{cid}"), ("arg", aside)])
            await self._ask("files/mv", [("arg", aside), ("arg", f"{self._folder}/{name}")])

    async def get(self, name: str) -> bytes | None:
        """An object, or None."""
        options = {"arg": f"{self._folder}/{name}", "count": str(PLACE_OBJECT_BYTES_MAX + 1)}
        try:
            return await self._ask("files/read", options)
        except _AbsentError:
            return None

    async def names(self, after: str) -> tuple[str, ...]:
        """A page of names."""
        try:
            found = await self._ask("files/ls", {"arg": self._folder})
        except _AbsentError:
            return ()
        entries = _json(found).get("Entries") or []
        if not isinstance(entries, list):
            raise Dms3Error("peer_unreachable", "what answers is no IPFS node")
        names = [str(entry.get("Name")) for entry in entries if isinstance(entry, dict)]
        later = (name for name in names if _OBJECT.fullmatch(name) and name > after)
        return tuple(heapq.nsmallest(PLACE_LIST_NAMES_MAX, later))

    async def delete(self, name: str) -> None:
        """Remove a name; the node collects the bytes when it sees fit."""
        async with self._naming:
            await self._ask("files/rm", {"arg": f"{self._folder}/{name}", "force": "true"})

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def _make(self) -> None:
        async with self._naming:
            if not self._made:
                await self._ask("files/mkdir", {"arg": self._folder, "parents": "true"})
                self._made = True

    async def _ask(self, command: str, options: Any, files: Any = None) -> bytes:
        try:
            answer = self._client.stream("POST", f"/api/v0/{command}", params=options, files=files)
            async with answer as response:
                body = bytearray()
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > _ANSWER_BYTES_MAX:
                        raise Dms3Error("peer_unreachable", "it answers without end")
        except self._slow as cause:
            raise Dms3Error("timed_out", "it does not answer") from cause
        except self._errors as cause:
            raise Dms3Error("peer_unreachable", "no connection, or it was cut") from cause
        if response.status_code != 200:
            raise _refused(response.status_code, bytes(body))
        return bytes(body)


class _AbsentError(Dms3Error):
    """The name is not there."""

    def __init__(self) -> None:
        super().__init__("peer_unreachable", "its folder is gone")


def open_ipfs(place: Place, tag: str) -> IpfsPlace:
    """The back-end of an `ipfs` place; raises `argument_invalid`.

    Its address: that of the RPC and a folder name, `http://127.0.0.1:5001/FOLDER`. Its secret:
    empty, or {"authorization": VALUE OF THE HTTP HEADER}.
    """
    parts = urlsplit(place.url)
    folder = unquote(parts.path).strip("/")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        why = "its address does not begin with http:// and the RPC of a node"
        raise Dms3Error("argument_invalid", why, hint="As in http://127.0.0.1:5001/my-folder")
    if not _FOLDER.fullmatch(folder) or folder.startswith("."):
        why = "its address names no folder of letters, digits, dots and dashes"
        raise Dms3Error("argument_invalid", why, hint="As in http://127.0.0.1:5001/my-folder")
    return IpfsPlace(f"{parts.scheme}://{parts.netloc}", folder, _headers(place), tag)


def _headers(place: Place) -> dict[str, str]:
    try:
        found = json.loads(place.secret or "{}")
    except ValueError:
        found = None
    value = found.get("authorization", "") if isinstance(found, dict) else None
    if not isinstance(value, str) or not value.isprintable() or not value.isascii():
        why = 'its secret is not {"authorization": "VALUE"}'
        raise Dms3Error("argument_invalid", why)
    return {"Authorization": value} if value else {}


def _refused(status: int, body: bytes) -> Dms3Error:
    try:
        said = str(_json(body).get("Message", ""))
    except Dms3Error:
        said = ""
    if any(text in said for text in _ABSENT):
        return _AbsentError()
    if status in (401, 403):
        return Dms3Error("unauthorized", "its RPC refuses the authorization of the secret")
    if any(text in said for text in _FULL):
        return Dms3Error("limit_reached", "it is full")
    return Dms3Error("peer_unreachable", f"it answered with status {status}: {said[:200]!r}")


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Dms3Error("peer_unreachable", "what answers is no IPFS node")
    return found


def _member(body: bytes, key: str) -> str:
    found = _json(body).get(key)
    if not isinstance(found, str) or not found.isalnum():
        raise Dms3Error("peer_unreachable", "what answers is no IPFS node")
    return found
