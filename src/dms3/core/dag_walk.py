"""The blocks of a DAG in a fixed order, depth first: all of it, or what one file or folder needs.

Source: IPFS trustless gateway specification, "dag-scope" and "entity-bytes"; IPLD dag-pb and
dag-cbor (links). Blocks come from an injected `get`, which has checked them. Neither fetches nor
counts: whoever walks says when it is too much.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from dms3.core.cid import CID_BYTES, DAG_CBOR, DAG_PB, Cid
from dms3.core.codec import check_items, decode_plain
from dms3.core.dag_pb import decode_node
from dms3.core.errors import DecodeError
from dms3.core.limits import DAG_CBOR_ITEMS_MAX
from dms3.core.unixfs import Block
from dms3.core.unixfs_read import (
    DirectoryNode,
    FileNode,
    Get,
    ShardNode,
    decode_block,
    list_folder,
    read_file,
)


class Seen(Protocol):
    """Whether a block is to be given, asked once for each place it has in the DAG."""

    def add(self, cid: Cid) -> bool:
        """True when the block is to be given here."""
        ...


class Once:
    """Every block at the first of its places."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()  # asked whether it contains, never iterated

    def add(self, cid: Cid) -> bool:
        """True the first time."""
        if cid.binary in self._seen:
            return False
        self._seen.add(cid.binary)
        return True


class EveryTime:
    """Every block at each of its places, which can be far more than there are blocks."""

    def add(self, _: Cid) -> bool:
        """True."""
        return True


class Trail:
    """A `get` that remembers, in order, what went through it."""

    def __init__(self, get: Get) -> None:
        self._get = get
        self._blocks: list[Block] = []

    def get(self, cid: Cid) -> bytes:
        """The block; raises as the `get` behind it."""
        block = self._get(cid)
        self._blocks.append((cid, block))
        return block

    def take(self) -> list[Block]:
        """What was got since the last time."""
        blocks, self._blocks = self._blocks, []
        return blocks


def links_in(cid: Cid, block: bytes) -> list[Cid]:
    """The links of any block, in their stored order; raises DecodeError."""
    if cid.codec == DAG_PB:
        return [link.cid for link in decode_node(block).links]
    if cid.codec != DAG_CBOR:
        return []
    check_items(block, DAG_CBOR_ITEMS_MAX)
    links: list[Cid] = []
    waiting: list[Any] = [decode_plain(block)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, bytes) and len(value) == CID_BYTES and value[0] == 1:
            links.append(Cid.decode(value))
        elif isinstance(value, list):
            waiting += reversed(value)
        elif isinstance(value, dict):
            waiting += reversed(list(value.values()))
    return links


def all_blocks(get: Get, root: Cid, seen: Seen) -> Iterator[Block]:
    """Every block of the DAG below `root`, and `root` first; raises DecodeError."""
    waiting = [root]
    while waiting:
        cid = waiting.pop()
        if not seen.add(cid):
            continue
        block = get(cid)
        yield cid, block
        waiting += reversed(links_in(cid, block))


def entity_blocks(get: Get, cid: Cid, span: tuple[int, int] | None, seen: Seen) -> Iterator[Block]:
    """The blocks needed to read the file `cid` (its bytes `span`, end exclusive) or list a folder.

    Of anything else its own block. Raises DecodeError for a tree that contradicts itself.
    """
    trail = Trail(get)
    start, stop = (0, None) if span is None else span
    try:
        node = decode_block(cid, get(cid))
    except DecodeError:  # no UnixFS
        node = None
    match node:
        case FileNode():
            steps: Iterator[object] = read_file(trail.get, cid, start, stop)
        case DirectoryNode() | ShardNode():
            steps = list_folder(trail.get, cid)
        case _:
            trail.get(cid)
            steps = iter(())
    for _ in steps:
        yield from _wanted(trail, seen)
    yield from _wanted(trail, seen)


def _wanted(trail: Trail, seen: Seen) -> Iterator[Block]:
    return (block for block in trail.take() if seen.add(block[0]))
