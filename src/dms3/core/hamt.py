"""Which slot of a sharded directory a name goes to, and the tree of slots for a set of names.

Source: UnixFS specification, HAMT directories; MurmurHash3 x64 128 by Austin Appleby (public
domain), of which IPFS uses the first 64 bits, most significant byte first. The blocks made from
the tree are `core/unixfs.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from dms3.core.errors import DecodeError
from dms3.core.limits import HAMT_FANOUT, HAMT_LEVELS_MAX

T = TypeVar("T")
Tree = dict[int, "tuple[str, T] | Tree[T]"]
"""Slot number to an entry (name, value) or to the tree one level down."""

_MASK = (1 << 64) - 1
_C1 = 0x87C37B91114253D5
_C2 = 0x4CF5AD432745937F


def murmur3_64(data: bytes) -> bytes:
    """The first 64 bits of MurmurHash3 x64 128 of `data` with seed 0, big-endian."""
    h1 = h2 = 0
    whole = len(data) // 16 * 16
    for start in range(0, whole, 16):
        k1 = int.from_bytes(data[start : start + 8], "little")
        k2 = int.from_bytes(data[start + 8 : start + 16], "little")
        h1 ^= _mix1(k1)
        h1 = (_rotate(h1, 27) + h2) * 5 + 0x52DCE729 & _MASK
        h2 ^= _mix2(k2)
        h2 = (_rotate(h2, 31) + h1) * 5 + 0x38495AB5 & _MASK
    tail = data[whole:]
    h2 ^= _mix2(int.from_bytes(tail[8:], "little"))
    h1 ^= _mix1(int.from_bytes(tail[:8], "little"))
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = h1 + h2 & _MASK
    h2 = h2 + h1 & _MASK
    return (_finish(h1) + _finish(h2) & _MASK).to_bytes(8, "big")


def slots_of(name: str) -> bytes:
    """The slot of `name` at each level, one byte per level (a fan-out of 256)."""
    return murmur3_64(name.encode())


def build_tree(entries: Iterable[tuple[str, T]]) -> Tree[T]:
    """The tree that holds `entries` (distinct names), the same for any order of them.

    Raises DecodeError when two names share all 64 bits of their hash: IPFS cannot hold them.
    """
    return _grow([(slots_of(name), name, value) for name, value in entries], 0)


def _grow(entries: list[tuple[bytes, str, T]], level: int) -> Tree[T]:
    if level == HAMT_LEVELS_MAX:
        raise DecodeError(0, f"{entries[0][1]!r} and another name share one hash")
    slots: dict[int, list[tuple[bytes, str, T]]] = {}
    for entry in entries:
        slots.setdefault(entry[0][level], []).append(entry)
    tree: Tree[T] = {}
    for slot in sorted(slots):
        inside = slots[slot]
        tree[slot] = inside[0][1:] if len(inside) == 1 else _grow(inside, level + 1)
    return tree


def bitfield_of(slots: Iterable[int]) -> bytes:
    """The set of used slots as IPFS writes it: one big-endian number without leading zeros."""
    bits = 0
    for slot in slots:
        assert 0 <= slot < HAMT_FANOUT, f"no slot {slot}"
        bits |= 1 << slot
    return bits.to_bytes((bits.bit_length() + 7) // 8, "big")


def _rotate(value: int, count: int) -> int:
    return (value << count | value >> 64 - count) & _MASK


def _mix1(block: int) -> int:
    return _rotate(block * _C1 & _MASK, 31) * _C2 & _MASK


def _mix2(block: int) -> int:
    return _rotate(block * _C2 & _MASK, 33) * _C1 & _MASK


def _finish(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return value ^ value >> 33
