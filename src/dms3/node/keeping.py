"""Blocks of others: fetched ones, kept under their root, and those held for the overlay.

Source: `search/operations.py`, LibraryKeep; `core/overlay.py`, HoldBlocks. Fetched blocks lie in a
space that is nobody's, held ones in none, so no grant covers them and no search finds them.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from functools import partial

from dms3.core.cid import Cid
from dms3.core.database import Connection, Database
from dms3.core.ids import Root, SpaceId
from dms3.io import catalogue
from dms3.io.catalogue import INCOMPLETE
from dms3.io.packs import Packs, Staged
from dms3.search.operations import LibraryKeep

FETCHED = "fetched"
NOBODYS = SpaceId(bytes(32))
"""The space of what was fetched."""


async def keep_blocks(database: Database, packs: Packs, kept: LibraryKeep, now_us: int) -> None:
    """Store verified blocks of a file or folder that is being fetched; durable when it returns."""

    def stage() -> Staged:
        staged = packs.stage(kept.blocks)
        packs.sync()
        return staged

    def work(connection: Connection) -> None:
        packs.attach(connection, staged)
        space = catalogue.add_space(connection, NOBODYS, FETCHED, Root(b""), now_us)
        number = _document(connection, space, kept, now_us)
        catalogue.need_blocks(connection, ((cid, space, number) for cid, _ in kept.blocks))

    staged = await asyncio.to_thread(stage)
    await asyncio.wrap_future(database.transact(work))


async def hold_blocks(
    database: Database, packs: Packs, blocks: Sequence[tuple[Cid, bytes]]
) -> None:
    """Store public blocks for the overlay; durable when it returns."""

    def stage() -> Staged:
        staged = packs.stage(blocks)
        packs.sync()
        return staged

    def work(connection: Connection) -> None:
        packs.attach(connection, staged)
        catalogue.hold_blocks(connection, (cid for cid, _ in blocks))

    staged = await asyncio.to_thread(stage)
    await asyncio.wrap_future(database.transact(work))


async def release_blocks(database: Database, cids: Sequence[Cid]) -> None:
    """Hold blocks for the overlay no longer; their bytes go with the next sweep."""
    work = partial(catalogue.release_blocks, cids=cids)
    await asyncio.wrap_future(database.transact(work))


def _document(connection: Connection, space: int, kept: LibraryKeep, now_us: int) -> int:
    """The row of the fetched root, made at its first block."""
    source = f"{FETCHED}:{kept.root}"
    note = "" if kept.complete else INCOMPLETE
    row = catalogue.known(connection, space, [source]).get(source)
    if row is not None:
        if row.note != note and kept.complete:
            catalogue.annotate(connection, row.number, note)
        return row.number
    number = catalogue.next_number(connection)
    document = catalogue.plain_row(
        number=number, space=space, source=source, kind=FETCHED, cid=kept.root, now_us=now_us
    )
    catalogue.put(connection, [dataclasses.replace(document, note=note)])
    return number
