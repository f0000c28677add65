"""Where conversations are kept, and by which devices: what the `message storage` commands do.

Source: docs/storage.md; storage/operations.py. Implements `StorageServices` of
node/services_storage.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast, get_args

from dms3.core.errors import Dms3Error
from dms3.core.limits import MESSAGES_LISTED_MAX
from dms3.node.correspondents import Correspondents
from dms3.node.node import Node
from dms3.node.table import Progress, Result, Step
from dms3.storage.operations import Device, Kind, Place, StorageState

_LOOK_SECONDS = 0.25  # between two reports of progress
_PARTS = 1_000  # of a move that people are told
OFFERED = {
    "local": (True, "this node alone has them"),
    "overlay": (True, "other nodes of the public overlay hold them, sealed"),
    "ipfs": (True, "an IPFS node of yours, by its RPC address"),
    "s3": (True, "a bucket at any provider that speaks S3"),
    "webdav": (True, "a WebDAV server, such as Nextcloud"),
    "opendal": (False, "Google Drive, Dropbox, OneDrive and others through opendal, untested here"),
    "service": (True, "a delivery service of yours"),
}
"""Kinds of places: whether each is tested against a real server here, and words for people."""


class StorageAnswers:
    """The services over a running `node`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def storage(self) -> dict[str, Any]:
        """Where conversations are kept, and what else there is."""
        state: StorageState = await self._node.call("storage.chosen")
        offered = [
            {"kind": kind, "tested": tested, "text": text}
            for kind, (tested, text) in OFFERED.items()
        ]
        return {**state_data(state), "offered": offered}

    async def store_in(
        self, kind: str, url: str, secret: str, *, lost: bool
    ) -> AsyncIterator[Step]:
        """Keep conversations elsewhere; progress, and last how it is."""
        if kind not in get_args(Kind):
            raise Dms3Error(
                "argument_invalid",
                f"There is no place of kind {kind[:64]!r}.",
                hint=f"Try: {', '.join(get_args(Kind))}",
            )
        place = Place(cast("Kind", kind), url, secret)
        asked = self._node.group.create_task(self._choose(place, lost=lost))
        try:
            while not asked.done():
                await asyncio.wait([asked], timeout=_LOOK_SECONDS)
                state: StorageState = await self._node.call("storage.chosen")
                if not asked.done() and (state.moving is not None or state.problem):
                    done = int(_PARTS * (state.moving or 0.0))
                    yield Progress(done, _PARTS, "parts", state.problem or "copying")
        finally:
            asked.cancel()  # the move goes on all the same
        answer = asked.result()
        if isinstance(answer, Dms3Error):
            raise answer
        yield Result(state_data(answer))

    async def _choose(self, place: Place, *, lost: bool) -> StorageState | Dms3Error:
        """The answer, or why there is none: an error must not end the node's other work."""
        try:
            chosen: StorageState = await self._node.call(
                "storage.leave" if lost else "storage.choose", place
            )
        except Dms3Error as error:
            return error
        return chosen

    async def earlier(self, name: str) -> dict[str, Any]:
        """Bring older messages until there are more with a person, or there are no more."""
        person = (await Correspondents(self._node).find(name))["id"]
        before = await self._total(person)
        total, came = before, 1
        while came and total == before:
            came = await self._node.call("storage.earlier", MESSAGES_LISTED_MAX)
            total = await self._total(person)
        return {"person": person, "came": total - before}

    async def _total(self, person: str) -> int:
        """How many messages with a person are here."""

        def work() -> int:
            with self._node.store.read() as connection:
                row = connection.execute(
                    "SELECT total FROM correspondence WHERE person = ?", (person,)
                ).fetchone()
            return 0 if row is None else int(row[0])

        return await asyncio.to_thread(work)

    async def devices(self) -> dict[str, Any]:
        """The devices of this person that keep messages in one place."""
        rows: tuple[Device, ...] = await self._node.call("storage.devices")
        shown = [
            {"id": row.id, "name": row.name, "seen_us": row.seen_us, "this": row.this}
            for row in rows
        ]
        return {"devices": shown}

    async def remove_device(self, beginning: str) -> dict[str, Any]:
        """Remove the device whose id begins so."""
        rows: tuple[Device, ...] = await self._node.call("storage.devices")
        found = [row for row in rows if beginning and row.id.startswith(beginning.lower())]
        if len(found) != 1:
            raise Dms3Error(
                "not_found" if not found else "argument_invalid",
                f"{len(found) or 'None'} of your devices has an id that begins with {beginning!r}.",
                hint="`dms3 message devices` lists them.",
            )
        generation: int = await self._node.call("storage.remove_device", found[0].id)
        return {"id": found[0].id, "name": found[0].name, "generation": generation}


def state_data(state: StorageState) -> dict[str, Any]:
    """How a place stands, without its secret."""
    return {
        "kind": state.place.kind,
        "url": state.place.url,
        "items": state.items,
        "bytes": state.bytes,
        "pending": state.pending,
        "problem": state.problem,
        "moving": state.moving,
    }
