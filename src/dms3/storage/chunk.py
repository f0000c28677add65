"""Chunks: batches of items as bytes, cut into objects, and checked as a whole.

Source: docs/adr/0008-conversation-storage.md. A chunk is immutable: it is written once, under a
name with random bytes in it. Its digest is over its objects as they are stored, so that a chunk is
copied from place to place without being opened. Sealing is in `storage/names.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dms3.core.codec import check_items, decode, encode, need_at_most
from dms3.core.limits import (
    STORAGE_CHUNK_ITEMS_MAX,
    STORAGE_ITEM_BYTES_MAX,
    STORAGE_KEY_CHARS_MAX,
    STORAGE_PARTS_MAX,
)
from dms3.storage.names import CONTENT_BYTES_MAX
from dms3.storage.operations import Item

VERSION = 1
ORDER_MAX = (1 << 53) - 1  # what JavaScript counts exactly
_KIND_CHARS_MAX = 16
_ITEM_AROUND_BYTES = 64  # names of the fields, lengths, order
_PLAIN_ITEMS_MAX = 16 + 16 * STORAGE_CHUNK_ITEMS_MAX  # dag-cbor items of the largest chunk
CHUNK_BYTES_MAX = STORAGE_ITEM_BYTES_MAX + 64 * 1024
"""Content of a chunk: one item of the largest size, or many small ones in one object."""
ROOM_BYTES = CONTENT_BYTES_MAX - _ITEM_AROUND_BYTES
"""For the items of a chunk that is one object, by `size_of`."""
assert CHUNK_BYTES_MAX <= STORAGE_PARTS_MAX * CONTENT_BYTES_MAX, "a chunk needs too many objects"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Items in the order in which they were appended."""

    v: int
    items: tuple[Item, ...]

    def __post_init__(self) -> None:
        if self.v != VERSION or not 0 < len(self.items) <= STORAGE_CHUNK_ITEMS_MAX:
            raise ValueError("not a chunk of items")
        if not all(map(is_item, self.items)):
            raise ValueError("an item is out of bounds")


def is_item(item: Item) -> bool:
    """Whether `item` keeps the bounds of a chunk."""
    return (
        0 < len(item.kind) <= _KIND_CHARS_MAX
        and 0 < len(item.key) <= STORAGE_KEY_CHARS_MAX
        and len(item.body) <= STORAGE_ITEM_BYTES_MAX
        and 0 <= item.order_ms <= ORDER_MAX
    )


def size_of(item: Item) -> int:
    """How many bytes of a chunk `item` takes, at most."""
    text = len(item.kind.encode()) + len(item.key.encode())
    return len(item.body) + text + _ITEM_AROUND_BYTES


def encode_chunk(items: Sequence[Item]) -> bytes:
    """The content of a chunk of `items`, which keep the bounds."""
    return encode(Chunk(VERSION, tuple(items)))


def decode_chunk(data: bytes) -> tuple[Item, ...]:
    """The items of a chunk; raises DecodeError, and nothing else."""
    need_at_most(data, CHUNK_BYTES_MAX, "a chunk")
    check_items(data, _PLAIN_ITEMS_MAX)
    return decode(Chunk, data, strict=True).items


def cut(content: bytes) -> list[bytes]:
    """`content` in pieces that each fit into an object."""
    starts = range(0, len(content), CONTENT_BYTES_MAX)
    return [content[start : start + CONTENT_BYTES_MAX] for start in starts]


def digest_of(objects: Iterable[bytes]) -> bytes:
    """What a head says of the objects of a chunk or page: 32 bytes."""
    return hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in objects)).digest()


def batches(items: Iterable[Item]) -> list[list[Item]]:
    """`items` in chunks: many small ones in one object each, a large one alone."""
    out: list[list[Item]] = []
    room = 0
    for item in items:
        if not out or size_of(item) > room or len(out[-1]) >= STORAGE_CHUNK_ITEMS_MAX:
            out.append([])
            room = ROOM_BYTES
        out[-1].append(item)
        room -= size_of(item)
    return out


def last_of_each(items: Iterable[Item]) -> list[Item]:
    """`items` without those that a later one of the same kind and key replaces, in their order."""
    found: dict[tuple[str, str], Item] = {}
    for item in items:
        found.pop((item.kind, item.key), None)
        found[item.kind, item.key] = item
    return list(found.values())
