"""Building an open index: sorted words in, content-addressed blocks out, in bounded memory.

Source: docs/wire.md, "The open index". Words and their places come from the full-text tables, so
that public and local search find the same; reading those is `io/published.py`. Keeps no block.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from dms3.core.cid import Cid
from dms3.core.codec import encode
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    INDEX_BLOCK_BYTES_MAX,
    INDEX_FILL_BYTES_MAX,
    INDEX_PLACES_MAX,
    INDEX_SHARDS_MAX,
    INDEX_TERM_BYTES_MAX,
    PUBLIC_DOCUMENTS_MAX,
    PUBLIC_KINDS_MAX,
    SECOND_US,
)
from dms3.search.openindex import (
    CODEC,
    VERSION,
    Facts,
    Part,
    Root,
    Row,
    Rows,
    Shard,
    number_key,
    write_number,
)
from dms3.search.wordfilter import make_filter, term_mark

Block = tuple[Cid, bytes]


@dataclass(frozen=True, slots=True)
class Posting:
    """A word in document `number`: how often in title and text, and where.

    `places`: rising; twice the offset, plus one in the text (titles and texts stay apart).
    """

    number: int
    title: int
    body: int
    places: Sequence[int]


@dataclass(frozen=True, slots=True)
class Indexed:
    """A document of the index; they are given in order of their numbers."""

    row: Row
    kind: str
    bytes: int
    modified_us: int


@dataclass(frozen=True, slots=True)
class Built:
    """A finished index: its root, what it holds, and what the manifest says of it.

    `size`: bytes of the documents.
    """

    root: Cid
    documents: int
    size: int
    terms: int
    kinds: tuple[str, ...]
    filter: bytes = field(repr=False)


class IndexBuilder:
    """Add every word in order, then every document, then `finish`; take blocks in between."""

    def __init__(self, documents: int) -> None:
        """`documents`: how many there are; raises `limit_reached` for too many."""
        if documents > PUBLIC_DOCUMENTS_MAX:
            raise Dms3Error(
                "limit_reached",
                f"A public space has at most {PUBLIC_DOCUMENTS_MAX} documents, not {documents}.",
                hint="Publish them in several spaces.",
            )
        self._lengths = array("L", bytes(array("L").itemsize * documents))
        self._marks = bytearray()
        self._words = _Series()
        self._places = _Series()
        self._facts, self._rows = _Listing(), _Listing()
        self._kinds: list[str] = []
        self._count = 0
        self._bytes = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes of blocks that nobody has taken yet."""
        return sum(len(data) for _, data in self._words.ready) + sum(
            len(data) for _, data in self._places.ready
        )

    def add_term(self, term: bytes, postings: Iterable[Posting]) -> None:
        """Add the next word with its documents in order of their numbers."""
        is_kept = 0 < len(term) <= INDEX_TERM_BYTES_MAX and b"\n" not in term
        if is_kept:
            self._marks += term_mark(term)
            self._words.begin(term)
            self._places.begin(term)
        for posting in postings:
            self._lengths[posting.number] += posting.title + posting.body
            if is_kept:
                self._words.add(posting.number, _counts(posting))
                self._places.add(posting.number, _places(posting.places))

    def add_document(self, document: Indexed) -> None:
        """Add the next document, after all words."""
        if document.kind not in self._kinds:
            self._kinds.append(document.kind)
        fact = bytearray()
        for value in (
            self._lengths[self._count],
            self._kinds.index(document.kind),
            document.bytes,
            max(0, document.modified_us) // SECOND_US,
        ):
            write_number(fact, value)
        self._facts.add(bytes(fact))
        self._rows.add(encode(document.row))
        self._count += 1
        self._bytes += document.bytes

    def take(self) -> list[Block]:
        """Finished blocks; the caller keeps them."""
        blocks = self._words.take() + self._places.take()
        blocks += self._facts.take(_facts_block) + self._rows.take(_rows_block)
        return blocks

    def finish(self) -> tuple[Built, list[Block]]:
        """What was built, and the last blocks; raises `limit_reached` when it is too large."""
        if len(self._kinds) > PUBLIC_KINDS_MAX:
            raise Dms3Error("limit_reached", f"A space has at most {PUBLIC_KINDS_MAX} kinds.")
        self._words.end()
        self._places.end()
        self._facts.end()
        self._rows.end()
        blocks = self.take()
        root = encode(
            Root(
                VERSION,
                self._count,
                sum(self._lengths),
                tuple(self._kinds),
                tuple(self._words.parts),
                tuple(self._places.parts),
                tuple(self._facts.parts),
                tuple(self._rows.parts),
            )
        )
        parts = max(len(self._words.parts), len(self._places.parts), len(self._rows.parts))
        if parts > INDEX_SHARDS_MAX or len(root) > INDEX_BLOCK_BYTES_MAX:
            raise Dms3Error(
                "limit_reached",
                "The words of this space do not fit into one index.",
                hint="Publish its documents in several spaces.",
            )
        cid = Cid.of(CODEC, root)
        made = Built(
            cid,
            self._count,
            self._bytes,
            len(self._marks) // 8,
            tuple(self._kinds),
            make_filter(bytes(self._marks)),
        )
        return made, [*blocks, (cid, root)]


class _Series:
    """Shards in the making: words in order, each with the data of its documents."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.ready: list[Block] = []
        self._terms: list[bytes] = []
        self._ends: list[int] = []
        self._data = bytearray()
        self._size = 0  # of terms and ends
        self._term = b""
        self._last = -1

    def begin(self, term: bytes) -> None:
        """The next word; its documents follow."""
        self._close()
        if len(self._data) + self._size > INDEX_FILL_BYTES_MAX:
            self._flush()
        self._open(term)

    def add(self, number: int, data: bytes) -> None:
        """A document of the present word."""
        if len(self._data) + self._size + len(data) > INDEX_FILL_BYTES_MAX:
            self._close()
            self._flush()
            self._open(self._term)
        write_number(self._data, number - self._last)
        self._data += data
        self._last = number

    def end(self) -> None:
        """No more words."""
        self._close()
        if self._terms:
            self._flush()

    def take(self) -> list[Block]:
        """Finished blocks."""
        taken, self.ready = self.ready, []
        return taken

    def _open(self, term: bytes) -> None:
        self._term, self._last = term, -1
        self._terms.append(term)
        self._size += len(term) + 5

    def _close(self) -> None:
        if len(self._ends) < len(self._terms):
            self._ends.append(len(self._data))

    def _flush(self) -> None:
        terms = b"".join(term + b"\n" for term in self._terms)
        ends = struct.pack(f"<{len(self._ends)}I", *self._ends)
        block = encode(Shard(VERSION, terms, ends, bytes(self._data)))
        cid = Cid.of(CODEC, block)
        self.parts.append(Part(self._terms[0], cid))
        self.ready.append((cid, block))
        self._terms, self._ends, self._data, self._size = [], [], bytearray(), 0


class _Listing:
    """Blocks of things that documents have one of each, in order of their numbers."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._full: list[tuple[int, list[bytes]]] = []
        self._items: list[bytes] = []
        self._first = 0
        self._size = 0

    def add(self, item: bytes) -> None:
        """The thing of the next document."""
        if self._size + len(item) > INDEX_FILL_BYTES_MAX:
            self.end()
        self._items.append(item)
        self._size += len(item) + 5

    def end(self) -> None:
        """What was added so far is a block."""
        if self._items:
            self._full.append((self._first, self._items))
            self._first += len(self._items)
            self._items, self._size = [], 0

    def take(self, make: Callable[[int, list[bytes]], object]) -> list[Block]:
        """Finished blocks, made by `make(first, items)`."""
        blocks: list[Block] = []
        for first, items in self._full:
            block = encode(make(first, items))
            cid = Cid.of(CODEC, block)
            self.parts.append(Part(number_key(first), cid))
            blocks.append((cid, block))
        self._full = []
        return blocks


def _facts_block(first: int, items: list[bytes]) -> Facts:
    return Facts(VERSION, first, b"".join(items))


def _rows_block(first: int, items: list[bytes]) -> Rows:
    return Rows(VERSION, first, tuple(items))


def _counts(posting: Posting) -> bytes:
    out = bytearray()
    write_number(out, posting.body << 1 | (posting.title > 0))
    if posting.title:
        write_number(out, posting.title)
    return bytes(out)


def _places(places: Sequence[int]) -> bytes:
    some = places[:INDEX_PLACES_MAX]
    out = bytearray()
    write_number(out, len(some))
    last = 0
    for place in some:
        write_number(out, place - last)
        last = place
    return bytes(out)
