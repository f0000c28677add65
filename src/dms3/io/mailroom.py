"""What waits at a delivery service: envelopes, and marks of those that were picked up.

Source: docs/delivery.md, "What lies here"; tables `mail_*` of `io/schema.py`. Senders' names lie
encrypted and are found by keyed hash; whatever is acknowledged is found by index. It neither opens
an envelope nor decides whether one is taken; whom it is for is in `io/mailroom_accounts.py`.
Nothing of it is in a backup (`node/backing.py`).
"""

# ruff: noqa: S608 - the column list is a constant of this file, everything else is bound
from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dms3.core.database import Connection, Database
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    MAIL_ACCOUNT_MESSAGES_MAX,
    MAIL_CONVERSATIONS_FETCHED_MAX,
    MAIL_FETCH_BYTES_MAX,
    MAIL_INTERVAL_SECONDS,
    MAIL_INTERVALS_SECONDS,
    MAIL_SEEN_MS,
    MAIL_SENDER_MESSAGES_MAX,
    MAIL_SWEEP_ROWS_MAX,
)
from dms3.core.machine import Entropy
from dms3.dm3.postmark import delivered
from dms3.io.delivery_total import check_total, held

SEED_BYTES = 32
MARK_BYTES = 16  # of a keyed hash: 2**64 envelopes until two are taken for one
NONCE_BYTES = 12
_SECOND_MS = 1_000
_MESSAGE = "id, information, sealed, envelope"


@dataclass(frozen=True, slots=True)
class Arrival:
    """An envelope to keep for `account`.

    `sender`: the normalised name; `hash`: how the envelope names its message; `signature`: of the
    metadata, which no other envelope has. `envelope`: canonical JSON with a postmark and without
    delivery information: that is `information` (canonical JSON), `sealed` as it came.
    """

    account: int
    sender: str
    hash: str
    signature: str
    arrived_ms: int
    information: str = field(repr=False)
    sealed: str = field(repr=False)
    envelope: str = field(repr=False)

    @property
    def bytes(self) -> int:
        """What it counts for against a quota."""
        return sum(len(text.encode()) for text in (self.envelope, self.sealed, self.information))


@dataclass(frozen=True, slots=True)
class Waiting:
    """An envelope as its receiver gets it: `text` is JSON. `id` rises by arrival."""

    id: int
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Totals:
    """What lies here: accounts, waiting envelopes and their bytes; `held`: as the total counts."""

    accounts: int
    messages: int
    bytes: int
    held: int


def service_seed(database: Database, entropy: Entropy) -> bytes:
    """The 32 random bytes behind the keys of this service, made and durable the first time."""

    def work(connection: Connection) -> bytes:
        row = connection.execute("SELECT seed FROM mail_key").fetchone()
        if row is None:
            row = (entropy.draw(SEED_BYTES),)
            connection.execute("INSERT INTO mail_key (id, seed) VALUES (1, ?)", row)
        return bytes(row[0])

    return database.transact(work, frees_space=True).result()


class Mailroom:
    """The envelopes of one service; `key`: 32 bytes from which the keys of its columns are made.

    It also counts, with each envelope that comes or goes, what its account has waiting.
    """

    def __init__(self, database: Database, key: bytes, entropy: Entropy) -> None:
        self._database = database
        self._entropy = entropy
        self._marks = _derived(key, b"dms3 mailroom marks")
        self._cipher = AESGCM(_derived(key, b"dms3 mailroom names"))

    def keep(self, arrival: Arrival, account_bytes: int, total: int | None) -> Future[bool]:
        """Make `arrival` durable: False when that message of that sender waits or has been here.

        `account_bytes`: the quota, `total`: that of all mail and lockers, None: there is room for
        this one whatever they have. The future raises `limit_reached` beyond a quota of the
        receiver or of the sender, and `not_found` when the account is gone.
        """
        sender, name = self._mark("sender", arrival.sender), self._mark("hash", arrival.hash)
        seen = self._mark("seen", f"{arrival.account}\0{arrival.signature}")
        nonce = self._entropy.draw(NONCE_BYTES)
        information = nonce + self._cipher.encrypt(nonce, arrival.information.encode(), seen)
        start_s = arrival.arrived_ms // _SECOND_MS // MAIL_INTERVAL_SECONDS * MAIL_INTERVAL_SECONDS

        def work(connection: Connection) -> bool:
            if connection.execute("SELECT 1 FROM mail_seen WHERE seen = ?", (seen,)).fetchone():
                return False
            done = connection.execute(
                "INSERT INTO mail_message (account, sender, hash, seen, arrived_ms, bytes, "
                "information, sealed, envelope) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (account, sender, hash) DO NOTHING",
                (
                    *(arrival.account, sender, name, seen, arrival.arrived_ms, arrival.bytes),
                    *(information, arrival.sealed, arrival.envelope),
                ),
            )
            if done.rowcount == 0:
                return False
            _check_sender(connection, arrival.account, sender)
            _count(connection, arrival, account_bytes)
            if total is not None:
                check_total(connection, total)
            connection.execute(
                "INSERT INTO mail_interval (start_s, messages, bytes) VALUES (?, 1, ?) ON CONFLICT "
                "DO UPDATE SET messages = messages + 1, bytes = bytes + excluded.bytes",
                (start_s, arrival.bytes),
            )
            return True

        return self._database.transact(work)

    def incoming(self, account: int, *, sealed: bool = False) -> list[Waiting]:
        """What waits for `account`, as the reference orders it, at most `MAIL_FETCH_BYTES_MAX`.

        The conversation with the latest message first, and in each the latest message first.
        `sealed`: with the sealed delivery information beside the opened one.
        """
        with self._database.read() as connection:
            senders = connection.execute(
                "SELECT sender, max(id) FROM mail_message WHERE account = ? GROUP BY sender "
                "ORDER BY 2 DESC LIMIT ?",
                (account, MAIL_CONVERSATIONS_FETCHED_MAX),
            ).fetchall()
            return self._bounded(
                waiting
                for (sender, _) in senders
                for waiting in self._of_sender(connection, account, sender, sealed=sealed)
            )

    def conversation(self, account: int, sender: str) -> list[Waiting]:
        """What waits for `account` of `sender` (a normalised name), the latest first."""
        with self._database.read() as connection:
            mark = self._mark("sender", sender)
            return self._bounded(self._of_sender(connection, account, mark, sealed=False))

    def page(self, account: int, after: int, limit: int, *, sealed: bool = False) -> list[Waiting]:
        """At most `limit` of what waits for `account` with an id above `after`, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                f"SELECT {_MESSAGE}, seen FROM mail_message WHERE account = ? AND id > ? "
                "ORDER BY id LIMIT ?",
                (account, after, limit),
            )
            return self._bounded(self._waiting(row, sealed=sealed) for row in rows)

    def acknowledge(
        self, account: int, messages: Sequence[tuple[str, str]], now_ms: int
    ) -> Future[int]:
        """Delete what `account` has durably: how many of `messages` there were.

        `messages`: pairs of normalised sender and hash. Marks of them stay for `MAIL_SEEN_MS`, so
        that a copy of an envelope is not delivered again.
        """
        marks = [(self._mark("sender", one), self._mark("hash", other)) for one, other in messages]

        def work(connection: Connection) -> int:
            count = 0
            for sender, name in marks:
                row = connection.execute(
                    "SELECT id, seen, bytes FROM mail_message "
                    "WHERE account = ? AND sender = ? AND hash = ?",
                    (account, sender, name),
                ).fetchone()
                if row is not None:
                    _remove(connection, account, row, now_ms + MAIL_SEEN_MS)
                    count += 1
            return count

        return self._database.transact(work, frees_space=True)

    def expire(self, before_ms: int, now_ms: int) -> Future[int]:
        """Remove some of what came before `before_ms` or is remembered for too long; how many.

        Repeat until it is 0: a transaction removes at most `MAIL_SWEEP_ROWS_MAX` rows of each.
        """

        def work(connection: Connection) -> int:
            rows = connection.execute(
                "SELECT id, seen, bytes, account FROM mail_message WHERE arrived_ms < ? LIMIT ?",
                (before_ms, MAIL_SWEEP_ROWS_MAX),
            ).fetchall()
            for row in rows:
                _remove(connection, row[3], row[:3], now_ms + MAIL_SEEN_MS)
            gone = connection.execute(
                "DELETE FROM mail_seen WHERE seen IN "
                "(SELECT seen FROM mail_seen WHERE until_ms < ? LIMIT ?)",
                (now_ms, MAIL_SWEEP_ROWS_MAX),
            ).rowcount
            connection.execute(
                "DELETE FROM mail_interval WHERE start_s < ?",
                (now_ms // _SECOND_MS - MAIL_INTERVALS_SECONDS,),
            )
            return len(rows) + gone

        return self._database.transact(work, frees_space=True)

    def totals(self) -> Totals:
        """How much lies here."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT count(*), coalesce(sum(messages), 0), coalesce(sum(bytes), 0) "
                "FROM mail_account"
            ).fetchone()
            of_all = held(connection)
        assert row is not None, "an aggregate has a row"
        return Totals(row[0], row[1], row[2], of_all)

    def intervals(self, before_s: int) -> list[tuple[int, int, int]]:
        """Start (seconds), messages and bytes of the intervals that began before `before_s`."""
        with self._database.read() as connection:
            return connection.execute(
                "SELECT start_s, messages, bytes FROM mail_interval WHERE start_s < ? "
                "ORDER BY start_s",
                (before_s,),
            ).fetchall()

    def truncate(self) -> Future[bool]:
        """Leave nothing of what was deleted in the log; False when a reader held it up."""
        return self._database.truncate()

    def _of_sender(
        self, connection: Connection, account: int, sender: bytes, *, sealed: bool
    ) -> Iterator[Waiting]:
        rows = connection.execute(
            f"SELECT {_MESSAGE}, seen FROM mail_message WHERE account = ? AND sender = ? "
            "ORDER BY id DESC LIMIT ?",
            (account, sender, MAIL_SENDER_MESSAGES_MAX),
        )
        for row in rows:
            yield self._waiting(row, sealed=sealed)

    def _waiting(self, row: tuple[Any, ...], *, sealed: bool) -> Waiting:
        """The envelope put together: its delivery information goes where it was."""
        number, information, original, envelope, seen = row
        nonce, secret = information[:NONCE_BYTES], information[NONCE_BYTES:]
        opened = self._cipher.decrypt(nonce, secret, seen).decode()
        return Waiting(number, delivered(envelope, opened, original if sealed else ""))

    @staticmethod
    def _bounded(waiting: Iterator[Waiting]) -> list[Waiting]:
        found: list[Waiting] = []
        size = 0
        for one in waiting:
            size += len(one.text)
            if found and size > MAIL_FETCH_BYTES_MAX:
                break
            found.append(one)
        return found

    def _mark(self, what: str, text: str) -> bytes:
        return hmac.digest(self._marks, f"{what}\0{text}".encode(), "sha256")[:MARK_BYTES]


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(key)


def _check_sender(connection: Connection, account: int, sender: bytes) -> None:
    """Raise `limit_reached` when `sender` has more waiting than it may, the new one included."""
    row = connection.execute(
        "SELECT count(*) FROM "
        "(SELECT 1 FROM mail_message WHERE account = ? AND sender = ? LIMIT ?)",
        (account, sender, MAIL_SENDER_MESSAGES_MAX + 1),
    ).fetchone()
    if row is not None and row[0] > MAIL_SENDER_MESSAGES_MAX:
        raise Dms3Error(
            "limit_reached",
            f"{MAIL_SENDER_MESSAGES_MAX} messages of this sender wait for the receiver already.",
            hint="Send again when the receiver has fetched them.",
        )


def _count(connection: Connection, arrival: Arrival, account_bytes: int) -> None:
    done = connection.execute(
        "UPDATE mail_account SET messages = messages + 1, bytes = bytes + ? "
        "WHERE id = ? AND messages < ? AND bytes + ? <= ?",
        (
            *(arrival.bytes, arrival.account, MAIL_ACCOUNT_MESSAGES_MAX),
            *(arrival.bytes, account_bytes),
        ),
    )
    if done.rowcount == 0:
        raise Dms3Error(
            "limit_reached",
            "The mailbox of the receiver at this service is full.",
            hint="Send through another service of the receiver, or again later.",
        )


def _remove(
    connection: Connection, account: int, row: tuple[int, bytes, int], until_ms: int
) -> None:
    number, seen, size = row
    connection.execute("DELETE FROM mail_message WHERE id = ?", (number,))
    connection.execute(
        "UPDATE mail_account SET messages = messages - 1, bytes = bytes - ? WHERE id = ?",
        (size, account),
    )
    connection.execute(
        "INSERT OR REPLACE INTO mail_seen (seen, until_ms) VALUES (?, ?)", (seen, until_ms)
    )
