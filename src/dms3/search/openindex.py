"""The open index of a public space as content-addressed blocks: their form, and reading them.

Source: docs/wire.md, "The open index". A root names shards of sorted words, shards of their places
(for phrases), facts of every document (for ranking and conditions) and rows (what is shown). What
is read here is hostile: every decoder raises DecodeError and nothing else. Building is
`search/indexing.py`, ranking `search/openrank.py`.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from dms3.core.cid import DAG_CBOR, Cid
from dms3.core.codec import check_items, decode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    HIT_SNIPPET_CHARS_MAX,
    HIT_TITLE_CHARS_MAX,
    INDEX_BLOCK_BYTES_MAX,
    INDEX_BLOCK_ITEMS_MAX,
    INDEX_SHARDS_MAX,
    INDEX_TERM_BYTES_MAX,
    KIND_CHARS_MAX,
    NAME_BYTES_MAX,
    PUBLIC_DOCUMENTS_MAX,
    PUBLIC_KINDS_MAX,
    PUBLIC_PREFIX_TERMS_MAX,
)

VERSION = 1
CODEC = DAG_CBOR
_END_BYTES = 4

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part:
    """A block of a series: `first` is the first word (shards) or the number of the first document.

    Numbers of documents stand as eight bytes, so that both compare in order of bytes.
    """

    first: bytes
    cid: Cid


@dataclass(frozen=True, slots=True)
class Root:
    """The beginning of an open index: `documents` in it, the words in all of them, its parts.

    A word may go on in the next shard; then both name it as theirs.
    """

    v: int
    documents: int
    words_total: int
    kinds: tuple[str, ...]
    words: tuple[Part, ...]
    places: tuple[Part, ...]
    facts: tuple[Part, ...]
    rows: tuple[Part, ...]

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"index version {self.v} is not known")
        need(0 <= self.documents <= PUBLIC_DOCUMENTS_MAX, "too many documents")
        need(self.words_total >= 0, "a negative count")
        need(len(self.kinds) <= PUBLIC_KINDS_MAX, "too many kinds")
        need(all(0 < len(kind) <= KIND_CHARS_MAX for kind in self.kinds), "not a kind")
        for parts in (self.words, self.places, self.facts, self.rows):
            need(len(parts) <= INDEX_SHARDS_MAX, "too many parts")
            firsts = [part.first for part in parts]
            need(firsts == sorted(firsts), "the parts are out of order")
            cids = [part.cid for part in parts]
            need(all(cid.codec == CODEC for cid in cids), "a part is no index block")
            need(len(set(cids)) == len(cids), "a block is named twice")  # each is read once
            need(all(len(first) <= INDEX_TERM_BYTES_MAX for first in firsts), "a word is too long")


@dataclass(frozen=True, slots=True)
class Shard:
    """Sorted words and what is said of each.

    `terms`: words, each ended by a line feed. `ends`: where the data of each ends, four bytes
    little-endian. `data`: postings one after another.
    """

    v: int
    terms: bytes = field(repr=False)
    ends: bytes = field(repr=False)
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"shard version {self.v} is not known")
        need(self.terms[-1:] in (b"", b"\n"), "the last word has no end")


@dataclass(frozen=True, slots=True)
class Facts:
    """Of documents from number `first` on: words, kind, bytes, second of change; as varints."""

    v: int
    first: int
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"facts version {self.v} is not known")
        need(0 <= self.first < PUBLIC_DOCUMENTS_MAX, "not the number of a document")


@dataclass(frozen=True, slots=True)
class Rows:
    """Encoded Row of documents from number `first` on."""

    v: int
    first: int
    rows: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"rows version {self.v} is not known")
        need(0 <= self.first < PUBLIC_DOCUMENTS_MAX, "not the number of a document")


@dataclass(frozen=True, slots=True)
class Row:
    """What a search shows of a document."""

    cid: Cid
    title: str
    name: str
    language: str
    beginning: str = field(repr=False)

    def __post_init__(self) -> None:
        need(len(self.title) <= HIT_TITLE_CHARS_MAX, "the title is too long")
        need(len(self.beginning) <= HIT_SNIPPET_CHARS_MAX, "the beginning is too long")
        need(max(len(self.name), len(self.language)) <= NAME_BYTES_MAX, "a name is too long")


@dataclass(frozen=True, slots=True)
class Fact:
    """What ranking and conditions know of a document; `kind`: number in Root.kinds."""

    words: int
    kind: int
    bytes: int
    modified_s: int


def decode_root(block: bytes) -> Root:
    """The root of an open index; raises DecodeError."""
    return _bounded(Root, block)


def decode_rows(block: bytes) -> Rows:
    """Rows of an open index; raises DecodeError."""
    return _bounded(Rows, block)


def decode_row(data: bytes) -> Row:
    """One row of Rows; raises DecodeError."""
    return _bounded(Row, data)


def decode_facts(block: bytes) -> tuple[int, list[Fact]]:
    """The number of the first document, and the facts from there on; raises DecodeError."""
    facts = _bounded(Facts, block)
    values = read_numbers(facts.data)
    if len(values) % 4:
        raise DecodeError(len(facts.data), "the facts of a document are cut off")
    if facts.first + len(values) // 4 > PUBLIC_DOCUMENTS_MAX:
        raise DecodeError(0, "facts of too many documents")
    found = zip(values[::4], values[1::4], values[2::4], values[3::4], strict=True)
    return facts.first, [Fact(*each) for each in found]


class Words:
    """A decoded shard: look-up of words."""

    def __init__(self, block: bytes) -> None:
        """Raises DecodeError."""
        shard = _bounded(Shard, block)
        self._terms = shard.terms.split(b"\n")[:-1]
        if len(shard.ends) != _END_BYTES * len(self._terms):
            raise DecodeError(0, "the words of a shard and their ends differ in number")
        self._ends: tuple[int, ...] = struct.unpack(f"<{len(self._terms)}I", shard.ends)
        self._data = shard.data
        if any(a >= b for a, b in zip(self._terms, self._terms[1:], strict=False)):
            raise DecodeError(0, "the words of a shard are out of order")
        if any(a > b for a, b in zip(self._ends, self._ends[1:], strict=False)):
            raise DecodeError(0, "the ends of a shard are out of order")
        if (self._ends[-1] if self._ends else 0) != len(self._data):
            raise DecodeError(0, "the last word of a shard does not end with it")

    def __len__(self) -> int:
        return len(self._terms)

    def find(self, term: bytes, *, is_prefix: bool) -> Iterator[bytes]:
        """The data of `term`, or of each word that begins with it."""
        at = bisect_left(self._terms, term)
        while at < len(self._terms):
            held = self._terms[at]
            if held != term and not (is_prefix and held.startswith(term)):
                return
            yield self._data[self._ends[at - 1] if at else 0 : self._ends[at]]
            at += 1


def read_numbers(data: bytes) -> list[int]:
    """Every varint of `data`; raises DecodeError."""
    found: list[int] = []
    value = shift = 0
    for byte in data:
        if byte < 0x80:
            if byte == 0 and shift:
                raise DecodeError(0, "a number is not minimal")
            found.append(value | byte << shift)
            value = shift = 0
        else:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 56:
                raise DecodeError(0, "a number is too long")
    if shift:
        raise DecodeError(len(data), "a number is cut off")
    return found


def write_number(out: bytearray, value: int) -> None:
    """Append the varint of `value`."""
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def number_key(number: int) -> bytes:
    """A document's number as it stands in Part.first."""
    return number.to_bytes(8, "big")


def parts_of(parts: Sequence[Part], term: bytes, *, is_prefix: bool) -> list[Part]:
    """The parts that can hold `term`, or a word that begins with it."""
    firsts = [part.first for part in parts]
    start = max(0, bisect_left(firsts, term) - 1)
    end = bisect_right(firsts, term)
    if is_prefix:
        while end < len(firsts) and firsts[end].startswith(term):
            end += 1
    return list(parts[start:end])


def part_of_number(parts: Sequence[Part], number: int) -> Part | None:
    """The part that can hold the document `number`."""
    at = bisect_right([part.first for part in parts], number_key(number)) - 1
    return parts[at] if at >= 0 else None


def merge_terms(shards: Sequence[Words], term: bytes, *, is_prefix: bool) -> list[bytes]:
    """The data of `term` in all of `shards`; raises DecodeError for a prefix of too many words."""
    found: list[bytes] = []
    for shard in shards:
        for data in shard.find(term, is_prefix=is_prefix):
            found.append(data)
            if len(found) > PUBLIC_PREFIX_TERMS_MAX:
                raise DecodeError(0, "too many words begin like this")
    return found


def _bounded(cls: type[T], data: bytes) -> T:
    need_at_most(data, INDEX_BLOCK_BYTES_MAX, f"{cls.__name__}")
    check_items(data, INDEX_BLOCK_ITEMS_MAX)
    return decode(cls, data)
