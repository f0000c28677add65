"""Files and folders as trees of blocks with the CIDs of `ipfs add --cid-version=1 --raw-leaves`.

Source: UnixFS specification; kubo defaults (262,144-byte chunks, balanced layout of 174 links,
folders whose links need more than 256 KiB sharded 256 ways). Pure: blocks come out, none is stored.
A folder of exactly 256 KiB of links stays plain, as IPFS libraries do since 2025. Reading and its
checks are `core/unixfs_read.py`; modes and times are not written.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

from dms3.core.cid import DAG_PB as DAG_PB_CODEC
from dms3.core.cid import RAW, Cid
from dms3.core.dag_pb import Link, Node, encode_node
from dms3.core.hamt import Tree, bitfield_of, build_tree
from dms3.core.limits import (
    CHUNK_BYTES,
    DIRECTORY_BYTES_MAX,
    HAMT_FANOUT,
    LINKS_PER_NODE_MAX,
    NAME_BYTES_MAX,
)
from dms3.core.varint import encode_uint64

Block = tuple[Cid, bytes]

# UnixFS data types (unixfs.proto) and the multicodec of the hash that shards a folder.
TYPE_RAW, TYPE_DIRECTORY, TYPE_FILE, TYPE_METADATA, TYPE_SYMLINK, TYPE_SHARD = range(6)
MURMUR3_X64_64 = 0x22


@dataclass(frozen=True, slots=True)
class Built:
    """A finished tree: its root, the bytes of the content, of all its blocks, and new blocks.

    `blocks` holds only what was not handed out before (by `FileBuilder.add`).
    """

    cid: Cid
    size: int
    tree_bytes: int
    blocks: list[Block] = field(repr=False)

    def link(self, name: str) -> Link:
        """The entry of this tree in a folder."""
        return Link(self.cid, name, self.tree_bytes)


@dataclass(frozen=True, slots=True)
class _Part:
    """A finished subtree of a file: its root, its content bytes, its block bytes."""

    cid: Cid
    size: int
    tree_bytes: int


class FileBuilder:
    """Cuts a file that arrives in pieces into blocks; memory stays below a few hundred links.

    Call `add` with the pieces in order (any lengths), then `finish` once.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._levels: list[list[_Part]] = [[]]  # unfinished nodes, leaves first
        self.size = 0

    def add(self, data: bytes) -> list[Block]:
        """The blocks that `data` completes."""
        blocks: list[Block] = []
        self.size += len(data)
        data = self._rest + data if self._rest else data
        start = 0
        while len(data) - start > CHUNK_BYTES:  # the last chunk waits: it may be the only one
            self._leaf(data[start : start + CHUNK_BYTES], blocks)
            start += CHUNK_BYTES
        self._rest = data[start:]
        return blocks

    def finish(self) -> Built:
        """The root and the remaining blocks; an empty file is one empty block."""
        blocks: list[Block] = []
        self._leaf(self._rest, blocks)
        level = 0
        while True:
            parts = self._levels[level]
            is_top = level == len(self._levels) - 1
            if is_top and len(parts) == 1:
                return Built(parts[0].cid, parts[0].size, parts[0].tree_bytes, blocks)
            if parts:
                self._close_level(level, blocks)
            level += 1

    def _leaf(self, chunk: bytes, blocks: list[Block]) -> None:
        cid = Cid.of(RAW, chunk)
        blocks.append((cid, chunk))
        self._push(0, _Part(cid, len(chunk), len(chunk)), blocks)

    def _push(self, level: int, part: _Part, blocks: list[Block]) -> None:
        if level == len(self._levels):
            self._levels.append([])
        parts = self._levels[level]
        if len(parts) == LINKS_PER_NODE_MAX:
            self._close_level(level, blocks)
        self._levels[level].append(part)

    def _close_level(self, level: int, blocks: list[Block]) -> None:
        """Make one node of what waits on `level` and push it one level up."""
        parts, self._levels[level] = self._levels[level], []
        size = sum(part.size for part in parts)
        content = bytearray(_head(TYPE_FILE) + b"\x18" + encode_uint64(size))
        for part in parts:
            content += b"\x20" + encode_uint64(part.size)
        links = tuple(Link(part.cid, "", part.tree_bytes) for part in parts)
        cid, block = _node(links, bytes(content))
        blocks.append((cid, block))
        below = sum(part.tree_bytes for part in parts)
        self._push(level + 1, _Part(cid, size, below + len(block)), blocks)


def build_file(data: bytes) -> Built:
    """The tree of a file that is in memory."""
    if len(data) <= CHUNK_BYTES:
        cid = Cid.of(RAW, data)
        return Built(cid, len(data), len(data), [(cid, data)])
    builder = FileBuilder()
    blocks = builder.add(data)
    built = builder.finish()
    return Built(built.cid, built.size, built.tree_bytes, blocks + built.blocks)


def name_fault(name: str) -> str | None:
    """Why `name` cannot be an entry of a folder, as a clause for people; None when it can."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    if name in ("", ".", "..") or "/" in name:
        return "it has no usable name"
    if len(encoded) > NAME_BYTES_MAX:
        return f"its name is longer than {NAME_BYTES_MAX} bytes"
    if any(char < " " or char == "\x7f" for char in name):
        return "its name contains control characters"
    return None


def build_directory(entries: Iterable[Link]) -> Built:
    """The folder that holds `entries` (distinct names): one block, or a tree of shards.

    `size` is 0: a folder has no content of its own.
    """
    links = sorted(entries, key=lambda link: link.name.encode())
    assert all(a.name != b.name for a, b in itertools.pairwise(links)), "a name stands twice"
    below = sum(link.size for link in links)
    if sum(len(link.name.encode()) + len(link.cid.binary) for link in links) > DIRECTORY_BYTES_MAX:
        blocks: list[Block] = []
        cid, tree_bytes = _shard(build_tree((link.name, link) for link in links), blocks)
        return Built(cid, 0, tree_bytes, blocks)
    cid, block = _node(tuple(links), _head(TYPE_DIRECTORY))
    return Built(cid, 0, below + len(block), [(cid, block)])


def _shard(tree: Tree[Link], blocks: list[Block]) -> tuple[Cid, int]:
    """The block of one shard after those below it; its CID and the bytes of its whole tree."""
    links: list[Link] = []
    for slot, item in tree.items():
        prefix = f"{slot:02X}"
        if isinstance(item, tuple):
            name, link = item
            links.append(Link(link.cid, prefix + name, link.size))
        else:
            cid, tree_bytes = _shard(item, blocks)
            links.append(Link(cid, prefix, tree_bytes))
    used = bitfield_of(tree)
    content = _head(TYPE_SHARD) + b"\x12" + encode_uint64(len(used)) + used
    content += b"\x28" + encode_uint64(MURMUR3_X64_64) + b"\x30" + encode_uint64(HAMT_FANOUT)
    cid, block = _node(tuple(links), content)
    blocks.append((cid, block))
    return cid, len(block) + sum(link.size for link in links)


def _head(kind: int) -> bytes:
    return b"\x08" + encode_uint64(kind)


def _node(links: tuple[Link, ...], content: bytes) -> Block:
    block = encode_node(Node(links, content))
    return Cid.of(DAG_PB_CODEC, block), block
