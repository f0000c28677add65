"""Import of a CAR: its blocks verified and kept aside, then made documents of a space, or dropped.

Source: docs/ipfs.md; IPLD CARv1. Nothing of a CAR is in a space before all of it was read, hashed
and found whole. What is kept aside lies in the space that is nobody's, under one row: a process
that is killed leaves it there, and the next import takes it away.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace

from dms3.core.car import CarReader
from dms3.core.car_tree import FileAt, Survey, Surveyor
from dms3.core.cid import Cid
from dms3.core.database import Connection, Database
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import Root
from dms3.core.limits import (
    CAR_BLOCKS_MAX,
    IMPORT_BATCH_BYTES,
    IMPORT_BATCH_FILES_MAX,
    IMPORT_PART_BYTES,
)
from dms3.core.unixfs import Block, name_fault
from dms3.core.unixfs_read import read_file
from dms3.io import catalogue
from dms3.io.extract import Extracted
from dms3.io.intake import UnreadableError, extract_beginnings, read_parts
from dms3.io.packs import Packs, Staged
from dms3.io.pool import Pool
from dms3.node.batch import body_of, jobs_of
from dms3.node.importing import BINARY, PARTIAL, Imported, Upload
from dms3.node.keeping import FETCHED, NOBODYS
from dms3.node.shelving import FOLDER, Item, Shelf, remove_document
from dms3.node.walk import File, Folder, Skips, printable, walk

ASIDE = "car"
"""Kind and source of the row under which the blocks of a CAR lie until they are documents."""

_NOWHERE = Folder("", "")
_ATTACH_TRIES = 3  # a block may be swept between staging and storing


@dataclass(frozen=True, slots=True)
class CarStep:
    """How far it is: `done` of `total` in `unit`."""

    done: int
    total: int
    unit: str


@dataclass(frozen=True, slots=True)
class CarImported:
    """What an import of a CAR did; `blocks`: how many it held."""

    imported: Imported
    roots: tuple[Cid, ...]
    blocks: int


class CarImport:
    """A single run: `take`, then `store` in a space, and `leave` in every case."""

    def __init__(self, database: Database, packs: Packs, pool: Pool, now_us: int) -> None:
        """`now_us`: wall clock."""
        self._database = database
        self._packs = packs
        self._pool = pool
        self._now_us = now_us
        self._there: set[bytes] = set()  # asked whether it contains, and sorted to be dropped
        self._name = ""
        self._roots: tuple[Cid, ...] = ()
        self._found: list[Survey] = []
        self._stored = False

    async def take(
        self, name: str, size: int, pieces: Iterator[bytes]
    ) -> AsyncGenerator[CarStep, None]:
        """Read the CAR called `name` to its end and look at all that is in it.

        Raises `content_invalid` for whatever is wrong with it, `limit_reached`, `disk_full`.
        """
        await self._drop()  # of an import that was killed
        reader, done = CarReader(), 0
        with _told(name):
            while piece := await asyncio.to_thread(next, pieces, b""):
                await self._keep(await asyncio.to_thread(reader.add, piece))
                done += len(piece)
                yield CarStep(done, max(done, size), "bytes")
            self._roots = tuple(dict.fromkeys(reader.finish()))
            self._found = await asyncio.to_thread(self._survey, name)

    async def store(self, space: int) -> AsyncGenerator[CarStep | CarImported, None]:
        """Make documents of what was taken, in the space with row number `space`."""
        shelf = Shelf(self._database, self._packs, space, None, self._now_us)
        there = await asyncio.to_thread(self._known, space)
        skips, count = Skips(), _Count()
        total = sum(len(survey.files) for survey in self._found)
        for survey in self._found:
            for path, reason in survey.left_out:
                skips.add(path, reason)
            new = [file for file in survey.files if (file.cid, file.name) not in there]
            count.unchanged += len(survey.files) - len(new)
            count.done += len(survey.files) - len(new)
            async for _ in self._documents(shelf, survey, new, count, skips):
                yield CarStep(count.done, total, "files")
            if survey.is_folder and (survey.root, FOLDER) not in there:
                await shelf.store_folder(_folder_item(survey, self._name), ())
        self._stored = True
        imported = Imported(
            count.documents,
            count.bytes,
            count.unchanged,
            tuple(skips.listed),
            skips.count,
            skips.kept,
            self._roots[0],
        )
        yield CarImported(imported, self._roots, len(self._there))

    async def leave(self) -> None:
        """Take away what was kept aside; what documents need stays."""
        await self._drop()
        if not self._stored:
            cids = [Cid(binary) for binary in sorted(self._there)]
            await asyncio.to_thread(self._packs.release, cids, catalogue.REFERENCED)

    # reading

    async def _keep(self, blocks: Sequence[Block]) -> None:
        """Blocks aside, durable when it returns."""
        self._there.update(cid.binary for cid, _ in blocks)
        if len(self._there) > CAR_BLOCKS_MAX:
            raise Dms3Error(
                "limit_reached",
                f"The CAR holds more than {CAR_BLOCKS_MAX} blocks.",
                hint="Import it in parts.",
            )
        if not blocks:
            return
        for attempt in range(_ATTACH_TRIES):
            staged = await asyncio.to_thread(self._stage, blocks)
            try:
                await asyncio.wrap_future(
                    self._database.transact(
                        lambda connection, staged=staged: self._attach(  # type: ignore[misc]
                            connection, staged, blocks
                        )
                    )
                )
            except Dms3Error as error:
                if error.code != "node_busy" or attempt == _ATTACH_TRIES - 1:
                    raise
            else:
                return

    def _stage(self, blocks: Sequence[Block]) -> Staged:
        staged = self._packs.stage(blocks)
        self._packs.sync()
        return staged

    def _attach(self, connection: Connection, staged: Staged, blocks: Sequence[Block]) -> None:
        self._packs.attach(connection, staged)
        space = catalogue.add_space(connection, NOBODYS, FETCHED, Root(b""), self._now_us)
        row = catalogue.known(connection, space, [ASIDE]).get(ASIDE)
        number = catalogue.next_number(connection) if row is None else row.number
        if row is None:
            made = catalogue.plain_row(
                number=number,
                space=space,
                source=ASIDE,
                kind=ASIDE,
                cid=blocks[0][0],
                now_us=self._now_us,
            )
            catalogue.put(connection, [made])
        catalogue.need_blocks(connection, ((cid, space, number) for cid, _ in blocks))

    async def _drop(self) -> None:
        await asyncio.wrap_future(self._database.transact(_drop_aside))

    # looking

    def _survey(self, name: str) -> list[Survey]:
        """What lies below each root. For a thread."""
        self._name = _name_of(name)
        surveyor = Surveyor(self._must_have, self._must_have_size)
        several = len(self._roots) > 1
        return [
            surveyor.survey(root, f"{self._name}-{number}" if several else self._name)
            for number, root in enumerate(self._roots, 1)
        ]

    def _must_have(self, cid: Cid) -> bytes:
        block = self._packs.get(cid) if cid.binary in self._there else None
        if block is None:
            raise DecodeError(0, f"block {cid} is missing")
        return block

    def _must_have_size(self, cid: Cid) -> int:
        size = self._packs.size(cid) if cid.binary in self._there else None
        if size is None:
            raise DecodeError(0, f"block {cid} is missing")
        return size

    def _known(self, space: int) -> set[tuple[Cid, str]]:
        """CID and name (or FOLDER) of what the space has already. For a thread."""
        wanted = [file.cid for survey in self._found for file in survey.files]
        wanted += [survey.root for survey in self._found if survey.is_folder]
        found: set[tuple[Cid, str]] = set()
        with self._database.read() as connection:
            for cid in dict.fromkeys(wanted):
                for row in catalogue.with_cid(connection, cid):
                    if row.space == space:
                        found.add((cid, FOLDER if row.kind == FOLDER else row.name))
        return found

    # storing

    async def _documents(
        self,
        shelf: Shelf,
        survey: Survey,
        files: Sequence[FileAt],
        count: _Count,
        skips: Skips,
    ) -> AsyncGenerator[None, None]:
        """Store `files` some at a time."""
        items: list[Item] = []
        for some in jobs_of(files, lambda file: file.tree.size):
            items += await self._items(survey, some)
            held = sum(len(item.body) for item in items)
            full = len(items) >= IMPORT_BATCH_FILES_MAX or held > IMPORT_BATCH_BYTES
            if not full and some[-1] is not files[-1]:
                continue
            outcomes = await shelf.store(items, (), ())
            for item, is_new in zip(items, outcomes, strict=True):
                count.note(item, is_new, skips)
            items = []
            yield

    async def _items(self, survey: Survey, files: Sequence[FileAt]) -> list[Item]:
        """`files` read and their text extracted, in one turn of a thread and one job."""
        read = await asyncio.to_thread(
            lambda: [(file.name, self._beginning(file.cid)) for file in files]
        )
        extracted = await self._pool.run(extract_beginnings, read)
        return await asyncio.to_thread(
            lambda: [
                _item(survey, file, one, beginning)
                for file, one, (_, beginning) in zip(files, extracted, read, strict=True)
            ]
        )

    def _beginning(self, cid: Cid) -> bytes:
        return b"".join(read_file(self._must_have, cid, 0, IMPORT_PART_BYTES))


def _item(survey: Survey, file: FileAt, extracted: Extracted, beginning: bytes) -> Item:
    if file.tree.size > len(beginning) and not extracted.note:
        extracted = replace(extracted, note=PARTIAL)
    source = "/".join((f"{ASIDE}:{survey.root}", *file.folders, file.name))
    return Item(
        File(source, file.name, file.tree.size, 0, _NOWHERE, chosen=not survey.is_folder),
        file.cid,
        file.tree.size,
        file.tree.tree_bytes,
        0,
        extracted,
        file.tree.cids,
        body_of(extracted, beginning),
    )


@dataclass(slots=True)
class _Count:
    """What became of files so far."""

    done: int = 0
    documents: int = 0
    bytes: int = 0
    unchanged: int = 0

    def note(self, item: Item, is_new: bool, skips: Skips) -> None:
        """Count one file that was stored."""
        self.done += 1
        if not is_new:
            self.unchanged += 1
        elif item.counted:
            self.documents += 1
            self.bytes += item.size
        else:
            skips.add(item.file.source, BINARY, kept=True)


def opened_car(file: str | Upload) -> tuple[str, int, Iterator[bytes]]:
    """Name, bytes and pieces of the file or upload; for a thread. Raises `not_found` and such."""
    if isinstance(file, Upload):
        return file.name, file.size, file.pieces()
    walked = walk([file])
    if not walked.files or walked.top.folders:
        reason = walked.skips.listed[0].reason if walked.skips.listed else "a folder"
        raise Dms3Error("argument_invalid", f"{printable(file)} is no CAR file: {reason}.")
    (found,) = walked.files
    return found.name, found.size, _readable(found)


def _readable(file: File) -> Iterator[bytes]:
    try:
        yield from read_parts(file.source, file.stamp, file.size)
    except UnreadableError as error:
        raise Dms3Error(
            "content_unavailable", f"{file.name} cannot be read: {error.reason}."
        ) from error


def _folder_item(survey: Survey, name: str) -> Item:
    return Item(
        File(f"{ASIDE}:{survey.root}", name, 0, 0, _NOWHERE, chosen=False),
        survey.root,
        0,
        survey.tree_bytes,
        0,
        Extracted(FOLDER, "", name, ""),
        tuple(survey.folder_cids),
        "",
    )


def _name_of(file: str) -> str:
    """What the only root of the CAR `file` is called: that name without its ending."""
    stem = file.removesuffix(".car")
    return stem if name_fault(stem) is None else "imported"


def _drop_aside(connection: Connection) -> None:
    for number in catalogue.space_numbers(connection, [NOBODYS]):
        for row in catalogue.known(connection, number, [ASIDE]).values():
            remove_document(connection, row)


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """What is wrong with the content, as an error about the file `name`."""
    try:
        yield
    except DecodeError as error:
        raise Dms3Error(
            "content_invalid",
            f"{name} cannot be imported: {error.reason}.",
            hint="Nothing of it was kept. Make the CAR again, with every block of its roots.",
        ) from error
