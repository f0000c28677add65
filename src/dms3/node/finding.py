"""One search over this node's own documents: plan, ask the index, read back, show why.

Source: docs/interfaces.md, `search`. Runs in a thread. Peers' documents are searched by
`search/sharing.py`; scores of one call compare with each other, not between nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dms3.core.cid import Cid
from dms3.core.database import Connection, Database
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import SpaceId
from dms3.core.limits import CHUNK_BYTES, SEARCH_HITS_MAX, SNIPPET_TEXT_BYTES_MAX
from dms3.core.unixfs_read import read_file
from dms3.io import catalogue, index
from dms3.io.catalogue import DocumentRow
from dms3.io.extract import decode_text
from dms3.io.packs import Packs
from dms3.search.condition import parse_conditions
from dms3.search.container import plan
from dms3.search.kind import check_kind
from dms3.search.query import Query, parse_query
from dms3.search.rank import Ranked
from dms3.search.snippet import Snippet, has_match, make_snippet


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


def find(database: Database, packs: Packs, question: Question) -> Hits:
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
        _hit(row, ranked.score, spaces[row.space], _snippet(packs, row, text, query))
        for ranked, row, text in found
    )
    return Hits(hits, result.total, len(opened.opened), opened.skipped)


def _documents(
    connection: Connection, ranked: Sequence[Ranked]
) -> list[tuple[Ranked, DocumentRow, str | None]]:
    """The rows and kept texts of `ranked`, the same content in one space only once."""
    rows = catalogue.documents(connection, [one.document for one in ranked])
    seen: set[tuple[int, Cid]] = set()
    found: list[tuple[Ranked, DocumentRow, str | None]] = []
    for one in ranked:
        row = rows[one.document]
        if (row.space, row.cid) not in seen:
            seen.add((row.space, row.cid))
            found.append((one, row, catalogue.text_of(connection, row.number)))
    return found


def _hit(row: DocumentRow, score: int, space: SpaceId, snippet: Snippet) -> Hit:
    return Hit(
        cid=row.cid,
        title=row.title,
        snippet=snippet.text,
        marks=snippet.marks,
        score=score,
        kind=row.kind,
        space=space,
        source=row.source,
        bytes=row.bytes,
        modified_us=row.modified_us,
    )


def _snippet(packs: Packs, row: DocumentRow, text: str | None, query: Query) -> Snippet:
    """The piece of a document to show; its beginning when a match lies far behind."""
    if text is not None:
        return make_snippet(text[:SNIPPET_TEXT_BYTES_MAX], query)
    if not row.encoding:
        return make_snippet(row.name, query)
    try:
        return _snippet_of_blocks(packs, row, query)
    except DecodeError:  # a damaged document is still found; `store verify` says what is wrong
        return make_snippet(row.name, query)


def _snippet_of_blocks(packs: Packs, row: DocumentRow, query: Query) -> Snippet:
    def get(cid: Cid) -> bytes:
        block = packs.get(cid)
        if block is None:
            raise DecodeError(0, f"block {cid} is missing")
        return block

    beginning = ""
    for start in range(0, min(row.bytes, SNIPPET_TEXT_BYTES_MAX), CHUNK_BYTES):
        data = b"".join(read_file(get, row.cid, start, start + CHUNK_BYTES))
        text = decode_text(data, row.encoding)
        if has_match(text, query):
            return make_snippet(text, query)
        beginning = beginning or text
    return make_snippet(beginning, query)
