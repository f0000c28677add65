"""Arguments and results of Ethereum contracts as bytes: the part of the ABI that ENS needs.

Source: Solidity, "Contract ABI Specification". A type is a word ("uint", "address", "bool",
"bytes32", "bytes4"), "bytes", "string", `Many` of a type, or a tuple of types. What is decoded
comes from strangers: offsets may point anywhere, so everything decoded from one input is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dms3.core.errors import DecodeError
from dms3.core.limits import ABI_DEPTH_MAX, ABI_ITEMS_MAX, ABI_TEXT_BYTES_MAX

WORD_BYTES = 32
_FIXED = {"address": 20, "bytes32": 32, "bytes4": 4}
_DYNAMIC = ("bytes", "string")

Type = Any
"""A type as the module docstring says: text, `Many`, or a tuple of types."""


@dataclass(frozen=True, slots=True)
class Many:
    """An array of any length of type `of`."""

    of: Type


def encode_abi(types: Sequence[Type], values: Sequence[Any]) -> bytes:
    """`values` of `types`, one after the other. Integers for uint and bool, bytes, text, lists."""
    heads: list[bytes | None] = []
    tails: list[bytes] = []
    for type_, value in zip(types, values, strict=True):
        data = _encode(type_, value)
        heads.append(None if _is_dynamic(type_) else data)
        tails.append(data if _is_dynamic(type_) else b"")
    at = sum(WORD_BYTES if head is None else len(head) for head in heads)
    out = bytearray()
    for head, tail in zip(heads, tails, strict=True):
        out += at.to_bytes(WORD_BYTES, "big") if head is None else head
        at += len(tail)
    return bytes(out) + b"".join(tails)


def decode_abi(types: Sequence[Type], data: bytes) -> list[Any]:
    """The values of `types` in `data`; raises DecodeError, and nothing else.

    An address is 20 bytes, a uint an int, a bool a bool, text is UTF-8.
    """
    return _Reader(data).sequence(tuple(types), 0, 0)


@dataclass(slots=True)
class _Reader:
    """One input; `items` and `size`: what may still be taken from it."""

    data: bytes = field(repr=False)
    items: int = ABI_ITEMS_MAX
    size: int = ABI_TEXT_BYTES_MAX

    def sequence(self, types: Sequence[Type], base: int, depth: int) -> list[Any]:
        """Values whose offsets count from `base`."""
        if depth > ABI_DEPTH_MAX:
            raise DecodeError(base, "nested too deeply")
        values: list[Any] = []
        at = base
        for type_ in types:
            self.items -= 1
            if self.items < 0:
                raise DecodeError(at, f"more than {ABI_ITEMS_MAX} values")
            if _is_dynamic(type_):
                values.append(self.dynamic(type_, base + self.number(at), depth + 1))
                at += WORD_BYTES
            elif isinstance(type_, tuple):
                values.append(tuple(self.sequence(type_, at, depth + 1)))
                at += WORD_BYTES * _words(type_)
            else:
                values.append(self.word(type_, at))
                at += WORD_BYTES
        return values

    def dynamic(self, type_: Type, at: int, depth: int) -> Any:
        """The value that lies at `at`."""
        if isinstance(type_, tuple):
            return tuple(self.sequence(type_, at, depth))
        count = self.number(at)
        if isinstance(type_, Many):
            if count > self.items:
                raise DecodeError(at, f"more than {ABI_ITEMS_MAX} values")
            return self.sequence((type_.of,) * count, at + WORD_BYTES, depth)
        self.size -= count
        if self.size < 0:
            raise DecodeError(at, f"more than {ABI_TEXT_BYTES_MAX} bytes")
        value = self.take(at + WORD_BYTES, count)
        if type_ == "bytes":
            return value
        try:
            return value.decode()
        except UnicodeError as cause:
            raise DecodeError(at, "text that is not UTF-8") from cause

    def word(self, type_: str, at: int) -> Any:
        """A value of one word; what fills the word up has to be zero."""
        data = self.take(at, WORD_BYTES)
        number = int.from_bytes(data, "big")
        if type_ == "bool":
            if number > 1:
                raise DecodeError(at, "neither true nor false")
            return bool(number)
        if type_ == "uint":
            return number
        size = _FIXED[type_]
        value = data[-size:] if type_ == "address" else data[:size]
        if data.count(0) - value.count(0) != WORD_BYTES - size:
            raise DecodeError(at, f"not of type {type_}")
        return value

    def number(self, at: int) -> int:
        """An offset or a length; none can be larger than the input."""
        found = int.from_bytes(self.take(at, WORD_BYTES), "big")
        if found > len(self.data):
            raise DecodeError(at, "points behind the end")
        return found

    def take(self, at: int, count: int) -> bytes:
        """`count` bytes from `at` on."""
        if at + count > len(self.data):
            raise DecodeError(len(self.data), "ends too early")
        return self.data[at : at + count]


def _encode(type_: Type, value: Any) -> bytes:
    if isinstance(type_, Many):
        return _word(len(value)) + encode_abi((type_.of,) * len(value), value)
    if isinstance(type_, tuple):
        return encode_abi(type_, value)
    if type_ in _DYNAMIC:
        data = value.encode() if type_ == "string" else value
        return bytes(_word(len(data)) + data + bytes(-len(data) % WORD_BYTES))
    if type_ in _FIXED:
        assert len(value) == _FIXED[type_], f"{type_} has {_FIXED[type_]} bytes"
        right, left = value.rjust(WORD_BYTES, b"\0"), value.ljust(WORD_BYTES, b"\0")
        return bytes(right if type_ == "address" else left)
    return _word(int(value))


def _word(number: int) -> bytes:
    return number.to_bytes(WORD_BYTES, "big")


def _is_dynamic(type_: Type) -> bool:
    if isinstance(type_, tuple):
        return any(map(_is_dynamic, type_))
    return isinstance(type_, Many) or type_ in _DYNAMIC


def _words(type_: Type) -> int:
    return sum(map(_words, type_)) if isinstance(type_, tuple) else 1
