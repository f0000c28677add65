"""Reading trees of files and folders: one block at a time, every node checked against its parent.

Source: UnixFS specification; IPLD dag-pb. Reads what other IPFS software writes too (inline data,
packed sizes, symbolic links). Blocks come from an injected `get`, which has checked them against
their CID; nothing here fetches, stores or repairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from dms3.core.cid import DAG_PB, RAW, Cid
from dms3.core.dag_pb import LENGTH, VARINT, Link, decode_node
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.hamt import slots_of
from dms3.core.limits import (
    DAG_DEPTH_MAX,
    DIRECTORY_ENTRIES_MAX,
    HAMT_FANOUT,
    HAMT_LEVELS_MAX,
    NODE_LINKS_MAX,
    PATH_PARTS_MAX,
)
from dms3.core.unixfs import (
    MURMUR3_X64_64,
    TYPE_DIRECTORY,
    TYPE_FILE,
    TYPE_RAW,
    TYPE_SHARD,
    TYPE_SYMLINK,
)
from dms3.core.varint import decode_uint64

Get = Callable[[Cid], bytes]
"""Gives the block of a CID, checked against it, or raises Dms3Error."""


@dataclass(frozen=True, slots=True)
class Part:
    """A child of a file node and the content bytes below it."""

    cid: Cid
    size: int


@dataclass(frozen=True, slots=True)
class FileNode:
    """A file or a piece of one: its own bytes first, then its parts; `size` counts both."""

    data: bytes
    parts: tuple[Part, ...]
    size: int


@dataclass(frozen=True, slots=True)
class DirectoryNode:
    """A plain folder."""

    entries: tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class ShardNode:
    """A shard of a large folder: names in it, and shards below it, by slot."""

    entries: dict[int, Link]
    shards: dict[int, Cid]


@dataclass(frozen=True, slots=True)
class SymlinkNode:
    """A symbolic link as other software stores it; never followed."""

    target: bytes


UnixNode = FileNode | DirectoryNode | ShardNode | SymlinkNode


def decode_block(cid: Cid, block: bytes) -> UnixNode:
    """What `block`, whose CID is `cid`, is; raises DecodeError when it is no UnixFS node."""
    if cid.codec == RAW:
        return FileNode(block, (), len(block))
    if cid.codec != DAG_PB:
        raise DecodeError(0, "not a file or folder (neither raw nor dag-pb)")
    node = decode_node(block)
    fields = _decode_fields(node.data or b"")
    if fields.kind in (TYPE_FILE, TYPE_RAW):
        return _file_node(fields, node.links)
    if fields.kind == TYPE_DIRECTORY:
        return _directory_node(node.links)
    if fields.kind == TYPE_SHARD:
        return _shard_node(fields, node.links)
    if fields.kind == TYPE_SYMLINK and not node.links:
        return SymlinkNode(fields.data)
    raise DecodeError(0, f"UnixFS type {fields.kind} is not supported")


def links_of(cid: Cid, block: bytes) -> tuple[Cid, ...]:
    """The CIDs of the blocks directly below `block`; raises DecodeError."""
    node = decode_block(cid, block)
    match node:
        case FileNode():
            return tuple(part.cid for part in node.parts)
        case DirectoryNode():
            return tuple(link.cid for link in node.entries)
        case ShardNode():
            below = {slot: link.cid for slot, link in node.entries.items()} | node.shards
            return tuple(below[slot] for slot in sorted(below))
        case _:
            return ()


def read_file(get: Get, cid: Cid, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """The bytes `start` to `stop` (or the end) of a file, in pieces of one block at most.

    Bounds outside the file are cut to it. Raises DecodeError for a tree that contradicts itself
    and `argument_invalid` when `cid` is a folder.
    """
    node = _file(get, cid)
    end = node.size if stop is None else min(stop, node.size)
    yield from _read(get, node, max(0, start), end, 0)


def file_size(get: Get, cid: Cid) -> int:
    """Bytes of the file `cid`; raises as `read_file`."""
    return _file(get, cid).size


def list_folder(get: Get, cid: Cid) -> Iterator[Link]:
    """The entries of a folder, sharded or not, in stored order; raises as `read_file`."""
    node = decode_block(cid, get(cid))
    if isinstance(node, DirectoryNode):
        yield from node.entries
    elif isinstance(node, ShardNode):
        for count, link in enumerate(_shard_entries(get, node, 0)):
            if count == DIRECTORY_ENTRIES_MAX:
                raise DecodeError(0, f"a folder of more than {DIRECTORY_ENTRIES_MAX} names")
            yield link
    else:
        raise Dms3Error(
            "argument_invalid", f"{cid} is not a folder.", hint=f"Open it: dms3 store get {cid}"
        )


def resolve(get: Get, cid: Cid, path: str) -> Cid:
    """The CID at `path` ("a/b/c", empty parts ignored) below the folder `cid`.

    Raises `not_found` when a name is not there, `argument_invalid` for a path that is too long.
    """
    names = [name for name in path.split("/") if name]
    if len(names) > PATH_PARTS_MAX:
        raise Dms3Error("argument_invalid", f"The path has more than {PATH_PARTS_MAX} parts.")
    for name in names:
        cid = _child(get, cid, name)
    return cid


@dataclass(slots=True)
class _Fields:
    """The UnixFS message of a node."""

    kind: int = -1
    data: bytes = b""
    size: int | None = None
    part_sizes: tuple[int, ...] = ()
    hash_type: int | None = None
    fanout: int | None = None


def _decode_fields(data: bytes) -> _Fields:
    fields = _Fields()
    sizes: list[int] = []
    offset = 0
    while offset < len(data):
        tag, value, end = _read_field(data, offset)
        match tag, value:
            case 1, int():
                fields.kind = value
            case 2, bytes():
                fields.data = value
            case 3, int():
                fields.size = value
            case 4, int():
                sizes.append(value)
            case 4, bytes():
                sizes += _packed(value)
            case 5, int():
                fields.hash_type = value
            case 6, int():
                fields.fanout = value
            case (7, int()) | (8, bytes()):  # mode and time: read, not kept
                pass
            case _:
                raise DecodeError(offset, f"unexpected field {tag} in a UnixFS node")
        if len(sizes) > NODE_LINKS_MAX:
            raise DecodeError(offset, "more sizes than a node has links")
        offset = end
    fields.part_sizes = tuple(sizes)
    return fields


def _read_field(data: bytes, offset: int) -> tuple[int, int | bytes, int]:
    tag, start = decode_uint64(data, offset)
    value, end = decode_uint64(data, start)
    if tag & 7 == VARINT:
        return tag >> 3, value, end
    if tag & 7 != LENGTH:
        raise DecodeError(offset, f"wire type {tag & 7} in a UnixFS node")
    if value > len(data) - end:
        raise DecodeError(end, "field is cut off")
    return tag >> 3, data[end : end + value], end + value


def _packed(data: bytes) -> list[int]:
    values: list[int] = []
    offset = 0
    while offset < len(data):
        value, offset = decode_uint64(data, offset)
        values.append(value)
    return values


def _file_node(fields: _Fields, links: tuple[Link, ...]) -> FileNode:
    if len(fields.part_sizes) != len(links):
        raise DecodeError(0, f"{len(links)} links and {len(fields.part_sizes)} sizes")
    size = len(fields.data) + sum(fields.part_sizes)
    if fields.size not in (None, size):
        raise DecodeError(0, f"file size {fields.size} where its parts hold {size}")
    parts = tuple(Part(link.cid, part) for link, part in zip(links, fields.part_sizes, strict=True))
    return FileNode(fields.data, parts, size)


def _directory_node(links: tuple[Link, ...]) -> DirectoryNode:
    if len({link.name for link in links}) != len(links):
        raise DecodeError(0, "a folder holds one name twice")
    return DirectoryNode(links)


def _shard_node(fields: _Fields, links: tuple[Link, ...]) -> ShardNode:
    if fields.fanout != HAMT_FANOUT or fields.hash_type != MURMUR3_X64_64:
        raise DecodeError(0, "only folders sharded 256 ways by murmur3-x64-64 are supported")
    node = ShardNode({}, {})
    for link in links:
        prefix, name = link.name[:2], link.name[2:]
        if len(prefix) != 2 or any(char not in "0123456789ABCDEF" for char in prefix):
            raise DecodeError(0, "a shard entry without its slot")
        slot = int(prefix, 16)
        if slot in node.entries or slot in node.shards:
            raise DecodeError(0, "a shard uses one slot twice")
        if name:
            node.entries[slot] = Link(link.cid, name, link.size)
        else:
            node.shards[slot] = link.cid
    used = sum(1 << slot for slot in (*node.entries, *node.shards))
    if int.from_bytes(fields.data, "big") != used:
        raise DecodeError(0, "a shard's bit field does not match its links")
    return node


def _file(get: Get, cid: Cid) -> FileNode:
    node = decode_block(cid, get(cid))
    if not isinstance(node, FileNode):
        raise Dms3Error("argument_invalid", f"{cid} is not a file.")
    return node


def _read(get: Get, node: FileNode, start: int, stop: int, depth: int) -> Iterator[bytes]:
    """The part of `node` between `start` and `stop`, both relative to it."""
    if depth == DAG_DEPTH_MAX:
        raise DecodeError(0, f"a file tree deeper than {DAG_DEPTH_MAX}")
    own = node.data[start:stop] if start < stop else b""
    if own:
        yield own
    offset = len(node.data)
    for part in node.parts:
        if offset >= stop:
            return
        end = offset + part.size
        if start < end and offset < end:
            child = _file(get, part.cid)
            if child.size != part.size:
                raise DecodeError(0, f"a part of {child.size} bytes where {part.size} belong")
            yield from _read(get, child, max(0, start - offset), stop - offset, depth + 1)
        offset = end


def _shard_entries(get: Get, node: ShardNode, level: int) -> Iterator[Link]:
    for slot in sorted((*node.entries, *node.shards)):
        if slot in node.entries:
            link = node.entries[slot]
            _check_slot(link.name, level, slot)
            yield link
        else:
            yield from _shard_entries(get, _below(get, node.shards[slot], level), level + 1)


def _below(get: Get, cid: Cid, level: int) -> ShardNode:
    if level + 1 == HAMT_LEVELS_MAX:
        raise DecodeError(0, f"a sharded folder deeper than {HAMT_LEVELS_MAX} levels")
    node = decode_block(cid, get(cid))
    if not isinstance(node, ShardNode) or not (node.entries or node.shards):
        raise DecodeError(0, "a shard leads to something else")
    return node


def _check_slot(name: str, level: int, slot: int) -> None:
    if slots_of(name)[level] != slot:
        raise DecodeError(0, "a name lies in the wrong shard")


def _child(get: Get, cid: Cid, name: str) -> Cid:
    node = decode_block(cid, get(cid))
    if isinstance(node, DirectoryNode):
        for link in node.entries:
            if link.name == name:
                return link.cid
    elif isinstance(node, ShardNode):
        for level, slot in enumerate(slots_of(name)):
            if slot in node.shards:
                node = _below(get, node.shards[slot], level)
                continue
            link_found = node.entries.get(slot)
            if link_found is not None and link_found.name == name:
                return link_found.cid
            break
    else:
        raise Dms3Error("not_found", f"{cid} is not a folder, so {name!r} is not in it.")
    raise Dms3Error("not_found", f"There is no {name!r} in folder {cid}.")
