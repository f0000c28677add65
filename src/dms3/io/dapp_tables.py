"""The tables of installed apps: which there are, and their files.

Source: docs/dapps.md. Functions over a connection, for works of the store; they hold no rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dms3.core.database import Connection

_COLUMNS = "id, dna, name, proof, source, installed_us, changed_us"


@dataclass(frozen=True, slots=True)
class DappRow:
    """An installed app: `dna`, 32 bytes; `name`, what it is called here; `proof` as JSON text.

    `source`: where it came from: "folder", "shipped:NAME" or a CID.
    """

    number: int
    dna: bytes
    name: str
    proof: str
    source: str
    installed_us: int
    changed_us: int


def dapps(connection: Connection) -> list[DappRow]:
    """Every installed app, by name."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM dapp ORDER BY name")  # noqa: S608 - constant
    return [DappRow(*row) for row in rows]


def put_dapp(connection: Connection, row: DappRow, files: Mapping[str, bytes]) -> int:
    """Keep an app with its files, in place of the one with the same `dna`; its number."""
    connection.execute(
        "INSERT INTO dapp (dna, name, proof, source, installed_us, changed_us) "
        "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (dna) DO UPDATE SET "
        "source = excluded.source, changed_us = excluded.changed_us, "
        "proof = CASE excluded.proof WHEN '' THEN dapp.proof ELSE excluded.proof END",
        (row.dna, row.name, row.proof, row.source, row.installed_us, row.changed_us),
    )
    found = connection.execute("SELECT id FROM dapp WHERE dna = ?", (row.dna,)).fetchone()
    assert found is not None
    number = int(found[0])
    connection.execute("DELETE FROM dapp_file WHERE dapp = ?", (number,))
    connection.executemany(
        "INSERT INTO dapp_file (dapp, path, data) VALUES (?, ?, ?)",
        ((number, path, files[path]) for path in sorted(files)),
    )
    return number


def drop_dapp(connection: Connection, number: int) -> None:
    """Forget an app and its files."""
    connection.execute("DELETE FROM dapp_file WHERE dapp = ?", (number,))
    connection.execute("DELETE FROM dapp WHERE id = ?", (number,))


def rename_dapp(connection: Connection, number: int, name: str) -> None:
    """Call an app otherwise here."""
    connection.execute("UPDATE dapp SET name = ? WHERE id = ?", (name, number))


def dapp_files(connection: Connection, number: int) -> dict[str, bytes]:
    """The files of an app by path."""
    rows = connection.execute(
        "SELECT path, data FROM dapp_file WHERE dapp = ? ORDER BY path", (number,)
    )
    return {path: bytes(data) for path, data in rows}
