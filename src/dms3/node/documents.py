"""Spaces and documents, here and at peers: what the `store` and `search` commands do.

Source: docs/interfaces.md. Joins the library with the sharing and fetch machines and shapes
answers for programs and people. Implements `DocumentServices` of node/services_store.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal

from dms3.core.cid import Cid
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import PeerId, Root, SpaceId
from dms3.core.limits import DOCUMENTS_LISTED_MAX, SECOND_US
from dms3.node import importing, overview, publishing, searching
from dms3.node.car_export import CAR_ENDING, CarFile, measure
from dms3.node.car_import import CarStep
from dms3.node.checking import Verified
from dms3.node.node import Node
from dms3.node.noting import Changed
from dms3.node.publishing import plain_text
from dms3.node.services_store import SearchAsked
from dms3.node.table import BlobOrPath, Progress, Result, Step
from dms3.p2p.contacts import ROOT_HEX_CHARS_MIN, Contact
from dms3.search.operations import Grants, Share, Unshare

_LEAVING = ("withdraw", "drop")  # stages of a space that is public no longer


class Documents:
    """The services over a running `node`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def add(
        self, paths: Sequence[BlobOrPath], space: str, kind: str | None
    ) -> AsyncIterator[Step]:
        """Import; an upload leaves the spool once it has been imported."""
        sources = [self._source(path) for path in paths]
        async for step in self._node.library.add(sources, space, kind):
            if isinstance(step, importing.Progress):
                yield Progress(step.done, step.total, "files")
            else:
                await self._changed("added", space, step.documents)
                yield Result(_imported(step))
        for path in paths:
            if path.blob is not None:
                self._node.spool.remove(path.blob)

    async def add_car(self, file: BlobOrPath, space: str) -> AsyncIterator[Step]:
        """Import a CAR; steps, the result last."""
        async for step in self._node.library.add_car(self._source(file), space):
            if isinstance(step, CarStep):
                yield Progress(step.done, step.total, step.unit)
            else:
                await self._changed("added", space, step.imported.documents)
                roots = [str(root) for root in step.roots]
                yield Result(_imported(step.imported) | {"roots": roots, "blocks": step.blocks})
        if file.blob is not None:
            self._node.spool.remove(file.blob)

    async def export_car(self, cid: str) -> AsyncIterator[Step]:
        """Bring the whole DAG here; steps, and last what to download."""
        root = parse_cid(cid)
        node = self._node
        ways = (node.call, node.group.create_task)
        async for step in measure(node.library, node.packs, ways, root):
            if not step.whole:
                yield Progress(step.blocks, None, "blocks")
        yield Result(
            {
                "cid": str(root),
                "blob": f"{root}{CAR_ENDING}",
                "size": step.size,
                "blocks": step.blocks,
            }
        )

    async def car(self, cid: Cid) -> CarFile:
        """The CAR of a DAG all of which is here; raises `content_unavailable`."""
        return await CarFile(self._node.packs, cid).measured()

    def _source(self, path: BlobOrPath) -> str | importing.Upload:
        blob = path.blob
        if blob is None:
            return path.value
        spool = self._node.spool
        name, size = path.name or blob, spool.size(blob)
        return importing.Upload(name, size, lambda: spool.read(blob), path.folders)

    async def list(self, space: str | None, after: int, limit: int) -> dict[str, Any]:
        """My spaces with their readers, spaces shared with me, documents of the one named."""
        grants: Grants = await self._node.call("sharing.grants")
        names = await self._names()
        public = await publishing.publications(self._node)
        mine = [
            {
                "name": row.name,
                "space": row.space.hex(),
                "mine": True,
                "owner": self._node.identity.name,
                "documents": row.documents,
                "bytes": row.bytes,
                "readers": [
                    {
                        "name": names.get(given.reader),
                        "root": given.reader.hex(),
                        "until_us": given.until_us,
                        "delivered": bool(given.delivered),
                        "refused": given.refused,
                    }
                    for given in grants.given
                    if given.space == row.space
                ],
                "public": row.space in public and publishing.is_public(public[row.space]),
                "publication": (
                    publishing.publication(
                        public[row.space], publishing.network_name(self._node, public[row.space])
                    )
                    if row.space in public
                    else None
                ),
            }
            for row in await self._node.library.spaces()
        ]
        shared = [
            {
                "name": received.name,
                "space": received.space.hex(),
                "mine": False,
                "owner": names.get(received.issuer),
                "root": received.issuer.hex(),
                "until_us": received.until_us,
                "connected": bool(received.connected),
                "public": False,
            }
            for received in grants.received
        ]
        data: dict[str, Any] = {"spaces": mine + shared}
        if space is not None:
            data["listed"] = space
            page = await self._node.library.documents(space, after, limit)
            data["documents"] = [overview.document_data(row) for row in page.documents]
            data["next"] = page.next
        return data

    async def describe(self, cid: str) -> dict[str, Any]:
        """The file's size and name; its first block is fetched when it is not here."""
        content = await self._node.content(parse_cid(cid))
        documents = await overview.Overview(self._node.store).known_as(parse_cid(cid))
        return {"cid": cid, "size": content.size, "name": content.name, "documents": documents}

    async def recent(self, space: str | None, before: int | None, limit: int) -> dict[str, Any]:
        """Documents, the last one first."""
        return await overview.Overview(self._node.store).recent(space, before, limit)

    async def containers(self) -> dict[str, Any]:
        """Every container of my spaces."""
        return await overview.Overview(self._node.store).containers()

    async def folder(self, cid: str, limit: int) -> dict[str, Any]:
        """At most `limit` entries; their sizes are those of all blocks below them."""
        if not 1 <= limit <= DOCUMENTS_LISTED_MAX:
            raise Dms3Error("argument_invalid", f"The limit is not 1 to {DOCUMENTS_LISTED_MAX}.")
        links = await self._node.folder(parse_cid(cid))
        entries = [
            {"name": plain_text(link.name), "cid": str(link.cid), "size": link.size}
            for link in links[:limit]
        ]
        return {"cid": cid, "count": len(links), "entries": entries}

    async def remove(self, cid: str, space: str | None) -> dict[str, Any]:
        """How many documents were removed; raises `not_found` when there was none."""
        content = parse_cid(cid)
        if space is None:
            await self._node.call("fetch.cancel", content)  # or what still comes is kept again
        removed = await self._node.library.remove(content, space)
        if not removed:
            where = "here" if space is None else f"in the space {space!r}"
            raise Dms3Error("not_found", f"There is no document {where} with the content {cid}.")
        await self._changed("removed", space, removed)
        return {"removed": removed}

    async def _changed(
        self, what: Literal["added", "removed"], space: str | None, documents: int
    ) -> None:
        """Tell publishing, and whoever looks, that documents came or went."""
        await self._node.call("publishing.changed")
        if documents:
            await self._node.call("noting.changed", Changed(what, space, documents))

    async def share(self, space: str, contact: str, until: str | None) -> dict[str, Any]:
        """The grant; raises `not_found` for an unknown space or contact."""
        who: Contact = await self._node.call("peers.contact_find", contact)
        share = Share(
            await self._node.library.space(space),
            space,
            Root(who.root),
            (PeerId(who.peer),),
            until_us=None if until is None else end_of_day_us(until),
        )
        shared = await self._node.call("sharing.share", share)
        return {
            "space": space,
            "with": who.name,
            "root": who.root.hex(),
            "until_us": shared.until_us,
            "new": shared.fresh,
        }

    async def unshare(self, space: str, contact: str) -> dict[str, Any]:
        """How many grants were taken back; raises `not_found` when there was none."""
        wanted = await self._node.library.space(space)
        root, name = await self._reader(wanted, contact)
        done = await self._node.call("sharing.unshare", Unshare(wanted, root))
        if not done.count:
            raise Dms3Error("not_found", f"{name} has no grant on the space {space!r}.")
        return {"space": space, "with": name, "withdrawn": done.count}

    def publish(self, space: str, network: str | None = None) -> AsyncIterator[Step]:
        """Make a space public; steps, the result last."""
        return publishing.publish(self._node, space, network)

    async def unpublish(self, space: str) -> dict[str, Any]:
        """Make a space public no longer."""
        return await publishing.unpublish(self._node, space)

    async def _reader(self, space: SpaceId, text: str) -> tuple[Root, str]:
        """Root and name of a contact, or of a reader of `space` who is none, by the root."""
        try:
            who: Contact = await self._node.call("peers.contact_find", text)
        except Dms3Error as error:
            if error.code != "not_found" or len(text) < ROOT_HEX_CHARS_MIN:
                raise
            grants: Grants = await self._node.call("sharing.grants")
            readers = {one.reader for one in grants.given if one.space == space}
            roots = sorted(root for root in readers if root.hex().startswith(text.lower()))
            if len(roots) != 1:
                raise
            return roots[0], roots[0].hex()
        return Root(who.root), who.name

    async def verify(self) -> AsyncIterator[Step]:
        """Check everything; a damage is a result, not an error."""
        async for step in self._node.library.verify():
            if isinstance(step, Verified):
                yield Result(
                    {
                        "blocks": step.blocks,
                        "bytes": step.bytes,
                        "documents": step.documents,
                        "damaged": [
                            {"what": one.what, "reason": one.reason} for one in step.damaged
                        ],
                    }
                )
            else:
                yield Progress(step.done, None, "blocks")

    async def search(self, asked: SearchAsked) -> dict[str, Any]:
        """Hits of this node and of peers in one ranking, with what was opened and what was not."""
        return await searching.search(self._node, asked)

    async def _names(self) -> dict[Root, str]:
        contacts = await self._node.call("peers.contact_list")
        return {Root(contact.root): contact.name for contact in contacts}


def parse_cid(text: str) -> Cid:
    """The content identifier a person typed; raises `argument_invalid`."""
    try:
        return Cid.parse(text)
    except DecodeError as error:
        raise Dms3Error(
            "argument_invalid",
            f"{text[:64]!r} is not a content identifier: {error.reason}.",
            hint="It looks like bafkrei... and is shown by search and store list.",
        ) from error


def end_of_day_us(text: str) -> int:
    """The last microsecond (UTC) of the day written as 2027-03-01; raises `argument_invalid`."""
    try:
        day = date.fromisoformat(text)
        end = datetime.combine(day + timedelta(days=1), time(), tzinfo=UTC)
    except (ValueError, OverflowError) as cause:
        raise Dms3Error(
            "argument_invalid", f"{text[:32]!r} is not a day.", hint="Write it as 2027-03-01."
        ) from cause
    return int(end.timestamp()) * SECOND_US - 1


def _imported(done: importing.Imported) -> dict[str, Any]:
    return {
        "documents": done.documents,
        "bytes": done.bytes,
        "unchanged": done.unchanged,
        "skipped": [
            {"path": one.path, "reason": one.reason, "kept": one.kept} for one in done.skipped
        ],
        "skipped_count": done.skipped_count,
        "kept_count": done.kept_count,
        "root": None if done.root is None else str(done.root),
    }
