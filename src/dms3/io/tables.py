"""The rows of a whole database, read out for a backup and written into a new database.

Source: docs/adr/0006-backups.md; SQLite, "The Schema Table" and FTS5, "Shadow tables". Works on
connections handed in. What a backup leaves out is decided by `node/backing.py`.
"""

# ruff: noqa: S608 - names of tables and columns come from the schema and are checked, not typed
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dms3.core.database import Connection
from dms3.core.errors import DecodeError
from dms3.core.rows import Value

STATE = "state"
EVENTS = "event"
PACKS = "pack"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FULL_TEXT = re.compile(r"CREATE VIRTUAL TABLE ([a-z][a-z0-9_]*) USING fts5 ?\(([^;]*)\)")


@dataclass(frozen=True, slots=True)
class Table:
    """A table: `sql` makes it, for one that no migration makes; `columns` and their `order`."""

    name: str
    sql: str
    columns: tuple[str, ...]
    order: str


def tables(connection: Connection) -> list[Table]:
    """Every table with rows of its own, those that others refer to first.

    A full-text index is an empty row-less table with the statement that makes it, and behind it the
    tables it consists of.
    """
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
        "ORDER BY rowid"
    ).fetchall()
    found = []
    for name, sql in rows:
        if _FULL_TEXT.fullmatch(sql):
            found.append(Table(name, sql, (), ""))
            continue
        info = connection.execute(f"PRAGMA table_info({name})").fetchall()
        keys = [row[1] for row in sorted(info, key=lambda row: row[5]) if row[5]]
        by_key = "WITHOUT ROWID" in sql.upper()
        columns = tuple(row[1] for row in info)
        if name == STATE:  # numbered anew: some rows are left out, others are the new home's
            columns = tuple(column for column in columns if column != "id")
        found.append(Table(name, "", columns, ", ".join(keys) if by_key else "rowid"))
    return found


def rows_of(
    connection: Connection, table: Table, states: Sequence[str]
) -> Iterator[tuple[Value, ...]]:
    """The rows of `table` in its order; of machine state only what belongs to `states`.

    These are machines, or single tables of them.
    """
    columns = ", ".join(f'"{column}"' for column in table.columns)
    for row in connection.execute(f"SELECT {columns} FROM {table.name} ORDER BY {table.order}"):
        name = str(row[0])
        if table.name != STATE or name in states or name.partition("/")[0] in states:
            yield row


def make_table(connection: Connection, name: str, sql: str) -> None:
    """Make the full-text index that `sql` describes; raises DecodeError for any other statement."""
    match = _FULL_TEXT.fullmatch(sql)
    if match is None or match[1] != name:
        raise DecodeError(0, f"{name[:64]!r} is not made like a full-text index")
    connection.execute(sql)
    shadows = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE ? ESCAPE '!'"
    for (shadow,) in connection.execute(shadows, (name.replace("_", "!_") + "!_%",)).fetchall():
        connection.execute(f"DELETE FROM {shadow}")  # what it wrote for being empty


def columns_of(connection: Connection, name: str) -> int:
    """How many columns a backup keeps of table `name`; raises DecodeError when there is none."""
    if not _NAME.fullmatch(name):
        raise DecodeError(0, f"{name[:64]!r} is no table")
    for table in tables(connection):
        if table.name == name and table.columns:
            return len(table.columns)
    raise DecodeError(0, f"there is no table {name!r}")


def insert(connection: Connection, name: str, rows: Sequence[Sequence[Value]]) -> None:
    """Write `rows` into table `name`, which `columns_of` has found."""
    if not rows:
        return
    marks = ", ".join("?" * len(rows[0]))
    columns = " (tbl, key, value)" if name == STATE else ""
    connection.executemany(f"INSERT INTO {name}{columns} VALUES ({marks})", rows)
