"""Lockers of a delivery service: sealed objects by name, one locker for each account.

Source: docs/storage.md, "A delivery service"; tables `locker*` of `io/schema.py`. It keeps bytes,
counts them against a quota and opens nothing. Who may open which locker is decided by whoever
calls it.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass

from dms3.core.database import Connection, Database
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    LOCKER_BYTES,
    LOCKER_LIST_NAMES_MAX,
    LOCKER_OBJECTS_MAX,
    MAIL_TOTAL_BYTES,
)
from dms3.io.delivery_total import check_total

_OBJECT = (
    "SELECT o.id, length(o.data) FROM locker_object o JOIN locker l ON l.id = o.locker "
    "WHERE l.account = ? AND o.name = ?"
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes of one account, and of all accounts with their mail."""

    quota: int = LOCKER_BYTES
    total: int = MAIL_TOTAL_BYTES


class Lockers:
    """The lockers in `database`."""

    def __init__(self, database: Database, bounds: Bounds) -> None:
        self._database = database
        self._bounds = bounds

    def put(self, account: str, name: str, data: bytes) -> Future[None]:
        """Replace the object `name` of `account`, durable when the future resolves.

        The future raises `limit_reached` beyond a bound; nothing has changed then.
        """

        def work(connection: Connection) -> None:
            locker = locker_of(connection, account)
            held = connection.execute(_OBJECT, (account, name)).fetchone()
            before = 0 if held is None else held[1]
            count(connection, locker, int(held is None), len(data) - before, self._bounds)
            if held is None:
                connection.execute(
                    "INSERT INTO locker_object (locker, name, data) VALUES (?, ?, ?)",
                    (locker, name, data),
                )
            else:
                connection.execute(
                    "UPDATE locker_object SET data = ? WHERE id = ?", (data, held[0])
                )

        return self._database.transact(work)

    def get(self, account: str, name: str) -> bytes | None:
        """The object `name` of `account`, or None."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT o.data FROM locker_object o JOIN locker l ON l.id = o.locker "
                "WHERE l.account = ? AND o.name = ?",
                (account, name),
            ).fetchone()
        return None if row is None else bytes(row[0])

    def names(self, account: str, after: str) -> list[str]:
        """The first names of objects of `account` after `after`, in order; at most a page."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT o.name FROM locker_object o JOIN locker l ON l.id = o.locker "
                "WHERE l.account = ? AND o.name > ? ORDER BY o.name LIMIT ?",
                (account, after, LOCKER_LIST_NAMES_MAX),
            ).fetchall()
        return [row[0] for row in rows]

    def delete(self, account: str, name: str) -> Future[None]:
        """Remove an object; nothing happens when it is not there."""

        def work(connection: Connection) -> None:
            held = connection.execute(_OBJECT, (account, name)).fetchone()
            if held is not None:
                connection.execute("DELETE FROM locker_object WHERE id = ?", (held[0],))
                count(connection, locker_of(connection, account), -1, -held[1], self._bounds)

        return self._database.transact(work, frees_space=True)

    def used(self, account: str) -> tuple[int, int]:
        """How many objects and messages `account` has here, and their bytes."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT objects, bytes FROM locker WHERE account = ?", (account,)
            ).fetchone()
        return (0, 0) if row is None else (row[0], row[1])


def locker_of(connection: Connection, account: str) -> int:
    """The number of the locker of `account`, made when there is none."""
    connection.execute(
        "INSERT INTO locker (account, objects, bytes) VALUES (?, 0, 0) ON CONFLICT DO NOTHING",
        (account,),
    )
    row = connection.execute("SELECT id FROM locker WHERE account = ?", (account,)).fetchone()
    assert row is not None, "it was just written"
    return int(row[0])


def count(connection: Connection, locker: int, objects: int, size: int, bounds: Bounds) -> None:
    """Add to what a locker holds; raises `limit_reached` when it grows beyond `bounds`."""
    row = connection.execute(
        "UPDATE locker SET objects = objects + ?, bytes = bytes + ? WHERE id = ? "
        "RETURNING objects, bytes",
        (objects, size, locker),
    ).fetchone()
    assert row is not None, f"there is no locker {locker}"
    if (size > 0 and row[1] > bounds.quota) or (objects > 0 and row[0] > LOCKER_OBJECTS_MAX):
        size_mib = bounds.quota >> 20
        raise Dms3Error(
            "limit_reached",
            f"An account has at most {LOCKER_OBJECTS_MAX} objects of {size_mib} MiB here.",
            hint="Remove something, or choose another place.",
        )
    if size > 0 or objects > 0:
        check_total(connection, bounds.total)
