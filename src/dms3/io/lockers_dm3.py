"""Conversations as the dm3 reference stores them at a service: lists and containers sealed by it.

Source: dm3 reference, packages/backend (storage routes and schema.prisma); tables `cloud_*` of
`io/schema.py`. Where the reference reads every row to count or finds by text, this has counts and
indexes. It shares the quota of the account's locker. Opens nothing, and decides for nobody.
"""

# ruff: noqa: S608 - column names are constants of this file, everything else is bound
from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from dms3.core.database import Connection, Database
from dms3.core.limits import CLOUD_ANSWER_BYTES_MAX
from dms3.io.lockers import Bounds, count, locker_of

_AROUND = 200  # bytes that a row needs beside its container
_CONVERSATION = "SELECT id FROM cloud_conversation WHERE locker = ? AND contact = ?"


@dataclass(frozen=True, slots=True)
class Stored:
    """A message to store: `key` names it here (`key_of`), `container` is what the client sealed."""

    key: str
    created_ms: int
    container: str = field(repr=False)
    halted: bool = False


class DuplicateError(Exception):
    """A message with this id is stored already; the whole batch is refused."""


class Cloud:
    """The conversations in `database`; `bounds` are of an account with its locker."""

    def __init__(self, database: Database, bounds: Bounds) -> None:
        self._database = database
        self._bounds = bounds

    def add_conversation(
        self, account: str, contact: str, location: str, now_ms: int
    ) -> Future[None]:
        """Make a conversation, or give the one that is there another profile location.

        The future raises `limit_reached`, as those of all that grows do; nothing has changed then.
        """

        def work(connection: Connection) -> None:
            locker = locker_of(connection, account)
            number = self._conversation(connection, locker, contact, now_ms)
            row = connection.execute(
                f"SELECT {_bytes('location')} FROM cloud_conversation WHERE id = ?", (number,)
            ).fetchone()
            assert row is not None, "it is there, or was just made"
            count(connection, locker, 0, _size(location) - row[0], self._bounds)
            connection.execute(
                "UPDATE cloud_conversation SET location = ? WHERE id = ?", (location, number)
            )

        return self._database.transact(work)

    def add(
        self, account: str, contact: str, messages: Sequence[Stored], now_ms: int
    ) -> Future[None]:
        """Store all of `messages` or none; the future raises DuplicateError, `limit_reached`."""

        def work(connection: Connection) -> None:
            locker = locker_of(connection, account)
            number = self._conversation(connection, locker, contact, now_ms)
            fresh = {each.key: each for each in reversed(messages)}  # the first of equal ones
            for stored in reversed(fresh.values()):
                if not self._insert(connection, locker, number, stored):
                    raise DuplicateError(stored.key)
            connection.execute(
                "UPDATE cloud_conversation SET updated_ms = ? WHERE id = ?", (now_ms, number)
            )

        return self._database.transact(work)

    def edit(
        self, account: str, contact: str, messages: Sequence[Stored], now_ms: int
    ) -> Future[None]:
        """Replace the containers of `messages`; one that is not there is stored, as of now."""

        def work(connection: Connection) -> None:
            locker = locker_of(connection, account)
            number = self._conversation(connection, locker, contact, now_ms)
            for stored in messages:
                held = connection.execute(
                    f"SELECT id, {_bytes('container')} FROM cloud_message "
                    "WHERE locker = ? AND key = ?",
                    (locker, stored.key),
                ).fetchone()
                if held is None:
                    new = Stored(stored.key, now_ms, stored.container)
                    self._insert(connection, locker, number, new)
                    continue
                more = _size(stored.container) - held[1]
                count(connection, locker, 0, more, self._bounds)
                connection.execute(
                    "UPDATE cloud_message SET container = ? WHERE id = ?",
                    (stored.container, held[0]),
                )

        return self._database.transact(work)

    def clear_halted(self, account: str, key: str, alias: str | None) -> Future[bool]:
        """Message `key` is sent, and its conversation is called `alias` now; whether it is there.

        When `alias` has a conversation already, the two become one.
        """

        def work(connection: Connection) -> bool:
            locker = locker_of(connection, account)
            row = connection.execute(
                "SELECT id, conversation FROM cloud_message WHERE locker = ? AND key = ?",
                (locker, key),
            ).fetchone()
            if row is None:
                return False
            connection.execute("UPDATE cloud_message SET halted = 0 WHERE id = ?", (row[0],))
            if alias:
                self._rename(connection, locker, row[1], alias)
            return True

        return self._database.transact(work, frees_space=True)

    def hide(self, account: str, contact: str, *, hidden: bool) -> Future[None]:
        """Leave a conversation out of lists, or no longer."""

        def work(connection: Connection) -> None:
            connection.execute(
                "UPDATE cloud_conversation SET hidden = ? WHERE contact = ? AND locker = "
                "(SELECT id FROM locker WHERE account = ?)",
                (int(hidden), contact, account),
            )

        return self._database.transact(work, frees_space=True)

    # Reading

    def conversations(self, account: str, limit: int, skip: int) -> list[dict[str, Any]]:
        """Conversations that are not hidden, the one changed last first, as the reference does."""
        rows = self._read(
            "SELECT c.contact, c.updated_ms, c.location, (SELECT m.container FROM cloud_message m "
            "WHERE m.conversation = c.id ORDER BY m.created_ms DESC, m.id DESC LIMIT 1) "
            "FROM cloud_conversation c JOIN locker l ON l.id = c.locker "
            "WHERE l.account = ? AND NOT c.hidden ORDER BY c.updated_ms DESC, c.id DESC "
            "LIMIT ? OFFSET ?",
            (account, limit, skip),
            3,
        )
        return [
            {
                "contact": contact,
                "previewMessage": container,
                "updatedAt": iso_text(updated_ms),
                "encryptedProfileLocation": location or "",
            }
            for contact, updated_ms, location, container in rows
        ]

    def messages(self, account: str, contact: str, limit: int, skip: int) -> list[dict[str, Any]]:
        """Messages of a conversation, the latest first, as the reference but without owner."""
        rows = self._read(
            "SELECT m.key, m.created_ms, m.container, m.halted, c.id FROM cloud_message m "
            "JOIN cloud_conversation c ON c.id = m.conversation JOIN locker l ON l.id = c.locker "
            "WHERE l.account = ? AND c.contact = ? ORDER BY m.created_ms DESC, m.id DESC "
            "LIMIT ? OFFSET ?",
            (account, contact, limit, skip),
            2,
        )
        return [
            {
                "id": key,
                "createdAt": iso_text(created_ms),
                "encryptedEnvelopContainer": container,
                "encryptedContactName": contact,
                "conversationId": str(number),
                "isHalted": bool(halted),
            }
            for key, created_ms, container, halted, number in rows
        ]

    def halted(self, account: str, limit: int) -> list[dict[str, Any]]:
        """Messages that wait for a receiver's profile, oldest first."""
        rows = self._read(
            "SELECT m.key, m.created_ms, m.container FROM cloud_message m "
            "JOIN locker l ON l.id = m.locker WHERE l.account = ? AND m.halted "
            "ORDER BY m.created_ms LIMIT ?",
            (account, limit),
            2,
        )
        return [
            {
                "messageId": key,
                "encryptedEnvelopContainer": container,
                "createdAt": iso_text(created_ms),
                "isHalted": True,
            }
            for key, created_ms, container in rows
        ]

    def conversation_count(self, account: str) -> int:
        """How many conversations, hidden ones too."""
        return self._number(
            "SELECT count(*) FROM cloud_conversation c JOIN locker l ON l.id = c.locker "
            "WHERE l.account = ?",
            (account,),
        )

    def message_count(self, account: str, contact: str) -> int:
        """How many messages of one conversation."""
        return self._number(
            "SELECT c.messages FROM cloud_conversation c JOIN locker l ON l.id = c.locker "
            "WHERE l.account = ? AND c.contact = ?",
            (account, contact),
        )

    def _read(self, sql: str, values: tuple[Any, ...], at: int) -> list[tuple[Any, ...]]:
        """The first rows whose containers (column `at`) fit into one answer, at least one."""
        found: list[tuple[Any, ...]] = []
        size = 0
        with self._database.read() as connection:
            for row in connection.execute(sql, values):
                size += len(row[at] or "")
                if found and size > CLOUD_ANSWER_BYTES_MAX:
                    break
                found.append(row)
        return found

    def _number(self, sql: str, values: tuple[Any, ...]) -> int:
        with self._database.read() as connection:
            row = connection.execute(sql, values).fetchone()
        return 0 if row is None else int(row[0])

    def _conversation(self, connection: Connection, locker: int, contact: str, now_ms: int) -> int:
        row = connection.execute(_CONVERSATION, (locker, contact)).fetchone()
        if row is not None:
            return int(row[0])
        count(connection, locker, 1, _size(contact) + _AROUND, self._bounds)
        made = connection.execute(
            "INSERT INTO cloud_conversation "
            "(locker, contact, location, updated_ms, hidden, messages) VALUES (?, ?, '', ?, 0, 0)",
            (locker, contact, now_ms),
        )
        assert made.lastrowid is not None, "a row was inserted"
        return made.lastrowid

    def _insert(
        self, connection: Connection, locker: int, conversation: int, stored: Stored
    ) -> bool:
        done = connection.execute(
            "INSERT INTO cloud_message "
            "(locker, conversation, key, created_ms, halted, container) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (locker, key) DO NOTHING",
            (
                *(locker, conversation, stored.key),
                *(stored.created_ms, int(stored.halted), stored.container),
            ),
        )
        if done.rowcount == 0:
            return False
        count(connection, locker, 0, _size(stored.container) + _AROUND, self._bounds)
        connection.execute(
            "UPDATE cloud_conversation SET messages = messages + 1 WHERE id = ?", (conversation,)
        )
        return True

    def _rename(self, connection: Connection, locker: int, conversation: int, alias: str) -> None:
        row = connection.execute(
            f"SELECT {_bytes('contact')}, {_bytes('location')} FROM cloud_conversation "
            "WHERE id = ?",
            (conversation,),
        ).fetchone()
        assert row is not None, "its message is there"
        other = connection.execute(_CONVERSATION, (locker, alias)).fetchone()
        if other is None:
            count(connection, locker, 0, _size(alias) - row[0], self._bounds)
            connection.execute(
                "UPDATE cloud_conversation SET contact = ? WHERE id = ?", (alias, conversation)
            )
        elif other[0] != conversation:
            connection.execute(
                "UPDATE cloud_message SET conversation = ? WHERE conversation = ?",
                (other[0], conversation),
            )
            connection.execute(
                "UPDATE cloud_conversation SET messages = messages + "
                "(SELECT messages FROM cloud_conversation WHERE id = ?) WHERE id = ?",
                (conversation, other[0]),
            )
            connection.execute("DELETE FROM cloud_conversation WHERE id = ?", (conversation,))
            count(connection, locker, -1, -(row[0] + row[1] + _AROUND), self._bounds)


def key_of(owner: str, message: str) -> str:
    """How the service calls message `message` of the name `owner`: as the reference, SHA-256."""
    return "0x" + hashlib.sha256((owner + message).encode()).hexdigest()


def iso_text(at_ms: int) -> str:
    """A date as JavaScript writes it: 2023-11-14T22:13:20.000Z."""
    seconds, ms = divmod(at_ms, 1_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{ms:03}Z"


def _size(text: str) -> int:
    """Bytes that `text` takes in the database."""
    return len(text.encode())


def _bytes(column: str) -> str:
    """SQL for the bytes of a column of texts, 0 for none."""
    return f"coalesce(length(CAST({column} AS BLOB)), 0)"
