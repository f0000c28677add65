"""One import: worker processes read and cut files while the writer stores those read before.

Source: docs/interfaces.md, `store add`; docs/architecture.md, "Where data lies". Each round is one
transaction of documents, words and blocks, so whatever is stored is whole and can be found, and an
import that is killed is finished by running it again. Walking folders is `node/walk.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from dms3.core.cid import Cid
from dms3.core.dag_pb import Link
from dms3.core.database import Database
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    IMPORT_BATCH_BYTES,
    IMPORT_BATCH_FILES_MAX,
    IMPORT_PART_BYTES,
    PATH_PARTS_MAX,
)
from dms3.core.unixfs import Block, Built, FileBuilder, build_directory, name_fault
from dms3.io.extract import Extracted
from dms3.io.intake import UnreadableError, extract_beginning, read_parts
from dms3.io.packs import Packs, Staged
from dms3.io.pool import Pool
from dms3.node.batch import Batch, body_of, read_batch
from dms3.node.shelving import FOLDER, Item, Shelf
from dms3.node.walk import File, Folder, Skip, Walked
from dms3.search.kind import MESSAGE, check_kind

BINARY = "binary: stored, found by its name only"
PARTIAL = f"only the first {IMPORT_PART_BYTES >> 20} MiB are searchable"
UPLOAD = "upload:"  # begins the source of what came as an upload
_FIRST_ROUND_FILES = 16  # small, so that something can be found at once; then doubled
_LOOK_UP_FILES = 512


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is: files and bytes looked at, of how many."""

    done: int
    total: int
    bytes: int
    bytes_total: int


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    `documents`, `bytes`: new or changed files that are now searchable. `unchanged`: files that were
    there already. `skipped`: files that are not searchable, with the reason (at most the first
    IMPORT_SKIPS_LISTED_MAX of `skipped_count`, of which `kept_count` are stored and found by name).
    `root`: the file or folder as one CID, None when nothing could be stored.
    """

    documents: int
    bytes: int
    unchanged: int
    skipped: tuple[Skip, ...]
    skipped_count: int
    kept_count: int
    root: Cid | None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that arrived by itself: `pieces` gives its bytes, of any lengths, from the start.

    `folders`: those it lay in where it came from, the outermost first.
    """

    name: str
    size: int
    pieces: Callable[[], Iterator[bytes]]
    folders: tuple[str, ...] = ()


def check_uploads(uploads: Sequence[Upload], kind: str | None) -> None:
    """Raise `argument_invalid` for a name that no folder takes, and for a kind no file can have."""
    if kind is not None and check_kind(kind) == MESSAGE:
        raise Dms3Error("argument_invalid", "A file cannot be imported as a message.")
    for upload in uploads:
        faults = (name_fault(name) for name in (*upload.folders, upload.name))
        fault = next((one for one in faults if one is not None), None)
        if fault is None and len(upload.folders) > PATH_PARTS_MAX:
            fault = f"it lies deeper than {PATH_PARTS_MAX} folders"
        if fault is not None:
            raise Dms3Error("argument_invalid", f"The upload cannot be stored: {fault}.")


class Import:
    """A single run: `steps` to the end, then `result`."""

    def __init__(
        self,
        database: Database,
        packs: Packs,
        pool: Pool,
        space: int,
        kind: str | None,
        now_us: int,
    ) -> None:
        """`space`: row number. `kind`: for every text, None: as found. `now_us`: wall clock."""
        self._shelf = Shelf(database, packs, space, kind, now_us)
        self._pool = pool
        self._walked = Walked(Folder("", ""))
        self._ready: Batch | None = None  # what the last round read; not stored yet
        self._round_files = _FIRST_ROUND_FILES
        self._done = 0
        self._bytes_done = 0
        self._documents = 0
        self._bytes = 0
        self._unchanged = 0
        self._root: Cid | None = None

    async def steps(
        self, walked: Walked, uploads: Sequence[Upload] = ()
    ) -> AsyncGenerator[Progress, None]:
        """Import everything; a Progress after each round.

        Raises Dms3Error, for example `disk_full`; what was stored by then stays.
        """
        self._walked = walked
        for upload in uploads:
            walked.bytes += upload.size
        self._total = len(walked.files) + len(uploads)
        yield self._progress()
        small: list[File] = []
        size = 0
        for start in range(0, len(walked.files), _LOOK_UP_FILES):
            for file in await self._changed(walked.files[start : start + _LOOK_UP_FILES]):
                if file.size > IMPORT_PART_BYTES:
                    parts = read_parts(file.source, file.stamp, file.size)
                    async with contextlib.aclosing(self._large(file, parts)) as large:
                        async for progress in large:
                            yield progress
                    continue
                small.append(file)
                size += file.size
                if len(small) >= self._round_files or size > IMPORT_BATCH_BYTES:
                    await self._turn(small)
                    small, size = [], 0
                    yield self._progress()
        await self._turn(small)
        await self._turn([])
        for upload in uploads:
            folder = _folder_of(walked.top, upload.folders)
            if folder is None or any(one.name == upload.name for one in folder.folders):
                file = File("", upload.name, upload.size, 0, walked.top, chosen=True)
                self._skip(file, "a file and a folder have this name")
                continue
            file = File("", upload.name, upload.size, 0, folder, chosen=True)
            pieces = _parts_of(upload.pieces())
            async with contextlib.aclosing(self._large(file, pieces)) as large:
                async for progress in large:
                    yield progress
        await self._finish()
        yield self._progress()

    def result(self) -> Imported:
        """What was done; after the last step."""
        skips = self._walked.skips
        return Imported(
            self._documents,
            self._bytes,
            self._unchanged,
            tuple(skips.listed),
            skips.count,
            skips.kept,
            self._root,
        )

    def _progress(self) -> Progress:
        return Progress(self._done, self._total, self._bytes_done, self._walked.bytes)

    # what is known already

    async def _changed(self, files: Sequence[File]) -> list[File]:
        """Those of `files` that are new or look changed; the others are counted."""
        rows = await asyncio.to_thread(self._shelf.known, [file.source for file in files])
        changed: list[File] = []
        for file in files:
            row = rows.get(file.source)
            if row is None or (row.stamp, row.bytes) != (file.stamp, file.size):
                changed.append(file)
                continue
            self._enter(file, Link(row.cid, file.name, row.tree_bytes))
            self._count_unchanged(file, counted=row.counted)
        return changed

    def _count_unchanged(self, file: File, *, counted: bool) -> None:
        if counted or file.chosen:
            self._unchanged += 1
        else:
            self._walked.skips.add(file.source, BINARY, kept=True)

    def _enter(self, file: File, link: Link) -> None:
        """Put a stored file into its folder."""
        file.folder.entries[file.name] = link
        self._done += 1
        self._bytes_done += file.size

    def _skip(self, file: File, reason: str) -> None:
        self._walked.skips.add(file.source or file.name, reason)
        self._done += 1
        self._bytes_done += file.size

    # rounds of small files

    async def _turn(self, files: Sequence[File]) -> None:
        """Read and stage `files` while what was read in the turn before is stored."""
        self._round_files = min(IMPORT_BATCH_FILES_MAX, self._round_files * 2)
        ready, self._ready = self._ready, None
        try:
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(self._read(files))
                if ready is not None:
                    group.create_task(self._store_ready(ready))
        except BaseExceptionGroup as errors:
            raise _first_of(errors) from None
        self._ready = reading.result()

    async def _read(self, files: Sequence[File]) -> Batch | None:
        return await read_batch(self._pool, self._shelf, files) if files else None

    async def _store_ready(self, ready: Batch) -> None:
        for file, fault in ready.faults:
            self._skip(file, fault)
        if ready.items:
            await self._store(ready.items, ready.blocks, (ready.staged,))

    # large files and uploads

    async def _large(
        self, file: File, parts: Generator[bytes, None, None]
    ) -> AsyncGenerator[Progress, None]:
        """Read a file part by part; its beginning is what can be searched."""
        builder = FileBuilder()
        staged: list[Staged] = []
        cids: list[Cid] = []
        beginning: bytes | None = None
        begun = self._bytes_done
        try:
            while (part := await asyncio.to_thread(next, parts, None)) is not None:
                beginning = part if beginning is None else beginning
                blocks = await asyncio.to_thread(builder.add, part)
                cids += [cid for cid, _ in blocks]
                staged.append(await asyncio.to_thread(self._shelf.stage, blocks))
                self._bytes_done += len(part)
                yield self._progress()
            built = await asyncio.to_thread(builder.finish)
        except UnreadableError as error:
            self._bytes_done = begun
            self._skip(file, error.reason)
            return
        finally:
            with contextlib.suppress(ValueError):  # cancelled while the thread still reads
                parts.close()
        self._bytes_done = begun
        item = await self._item_of_large(file, built, cids, beginning or b"")
        staged.append(await asyncio.to_thread(self._shelf.stage, built.blocks))
        await self._store([item], built.blocks, staged)
        yield self._progress()

    async def _item_of_large(
        self, file: File, built: Built, cids: Sequence[Cid], beginning: bytes
    ) -> Item:
        extracted = await self._pool.run(extract_beginning, file.name, beginning)
        if built.size > len(beginning) and not extracted.note:
            extracted = replace(extracted, note=PARTIAL)
        if not file.source:  # the same upload again is the same document
            inside = "" if file.folder is self._walked.top else f"{file.folder.source}/"
            file = replace(file, source=f"{UPLOAD}{built.cid}/{inside}{file.name}")
        return Item(
            file,
            built.cid,
            built.size,
            built.tree_bytes,
            file.stamp,
            extracted,
            (*cids, *(cid for cid, _ in built.blocks)),
            await asyncio.to_thread(body_of, extracted, beginning),
        )

    # storing

    async def _store(
        self, items: Sequence[Item], blocks: Sequence[Block], staged: Sequence[Staged]
    ) -> None:
        """Store `items` and count what became of each."""
        outcomes = await self._shelf.store(items, blocks, staged)
        for item, is_new in zip(items, outcomes, strict=True):
            self._enter(item.file, Link(item.cid, item.file.name, item.tree_bytes))
            if not is_new:
                self._count_unchanged(item.file, counted=item.counted)
            elif item.counted:
                self._documents += 1
                self._bytes += item.size
            else:
                self._walked.skips.add(item.file.source, BINARY, kept=True)

    # the folder over it all

    async def _finish(self) -> None:
        """Store the folders that were walked and set the root."""
        top = self._walked.top
        if not top.folders and len(top.entries) <= 1:
            self._root = next((link.cid for link in top.entries.values()), None)
            return
        if len(top.folders) == 1 and not top.entries:
            top = top.folders[0]
        else:
            names = sorted([folder.source for folder in top.folders] + sorted(top.entries))
            digest = hashlib.sha256("\0".join(names).encode())
            top = replace(top, source=f"selection:{digest.hexdigest()}")
        blocks: list[Block] = []
        built = await asyncio.to_thread(_build_folder, top, blocks)
        self._root = built.cid
        uploaded = top is not self._walked.top and not top.source.startswith("/")
        # The same folder uploaded in parts is several folders: none takes the place of another.
        source = f"{UPLOAD}{built.cid}/{top.source}" if uploaded else top.source
        rows = await asyncio.to_thread(self._shelf.known, [source])
        if source in rows and rows[source].cid == built.cid:
            return
        item = Item(
            File(source, top.name, 0, 0, top, chosen=False),
            built.cid,
            0,
            built.tree_bytes,
            0,
            Extracted(FOLDER, "", top.name, ""),
            tuple(cid for cid, _ in blocks),
            "",
        )
        await self._shelf.store_folder(item, blocks)


def _build_folder(folder: Folder, blocks: list[Block]) -> Built:
    """The tree of `folder`, its blocks added to `blocks`."""
    links = list(folder.entries.values())
    links += [_build_folder(inside, blocks).link(inside.name) for inside in folder.folders]
    built = build_directory(links)
    blocks += built.blocks
    return built


def _folder_of(top: Folder, names: Sequence[str]) -> Folder | None:
    """The folder inside `top` that `names` lead to, made where it is missing.

    None when a file has the name of one of them.
    """
    folder = top
    for depth, name in enumerate(names, 1):
        if name in folder.entries:
            return None
        inside = next((one for one in folder.folders if one.name == name), None)
        if inside is None:
            inside = Folder(name, "/".join(names[:depth]))
            folder.folders.append(inside)
        folder = inside
    return folder


def _parts_of(pieces: Iterator[bytes]) -> Generator[bytes, None, None]:
    """`pieces` joined to parts of about IMPORT_PART_BYTES."""
    part = bytearray()
    for piece in pieces:
        part += piece
        if len(part) >= IMPORT_PART_BYTES:
            yield bytes(part)
            part.clear()
    if part:
        yield bytes(part)


def _first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first single error in a group: what the caller of an import is told."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
