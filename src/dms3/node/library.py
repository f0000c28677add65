"""The document service: import, list, read, search, remove and check what this node keeps.

Source: docs/interfaces.md, `store` and `search`. A plain class over the store: it talks to no peer;
`serve` is its port for the machines that do (`search/operations.py` names the operations). Work
that takes time runs in threads and worker processes, never on the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from dms3.core.cid import Cid
from dms3.core.dag_pb import Link
from dms3.core.database import Connection, Database
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import SpaceId
from dms3.core.limits import (
    DOCUMENTS_LISTED_MAX,
    HELD_PAGE_MAX,
    HIT_SNIPPET_CHARS_MAX,
    SPACE_NAME_CHARS_MAX,
    SPACES_MAX,
)
from dms3.core.machine import Entropy, Now
from dms3.core.overlay import HoldBlocks
from dms3.core.unixfs_read import FileNode, decode_block, list_folder, read_file
from dms3.io import catalogue
from dms3.io.catalogue import DocumentRow, SpaceRow
from dms3.io.packs import Packs, Swept
from dms3.io.pool import Pool
from dms3.node.car_import import CarImport, CarImported, CarStep, opened_car
from dms3.node.checking import Check, Verified
from dms3.node.finding import Hits, Question, RecentBlocks, find
from dms3.node.importing import Import, Imported, Progress, Upload, check_uploads
from dms3.node.keeping import NOBODYS, hold_blocks, keep_blocks, release_blocks
from dms3.node.shelving import remove_document
from dms3.node.walk import walk
from dms3.search import operations

DEFAULT_SPACE = "documents"
_SPACE_BYTES = 32
_PIECES_AT_ONCE = 4  # blocks read per turn of a thread: 1 MiB
_CHECK_SECONDS = 0.25  # between two reports of progress


class Clock(Protocol):
    """Gives the time; `io/clock.py` in the node."""

    def now(self) -> Now:
        """This instant."""
        ...


class BlockMissingError(Dms3Error):
    """Block `cid` is not on this node; whoever reads may fetch it and go on."""

    def __init__(self, cid: Cid) -> None:
        super().__init__("content_unavailable", f"Block {cid} is not on this node.")
        self.cid = cid


@dataclass(frozen=True, slots=True)
class Page:
    """Documents of one space; `next` continues after them, None when there are no more."""

    documents: tuple[DocumentRow, ...]
    next: int | None


class Library:
    """Everything this node keeps; call `start` once before anything else."""

    def __init__(
        self, database: Database, packs: Packs, pool: Pool, clock: Clock, entropy: Entropy
    ) -> None:
        self._database = database
        self._packs = packs
        self._recent = RecentBlocks(packs)
        self._pool = pool
        self._clock = clock
        self._entropy = entropy
        self._importing = asyncio.Lock()  # imports take turns: each already uses all workers
        self.released = Swept()  # by removals, since the start
        self.loosened = asyncio.Event()  # set when blocks may have lost what needed them

    async def start(self) -> None:
        """Make the default space when it is missing."""
        await self.space(DEFAULT_SPACE, create=True)

    @property
    def importing(self) -> bool:
        """Whether an import runs: what can wait gives way."""
        return self._importing.locked()

    # spaces

    async def spaces(self) -> list[SpaceRow]:
        """Every space that has documents of mine or was made by me."""
        rows = await asyncio.to_thread(self._reading, catalogue.spaces)
        return [row for row in rows if row.owner is None]

    async def space(self, name: str, *, create: bool = False) -> SpaceId:
        """The id of my space `name`; raises `not_found` unless it may be made."""
        row = await asyncio.to_thread(self._reading, catalogue.my_space, name)
        if row is None and not create:
            raise Dms3Error(
                "not_found", f"There is no space {name[:64]!r}.", hint="See `dms3 store list`."
            )
        return (row or await self._make_space(name))[1]

    async def _make_space(self, name: str) -> tuple[int, SpaceId]:
        if not name.strip() or len(name) > SPACE_NAME_CHARS_MAX or not name.isprintable():
            raise Dms3Error(
                "argument_invalid",
                f"{name[:64]!r} cannot be the name of a space.",
                hint=f"Use 1 to {SPACE_NAME_CHARS_MAX} printable characters.",
            )
        space, now = SpaceId(self._entropy.draw(_SPACE_BYTES)), self._clock.now()

        def work(connection: Connection) -> tuple[int, SpaceId]:
            found = catalogue.my_space(connection, name)
            if found is not None:
                return found
            if len(catalogue.spaces(connection)) >= SPACES_MAX:
                raise Dms3Error("limit_reached", f"There are {SPACES_MAX} spaces already.")
            return catalogue.add_space(connection, space, name, None, now.wall_us), space

        return await asyncio.wrap_future(self._database.transact(work))

    # documents

    async def add(
        self, paths: Sequence[str | Upload], space: str = DEFAULT_SPACE, kind: str | None = None
    ) -> AsyncIterator[Progress | Imported]:
        """Import files, folders and uploads into my space `space` (made when missing).

        Progress after each round, Imported last. Raises `not_found` for a path that is not there,
        `argument_invalid`, `limit_reached`, `disk_full`; what was stored by then stays.
        """
        if not paths:
            raise Dms3Error("argument_invalid", "There is nothing to import.", hint="Name a path.")
        uploads = [path for path in paths if isinstance(path, Upload)]
        check_uploads(uploads, kind)
        async with self._importing:
            names = [path for path in paths if isinstance(path, str)]
            walked = await asyncio.to_thread(walk, names)
            number, _ = await self._make_space(space)  # not for a path that is not there
            now_us = self._clock.now().wall_us
            run = Import(self._database, self._packs, self._pool, number, kind, now_us)
            async with aclosing(run.steps(walked, uploads)) as steps:
                async for progress in steps:
                    yield progress
        self.loosened.set()  # changed files have left their old blocks behind
        yield run.result()

    async def add_car(
        self, file: str | Upload, space: str = DEFAULT_SPACE
    ) -> AsyncIterator[CarStep | CarImported]:
        """Import the CAR `file` into my space `space` (made when missing); CarImported last.

        Raises `content_invalid` for a CAR that is not whole, of which nothing is kept; `not_found`,
        `limit_reached`, `disk_full`.
        """
        async with self._importing:
            name, size, pieces = await asyncio.to_thread(opened_car, file)
            run = CarImport(self._database, self._packs, self._pool, self._clock.now().wall_us)
            try:
                async with aclosing(run.take(name, size, pieces)) as steps:
                    async for step in steps:
                        yield step
                number, _ = await self._make_space(space)
                async with aclosing(run.store(number)) as stored:
                    async for each in stored:
                        yield each
            finally:
                await run.leave()
        self.loosened.set()

    async def documents(self, space: str = DEFAULT_SPACE, after: int = 0, limit: int = 100) -> Page:
        """At most `limit` documents of my space, from the one after row number `after` on."""
        if not 1 <= limit <= DOCUMENTS_LISTED_MAX:
            raise Dms3Error("argument_invalid", f"The limit is not 1 to {DOCUMENTS_LISTED_MAX}.")

        def work(connection: Connection) -> Page:
            found = catalogue.my_space(connection, space)
            if found is None:
                raise Dms3Error("not_found", f"There is no space {space[:64]!r}.")
            rows = catalogue.page(connection, found[0], after, limit)
            return Page(tuple(rows), rows[-1].number if len(rows) == limit else None)

        return await asyncio.to_thread(self._reading, work)

    async def named(self, cid: Cid) -> list[DocumentRow]:
        """The documents whose content is `cid`."""
        return await asyncio.to_thread(self._reading, catalogue.with_cid, cid)

    async def remove(self, cid: Cid, space: str | None = None) -> int:
        """Remove every document with content `cid` (of my space `space`); how many there were.

        Without `space` what was fetched of `cid` goes too. Their blocks are gone when it returns,
        unless another document needs them; their bytes in packs go with upkeep.
        """
        within = None if space is None else await self.space(space)

        needed: set[Cid] = set()

        def work(connection: Connection) -> int:
            numbers = catalogue.space_numbers(connection, None if within is None else [within])
            if within is None:
                numbers |= catalogue.space_numbers(connection, [NOBODYS])
            rows = [row for row in catalogue.with_cid(connection, cid) if row.space in numbers]
            for row in rows:
                needed.update(catalogue.blocks_of(connection, row.number))
                remove_document(connection, row)
            return len(rows)

        removed = await asyncio.wrap_future(self._database.transact(work))
        self.released += await asyncio.to_thread(
            self._packs.release, sorted(needed), catalogue.REFERENCED
        )
        self.loosened.set()
        return removed

    async def fetched(self) -> tuple[int, int]:
        """How many files and folders of others are kept, wholly or in part, and their bytes."""
        found: tuple[int, int] = await asyncio.to_thread(self._reading, catalogue.kept_for, NOBODYS)
        return found

    async def search(self, question: Question) -> tuple[Hits, float]:
        """The answer to `question` over this node's documents, and the milliseconds it took."""
        begun = time.perf_counter()
        hits = await asyncio.to_thread(find, self._database, self._recent, question)
        return hits, (time.perf_counter() - begun) * 1_000

    # content

    async def size(self, cid: Cid) -> int | None:
        """Bytes of the file `cid`, or None when its first block is not here.

        Raises `argument_invalid` when it is a folder.
        """
        block = await self.load(cid)
        if block is None:
            return None
        node = decode_block(cid, block)
        if not isinstance(node, FileNode):
            raise Dms3Error(
                "argument_invalid",
                f"{cid} is a folder.",
                hint=f"Ask for one of its files: dms3 store folder {cid}",
            )
        return node.size

    async def get(self, cid: Cid, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `start` to `stop` of the file `cid`, in pieces of about 1 MiB.

        Raises `content_unavailable` when a block is not here, `argument_invalid` for a folder.
        """
        pieces = read_file(self._must_have, cid, start, stop)

        def some() -> tuple[bytes, BlockMissingError | None]:
            found: list[bytes] = []
            try:
                for piece in islice(pieces, _PIECES_AT_ONCE):
                    found.append(piece)  # noqa: PERF402  # those before a missing block are kept
            except BlockMissingError as missing:
                return b"".join(found), missing  # what was before it is not read twice
            return b"".join(found), None

        while True:
            data, missing = await asyncio.to_thread(some)
            if data:
                yield data
            if missing is not None:
                raise missing
            if not data:
                return

    async def folder(self, cid: Cid) -> list[Link]:
        """The entries of the folder `cid`; raises as `get`."""
        return await asyncio.to_thread(lambda: list(list_folder(self._must_have, cid)))

    async def load(self, cid: Cid) -> bytes | None:
        """The block `cid`, or None when it is not here."""
        return await asyncio.to_thread(self._packs.get, cid)

    async def contains(self, space: SpaceId, cid: Cid) -> bool:
        """Whether block `cid` belongs to `space`."""
        return await asyncio.to_thread(self._reading, catalogue.contains, space, cid)

    # upkeep

    async def verify(self) -> AsyncIterator[Progress | Verified]:
        """Check everything; Progress while it runs (blocks and bytes so far), Verified last."""
        check = Check(self._database, self._packs)
        running = asyncio.get_running_loop().run_in_executor(None, check.run)
        try:
            while not running.done():
                await asyncio.wait([running], timeout=_CHECK_SECONDS)
                yield Progress(check.blocks, check.blocks, check.bytes, check.bytes)
            yield await running
        finally:
            check.stopped = True

    async def sweep(self) -> Swept:
        """Remove every block that no document needs, now; `node/upkeep.py` does it by and by."""
        return await asyncio.to_thread(self._packs.sweep, catalogue.REFERENCED)

    # the port

    async def serve(self, operation: str, arguments: Any) -> Any:
        """Carry out an operation of the port "library" (`search/operations.py`)."""
        match operation, arguments:
            case "search", operations.LibrarySearch():
                return await self._serve_search(arguments)
            case "block", operations.LibraryBlock(space=space, cid=cid):
                return await asyncio.to_thread(self._block_of, space, cid)
            case "has", tuple():
                return await asyncio.to_thread(lambda: tuple(map(self._packs.has, arguments)))
            case "load", Cid():
                return await self.load(arguments)
            case "keep", operations.LibraryKeep():
                now_us = self._clock.now().wall_us
                return await keep_blocks(self._database, self._packs, arguments, now_us)
        return await self._serve_overlay(operation, arguments)

    async def _serve_overlay(self, operation: str, arguments: Any) -> Any:
        """Operations about blocks held for the overlay (`core/overlay.py`)."""
        match operation, arguments:
            case "hold", HoldBlocks(blocks=blocks):
                await hold_blocks(self._database, self._packs, blocks)
                return True
            case "release", tuple():
                await release_blocks(self._database, arguments)
                self.loosened.set()
                return True
            case "held", Cid() | None:
                return await asyncio.to_thread(
                    self._reading, catalogue.held_blocks, arguments, HELD_PAGE_MAX
                )
        return Failure("method_unknown", f"The library has no operation {operation!r} like this.")

    async def _serve_search(self, asked: operations.LibrarySearch) -> operations.Found:
        question = Question(asked.query, (asked.space,), asked.kind, asked.where, asked.limit)
        found, _ = await self.search(question)
        return operations.Found(
            tuple(
                operations.FoundHit(
                    hit.cid, hit.title, hit.snippet[:HIT_SNIPPET_CHARS_MAX], hit.kind, hit.score
                )
                for hit in found.hits
            ),
            found.total,
            found.opened,
            found.skipped,
        )

    def _reading(self, work: Any, *arguments: Any) -> Any:  # any function of catalogue.py
        with self._database.read() as connection:
            return work(connection, *arguments)

    def _block_of(self, space: SpaceId, cid: Cid) -> bytes | Failure:
        """The block `cid`, if it belongs to `space`; one failure whether it exists or not."""
        block = None
        if self._reading(catalogue.contains, space, cid):
            block = self._packs.get(cid)
        return _absent(cid) if block is None else block

    def _must_have(self, cid: Cid) -> bytes:
        block = self._packs.get(cid)
        if block is None:
            raise BlockMissingError(cid)
        return block


def _absent(cid: Cid) -> Failure:
    return Failure("not_found", f"Block {cid} is not in that space.")
