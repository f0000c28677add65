"""dag-pb blocks: a list of named links and some bytes, in the one form that IPFS writes.

Source: IPLD dag-pb specification. Written canonically (links first, each link Hash, Name, Tsize);
read strictly, except that the bytes may stand before the links (old encoders) and a link may lack
its name or its size. What the bytes mean is `core/unixfs.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.cid import Cid
from dms3.core.errors import DecodeError
from dms3.core.limits import BLOCK_BYTES_MAX, NODE_LINKS_MAX
from dms3.core.varint import decode_uint64, encode_uint64

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5  # Protocol Buffers wire types

_NODE_DATA = 1 << 3 | LENGTH
_NODE_LINK = 2 << 3 | LENGTH
_LINK_HASH = 1 << 3 | LENGTH
_LINK_NAME = 2 << 3 | LENGTH
_LINK_SIZE = 3 << 3 | VARINT


@dataclass(frozen=True, slots=True)
class Link:
    """A named edge to another block; `size` is the bytes of all blocks below it (Tsize)."""

    cid: Cid
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Node:
    """A dag-pb block: links in their stored order, and bytes (None when the field is absent)."""

    links: tuple[Link, ...]
    data: bytes | None


def encode_node(node: Node) -> bytes:
    """The canonical bytes of `node`. The caller has sorted the links of a directory by name."""
    parts: list[bytes] = []
    for link in node.links:
        name = link.name.encode()
        body = b"".join(
            (
                _bytes_field(_LINK_HASH, link.cid.binary),
                _bytes_field(_LINK_NAME, name),
                bytes((_LINK_SIZE,)),
                encode_uint64(link.size),
            )
        )
        parts.append(_bytes_field(_NODE_LINK, body))
    if node.data is not None:
        parts.append(_bytes_field(_NODE_DATA, node.data))
    return b"".join(parts)


def decode_node(data: bytes) -> Node:
    """The node in `data`; raises DecodeError when it is no dag-pb block or has too many links."""
    if len(data) > BLOCK_BYTES_MAX:
        raise DecodeError(BLOCK_BYTES_MAX, "block is larger than any block may be")
    links: list[Link] = []
    content: bytes | None = None
    offset = 0
    closed = False  # links stand together: before the bytes or after them, not around them
    while offset < len(data):
        tag, start, end = _read_bytes_field(data, offset)
        if tag == _NODE_LINK:
            if closed:
                raise DecodeError(offset, "links on both sides of the data field")
            if len(links) == NODE_LINKS_MAX:
                raise DecodeError(offset, f"more than {NODE_LINKS_MAX} links")
            links.append(_decode_link(data[start:end], start))  # copied once, not per field
        elif tag == _NODE_DATA:
            if content is not None:
                raise DecodeError(offset, "a second data field")
            content = data[start:end]
            closed = bool(links)
        else:
            raise DecodeError(offset, f"unexpected field {tag >> 3} in a dag-pb node")
        offset = end
    return Node(tuple(links), content)


def _decode_link(data: bytes, place: int) -> Link:
    """The link in `data`, which lies at `place` of its block; its fields in order of numbers."""
    cid: Cid | None = None
    name, size, last = "", 0, 0
    offset = 0
    while offset < len(data):
        tag = data[offset]
        if tag <= last:
            raise DecodeError(place + offset, "link fields are repeated or out of order")
        last = tag
        if tag == _LINK_SIZE:
            size, offset = decode_uint64(data, offset + 1)
            continue
        if tag not in (_LINK_HASH, _LINK_NAME):
            raise DecodeError(place + offset, "unexpected field in a dag-pb link")
        _, start, stop = _read_bytes_field(data, offset)
        if tag == _LINK_HASH:
            cid = _decode_cid(data[start:stop], place + start)
        else:
            name = _decode_name(data[start:stop], place + start)
        offset = stop
    if cid is None:
        raise DecodeError(place + offset, "a link without a hash")
    return Link(cid, name, size)


def _decode_cid(data: bytes, offset: int) -> Cid:
    try:
        return Cid.decode(data)
    except DecodeError as error:
        raise DecodeError(offset + error.offset, error.reason) from None


def _decode_name(data: bytes, offset: int) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(offset + error.start, "a link name is not UTF-8") from None


def _bytes_field(tag: int, value: bytes) -> bytes:
    return bytes((tag,)) + encode_uint64(len(value)) + value


def _read_bytes_field(data: bytes, offset: int) -> tuple[int, int, int]:
    """Tag, start and end of the length-delimited field at `offset`."""
    tag, start = decode_uint64(data, offset)
    if tag & 7 != LENGTH:
        raise DecodeError(offset, f"wire type {tag & 7} where bytes belong")
    length, start = decode_uint64(data, start)
    if length > len(data) - start:
        raise DecodeError(start, "field is cut off")
    return tag, start, start + length
