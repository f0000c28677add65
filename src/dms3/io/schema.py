"""The tables of the database as numbered, forward-only migrations.

Source: docs/architecture.md, "Where data lies". A migration that has been released is never edited:
a change is a new number. This module holds text only; `io/sqlcipher.py` applies it.
"""

from __future__ import annotations

from dms3.core.database import Migration

# Values up to 64 KB lie in rowid tables with a separate unique index: a WITHOUT ROWID table keeps
# the value in the search tree and wrote 10 times slower at 4 times the size.
_STATE_AND_BLOCKS = Migration(
    number=1,
    name="state and blocks",
    statements=(
        """
        CREATE TABLE state (
            id INTEGER PRIMARY KEY,
            tbl TEXT NOT NULL,
            key BLOB NOT NULL,
            value BLOB NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX state_key ON state (tbl, key)",
        """
        CREATE TABLE event (
            id INTEGER PRIMARY KEY,
            topic TEXT NOT NULL,
            data TEXT NOT NULL,
            wall_us INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE pack (
            id INTEGER PRIMARY KEY,
            name BLOB NOT NULL UNIQUE,
            key BLOB NOT NULL
        )
        """,
        # A small block has `data`; a large one has its place: pack, byte offset, record length.
        """
        CREATE TABLE block (
            id INTEGER PRIMARY KEY,
            cid BLOB NOT NULL,
            size INTEGER NOT NULL,
            data BLOB,
            pack INTEGER REFERENCES pack (id),
            place INTEGER,
            length INTEGER,
            CHECK ((data IS NULL) = (pack IS NOT NULL))
        )
        """,
        "CREATE UNIQUE INDEX block_cid ON block (cid)",
        "CREATE INDEX block_place ON block (pack, place) WHERE pack IS NOT NULL",
    ),
)

MIGRATIONS: tuple[Migration, ...] = (_STATE_AND_BLOCKS,)
