"""The messages of one node: by hash, by conversation in order, what is about what, what is unread.

Source: docs/architecture.md, "Messages"; `messaging/operations.py`, port "messages". Every write is
known by the hash of its message and can be repeated; a state only goes forward. What a message says
is not looked at: `messaging/folding.py` does that.
"""

# ruff: noqa: S608 - column lists are constants of this file, everything else is bound
from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dms3.core.database import Connection, Database
from dms3.core.errors import Failure
from dms3.core.limits import MAIL_REPEAT_MESSAGES_MAX, MESSAGE_FOLDS_MAX, MESSAGES_UNSENT_MAX
from dms3.dm3.message import MessageType
from dms3.messaging.operations import Join, Kept, Mark, State

SHOWN = frozenset({MessageType.NEW, MessageType.REPLY})
"""The types that are rows of their own; others are folded into the one they are about."""

_RANKS = {
    State.HELD: 0,
    State.HALTED: 1,
    State.QUEUED: 1,
    State.RECEIVED: 1,
    State.FAILED: 2,  # a receipt may still come of a service that took it and said otherwise
    State.SENT: 3,
    State.DELIVERED: 4,
    State.READ: 5,
}
_COLUMNS = (
    "hash, person, mine, sender, sent_ms, order_ms, type, reference, state, text, problem, "
    "retry_us, information"
)
_OPEN = (
    "INSERT INTO correspondence (person, total, unread, last_ms) VALUES (?, 0, 0, 0) "
    "ON CONFLICT (person) DO NOTHING"
)
_FROM = "FROM message JOIN correspondence ON correspondence.id = message.correspondence"
_IN_LINE = "FROM message WHERE correspondence = ? AND line = ? AND (sent_ms, hash)"
_ORDER = "place_ms, line, sent_ms, hash"
_BACKWARDS = "place_ms DESC, line DESC, sent_ms DESC, hash DESC"
_LAST_MS = (1 << 62) - 1  # after every instant that a message can name
_VARIABLES = 500  # values in one statement

Shelve = Callable[[Connection, Sequence[Kept]], None]
"""Told, inside the transaction, of messages that are new or could be verified only now."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A message with its number, which rises by arrival here."""

    number: int
    kept: Kept


@dataclass(frozen=True, slots=True)
class Conversation:
    """What is known of the messages with one person: how many, how many unread, the last one."""

    person: str
    total: int
    unread: int
    last_ms: int
    last: Numbered | None


class Messages:
    """The port; `shelve` makes what is kept searchable."""

    def __init__(self, database: Database, shelve: Shelve) -> None:
        self._database = database
        self._shelve = shelve

    async def serve(self, operation: str, arguments: Any) -> Any:
        """Carry out an operation of the port (`messaging/operations.py`)."""
        match operation, arguments:
            case "keep", tuple():
                return await self._write(lambda c: keep(c, arguments, self._shelve))
            case "mark", Mark():
                return await self._write(lambda c: mark(c, arguments))
            case "join", Join():
                return await self._write(lambda c: join(c, arguments))
        return await self._serve_reader(operation, arguments)

    async def _serve_reader(self, operation: str, arguments: Any) -> Any:
        match operation, arguments:
            case "body", str():
                found = await self._read(lambda c: by_hash(c, arguments))
                return None if found is None else found.kept
            case "unsent", None:
                return await self._read(unsent)
            case "everything", int():
                some = await self._read(
                    lambda c: everything(c, arguments, MAIL_REPEAT_MESSAGES_MAX)
                )
                return tuple((each.number, each.kept) for each in some)
            case "unread", str():
                return await self._read(lambda c: unread(c, arguments))
        return Failure("method_unknown", f"Messages have no operation {operation!r} like this.")

    async def _write(self, work: Callable[[Connection], Any]) -> Any:
        return await asyncio.wrap_future(self._database.transact(work))

    async def _read(self, work: Callable[[Connection], Any]) -> Any:
        def reading() -> Any:
            with self._database.read() as connection:
                return work(connection)

        return await asyncio.to_thread(reading)


# writing


def keep(connection: Connection, messages: Sequence[Kept], shelve: Shelve) -> tuple[bool, ...]:
    """Keep `messages`; for each whether it is new. One that is here goes forward as by `mark`.

    A message that was held and can be verified now is new, and takes its place in the order.
    """
    fresh: list[Kept] = []
    outcomes: list[bool] = []
    for one in messages:
        before = by_hash(connection, one.hash)
        is_verified = one.state is not State.HELD
        is_proven = before is not None and before.kept.state is State.HELD and is_verified
        outcomes.append(before is None or is_proven)
        if before is None:
            _insert(connection, one)
            fresh.append(one)
        elif is_proven:
            _remove(connection, before)
            _insert(connection, one, before.number)
            fresh.append(one)
        else:
            mark(connection, Mark(one.hash, one.state, one.problem, one.retry_us))
            _move_up(connection, before, one.order_ms)
    if fresh:
        shelve(connection, fresh)
    return tuple(outcomes)


def mark(connection: Connection, wanted: Mark) -> None:
    """Set a state, unless the one there is later; nothing happens for an unknown message.

    One of others that failed was proven wrong: it goes, unless it was verified some other way.
    """
    found = by_hash(connection, wanted.hash)
    if found is None or _RANKS[wanted.state] < _RANKS[found.kept.state]:
        return
    if wanted.state is State.FAILED and not found.kept.mine:
        if found.kept.state is State.HELD:
            _remove(connection, found)
        return
    connection.execute(
        "UPDATE message SET state = ?, problem = ?, retry_us = ? WHERE id = ?",
        (wanted.state, wanted.problem, wanted.retry_us, found.number),
    )
    changed = replace(found.kept, state=wanted.state)
    _count(connection, changed.person, 0, _is_unread(changed) - _is_unread(found.kept))


def join(connection: Connection, wanted: Join) -> None:
    """What was kept for one person belongs to another now; a second time changes nothing."""
    row = connection.execute(
        "SELECT id, total, unread, last_ms FROM correspondence WHERE person = ?", (wanted.person,)
    ).fetchone()
    if row is None or wanted.person == wanted.into:
        return
    connection.execute(_OPEN, (wanted.into,))
    connection.execute(
        "UPDATE message SET correspondence = (SELECT id FROM correspondence WHERE person = ?) "
        "WHERE correspondence = ?",
        (wanted.into, row[0]),
    )
    connection.execute(
        "UPDATE correspondence SET total = total + ?, unread = unread + ?, "
        "last_ms = max(last_ms, ?) WHERE person = ?",
        (*row[1:], wanted.into),
    )
    connection.execute("DELETE FROM correspondence WHERE id = ?", (row[0],))
    moved = connection.execute(
        "SELECT id, order_ms FROM message WHERE correspondence = "
        "(SELECT id FROM correspondence WHERE person = ?) "
        "ORDER BY line DESC, sent_ms DESC, hash DESC",
        (wanted.into,),
    ).fetchall()
    for number, order_ms in moved:  # what I wrote to both is one line now
        _place(connection, number, order_ms)


def _insert(connection: Connection, one: Kept, number: int | None = None) -> None:
    shown = one.type in SHOWN
    connection.execute(_OPEN, (one.person,))
    made = connection.execute(
        "INSERT INTO message (id, hash, correspondence, mine, sender, line, sent_ms, order_ms, "
        "place_ms, type, shown, reference, state, problem, retry_us, information, text) "
        "VALUES (?, ?, (SELECT id FROM correspondence WHERE person = ?), "
        "?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number, one.hash, one.person, one.mine, one.sender, _line(one), one.sent_ms,
            one.order_ms, _LAST_MS, one.type, shown, one.reference, one.state, one.problem,
            one.retry_us, one.information, one.text,
        ),
    ).lastrowid  # fmt: skip
    assert made is not None
    _place(connection, made, one.order_ms)
    _count(connection, one.person, int(shown), _is_unread(one))
    if shown:
        connection.execute(
            "UPDATE correspondence SET last_ms = max(last_ms, ?) WHERE person = ?",
            (one.order_ms, one.person),
        )


def _remove(connection: Connection, before: Numbered) -> None:
    connection.execute("DELETE FROM message WHERE id = ?", (before.number,))
    kept = before.kept
    _count(connection, kept.person, -int(kept.type in SHOWN), -_is_unread(kept))


def _move_up(connection: Connection, before: Numbered, order_ms: int) -> None:
    """The earliest verified postmark counts, whichever service it came through."""
    if order_ms < before.kept.order_ms and before.kept.state is not State.HELD:
        connection.execute(
            "UPDATE message SET order_ms = ? WHERE id = ?", (order_ms, before.number)
        )
        _place(connection, before.number, order_ms)


def _line(one: Kept) -> str:
    """Whose line it stands in; one that nobody has verified stands in nobody's."""
    if one.state is State.HELD:
        return one.hash
    return "" if one.mine else one.sender


def _place(connection: Connection, number: int, order_ms: int) -> None:
    """Put a message no later than those that follow in its line, and none before it later.

    Places in a line never fall, so only those right before it can be too late: a few, or none.
    """
    row = connection.execute(
        "SELECT correspondence, line, sent_ms, hash, place_ms FROM message WHERE id = ?", (number,)
    ).fetchone()
    assert row is not None
    where = (row[0], row[1], row[2], row[3])
    following = connection.execute(
        f"SELECT place_ms {_IN_LINE} > (?, ?) ORDER BY sent_ms, hash LIMIT 1", where
    ).fetchone()
    place = min(order_ms, row[4], _LAST_MS if following is None else following[0])
    late = [number]
    for earlier, earlier_place in connection.execute(
        f"SELECT id, place_ms {_IN_LINE} < (?, ?) ORDER BY sent_ms DESC, hash DESC", where
    ):
        if earlier_place <= place:
            break
        late.append(earlier)
    connection.executemany(
        "UPDATE message SET place_ms = ? WHERE id = ?", [(place, one) for one in late]
    )


def _count(connection: Connection, person: str, total: int, unread: int) -> None:
    if total or unread:
        connection.execute(
            "UPDATE correspondence SET total = total + ?, unread = unread + ? WHERE person = ?",
            (total, unread, person),
        )


def _is_unread(one: Kept) -> int:
    return int(not one.mine and one.type in SHOWN and one.state is State.RECEIVED)


# reading


def by_hash(connection: Connection, wanted: str) -> Numbered | None:
    """The message of that hash."""
    row = connection.execute(
        f"SELECT message.id, {_COLUMNS} {_FROM} WHERE hash = ?", (wanted,)
    ).fetchone()
    return None if row is None else _numbered(row)


def page(
    connection: Connection, person: str, before: int | None, limit: int
) -> tuple[Numbered, ...]:
    """At most `limit` messages with `person` before message number `before`, oldest first."""
    end = ""
    values: tuple[Any, ...] = (person,)
    if before is not None:
        place = connection.execute(
            f"SELECT {_ORDER} FROM message WHERE id = ?", (before,)
        ).fetchone()
        if place is None:
            return ()
        end = f"AND ({_ORDER}) < (?, ?, ?, ?) "
        values += tuple(place)
    rows = connection.execute(
        f"SELECT message.id, {_COLUMNS} {_FROM} "
        "WHERE shown = 1 AND correspondence = (SELECT id FROM correspondence WHERE person = ?) "
        f"{end}ORDER BY {_BACKWARDS} LIMIT ?",
        (*values, limit),
    ).fetchall()
    return tuple(_numbered(row) for row in reversed(rows))


def behind(connection: Connection, wanted: str, count: int) -> int | None:
    """The number of the message `count` places after the one of hash `wanted`, in its conversation.

    None when fewer come after it, or nobody knows that hash: the last page has it then.
    """
    place = connection.execute(
        f"SELECT correspondence, {_ORDER} FROM message WHERE hash = ?", (wanted,)
    ).fetchone()
    if place is None:
        return None
    row = connection.execute(
        "SELECT id FROM message WHERE shown = 1 AND correspondence = ? "
        f"AND ({_ORDER}) > (?, ?, ?, ?) ORDER BY {_ORDER} LIMIT 1 OFFSET ?",
        (*place, count),
    ).fetchone()
    return None if row is None else int(row[0])


def arrived(connection: Connection, since: int, limit: int) -> tuple[Numbered, ...]:
    """At most `limit` messages of others with a number above `since`, in that order."""
    rows = connection.execute(
        f"SELECT message.id, {_COLUMNS} {_FROM} "
        "WHERE shown AND NOT mine AND message.id > ? ORDER BY message.id LIMIT ?",
        (since, limit),
    )
    return tuple(map(_numbered, rows))


def about(connection: Connection, hashes: Sequence[str]) -> tuple[Numbered, ...]:
    """What is about these messages: edits, deletions, reactions, and what is about those.

    Receipts are left out: they are in the states. At most MESSAGE_FOLDS_MAX, the oldest first.
    """
    found: dict[str, Numbered] = {}
    wanted = list(dict.fromkeys(hashes))
    while wanted and len(found) < MESSAGE_FOLDS_MAX:
        rows: list[Numbered] = []
        for start in range(0, len(wanted), _VARIABLES):
            some = wanted[start : start + _VARIABLES]
            marks = ", ".join("?" * len(some))
            rows += map(
                _numbered,
                connection.execute(
                    f"SELECT message.id, {_COLUMNS} {_FROM} WHERE reference IN ({marks}) "
                    "AND reference != '' AND NOT shown "
                    "AND type NOT LIKE 'READ%' "
                    f"ORDER BY {_ORDER} LIMIT ?",
                    (*some, MESSAGE_FOLDS_MAX),
                ),
            )
        new = [row for row in rows if row.kept.hash not in found]
        found |= {row.kept.hash: row for row in new[: MESSAGE_FOLDS_MAX - len(found)]}
        wanted = [row.kept.hash for row in new]
    return tuple(found.values())


def conversations(connection: Connection, limit: int) -> tuple[Conversation, ...]:
    """At most `limit` conversations with messages, the one with the latest message first."""
    rows = connection.execute(
        "SELECT person, total, unread, last_ms FROM correspondence WHERE total > 0 "
        "ORDER BY last_ms DESC, id DESC LIMIT ?",
        (limit,),
    ).fetchall()
    return tuple(conversation(connection, row) for row in rows)


def conversation(connection: Connection, row: Sequence[Any]) -> Conversation:
    """A conversation of a row (person, total, unread, last_ms), with its last message."""
    last = page(connection, row[0], None, 1)
    return Conversation(row[0], row[1], row[2], row[3], last[0] if last else None)


def unsent(connection: Connection) -> tuple[str, ...]:
    """Hashes of my messages that no service has yet, the oldest first."""
    rows = connection.execute(
        "SELECT hash FROM message WHERE state IN ('halted', 'queued') ORDER BY id LIMIT ?",
        (MESSAGES_UNSENT_MAX,),
    )
    return tuple(row[0] for row in rows)


def unread(connection: Connection, person: str) -> tuple[str, ...]:
    """Hashes of the messages of `person` that were on no screen yet, in order of arrival."""
    rows = connection.execute(
        "SELECT hash FROM message WHERE shown AND NOT mine AND state = 'received' "
        "AND correspondence = (SELECT id FROM correspondence WHERE person = ?) "
        "ORDER BY id LIMIT ?",
        (person, MESSAGES_UNSENT_MAX),
    )
    return tuple(row[0] for row in rows)


def everything(connection: Connection, after: int, limit: int) -> tuple[Numbered, ...]:
    """At most `limit` messages of all kinds with a number above `after`, in that order."""
    rows = connection.execute(
        f"SELECT message.id, {_COLUMNS} {_FROM} WHERE message.id > ? ORDER BY message.id LIMIT ?",
        (after, limit),
    )
    return tuple(map(_numbered, rows))


def last_number(connection: Connection) -> int:
    """The number of the message that came last, 0 when there is none."""
    row = connection.execute("SELECT max(id) FROM message").fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def _numbered(row: Sequence[Any]) -> Numbered:
    (number, key, person, mine, sender, sent_ms, order_ms, kind, reference, state, text, problem,
     retry_us, information) = row  # fmt: skip
    return Numbered(
        number,
        Kept(
            hash=key,
            person=person,
            mine=bool(mine),
            sender=sender,
            sent_ms=sent_ms,
            order_ms=order_ms,
            type=MessageType(kind),
            reference=reference,
            state=State(state),
            text=text,
            problem=problem,
            retry_us=retry_us,
            information=information,
        ),
    )
