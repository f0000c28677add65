"""Port "published": builds the open index of a space, and lists and loads what is published of it.

Source: `search/operations_public.py`; docs/architecture.md, "Public spaces". Machine "publishing"
alone knows which spaces are public and says so in every question. Works in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from dms3.core.cid import Cid
from dms3.core.database import Connection, Database
from dms3.core.errors import DecodeError, Dms3Error, Failure
from dms3.core.ids import SpaceId
from dms3.core.limits import (
    BEGINNING_CHARS_MAX,
    HIT_TITLE_CHARS_MAX,
    INDEX_TAKE_BYTES_MAX,
    NAME_BYTES_MAX,
)
from dms3.core.overlay import PUBLIC, GetContent
from dms3.core.unixfs_read import read_file
from dms3.io import catalogue, published
from dms3.io.extract import decode_text
from dms3.io.packs import Packs, Staged
from dms3.io.published import INDEX, IndexedRow
from dms3.search import operations_public as asked
from dms3.search.indexing import Block, Built, IndexBuilder, Indexed
from dms3.search.openindex import Row
from dms3.search.openrank import Ranking, rank

Call = Callable[[str, Any], Awaitable[Any]]
_BLOCK = "block"  # content type of dht/blocks.py
_ROWS_AT_ONCE = 500
_TERMS_AT_ONCE = 20_000  # words read in one snapshot: the log file of the database grows meanwhile
_ATTACH_TRIES = 3  # a block may be swept between staging and storing
_BEGINNING_BYTES = 4 * BEGINNING_CHARS_MAX + 64  # letters have up to four bytes; a mark in front


class Published:
    """The port; `serve` carries out its operations."""

    def __init__(self, database: Database, packs: Packs, call: Call) -> None:
        self._database = database
        self._packs = packs
        self._call = call

    async def serve(self, operation: str, arguments: Any) -> Any:
        """Carry out an operation named in `search/operations_public.py`."""
        if operation == "build":
            return await self._build(arguments)
        if operation == "block":
            return await self._block(arguments)
        if operation == "forget":
            work = partial(_forget, space=arguments)
            return await asyncio.wrap_future(self._database.transact(work))
        works: dict[str, Callable[[Any], Any]] = {
            "marks": self._marks,
            "blocks": self._blocks,
            "roots": self._roots,
            "load": self._load,
            "rank": _rank,
        }
        work_of = works.get(operation)
        if work_of is None:
            return Failure("method_unknown", f"There is no operation {operation!r} of this port.")
        return await asyncio.to_thread(work_of, arguments)

    # the open index

    async def _build(self, wanted: asked.BuildIndex) -> asked.IndexBuilt:
        for attempt in range(_ATTACH_TRIES):
            made = await asyncio.to_thread(_Making(self._database, self._packs, wanted.space).run)
            try:
                return await asyncio.wrap_future(
                    self._database.transact(
                        lambda connection, made=made: self._store(  # type: ignore[misc]
                            connection, wanted, made
                        )
                    )
                )
            except Dms3Error as error:
                if error.code != "node_busy" or attempt == _ATTACH_TRIES - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def _store(
        self, connection: Connection, wanted: asked.BuildIndex, made: _Making
    ) -> asked.IndexBuilt:
        """Keep the blocks in place of those of the index before. Runs on the writer thread."""
        for staged in made.staged:
            self._packs.attach(connection, staged)
        built = made.built
        number = catalogue.next_number(connection)  # above all there are: see ListBlocks.since
        for old in catalogue.known(connection, made.space, [INDEX]).values():
            catalogue.drop(connection, old.number)
        row = catalogue.plain_row(
            number=number,
            space=made.space,
            source=INDEX,
            kind=INDEX,
            cid=built.root,
            now_us=wanted.wall_us,
        )
        catalogue.put(connection, [row])
        catalogue.need_blocks(connection, ((cid, made.space, number) for cid in made.cids))
        return asked.IndexBuilt(built, number, made.mark)

    # what there is

    def _load(self, cids: Sequence[Cid]) -> tuple[bytes | None, ...]:
        return tuple(map(self._packs.get, cids))

    def _marks(self, spaces: Sequence[SpaceId]) -> tuple[tuple[int, ...] | None, ...]:
        with self._database.read() as connection:
            numbers = {
                space: number
                for number, space in catalogue.space_numbers(connection, spaces).items()
            }
            return tuple(
                published.fingerprint(connection, numbers[space]) if space in numbers else None
                for space in spaces
            )

    def _blocks(self, wanted: asked.ListBlocks) -> tuple[asked.BlockAt, ...]:
        with self._database.read() as connection:
            rows = published.blocks(
                connection,
                _number(connection, wanted.space),
                wanted.since,
                wanted.after,
                wanted.limit,
            )
        return tuple(asked.BlockAt(place, cid, size) for place, cid, size in rows)

    def _roots(self, wanted: asked.ListRoots) -> tuple[asked.RootAt, ...]:
        with self._database.read() as connection:
            number = _number(connection, wanted.space)
            rows = published.roots(connection, number, wanted.since, wanted.limit)
        return tuple(asked.RootAt(row, cid) for row, cid in rows)

    async def _block(self, wanted: asked.PublicBlock) -> bytes | Failure:
        """The block, if some public space has it or the public overlay has it held here.

        What is held for a network is for its members: machine "dht" gives it to them.
        """
        is_held, is_public = await asyncio.to_thread(self._whose, wanted)
        if is_held and not is_public:
            is_public = await self._call("dht.holds", GetContent(PUBLIC, _BLOCK, wanted.cid.binary))
        block = await asyncio.to_thread(self._packs.get, wanted.cid) if is_public else None
        return Failure("not_found", "No such public block.") if block is None else block

    def _whose(self, wanted: asked.PublicBlock) -> tuple[bool, bool]:
        """Whether a block is held for some overlay, and whether a public space has it."""
        spaces = frozenset(wanted.spaces)
        with self._database.read() as connection:
            is_held = published.is_held(connection, wanted.cid)
            owners = published.spaces_of(connection, wanted.cid)
        return is_held, any(space in spaces for space in owners)


class _Making:
    """One index in the making: blocks are staged as they come, words read some at a time."""

    def __init__(self, database: Database, packs: Packs, space: SpaceId) -> None:
        self._database = database
        self._packs = packs
        self._space_id = space
        self.space = 0
        self.staged: list[Staged] = []
        self.cids: list[Cid] = []
        self.built: Built
        self.mark: tuple[int, ...] = ()

    def run(self) -> _Making:
        """Build and stage; for a thread. Raises `not_found`, `limit_reached`, `disk_full`."""
        with self._database.read() as connection:
            self.space = _number(connection, self._space_id)
            self.mark = published.fingerprint(connection, self.space)
            documents = published.numbers(connection, self.space)
        builder = IndexBuilder(len(documents))
        self._add_words(builder, documents)
        for start in range(0, len(documents), _ROWS_AT_ONCE):
            self._add_rows(builder, [number for number, _ in documents[start:][:_ROWS_AT_ONCE]])
        self.built, rest = builder.finish()
        self._stage(rest)
        self._packs.sync()
        return self

    def _add_words(self, builder: IndexBuilder, documents: list[tuple[int, int]]) -> None:
        place_of = {number: place for place, (number, _) in enumerate(documents)}
        containers = sorted({container for _, container in documents})
        last: str | None = ""
        while last is not None and containers:
            with self._database.read() as connection:
                last = _some_words(connection, builder, containers, place_of, last)
            self._stage(builder.take())

    def _add_rows(self, builder: IndexBuilder, numbers: list[int]) -> None:
        with self._database.read() as connection:
            rows = published.indexed(connection, numbers)
        for number in numbers:
            row = rows.get(number)
            if row is None:
                raise Dms3Error("node_busy", "The space was changed meanwhile.", hint="Try again.")
            builder.add_document(self._indexed(row))
        self._stage(builder.take())

    def _indexed(self, row: IndexedRow) -> Indexed:
        shown = Row(
            row.cid,
            row.title[:HIT_TITLE_CHARS_MAX],
            row.name[:NAME_BYTES_MAX],
            row.language,
            self._beginning(row),
        )
        return Indexed(shown, row.kind, row.bytes, row.modified_us)

    def _beginning(self, row: IndexedRow) -> str:
        """The first letters of the document's text, on one line."""
        if row.text is not None:
            text = row.text[: 4 * BEGINNING_CHARS_MAX]
        elif not row.encoding:
            return ""
        else:
            try:
                data = b"".join(read_file(self._must_have, row.cid, 0, _BEGINNING_BYTES))
            except DecodeError:
                return ""  # damaged: `store verify` says so
            text = decode_text(data[:_BEGINNING_BYTES], row.encoding)
        return " ".join(text.split())[:BEGINNING_CHARS_MAX]

    def _must_have(self, cid: Cid) -> bytes:
        block = self._packs.get(cid)
        if block is None:
            raise DecodeError(0, f"block {cid} is missing")
        return block

    def _stage(self, blocks: Sequence[Block]) -> None:
        if blocks:
            self.staged.append(self._packs.stage(blocks))
            self.cids += [cid for cid, _ in blocks]


def _some_words(
    connection: Connection,
    builder: IndexBuilder,
    containers: list[int],
    place_of: dict[int, int],
    after: str,
) -> str | None:
    """Add the next words behind `after`; the last of them, or None when there are no more."""
    published.open_words(connection, containers)
    found = published.words(connection, containers, place_of, after)
    for count, (term, postings) in enumerate(found, 1):
        builder.add_term(term.encode(), postings)
        if count == _TERMS_AT_ONCE or builder.waiting_bytes > INDEX_TAKE_BYTES_MAX:
            return term
    return None


def _rank(wanted: asked.RankOpened) -> Ranking:
    return rank(wanted.spaces, wanted.query, wanted.kind, wanted.conditions, wanted.limit)


def _forget(connection: Connection, space: SpaceId) -> bool:
    """Drop the open index of a space that is public no longer; its blocks go with a sweep."""
    numbers = catalogue.space_numbers(connection, [space])
    rows = [
        row for number in numbers for row in catalogue.known(connection, number, [INDEX]).values()
    ]
    for row in rows:
        catalogue.drop(connection, row.number)
    return bool(rows)


def _number(connection: Connection, space: SpaceId) -> int:
    numbers = list(catalogue.space_numbers(connection, [space]))
    if not numbers:
        raise Dms3Error("not_found", f"There is no space {space.hex()}.")
    return numbers[0]
