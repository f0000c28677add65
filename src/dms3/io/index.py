"""The full-text index: one FTS5 table per container, inside the node's encrypted database.

Source: SQLite FTS5 documentation (contentless tables with deletes, bm25); docs/architecture.md,
"Storage and search". Works on connections handed in, inside the caller's transaction, so documents
and index change together. The tables hold words and places, never the text; documents themselves
are `io/catalogue.py`. Words are compared without case and accents; there is no stemming.
"""

# ruff: noqa: S608 - table names are made from row numbers, everything else is bound
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dms3.core.database import Connection
from dms3.core.limits import CONTAINER_DOCUMENTS_MAX, INDEX_WORDS_BYTES_MAX
from dms3.search.condition import Condition
from dms3.search.container import Container, Plan
from dms3.search.query import Query, match_text, phrase_text
from dms3.search.rank import (
    BODY_WEIGHT,
    TITLE_WEIGHT,
    Ranked,
    Statistics,
    correction,
    merge,
    summed,
)

_CONTAINER_COLUMNS = (
    "id, space, kind, documents, taken, bytes_low, bytes_high, modified_low, modified_high, "
    "added_low, added_high"
)
_COLUMNS = {
    "bytes": "document.bytes",
    "modified": "document.modified_us",
    "added": "document.added_us",
    "name": "document.name",
    "language": "document.language",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A document on its way into the index; `document` is its row number."""

    document: int
    title: str
    body: str = field(repr=False)
    bytes: int
    modified_us: int
    added_us: int


@dataclass(frozen=True, slots=True)
class Result:
    """The best documents with their scores, and how many match in all."""

    ranked: list[Ranked]
    total: int


def put(connection: Connection, space: int, kind: str, entries: Sequence[Entry]) -> list[int]:
    """Add `entries` to the open containers of `kind` in `space`; the container of each entry.

    A container that has taken CONTAINER_DOCUMENTS_MAX documents is never added to; the next one is
    made.
    """
    places: list[int] = []
    start = 0
    while start < len(entries):
        container = _open_container(connection, space, kind)
        some = entries[start : start + CONTAINER_DOCUMENTS_MAX - container.taken]
        _insert(connection, container, some)
        places += [container.number] * len(some)
        start += len(some)
    return places


def drop(connection: Connection, container: int, document: int) -> None:
    """Remove a document from its container's index."""
    connection.execute(f"DELETE FROM {_table(container)} WHERE rowid = ?", (document,))
    connection.execute("UPDATE container SET documents = documents - 1 WHERE id = ?", (container,))


def containers(connection: Connection, spaces: Sequence[int]) -> list[Container]:
    """Every container of `spaces`, oldest first."""
    marks = ", ".join("?" * len(spaces))
    rows = connection.execute(
        f"SELECT {_CONTAINER_COLUMNS} FROM container WHERE space IN ({marks}) ORDER BY id",
        tuple(spaces),
    )
    return [Container(*row) for row in rows]


def search(
    connection: Connection,
    opened: Plan,
    query: Query,
    conditions: Sequence[Condition],
    limit: int,
) -> Result:
    """The best `limit` documents of the opened containers, in one order over all of them."""
    text = match_text(query)
    where, values = _where(conditions)
    found: list[tuple[Container, list[tuple[int, float]]]] = []
    for container in opened.opened:
        rows = _best_of(connection, _table(container.number), text, where, values, limit)
        if rows:
            found.append((container, rows))
    counts = [_statistics(connection, container, query) for container, _ in found[1:] and found]
    together = summed(counts)  # of one container alone nothing needs correcting
    ranked: list[tuple[int, float, float]] = []
    total = 0
    for position, (container, rows) in enumerate(found):
        factor = correction(counts[position], together) if counts else 1.0
        ranked += [(document, rank, factor) for document, rank in rows]
        if len(rows) < limit:
            total += len(rows)
        elif counts and len(query.phrases) == 1 and not query.excluded and not where:
            total += counts[position].frequencies[0]
        else:
            total += _count(connection, _table(container.number), text, where, values)
    return Result(merge(ranked, limit), total)


def check_table(connection: Connection, container: int) -> None:
    """Let the engine check one index in itself; its error is the finding. For the writer."""
    table = _table(container)
    connection.execute(f"INSERT INTO {table} ({table}) VALUES ('integrity-check')")


def differences(connection: Connection, container: int) -> list[str]:
    """Where the index of a container differs from its documents, as clauses for people."""
    in_index = {row[0] for row in connection.execute(f"SELECT id FROM {_table(container)}_docsize")}
    documents = {
        row[0]
        for row in connection.execute("SELECT id FROM document WHERE container = ?", (container,))
    }
    counted = _first(
        connection.execute("SELECT documents FROM container WHERE id = ?", (container,))
    )
    found = [f"document {number} is not in its index" for number in sorted(documents - in_index)]
    found += [
        f"its index holds document {number}, which does not exist"
        for number in sorted(in_index - documents)
    ]
    if counted != len(documents):
        found.append(f"it counts {counted} documents and has {len(documents)}")
    return found


def _open_container(connection: Connection, space: int, kind: str) -> Container:
    row = connection.execute(
        f"SELECT {_CONTAINER_COLUMNS} FROM container WHERE space = ? AND kind = ? "
        "ORDER BY id DESC LIMIT 1",
        (space, kind),
    ).fetchone()
    if row is not None and not Container(*row).is_full:
        return Container(*row)
    high = (1 << 63) - 1  # bounds of nothing: any document widens them
    values = (space, kind, 0, 0, high, -high, high, -high, high, -high)
    number = connection.execute(
        "INSERT INTO container (space, kind, documents, taken, bytes_low, bytes_high, "
        "modified_low, modified_high, added_low, added_high) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    ).lastrowid
    assert number is not None
    table = _table(number)
    connection.execute(
        f"CREATE VIRTUAL TABLE {table} USING fts5 (title, body, content='', contentless_delete=1, "
        'tokenize="unicode61 remove_diacritics 2")'
    )
    connection.execute(
        f"INSERT INTO {table} ({table}, rank) VALUES ('rank', ?)",
        (f"bm25({TITLE_WEIGHT}, {BODY_WEIGHT})",),
    )
    # Words of one transaction wait in memory and are written in order: fewer pieces to merge.
    connection.execute(
        f"INSERT INTO {table} ({table}, rank) VALUES ('hashsize', ?)", (INDEX_WORDS_BYTES_MAX,)
    )
    return Container(number, *values)


def _insert(connection: Connection, container: Container, entries: Sequence[Entry]) -> None:
    connection.executemany(
        f"INSERT INTO {_table(container.number)} (rowid, title, body) VALUES (?, ?, ?)",
        ((entry.document, entry.title, entry.body) for entry in entries),
    )
    bounds: list[int] = []
    for values in (
        [entry.bytes for entry in entries],
        [entry.modified_us for entry in entries],
        [entry.added_us for entry in entries],
    ):
        bounds += [min(values), max(values)]
    connection.execute(
        "UPDATE container SET documents = documents + ?, taken = taken + ?, "
        "bytes_low = min(bytes_low, ?), bytes_high = max(bytes_high, ?), "
        "modified_low = min(modified_low, ?), modified_high = max(modified_high, ?), "
        "added_low = min(added_low, ?), added_high = max(added_high, ?) WHERE id = ?",
        (len(entries), len(entries), *bounds, container.number),
    )


def _best_of(
    connection: Connection,
    table: str,
    text: str,
    where: str,
    values: tuple[Any, ...],
    limit: int,
) -> list[tuple[int, float]]:
    if not where:
        sql = f"SELECT rowid, rank FROM {table} WHERE {table} MATCH ? ORDER BY rank LIMIT ?"
        return [(row[0], row[1]) for row in connection.execute(sql, (text, limit))]
    sql = (
        f"SELECT {table}.rowid, rank FROM {table} CROSS JOIN document "
        f"ON document.id = {table}.rowid WHERE {table} MATCH ?{where} ORDER BY rank LIMIT ?"
    )
    return [(row[0], row[1]) for row in connection.execute(sql, (text, *values, limit))]


def _count(
    connection: Connection, table: str, text: str, where: str, values: tuple[Any, ...]
) -> int:
    join = f"CROSS JOIN document ON document.id = {table}.rowid" if where else ""
    sql = f"SELECT count(*) FROM {table} {join} WHERE {table} MATCH ?{where}"
    return _first(connection.execute(sql, (text, *values)))


def _statistics(connection: Connection, container: Container, query: Query) -> Statistics:
    """How common each phrase of `query` is in a container."""
    table = _table(container.number)
    counts = [_count(connection, table, phrase_text(phrase), "", ()) for phrase in query.phrases]
    return Statistics(container.documents, tuple(counts))


def _where(conditions: Sequence[Condition]) -> tuple[str, tuple[Any, ...]]:
    """SQL that every condition holds, each part preceded by AND, and its values."""
    parts: list[str] = []
    values: list[Any] = []
    for condition in conditions:
        column = _COLUMNS[condition.field]
        if condition.low is not None:
            parts.append(f" AND {column} >= ?")
            values.append(condition.low)
        if condition.high is not None:
            parts.append(f" AND {column} <= ?")
            values.append(condition.high)
        if condition.pattern is not None:
            parts.append(f" AND lower({column}) GLOB lower(?)")
            values.append(_glob(condition.pattern))
    return "".join(parts), tuple(values)


def _glob(pattern: str) -> str:
    """`pattern` for GLOB, where only * has a meaning."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def _first(cursor: Any) -> int:
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def _table(container: int) -> str:
    return f"index_{int(container)}"
