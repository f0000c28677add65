"""Reading a file or a folder by its CID while it may still be on its way from a peer.

Source: docs/architecture.md, "Between nodes". What is here is read at once; for a block that is
not, the fetch machine is set going and the reader waits for that block. Every block was checked
against its CID before it is seen here. Peers and grants are the machines' business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from dms3.core.cid import Cid
from dms3.core.dag_pb import Link
from dms3.core.errors import Dms3Error
from dms3.core.limits import READ_PAUSE_SECONDS_MAX, READ_WAIT_SECONDS_MAX
from dms3.node.library import BlockMissingError, Library
from dms3.search.operations import AwaitBlock, Fetch

Ask = Callable[[str, Any], Awaitable[Any]]
"""`Loop.call`: ask a machine."""

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
"""Run something in the node's own task group."""


class File:
    """The file `cid`: what is here from `library`, the rest through `ask` from peers."""

    def __init__(self, library: Library, ask: Ask, spawn: Spawn, cid: Cid) -> None:
        self._library = library
        self._cid = cid
        self._job = Job(library, ask, spawn, cid)
        self.size = 0
        self.name = ""

    async def open(self) -> File:
        """This file with its size and name known; raises `content_unavailable`."""
        with self._job:
            size = await self._library.size(self._cid)
            while size is None:
                await self._job.bring(self._cid)
                size = await self._library.size(self._cid)
        named = await self._library.named(self._cid)
        self.size = size
        self.name = next((row.name for row in named if row.name), "")
        return self

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `end` in pieces; waits for blocks that are still on their way."""
        with self._job:
            while start < end:
                try:
                    async for piece in self._library.get(self._cid, start, end):
                        start += len(piece)
                        yield piece
                except BlockMissingError as missing:
                    await self._job.bring(missing.cid)


class Folder:
    """The folder `cid`; only its own blocks are waited for, not the files in it."""

    def __init__(self, library: Library, ask: Ask, spawn: Spawn, cid: Cid) -> None:
        self._library = library
        self._cid = cid
        self._job = Job(library, ask, spawn, cid)

    async def entries(self) -> list[Link]:
        """Its entries; raises `content_unavailable`, `argument_invalid` when it is no folder."""
        try:
            with self._job:
                while True:
                    try:
                        return await self._library.folder(self._cid)
                    except BlockMissingError as missing:
                        await self._job.bring(missing.cid)
        finally:
            self._job.end()  # what lies in it has not been asked for


class Job:
    """At most one fetch of a file, and waiting for single blocks of it.

    A context of whoever reads. The fetch begins with the first missing block and is given up when
    nobody has read for READ_PAUSE_SECONDS_MAX: whoever opens a file usually reads it next.
    """

    def __init__(self, library: Library, ask: Ask, spawn: Spawn, root: Cid) -> None:
        self._library = library
        self._ask = ask
        self._spawn = spawn
        self._root = root
        self._task: asyncio.Task[None] | None = None
        self._failure: Dms3Error | None = None
        self._readers = 0
        self._pause: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._readers += 1
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def __exit__(self, *_: object) -> None:
        self._readers -= 1
        if self._task is not None and not self._readers:
            loop = asyncio.get_running_loop()
            self._pause = loop.call_later(READ_PAUSE_SECONDS_MAX, self.end)

    async def bring(self, block: Cid) -> None:
        """Return when `block` is here; raises what the fetch ended with."""
        if self._task is None:
            self._task = self._spawn(self._fetch())
            await asyncio.sleep(0)  # its question reaches the machine before ours
        try:
            async with asyncio.timeout(READ_WAIT_SECONDS_MAX):
                await self._wait_for(block)
        except TimeoutError as cause:
            raise Dms3Error(
                "timed_out",
                f"Block {block} did not come within {READ_WAIT_SECONDS_MAX} s.",
                hint="What has come is kept; ask again to go on from there.",
            ) from cause

    async def _wait_for(self, block: Cid) -> None:
        assert self._task is not None
        try:
            await self._ask("fetch.block", AwaitBlock(self._root, block))
        except Dms3Error as error:  # there is no job any more, or it failed
            await asyncio.wait([self._task])
            if await self._library.load(block) is None:
                raise self._failure or error from None

    async def _fetch(self) -> None:
        """The fetch; what it ends with is kept for the reader."""
        try:
            await self._ask("fetch.fetch", Fetch(self._root))
        except Dms3Error as error:
            self._failure = error

    def end(self) -> None:
        """Nobody reads any more: what has come is kept, the rest is not asked for."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._task is not None:
            self._task.cancel()
            self._task = None
