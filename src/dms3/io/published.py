"""What a space would publish: its blocks by place, its documents, and its words for the open index.

Source: docs/architecture.md, "Public spaces". Reads on connections handed in. Which spaces are
public is known to machine "publishing"; nothing here decides it, and nothing here is searched.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby

from dms3.core.cid import Cid
from dms3.core.database import Connection
from dms3.core.ids import SpaceId
from dms3.core.overlay import location
from dms3.search.indexing import Posting

INDEX = "index"
"""Kind and source of the row whose blocks are the open index of its space."""

_TERM, _DOCUMENT = 0, 1


@dataclass(frozen=True, slots=True)
class IndexedRow:
    """A searched document as its open index shows it; `text` as in `catalogue.FoundRow`."""

    number: int
    container: int
    cid: Cid
    title: str
    name: str
    language: str
    kind: str
    encoding: str
    bytes: int
    modified_us: int
    text: str | None = field(repr=False)


def fingerprint(connection: Connection, space: int) -> tuple[int, int, int]:
    """Another value after documents of `space` (a row number) were added or removed."""
    row = connection.execute(
        "SELECT count(*), coalesce(max(id), 0), coalesce(sum(id), 0) FROM document "
        "WHERE space = ? AND kind != ?",
        (space, INDEX),
    ).fetchone()
    assert row is not None
    return int(row[0]), int(row[1]), int(row[2])


def blocks(
    connection: Connection, space: int, since: int, after: bytes, limit: int
) -> list[tuple[bytes, Cid, int]]:
    """The next `limit` blocks behind location `after`: (location, CID, bytes), by location.

    Of documents of `space` with row number > `since`; each block once.
    """
    rows = connection.execute(
        "SELECT space_block.cid, block.size FROM document "
        "JOIN space_block ON space_block.document = document.id "
        "JOIN block ON block.cid = space_block.cid "
        "WHERE document.space = ? AND document.id > ?",
        (space, since),
    )
    seen: set[bytes] = set()  # of what is in the heap; asked whether it contains, never iterated
    heap: list[tuple[int, bytes, Cid, int]] = []  # the greatest location first
    for binary, size in rows:
        place = location(binary)
        if place <= after or binary in seen:
            continue
        item = (-int.from_bytes(place, "big"), place, Cid(binary), int(size))
        if len(heap) < limit:
            heapq.heappush(heap, item)
        elif item > heap[0]:
            seen.discard(heapq.heappushpop(heap, item)[2].binary)
        else:
            continue
        seen.add(binary)
    return [(place, cid, size) for _, place, cid, size in sorted(heap, reverse=True)]


def roots(connection: Connection, space: int, since: int, limit: int) -> list[tuple[int, Cid]]:
    """The next `limit` files and folders of `space` behind row number `since`: number and CID."""
    rows = connection.execute(
        "SELECT id, cid FROM document WHERE space = ? AND id > ? AND kind != ? ORDER BY id LIMIT ?",
        (space, since, INDEX, limit),
    )
    return [(row[0], Cid(row[1])) for row in rows]


def spaces_of(connection: Connection, cid: Cid) -> list[SpaceId]:
    """Every space that has the block."""
    rows = connection.execute(
        "SELECT DISTINCT space.space FROM space_block JOIN space ON space.id = space_block.space "
        "WHERE space_block.cid = ?",
        (cid.binary,),
    )
    return [SpaceId(row[0]) for row in rows]


def is_held(connection: Connection, cid: Cid) -> bool:
    """Whether the block is held for the overlay."""
    row = connection.execute("SELECT 1 FROM held_block WHERE cid = ?", (cid.binary,)).fetchone()
    return row is not None


def numbers(connection: Connection, space: int) -> list[tuple[int, int]]:
    """Row number and container of every searched document, in the order of an open index."""
    rows = connection.execute(
        "SELECT id, container FROM document WHERE space = ? AND container IS NOT NULL "
        "ORDER BY container, id",
        (space,),
    )
    return [(row[0], row[1]) for row in rows]


def indexed(connection: Connection, wanted: list[int]) -> dict[int, IndexedRow]:
    """What an open index shows of these documents, by row number."""
    marks = ", ".join("?" * len(wanted))
    rows = connection.execute(
        "SELECT id, container, cid, title, name, language, kind, encoding, bytes, modified_us, "  # noqa: S608
        f"text FROM document LEFT JOIN document_text ON document = id WHERE id IN ({marks})",
        tuple(wanted),
    )
    return {row[0]: IndexedRow(row[0], row[1], Cid(row[2]), *row[3:]) for row in rows}


def open_words(connection: Connection, containers: list[int]) -> None:
    """Let `words` read the words of these containers through this connection, until it ends.

    The tables that show them are the connection's own and lie in memory; a reader may not even
    make those, so it is let for this moment.
    """
    connection.execute("PRAGMA query_only = OFF")
    try:
        for number in containers:
            connection.execute(
                f"CREATE VIRTUAL TABLE temp.words_{int(number)} "
                f"USING fts5vocab (main, index_{int(number)}, instance)"
            )
    finally:
        connection.execute("PRAGMA query_only = ON")


def words(
    connection: Connection, containers: list[int], place_of: dict[int, int], after: str
) -> Iterator[tuple[str, list[Posting]]]:
    """Every word behind `after` with its documents, in order of bytes.

    `place_of`: row number of a document -> its number in the open index; others are left out.
    Call `open_words` before.
    """
    parts = [_words(connection, number, place_of, after) for number in containers]
    merged = heapq.merge(*parts, key=lambda item: item[0])
    for term, group in groupby(merged, key=lambda item: item[0]):
        postings = [posting for _, some in group for posting in some]
        if postings:
            postings.sort(key=lambda posting: posting.number)
            yield term.decode(), postings


def _words(
    connection: Connection, container: int, place_of: dict[int, int], after: str
) -> Iterator[tuple[bytes, list[Posting]]]:
    rows = connection.execute(
        f"SELECT term, doc, col = 'body', offset FROM temp.words_{int(container)} "  # noqa: S608
        "WHERE term > ?",
        (after,),
    )
    for term, of_term in groupby(rows, key=lambda row: row[_TERM]):
        postings: list[Posting] = []
        for document, found in groupby(of_term, key=lambda row: row[_DOCUMENT]):
            places = sorted(2 * offset + is_body for _, _, is_body, offset in found)
            if document in place_of:
                body = sum(place & 1 for place in places)
                postings.append(Posting(place_of[document], len(places) - body, body, places))
        yield term.encode(), postings
