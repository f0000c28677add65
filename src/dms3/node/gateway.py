"""Reading public spaces for strangers: by path, as files, as single blocks, as CARs.

Source: IPFS path gateway and trustless gateway specifications; docs/ipfs.md. A block is given when
a space of this node that is public at this moment has it, and looks like one that does not exist in
every other case. HTTP is `api/ipfs.py`. Fetches nothing and keeps nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from dms3.core.car import encode_head, encode_section, joined
from dms3.core.cid import DAG_PB, RAW, Cid
from dms3.core.dag_pb import Link, decode_node
from dms3.core.dag_walk import EveryTime, Once, Seen, Trail, all_blocks, entity_blocks
from dms3.core.database import Database
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import SpaceId
from dms3.core.limits import (
    CAR_BLOCKS_MAX,
    GATEWAY_CAR_BYTES_MAX,
    GATEWAY_LISTED_MAX,
    GATEWAY_PIECE_BYTES,
    PATH_PARTS_MAX,
)
from dms3.core.unixfs import Block
from dms3.core.unixfs_read import (
    DirectoryNode,
    FileNode,
    ShardNode,
    decode_block,
    list_folder,
    read_file,
    resolve,
)
from dms3.io import published
from dms3.io.packs import Packs
from dms3.node.publishing import public_spaces

if TYPE_CHECKING:
    from dms3.node.node import Node

T = TypeVar("T")

INDEX = "index.html"
Public = Callable[[], Awaitable[frozenset[SpaceId]]]
"""Asks which spaces are public now."""


def nothing() -> Dms3Error:
    """The one answer for what is private, withdrawn or nowhere."""
    return Dms3Error(
        "not_found",
        "No public space of this node has that.",
        hint="Ask the node that published it, or another gateway.",
    )


@dataclass(frozen=True, slots=True)
class CarWanted:
    """Which blocks a CAR is to have below the end of a path.

    `scope`: "block", "entity" or "all". `span`: bytes of a file (end exclusive), for "entity".
    `doubled`: blocks stand at each of their places, not only at the first.
    """

    scope: str = "all"
    span: tuple[int, int] | None = None
    doubled: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What lies at the end of a path.

    `roots`: the CIDs of the path, the last one is `cid`. `kind`: "file", "folder" or "other".
    `size`: bytes of a file, or of the block of something else. `tree_bytes`: of all blocks from
    `cid` on, as they say themselves. `way`: the blocks that lead there, `block`: the first there.
    """

    roots: tuple[Cid, ...]
    kind: str
    size: int
    tree_bytes: int
    way: tuple[Block, ...] = field(repr=False)
    block: bytes = field(repr=False)

    @property
    def cid(self) -> Cid:
        """The end of the path."""
        return self.roots[-1]


class Gateway:
    """What is public here, for reading; `public` says which spaces are at this moment.

    `car_bytes`: the largest CAR.
    """

    def __init__(
        self,
        database: Database,
        packs: Packs,
        public: Public,
        *,
        car_bytes: int = GATEWAY_CAR_BYTES_MAX,
    ) -> None:
        self._database = database
        self._packs = packs
        self._public = public
        self._car_bytes = car_bytes

    async def find(self, root: Cid, names: Sequence[str]) -> Found:
        """What lies at `names` below `root`; raises `not_found`, `argument_invalid`."""
        if len(names) > PATH_PARTS_MAX:
            raise Dms3Error("argument_invalid", f"The path has more than {PATH_PARTS_MAX} parts.")
        return await self._in_thread(lambda reading: _find(reading, root, names))

    async def folder(self, found: Found) -> tuple[list[Link], bool]:
        """The first entries of a folder, and whether there are more."""

        def work(reading: _Reading) -> list[Link]:
            return list(islice(list_folder(reading.get, found.cid), GATEWAY_LISTED_MAX + 1))

        links = await self._in_thread(work)
        return links[:GATEWAY_LISTED_MAX], len(links) > GATEWAY_LISTED_MAX

    async def index(self, found: Found) -> Found | None:
        """The page that stands for the folder, or None."""
        try:
            page = await self.find(found.cid, (INDEX,))
        except Dms3Error as error:
            if error.code == "not_found":
                return None
            raise
        return page if page.kind == "file" else None

    def read(self, found: Found, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `end` (exclusive) of a file, in pieces of about GATEWAY_PIECE_BYTES."""
        return self._pieces(lambda reading: read_file(reading.get, found.cid, start, end))

    def car(self, found: Found, wanted: CarWanted) -> AsyncIterator[bytes]:
        """A CAR in pieces; ends early as `check_car` does when it grows beyond what is given."""
        return self._pieces(lambda reading: self._sections(reading, found, wanted))

    def check_car(self, found: Found, wanted: CarWanted) -> None:
        """Raise `argument_invalid` for a CAR that says itself that it is too large."""
        if wanted.scope == "all" and found.tree_bytes > self._car_bytes:
            raise self._too_large(f"about {found.tree_bytes}")

    def _too_large(self, size: str) -> Dms3Error:
        return Dms3Error(
            "argument_invalid",
            f"The CAR would have {size} bytes; up to {self._car_bytes} bytes and "
            f"{CAR_BLOCKS_MAX} blocks are given at once.",
            hint="Ask for what lies in it one by one, or with dag-scope and entity-bytes.",
        )

    def _sections(self, reading: _Reading, found: Found, wanted: CarWanted) -> Iterator[bytes]:
        seen: Seen = EveryTime() if wanted.doubled else Once()
        yield encode_head(found.roots[:1])
        size = 0
        for number, (cid, block) in enumerate(_car_blocks(reading, found, wanted, seen), 1):
            size += len(block)
            if size > self._car_bytes or number > CAR_BLOCKS_MAX:
                raise self._too_large(f"more than {size}")
            yield encode_section(cid, block)

    async def _pieces(self, begin: Callable[[_Reading], Iterator[bytes]]) -> AsyncIterator[bytes]:
        """What `begin` makes, a piece at a time; what is public is asked again before each."""
        reading = _Reading(self._database, self._packs, await self._public())
        parts = begin(reading)
        while piece := await asyncio.to_thread(joined, parts, GATEWAY_PIECE_BYTES):
            yield piece
            reading.spaces = await self._public()

    async def _in_thread(self, work: Callable[[_Reading], T]) -> T:
        reading = _Reading(self._database, self._packs, await self._public())
        return await asyncio.to_thread(work, reading)


def gateway_of(node: Node) -> Gateway:
    """The gateway of a running node."""
    return Gateway(node.store, node.packs, partial(public_spaces, node))


class _Reading:
    """Blocks of `spaces`, for a thread."""

    def __init__(self, database: Database, packs: Packs, spaces: frozenset[SpaceId]) -> None:
        self._database = database
        self._packs = packs
        self.spaces = spaces

    def get(self, cid: Cid) -> bytes:
        """The block; raises `not_found` whether it is private or nowhere."""
        with self._database.read() as connection:
            having = published.spaces_of(connection, cid)
        block = None if self.spaces.isdisjoint(having) else self._packs.get(cid)
        if block is None:
            raise nothing()
        return block


def _find(reading: _Reading, root: Cid, names: Sequence[str]) -> Found:
    trail = Trail(reading.get)
    roots = [root]
    reading.get(root)  # before anything is said about the path
    for name in names:
        try:
            roots.append(resolve(trail.get, roots[-1], name))
        except DecodeError:
            raise Dms3Error(
                "not_found", f"{roots[-1]} is not a folder, so nothing is in it."
            ) from None
    cid = roots[-1]
    block = reading.get(cid)
    tree_bytes = len(block)
    if cid.codec == DAG_PB:
        tree_bytes += sum(link.size for link in decode_node(block).links)
    try:
        node = decode_block(cid, block)
    except DecodeError:  # no UnixFS: raw and CAR only
        return Found(tuple(roots), "other", len(block), tree_bytes, tuple(trail.take()), block)
    match node:
        case FileNode(size=size):
            kind = "file"
        case DirectoryNode() | ShardNode():
            kind, size = "folder", 0
        case _:
            kind, size = "other", len(block)
    return Found(tuple(roots), kind, size, tree_bytes, tuple(trail.take()), block)


def _car_blocks(reading: _Reading, found: Found, wanted: CarWanted, seen: Seen) -> Iterator[Block]:
    yield from (block for block in found.way if seen.add(block[0]))
    if wanted.scope == "all":
        yield from all_blocks(reading.get, found.cid, seen)
    elif wanted.scope == "entity" and found.cid.codec != RAW:
        yield from entity_blocks(reading.get, found.cid, wanted.span, seen)
    elif seen.add(found.cid):
        yield found.cid, reading.get(found.cid)
