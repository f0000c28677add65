"""One round of small files: read by worker processes, made into items, their blocks durable.

Source: docs/architecture.md, "Walks". Used by `node/importing.py`, which stores a batch while
the next is read. Large files and uploads do not come this way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dms3.core.cid import RAW
from dms3.core.errors import Dms3Error
from dms3.core.limits import IMPORT_JOB_BYTES, IMPORT_JOB_FILES_MAX
from dms3.core.unixfs import Block, Built
from dms3.io.extract import Extracted, decode_text
from dms3.io.intake import Taken, take_files
from dms3.io.packs import Staged
from dms3.io.pool import Pool
from dms3.node.shelving import Item, Shelf
from dms3.node.walk import File

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Taken:
    file: File
    taken: Taken


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that only need their transaction: `blocks` are those that `staged` holds.

    `faults`: files that could not be read, and why.
    """

    faults: list[tuple[File, str]]
    items: list[Item]
    blocks: list[Block]
    staged: Staged


async def read_batch(pool: Pool, shelf: Shelf, files: Sequence[File]) -> Batch:
    """`files` read by as many jobs as they need, their blocks on the disk already."""
    async with asyncio.TaskGroup() as group:
        reads = [group.create_task(_take(pool, some)) for some in jobs_of(files, _size)]
    taken = [one for read in reads for one in read.result()]
    return await asyncio.to_thread(_prepare, shelf, taken)


def jobs_of(files: Sequence[T], size_of: Callable[[T], int]) -> Iterator[list[T]]:
    """`files` in order, in parts of about IMPORT_JOB_BYTES; `size_of`: the bytes of one."""
    some: list[T] = []
    size = 0
    for file in files:
        some.append(file)
        size += size_of(file)
        if size >= IMPORT_JOB_BYTES or len(some) == IMPORT_JOB_FILES_MAX:
            yield some
            some, size = [], 0
    if some:
        yield some


def _size(file: File) -> int:
    return file.size


async def _take(pool: Pool, files: Sequence[File]) -> list[_Taken]:
    """Read files in one job of a worker; when the job fails, each in its own."""
    try:
        taken = await pool.run(take_files, [file.source for file in files])
    except Dms3Error as error:
        if error.code not in ("content_invalid", "timed_out", "internal"):
            raise
        if len(files) == 1:
            return [_Taken(files[0], Taken(files[0].source, "it could not be read as text"))]
        return [found for file in files for found in await _take(pool, [file])]
    return [_Taken(file, one) for file, one in zip(files, taken, strict=True)]


def _prepare(shelf: Shelf, taken: Sequence[_Taken]) -> Batch:
    """Items, and all their blocks made durable. For a thread."""
    faults: list[tuple[File, str]] = []
    items: list[Item] = []
    blocks: list[Block] = []
    for one in taken:
        if one.taken.fault:
            faults.append((one.file, one.taken.fault))
        else:
            items.append(_item(one))
            blocks += _built(one).blocks
    return Batch(faults, items, blocks, shelf.stage(blocks))


def _built(one: _Taken) -> Built:
    built = one.taken.built
    assert built is not None
    return built


def _item(one: _Taken) -> Item:
    built, extracted = _built(one), one.taken.extracted
    assert extracted is not None
    data = built.blocks[0][1] if len(built.blocks) == 1 else _content(built)
    cids = tuple(dict.fromkeys(cid for cid, _ in built.blocks))
    return Item(
        one.file,
        built.cid,
        built.size,
        built.tree_bytes,
        one.taken.stamp,
        extracted,
        cids,
        body_of(extracted, data),
    )


def _content(built: Built) -> bytes:
    """The bytes of a file whose blocks are all here, leaves in order."""
    return b"".join(data for cid, data in built.blocks if cid.codec == RAW)


def body_of(extracted: Extracted, data: bytes) -> str:
    """The searchable text of a file."""
    if not extracted.encoding:
        return ""
    return decode_text(data, extracted.encoding) if extracted.text is None else extracted.text
