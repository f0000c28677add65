"""Documents on their way into the store: blocks, rows and words in one transaction.

Source: docs/architecture.md, "Where data lies". A document is in the catalogue exactly when its
words are in the index and its blocks are kept for it. What to store is decided by
`node/importing.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from dms3.core.cid import Cid
from dms3.core.database import Connection, Database
from dms3.core.errors import Dms3Error
from dms3.core.unixfs import Block
from dms3.io import catalogue, index
from dms3.io.catalogue import DocumentRow
from dms3.io.extract import Extracted
from dms3.io.packs import Packs, Staged
from dms3.node.walk import File
from dms3.search.kind import FILE

FOLDER = "folder"
_ATTACH_TRIES = 3  # a block may be swept between staging and storing
_US = 1_000  # nanoseconds


@dataclass(frozen=True, slots=True)
class Item:
    """A file read and cut, ready to be stored."""

    file: File
    cid: Cid
    size: int
    tree_bytes: int
    stamp: int
    extracted: Extracted
    cids: tuple[Cid, ...]
    body: str = field(repr=False)

    @property
    def counted(self) -> bool:
        """Whether this is a document, not just a file that came along with its folder."""
        return self.file.chosen or self.extracted.encoding != ""


class Shelf:
    """Where one import puts its documents: a space, with what is said of all of them."""

    def __init__(
        self, database: Database, packs: Packs, space: int, kind: str | None, now_us: int
    ) -> None:
        """`space`: row number. `kind`: for every text, None: as found. `now_us`: wall clock."""
        self._database = database
        self._packs = packs
        self._space = space
        self._kind = kind
        self._now_us = now_us

    def known(self, sources: Sequence[str]) -> dict[str, DocumentRow]:
        """The documents that came from `sources` before. For a thread."""
        with self._database.read() as connection:
            return catalogue.known(connection, self._space, sources)

    async def store(
        self, items: Sequence[Item], blocks: Sequence[Block], staged: Sequence[Staged]
    ) -> list[bool]:
        """Store `items` in one transaction; for each whether it is new or changed.

        `staged` holds all their blocks; `blocks` are staged again when a sweep was faster.
        """
        for _ in range(_ATTACH_TRIES - 1):
            try:
                return await self._transact(items, staged)
            except Dms3Error as error:
                if error.code != "node_busy":
                    raise
            staged = (await asyncio.to_thread(self.stage, blocks), *staged)
        return await self._transact(items, staged)

    async def _transact(self, items: Sequence[Item], staged: Sequence[Staged]) -> list[bool]:
        return await asyncio.wrap_future(
            self._database.transact(lambda connection: self._write(connection, items, staged))
        )

    async def store_folder(self, item: Item, blocks: Sequence[Block]) -> None:
        """Keep the blocks of an imported folder, in place of those of its last import."""
        staged = await asyncio.to_thread(self.stage, blocks)
        await asyncio.wrap_future(
            self._database.transact(lambda connection: self._write_folder(connection, item, staged))
        )

    def stage(self, blocks: Sequence[Block]) -> Staged:
        """Blocks made durable ahead of their transaction. For a thread."""
        staged = self._packs.stage(blocks)
        self._packs.sync()
        return staged

    def _write(
        self, connection: Connection, items: Sequence[Item], staged: Sequence[Staged]
    ) -> list[bool]:
        """Store `items`; for each whether it is new. Runs on the writer thread."""
        for part in staged:
            self._packs.attach(connection, part)
        known = catalogue.known(connection, self._space, [item.file.source for item in items])
        number = catalogue.next_number(connection)
        new: dict[str, list[tuple[int, Item]]] = {}
        cids: dict[str, Cid] = {source: row.cid for source, row in known.items()}
        outcomes: list[bool] = []
        for item in items:
            source = item.file.source
            is_new = cids.get(source) != item.cid
            outcomes.append(is_new)
            row = known.pop(source, None)
            if is_new:
                if row is not None:
                    remove_document(connection, row)
                new.setdefault(self._kind_of(item), []).append((number, item))
                cids[source] = item.cid
                number += 1
            elif row is not None:
                catalogue.touch(connection, row.number, item.stamp, item.stamp // _US)
        for kind in sorted(new):
            self._write_kind(connection, kind, new[kind])
        return outcomes

    def _kind_of(self, item: Item) -> str:
        if item.extracted.kind == FILE:
            return FILE
        return self._kind or item.extracted.kind

    def _write_kind(
        self, connection: Connection, kind: str, items: Sequence[tuple[int, Item]]
    ) -> None:
        """Insert documents of one kind, their words and their needs."""
        entries = [
            index.Entry(
                number,
                _indexed_title(item),
                item.body,
                item.size,
                item.stamp // _US,
                self._now_us,
            )
            for number, item in items
        ]
        places = index.put(connection, self._space, kind, entries)
        catalogue.put(
            connection,
            (
                self._row(number, item, kind, place)
                for (number, item), place in zip(items, places, strict=True)
            ),
        )
        catalogue.put_texts(
            connection,
            ((number, item.extracted.text) for number, item in items if item.extracted.text),
        )
        catalogue.need_blocks(
            connection, ((cid, self._space, number) for number, item in items for cid in item.cids)
        )

    def _row(self, number: int, item: Item, kind: str, container: int | None) -> DocumentRow:
        return DocumentRow(
            number=number,
            space=self._space,
            container=container,
            source=item.file.source,
            name=item.file.name,
            title=item.extracted.title,
            kind=kind,
            language=item.extracted.language,
            encoding=item.extracted.encoding,
            cid=item.cid,
            bytes=item.size,
            tree_bytes=item.tree_bytes,
            modified_us=item.stamp // _US,
            added_us=self._now_us,
            stamp=item.stamp,
            counted=item.counted,
            note=item.extracted.note,
        )

    def _write_folder(self, connection: Connection, item: Item, staged: Staged) -> None:
        self._packs.attach(connection, staged)
        for row in catalogue.known(connection, self._space, [item.file.source]).values():
            remove_document(connection, row)
        number = catalogue.next_number(connection)
        catalogue.put(connection, [self._row(number, item, FOLDER, None)])
        catalogue.need_blocks(connection, ((cid, self._space, number) for cid in item.cids))


def remove_document(connection: Connection, row: DocumentRow) -> None:
    """Take a document out of its container and the catalogue; its blocks go with the next sweep."""
    if row.container is not None:
        index.drop(connection, row.container, row.number)
    catalogue.drop(connection, row.number)


def _indexed_title(item: Item) -> str:
    """What is searched as title: the title, and the name of the file when that is another."""
    title, name = item.extracted.title, item.file.name
    return title if title == name else f"{title} {name}"
