"""The rows of spaces and documents, and which blocks each document needs.

Source: docs/architecture.md, "Where data lies". Works on connections handed in, inside the
caller's transaction. The words of documents are `io/index.py`, their blocks `io/packs.py`.
"""

# ruff: noqa: S608 - column lists are constants of this file, everything else is bound
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dms3.core.cid import Cid
from dms3.core.database import Connection
from dms3.core.ids import Root, SpaceId

REFERENCED = "SELECT cid FROM space_block UNION ALL SELECT cid FROM held_block"
"""The blocks that some document needs or the overlay has here: what a sweep leaves alone."""

INCOMPLETE = "incomplete"
"""The note of a fetched file of which blocks are still to come."""

_COLUMNS = (
    "id, space, container, source, name, title, kind, language, encoding, cid, bytes, tree_bytes, "
    "modified_us, added_us, stamp, counted, note"
)
_VARIABLES = 500  # values in one statement; SQLite takes more, plans get slow


@dataclass(frozen=True, slots=True)
class SpaceRow:
    """A space: mine when `owner` is None, otherwise one that a peer let me read.

    `documents`, `bytes`: what was imported into it.
    """

    number: int
    space: SpaceId
    name: str
    owner: Root | None
    created_us: int
    documents: int
    bytes: int


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document: where it came from, what it is, its content.

    `container`: None when it is not searched. `stamp`: modification time in nanoseconds as the
    file system had it. `counted`: False for folders, fetched files and binary files that came along
    with their folder. `note`: why its content is not searched, or only its beginning.
    """

    number: int
    space: int
    container: int | None
    source: str
    name: str
    title: str
    kind: str
    language: str
    encoding: str
    cid: Cid
    bytes: int
    tree_bytes: int
    modified_us: int
    added_us: int
    stamp: int
    counted: bool
    note: str


def plain_row(
    *, number: int, space: int, source: str, kind: str, cid: Cid, now_us: int
) -> DocumentRow:
    """A row that only keeps `cid` and the blocks it needs: no file of a person, never searched."""
    return DocumentRow(
        number=number,
        space=space,
        container=None,
        source=source,
        name="",
        title="",
        kind=kind,
        language="",
        encoding="",
        cid=cid,
        bytes=0,
        tree_bytes=0,
        modified_us=now_us,
        added_us=now_us,
        stamp=0,
        counted=False,
        note="",
    )


class FoundRow(NamedTuple):
    """The part of a document that a search shows; a tuple, because a search makes many.

    `text`: the kept text, None when the bytes of the document are its text.
    """

    space: int
    source: str
    name: str
    title: str
    kind: str
    encoding: str
    cid: Cid
    bytes: int
    modified_us: int
    text: str | None


def add_space(
    connection: Connection, space: SpaceId, name: str, owner: Root | None, created_us: int
) -> int:
    """The row number of `space`, made when it is new. A name of mine is unique."""
    row = connection.execute("SELECT id FROM space WHERE space = ?", (space,)).fetchone()
    if row is not None:
        return int(row[0])
    number = connection.execute(
        "INSERT INTO space (space, name, owner, created_us) VALUES (?, ?, ?, ?)",
        (space, name, owner, created_us),
    ).lastrowid
    assert number is not None
    return number


def spaces(connection: Connection) -> list[SpaceRow]:
    """Every space, oldest first."""
    rows = connection.execute(
        "SELECT space.id, space.space, space.name, space.owner, space.created_us, "
        "count(document.id), coalesce(sum(document.bytes), 0) FROM space "
        "LEFT JOIN document ON document.space = space.id AND document.counted = 1 "
        "GROUP BY space.id ORDER BY space.id"
    )
    return [
        SpaceRow(
            row[0], SpaceId(row[1]), row[2], None if row[3] is None else Root(row[3]), *row[4:]
        )
        for row in rows
    ]


def space_numbers(connection: Connection, wanted: Sequence[SpaceId] | None) -> dict[int, SpaceId]:
    """Row number to id for `wanted` (those that exist), or for all of mine."""
    rows = connection.execute("SELECT id, space, owner FROM space ORDER BY id").fetchall()
    chosen = None if wanted is None else frozenset(wanted)
    return {
        row[0]: SpaceId(row[1])
        for row in rows
        if (row[2] is None if chosen is None else row[1] in chosen)
    }


def my_space(connection: Connection, name: str) -> tuple[int, SpaceId] | None:
    """Row number and id of my space called `name`, or None."""
    row = connection.execute(
        "SELECT id, space FROM space WHERE name = ? AND owner IS NULL", (name,)
    ).fetchone()
    return None if row is None else (int(row[0]), SpaceId(row[1]))


def known(connection: Connection, space: int, sources: Iterable[str]) -> dict[str, DocumentRow]:
    """The documents of `space` that came from `sources`."""
    found: dict[str, DocumentRow] = {}
    sql = f"SELECT {_COLUMNS} FROM document WHERE space = ? AND source = ?"
    for source in sources:
        row = connection.execute(sql, (space, source)).fetchone()
        if row is not None:
            found[source] = _document(row)
    return found


def found(connection: Connection, numbers: Sequence[int]) -> dict[int, FoundRow]:
    """What a search shows of the documents with these row numbers."""
    rows: dict[int, FoundRow] = {}
    for start in range(0, len(numbers), _VARIABLES):
        some = tuple(numbers[start : start + _VARIABLES])
        marks = ", ".join("?" * len(some))
        sql = (
            "SELECT id, space, source, name, title, kind, encoding, cid, bytes, modified_us, text "
            f"FROM document LEFT JOIN document_text ON document = id WHERE id IN ({marks})"
        )
        for row in connection.execute(sql, some):
            rows[row[0]] = FoundRow._make((*row[1:7], Cid(row[7]), *row[8:]))
    return rows


def page(connection: Connection, space: int, after: int, limit: int) -> list[DocumentRow]:
    """At most `limit` documents of `space` with row number > `after`, in that order."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM document WHERE space = ? AND id > ? AND container IS NOT NULL "
        "ORDER BY id LIMIT ?",
        (space, after, limit),
    )
    return [_document(row) for row in rows]


def latest(
    connection: Connection, spaces: Sequence[int], before: int, limit: int
) -> list[DocumentRow]:
    """At most `limit` documents of `spaces` (row numbers) with row number < `before`, last first.

    Files that only came along with their folder are left out.
    """
    marks = ", ".join("?" * len(spaces))
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM document WHERE space IN ({marks}) AND id < ? AND counted = 1 "
        "ORDER BY id DESC LIMIT ?",
        (*spaces, before, limit),
    )
    return [_document(row) for row in rows]


def bytes_in_containers(connection: Connection) -> dict[int, int]:
    """Bytes of the documents in each container, by row number."""
    rows = connection.execute(
        "SELECT container, sum(bytes) FROM document WHERE container IS NOT NULL GROUP BY container"
    )
    return {row[0]: row[1] for row in rows}


def all_documents(connection: Connection, after: int, limit: int) -> list[DocumentRow]:
    """At most `limit` rows with number > `after`: documents, folders and fetched files."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM document WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
    )
    return [_document(row) for row in rows]


def with_cid(connection: Connection, cid: Cid) -> list[DocumentRow]:
    """Every document whose content is `cid`."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM document WHERE cid = ? ORDER BY id", (cid.binary,)
    )
    return [_document(row) for row in rows]


def kept_for(connection: Connection, space: SpaceId) -> tuple[int, int]:
    """How many documents `space` has, and the bytes of the blocks that they need, each once."""
    documents = connection.execute(
        "SELECT count(*) FROM document JOIN space ON space.id = document.space "
        "WHERE space.space = ?",
        (space,),
    ).fetchone()
    held = connection.execute(
        "SELECT coalesce(sum(size), 0) FROM block WHERE cid IN (SELECT space_block.cid "
        "FROM space_block JOIN space ON space.id = space_block.space WHERE space.space = ?)",
        (space,),
    ).fetchone()
    assert documents is not None
    assert held is not None
    return int(documents[0]), int(held[0])


def next_number(connection: Connection) -> int:
    """A row number above all there are."""
    row = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM document").fetchone()
    assert row is not None
    return int(row[0])


def put(connection: Connection, rows: Iterable[DocumentRow]) -> None:
    """Insert documents."""
    marks = ", ".join("?" * 17)
    connection.executemany(
        f"INSERT INTO document ({_COLUMNS}) VALUES ({marks})",
        (
            (
                row.number, row.space, row.container, row.source, row.name, row.title, row.kind,
                row.language, row.encoding, row.cid.binary, row.bytes, row.tree_bytes,
                row.modified_us, row.added_us, row.stamp, int(row.counted), row.note,
            )
            for row in rows
        ),
    )  # fmt: skip


def put_texts(connection: Connection, texts: Iterable[tuple[int, str]]) -> None:
    """Keep the text of documents whose bytes are not their text."""
    connection.executemany("INSERT INTO document_text (document, text) VALUES (?, ?)", texts)


def need_blocks(connection: Connection, rows: Iterable[tuple[Cid, int, int]]) -> None:
    """Note (block, space number, document number) triples; a second time changes nothing."""
    connection.executemany(
        "INSERT OR IGNORE INTO space_block (cid, space, document) VALUES (?, ?, ?)",
        ((cid.binary, space, document) for cid, space, document in rows),
    )


def hold_blocks(connection: Connection, cids: Iterable[Cid]) -> None:
    """Note blocks as held for the overlay."""
    connection.executemany(
        "INSERT OR IGNORE INTO held_block (cid) VALUES (?)", ((cid.binary,) for cid in cids)
    )


def release_blocks(connection: Connection, cids: Iterable[Cid]) -> None:
    """Hold these blocks for the overlay no longer."""
    connection.executemany("DELETE FROM held_block WHERE cid = ?", ((cid.binary,) for cid in cids))


def held_blocks(connection: Connection, after: Cid | None, limit: int) -> tuple[Cid, ...]:
    """At most `limit` held blocks behind `after`, in order."""
    start = b"" if after is None else after.binary
    rows = connection.execute(
        "SELECT cid FROM held_block WHERE cid > ? ORDER BY cid LIMIT ?", (start, limit)
    )
    return tuple(Cid(row[0]) for row in rows)


def touch(connection: Connection, number: int, stamp: int, modified_us: int) -> None:
    """Note that a file whose content is the same has a new modification time."""
    connection.execute(
        "UPDATE document SET stamp = ?, modified_us = ? WHERE id = ?",
        (stamp, modified_us, number),
    )


def annotate(connection: Connection, number: int, note: str) -> None:
    """Change the note of a document."""
    connection.execute("UPDATE document SET note = ? WHERE id = ?", (note, number))


def drop(connection: Connection, number: int) -> None:
    """Remove a document's row, its text and its need of blocks (not its words in the index)."""
    connection.execute("DELETE FROM document WHERE id = ?", (number,))
    connection.execute("DELETE FROM document_text WHERE document = ?", (number,))
    connection.execute("DELETE FROM space_block WHERE document = ?", (number,))


def contains(connection: Connection, space: SpaceId, cid: Cid) -> bool:
    """Whether some document of `space` needs the block."""
    row = connection.execute(
        "SELECT 1 FROM space_block JOIN space ON space.id = space_block.space "
        "WHERE space_block.cid = ? AND space.space = ? LIMIT 1",
        (cid.binary, space),
    ).fetchone()
    return row is not None


def missing_blocks(connection: Connection, limit: int) -> list[tuple[int, Cid]]:
    """Documents and the blocks they need that are not stored."""
    rows = connection.execute(
        "SELECT space_block.document, space_block.cid FROM space_block "
        "LEFT JOIN block ON block.cid = space_block.cid WHERE block.id IS NULL LIMIT ?",
        (limit,),
    )
    return [(row[0], Cid(row[1])) for row in rows]


def blocks_of(connection: Connection, number: int) -> set[Cid]:
    """The blocks a document needs."""
    rows = connection.execute("SELECT cid FROM space_block WHERE document = ?", (number,))
    return {Cid(row[0]) for row in rows}


def _document(row: tuple[object, ...]) -> DocumentRow:
    values = list(row)
    values[9] = Cid(bytes(row[9]))  # type: ignore[call-overload]  # column `cid` is a BLOB
    values[15] = bool(row[15])
    return DocumentRow(*values)  # type: ignore[arg-type]  # columns are in the order of the fields
