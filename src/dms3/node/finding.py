"""One search over this node's own documents: plan, ask the index, read back, show why.

Source: docs/interfaces.md, `search`. Runs in a thread. Peers' documents are searched by
`search/sharing.py`; scores of one call compare with each other, not between nodes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from dms3.core.cid import RAW, Cid
from dms3.core.database import Connection, Database
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import SpaceId
from dms3.core.limits import (
    CHUNK_BYTES,
    SEARCH_HITS_MAX,
    SNIPPET_CACHE_BYTES_MAX,
    SNIPPET_TEXT_BYTES_MAX,
)
from dms3.core.unixfs_read import read_file
from dms3.io import catalogue, index
from dms3.io.catalogue import FoundRow
from dms3.io.extract import decode_text
from dms3.io.packs import Packs
from dms3.search.condition import parse_conditions
from dms3.search.container import plan
from dms3.search.kind import check_kind
from dms3.search.query import Query, parse_query
from dms3.search.rank import Ranked
from dms3.search.snippet import Snippet, cut_snippet, make_snippet

_LOOK_CHARS = 8_192  # beginning of a text in which words with accents are looked for


@dataclass(frozen=True, slots=True)
class Hit:
    """One document found. `score`: millionths, higher is better.

    `marks`: (start, end) places of the matched words in `snippet`.
    """

    cid: Cid
    title: str
    snippet: str = field(repr=False)
    marks: tuple[tuple[int, int], ...]
    score: int
    kind: str
    space: SpaceId
    source: str
    bytes: int
    modified_us: int


@dataclass(frozen=True, slots=True)
class Hits:
    """The best documents, best first; `total` match; containers `opened` and `skipped`."""

    hits: tuple[Hit, ...]
    total: int
    opened: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for: `spaces` None means all of mine; `kind` None any kind."""

    query: str
    spaces: tuple[SpaceId, ...] | None = None
    kind: str | None = None
    where: tuple[str, ...] = ()
    limit: int = 20


class RecentBlocks:
    """Blocks that were read for snippets, the latest SNIPPET_CACHE_BYTES_MAX of them; thread-safe.

    Searches come in rows about the same documents: while a query is typed, page after page.
    """

    def __init__(self, packs: Packs) -> None:
        self._packs = packs
        self._lock = threading.Lock()
        self._blocks: OrderedDict[Cid, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, cid: Cid) -> bytes:
        """The block; raises DecodeError when it is missing."""
        with self._lock:
            block = self._blocks.get(cid)
            if block is not None:
                self._blocks.move_to_end(cid)
                return block
        block = self._packs.get(cid)
        if block is None:
            raise DecodeError(0, f"block {cid} is missing")
        with self._lock:
            if cid not in self._blocks:
                self._blocks[cid] = block
                self._bytes += len(block)
            while self._bytes > SNIPPET_CACHE_BYTES_MAX:
                self._bytes -= len(self._blocks.popitem(last=False)[1])
        return block


def find(database: Database, recent: RecentBlocks, question: Question) -> Hits:
    """The answer to `question`; raises `argument_invalid` when it cannot be understood."""
    query = parse_query(question.query)
    conditions = parse_conditions(question.where)
    kind = None if question.kind is None else check_kind(question.kind)
    if not 1 <= question.limit <= SEARCH_HITS_MAX:
        raise Dms3Error("argument_invalid", f"The limit is not 1 to {SEARCH_HITS_MAX}.")
    with database.read() as connection:
        spaces = catalogue.space_numbers(connection, question.spaces)
        opened = plan(index.containers(connection, tuple(spaces)), kind, conditions)
        result = index.search(connection, opened, query, conditions, question.limit)
        found = _documents(connection, result.ranked)
    hits = tuple(
        _hit(row, ranked.score, spaces[row.space], _snippet(recent, row, query))
        for ranked, row in found
    )
    return Hits(hits, result.total, len(opened.opened), opened.skipped)


def _documents(connection: Connection, ranked: Sequence[Ranked]) -> list[tuple[Ranked, FoundRow]]:
    """What is shown of `ranked`, the same content in one space only once."""
    rows = catalogue.found(connection, [one.document for one in ranked])
    seen: set[tuple[int, bytes]] = set()
    found: list[tuple[Ranked, FoundRow]] = []
    for one in ranked:
        row = rows[one.document]
        content = (row.space, row.cid.binary)
        if content not in seen:
            seen.add(content)
            found.append((one, row))
    return found


def _hit(row: FoundRow, score: int, space: SpaceId, snippet: Snippet) -> Hit:
    return Hit(
        row.cid,
        row.title,
        snippet.text,
        snippet.marks,
        score,
        row.kind,
        space,
        row.source,
        row.bytes,
        row.modified_us,
    )


def _snippet(recent: RecentBlocks, row: FoundRow, query: Query) -> Snippet:
    """The piece of a document to show; its beginning when a match lies far behind."""
    if row.text is not None:
        part = _part(row.text[:SNIPPET_TEXT_BYTES_MAX].encode(), "utf-8", query)
        return make_snippet(row.text[:_LOOK_CHARS], query) if part is None else part
    if not row.encoding:
        return make_snippet(row.name, query)
    try:
        return _snippet_of_blocks(recent, row, query)
    except DecodeError:  # a damaged document is still found; `store verify` says what is wrong
        return make_snippet(row.name, query)


def _part(data: bytes, encoding: str, query: Query) -> Snippet | None:
    """The snippet around the densest matches in `data`, or None when there are none to be seen."""
    if encoding.startswith(("utf-16", "utf-32")):
        return None
    return cut_snippet(data, encoding, query)


def _snippet_of_blocks(recent: RecentBlocks, row: FoundRow, query: Query) -> Snippet:
    beginning = b""
    for start in range(0, min(row.bytes, SNIPPET_TEXT_BYTES_MAX), CHUNK_BYTES):
        if row.cid.codec == RAW:  # the one block is the file
            data = recent.get(row.cid)
        else:
            data = b"".join(read_file(recent.get, row.cid, start, start + CHUNK_BYTES))
        part = _part(data, row.encoding, query)
        if part is not None:
            return part
        beginning = beginning or data[: 4 * _LOOK_CHARS]
    return make_snippet(decode_text(beginning, row.encoding)[:_LOOK_CHARS], query)
