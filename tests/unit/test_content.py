"""Reading a file while it arrives: one fetch from opening to the last byte, then none."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from dms3.core.cid import RAW, Cid
from dms3.core.errors import Dms3Error
from dms3.core.limits import CHUNK_BYTES
from dms3.core.unixfs import FileBuilder
from dms3.node import content
from dms3.node.content import File
from dms3.node.library import BlockMissingError, Library
from dms3.search.operations import AwaitBlock, Fetch

BLOCKS = [bytes([number]) * 10 for number in range(4)]
CIDS = [Cid.of(RAW, block) for block in BLOCKS]
ROOT = CIDS[0]


class FakeLibrary:
    """A file of four blocks; `here` says which have come."""

    def __init__(self) -> None:
        self.here: set[Cid] = set()
        self.reads = 0

    async def size(self, cid: Cid) -> int | None:
        return 40 if cid in self.here else None

    async def named(self, _: Cid) -> list[Any]:
        return []

    async def load(self, cid: Cid) -> bytes | None:
        return BLOCKS[CIDS.index(cid)] if cid in self.here else None

    async def get(self, _: Cid, start: int, stop: int) -> AsyncIterator[bytes]:
        self.reads += 1
        for place in range(start, stop, 10):
            cid = CIDS[place // 10]
            if cid not in self.here:
                raise BlockMissingError(cid)
            yield BLOCKS[place // 10]


class Machine:
    """The fetch machine: a block is here as soon as somebody waits for it, unless it `fails`."""

    def __init__(self, library: FakeLibrary) -> None:
        self.library = library
        self.begun = 0
        self.given_up = asyncio.Event()
        self.fails = False

    async def ask(self, operation: str, arguments: Any) -> Any:
        if operation == "fetch.fetch":
            assert arguments == Fetch(ROOT)
            self.begun += 1
            if self.fails:
                raise Dms3Error("content_unavailable", "nobody has it")
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up.set()
        assert isinstance(arguments, AwaitBlock)
        if self.fails:
            raise Dms3Error("not_found", "it is not being fetched")
        self.library.here.add(arguments.cid)
        return True


async def opened(group: asyncio.TaskGroup) -> tuple[File, FakeLibrary, Machine]:
    library = FakeLibrary()
    machine = Machine(library)

    def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return group.create_task(work)

    file = File(library, machine.ask, spawn, ROOT)  # type: ignore[arg-type]
    return await file.open(), library, machine


async def read(file: File, start: int, end: int) -> bytes:
    return b"".join([piece async for piece in file.read(start, end)])


def test_one_fetch_serves_opening_and_reading() -> None:
    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            file, library, machine = await opened(group)
            assert file.size == 40
            assert await read(file, 0, 40) == b"".join(BLOCKS)
            assert library.reads == 4  # once, and again after each block that was missing
            assert machine.begun == 1
            assert not machine.given_up.is_set()
            await machine.given_up.wait()  # nobody reads any more: the group can end

    asyncio.run(scenario())


def test_a_fetch_is_given_up_when_nobody_reads_and_begins_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(content, "READ_PAUSE_SECONDS_MAX", 0)

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            file, _, machine = await opened(group)
            await machine.given_up.wait()
            machine.given_up.clear()
            assert await read(file, 10, 30) == BLOCKS[1] + BLOCKS[2]
            assert machine.begun == 2
            await machine.given_up.wait()

    asyncio.run(scenario())


def test_two_readers_share_the_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "READ_PAUSE_SECONDS_MAX", 0)

    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            file, _, machine = await opened(group)
            slow = aiter(file.read(0, 20))
            assert await anext(slow) == BLOCKS[0]
            assert await read(file, 20, 40) == BLOCKS[2] + BLOCKS[3]
            begun = machine.begun
            assert [piece async for piece in slow] == [BLOCKS[1]]
            assert machine.begun == begun
            await machine.given_up.wait()

    asyncio.run(scenario())


def test_what_a_fetch_ended_with_is_what_the_reader_hears() -> None:
    async def scenario() -> None:
        async with asyncio.TaskGroup() as group:
            file, _, machine = await opened(group)
            machine.fails = True
            await asyncio.sleep(0)
            file._job.end()  # as after a pause
            await machine.given_up.wait()
            with pytest.raises(Dms3Error, match="nobody has it") as caught:
                await read(file, 0, 40)
            assert caught.value.code == "content_unavailable"

    asyncio.run(scenario())


def test_what_lies_before_a_missing_block_is_given_out_and_not_read_again() -> None:
    builder = FileBuilder()
    chunks = [bytes([number]) * CHUNK_BYTES for number in range(3)]
    blocks = builder.add(b"".join(chunks))
    built = builder.finish()
    blocks += built.blocks
    missing = Cid.of(RAW, chunks[2])
    asked: list[Cid] = []

    class Packs:
        def get(self, cid: Cid) -> bytes | None:
            asked.append(cid)
            return None if cid == missing else dict(blocks)[cid]

    async def scenario() -> tuple[bytes, Cid]:
        library = Library(None, Packs(), None, None, None)  # type: ignore[arg-type]
        found = b""
        try:
            async for piece in library.get(built.cid):
                found += piece
        except BlockMissingError as error:
            return found, error.cid
        raise AssertionError("nothing was missing")

    assert asyncio.run(scenario()) == (chunks[0] + chunks[1], missing)
    assert len(asked) == len(set(asked)) == 4  # the root and three leaves, each once
