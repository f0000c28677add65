"""A DAG as a CAR file: measured first, its missing blocks fetched, then streamed to whoever asked.

Source: docs/ipfs.md; IPLD CARv1. Depth first, every block once, so the same DAG is always the same
file. For the person of the node only: it reads private blocks (`node/gateway.py` does not).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass

from dms3.core.car import encode_head, encode_section, joined, section_bytes
from dms3.core.cid import RAW, Cid
from dms3.core.dag_walk import Once, all_blocks, links_in
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import CAR_BLOCKS_MAX, GATEWAY_PIECE_BYTES
from dms3.io.packs import Packs
from dms3.node.content import Ask, Job, Spawn
from dms3.node.library import Library

CAR_ENDING = ".car"
"""After a CID: its CAR, among the files to download."""

_LOOKED_AT_ONCE = 1_024  # blocks measured in one turn of a thread


@dataclass(frozen=True, slots=True)
class Measured:
    """The CAR of a DAG: its `blocks` and its `size` in bytes so far; `whole` at the end."""

    blocks: int
    size: int
    whole: bool = False


class CarFile:
    """The CAR of `cid` as content that can be streamed; `measure` it before it is read."""

    def __init__(self, packs: Packs, cid: Cid) -> None:
        self._packs = packs
        self._cid = cid
        self.name = f"{cid}.car"
        self.size = 0

    async def measured(self) -> CarFile:
        """This CAR with its size known; raises `content_unavailable` when a block is not here."""
        measuring = Measuring(self._packs, self._cid)
        while not (step := await asyncio.to_thread(measuring.step)).whole:
            if measuring.missing is not None:
                raise _not_here(measuring.missing)
        self.size = step.size
        return self

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `end` (exclusive) in pieces."""
        sections, place = self._sections(), 0
        while place < end:
            piece = await asyncio.to_thread(joined, sections, GATEWAY_PIECE_BYTES)
            if not piece:
                return
            part = piece[max(0, start - place) : end - place]
            place += len(piece)
            if part:
                yield part

    def _sections(self) -> Iterator[bytes]:
        yield encode_head([self._cid])
        for cid, block in all_blocks(self._must_have, self._cid, Once()):
            yield encode_section(cid, block)

    def _must_have(self, cid: Cid) -> bytes:
        block = self._packs.get(cid)
        if block is None:
            raise _not_here(cid)
        return block


class Measuring:
    """Walks a DAG without reading its leaves; `missing` is a block that has to be fetched first."""

    def __init__(self, packs: Packs, cid: Cid) -> None:
        self._packs = packs
        self._waiting = [cid]
        self._seen: set[Cid] = set()  # asked whether it contains, never iterated
        self._size = len(encode_head([cid]))
        self.missing: Cid | None = None

    def step(self) -> Measured:
        """Look at some more blocks, up to one that is missing. For a thread."""
        self.missing = None
        for _ in range(_LOOKED_AT_ONCE):
            if not self._waiting:
                return Measured(len(self._seen), self._size, whole=True)
            cid = self._waiting[-1]
            if cid in self._seen:
                self._waiting.pop()
                continue
            size = self._packs.size(cid)
            block = b"" if cid.codec == RAW or size is None else self._packs.get(cid)
            if size is None or block is None:
                self.missing = cid
                break
            self._waiting.pop()
            self._seen.add(cid)
            self._size += section_bytes(size)
            if cid.codec != RAW:
                self._waiting += reversed(links_in(cid, block))
            if len(self._seen) > CAR_BLOCKS_MAX:
                raise Dms3Error(
                    "limit_reached",
                    f"The CAR would hold more than {CAR_BLOCKS_MAX} blocks.",
                    hint="Export what lies in it one by one.",
                )
        return Measured(len(self._seen), self._size)


async def measure(
    library: Library, packs: Packs, ways: tuple[Ask, Spawn], cid: Cid
) -> AsyncGenerator[Measured, None]:
    """Bring every block of the DAG `cid` here; steps, the last one whole.

    Raises `content_unavailable` when nobody has one, `content_invalid` when it is no DAG.
    """
    measuring = Measuring(packs, cid)
    job = Job(library, *ways, cid)
    try:
        with job:
            step = await asyncio.to_thread(measuring.step)
            while not step.whole:
                if measuring.missing is not None:
                    await job.bring(measuring.missing)
                yield step
                step = await asyncio.to_thread(measuring.step)
            yield step
    except DecodeError as error:
        raise Dms3Error("content_invalid", f"{cid} cannot be read: {error.reason}.") from error
    finally:
        job.end()


def _not_here(cid: Cid) -> Dms3Error:
    return Dms3Error(
        "content_unavailable",
        f"Block {cid} is not on this node.",
        hint="dms3 store export fetches what is missing first.",
    )
