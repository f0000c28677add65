"""The database of a node: one writer thread that commits in groups, and snapshot readers.

Source: docs/architecture.md, "The driver" and "Where data lies". A future returned here resolves
only after its transaction is durable. It does not keep other processes out (the node's lock file
does) and knows nothing of documents or blocks.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from dms3.core.database import Connection, Migration, StoredEvent, Write
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    DISK_RESERVE_BYTES_MIN,
    EVENTS_KEPT_MAX,
    STORE_COMMITS_MAX,
    STORE_GROUP_WORKS_MAX,
    STORE_READER_WAIT_SECONDS_MAX,
    STORE_READERS_MAX,
    STORE_WORKS_MAX,
)
from dms3.core.machine import Persist
from dms3.io import sqlcipher
from dms3.io.disk import check_space

T = TypeVar("T")
Job = tuple[Callable[[Connection], Any], "Future[Any]"]

_PUT = (
    "INSERT INTO state (tbl, key, value) VALUES (?, ?, ?) "
    "ON CONFLICT (tbl, key) DO UPDATE SET value = excluded.value"
)
_DROP = "DELETE FROM state WHERE tbl = ? AND key = ?"
_GET = "SELECT value FROM state WHERE tbl = ? AND key = ?"
_RANGE = "SELECT key, value FROM state WHERE tbl = ? AND key >= ? ORDER BY key LIMIT ?"


class StateView:
    """Committed state of machines (the `View` of core/machine.py); for one thread at a time."""

    def __init__(self, connection: Any) -> None:
        self._cursor = connection.cursor()

    def get(self, table: str, key: bytes) -> bytes | None:
        """The committed value under `key`, or None."""
        rows = self._cursor.execute(_GET, (table, key)).fetchall()  # ends the read transaction
        return rows[0][0] if rows else None

    def range(self, table: str, start: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """At most `limit` committed pairs with key >= `start`, in order of key bytes."""
        rows: list[tuple[bytes, bytes]] = self._cursor.execute(
            _RANGE, (table, start, limit)
        ).fetchall()
        return rows


class Store:
    """One open database; make it with `Store.open` and end it with `close`."""

    def __init__(self, path: Path, key: bytes, writer: Any, reserve: int) -> None:
        self._path = path
        self._key = key
        self._reserve = reserve
        self._writer = writer
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._closing = False
        self._broken: Dms3Error | None = None
        self._idle: list[Any] = []  # reader connections nobody uses now
        self._opened: list[Any] = []  # every connection but the writer's
        self._seats = threading.BoundedSemaphore(STORE_READERS_MAX)
        self.commits = 0  # transactions made durable since the start
        self._thread = threading.Thread(target=self._write_all, name="store", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        path: Path,
        key: bytes,
        migrations: Sequence[Migration],
        *,
        reserve: int = DISK_RESERVE_BYTES_MIN,
    ) -> Store:
        """The store at `path`, made when it is not there, brought to the newest migration.

        `key`: 32 raw bytes. `reserve`: bytes that stay free on the disk; an existing store opens
        below it too, so that things can be removed. Raises Dms3Error: `passphrase_wrong`,
        `store_corrupt`, `home_newer`, `home_unusable`, `disk_full`.
        """
        sqlcipher.private_file(path)
        if path.stat().st_size == 0:
            check_space(path.parent, reserve)
        writer = None
        try:
            writer = sqlcipher.connect(path, key, writer=True)
            sqlcipher.enter_wal(writer)
            sqlcipher.check_pages(writer, path)
            sqlcipher.migrate(writer, path, migrations, reserve)
            return cls(path, key, writer, reserve)
        except sqlcipher.Error as cause:
            _close(writer)
            raise sqlcipher.explain(cause, path) from cause
        except Dms3Error:
            _close(writer)
            raise

    def transact(self, work: Callable[[Connection], T], *, frees_space: bool = False) -> Future[T]:
        """Run `work` on the writer thread; the future resolves after the durable commit.

        Works that wait together share one transaction, each in a savepoint of its own: what one
        raises is its future's exception and undoes nothing of the others. Raises `disk_full`
        (not for a work that `frees_space`), `node_busy` when the queue is full, `node_stopping`.
        """
        if not frees_space:
            self.check_space()
        return self._enqueue(work, STORE_WORKS_MAX)

    def truncate(self) -> Future[bool]:
        """Move the log into the database and leave the log empty: what was deleted is in neither.

        False when a reader held it up for `STORE_TRUNCATE_MS_MAX`; try again later.
        """
        return self._enqueue(_truncate, STORE_WORKS_MAX)

    def commit(self, writes: Sequence[Write], events: Sequence[StoredEvent]) -> Future[None]:
        """One group of the driver: state rows, event rows and the trimming of old events.

        Uses the disk reserve, so work that was accepted can be finished on a nearly full disk.
        Event ids must follow the last stored one without a gap.
        """

        def work(connection: Connection) -> None:
            for write in writes:
                if isinstance(write, Persist):
                    connection.execute(_PUT, (write.table, write.key, write.value))
                else:
                    connection.execute(_DROP, (write.table, write.key))
            if events:
                _append_events(connection, events)

        return self._enqueue(work, STORE_WORKS_MAX + STORE_COMMITS_MAX)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one snapshot and can change nothing; for any thread.

        At most STORE_READERS_MAX at a time; raises `node_busy` when none becomes free. Do not
        nest, and do not keep one for long: the log file grows meanwhile.
        """
        if self._closing:
            raise Dms3Error("node_stopping", "The database is closed.")
        if not self._seats.acquire(timeout=STORE_READER_WAIT_SECONDS_MAX):
            raise Dms3Error("node_busy", "All readers of the database are in use.")
        try:
            connection = self._reader()
            session = sqlcipher.Session(connection)
            try:
                connection.execute("BEGIN")
                yield session
            except sqlcipher.Error as cause:
                raise sqlcipher.explain(cause, self._path) from cause
            finally:
                session.end()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                with self._changed:
                    self._idle.append(connection)
        finally:
            self._seats.release()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """As `read`, over a connection of its own, for minutes: writes go on, the log file grows.

        For one thread; nobody else waits for it.
        """
        connection = self._open_reader()
        session = sqlcipher.Session(connection)
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # it begins here
            yield session
        except sqlcipher.Error as cause:
            raise sqlcipher.explain(cause, self._path) from cause
        finally:
            session.end()
            with self._changed:
                if connection in self._opened:
                    self._opened.remove(connection)
            connection.close()

    def view(self) -> StateView:
        """Committed state of machines over a connection of its own; for one thread at a time."""
        return StateView(self._open_reader())

    def events(self, since: int, limit: int) -> list[StoredEvent]:
        """At most `limit` stored events with id > `since`, oldest first."""
        with self.read() as connection:
            rows = connection.execute(
                "SELECT id, topic, data, wall_us FROM event WHERE id > ? ORDER BY id LIMIT ?",
                (since, limit),
            ).fetchall()
        return [StoredEvent(row[0], row[1], json.loads(row[2]), row[3]) for row in rows]

    def last_event(self) -> int:
        """The id of the newest stored event, 0 when there has been none."""
        with self.read() as connection:
            return _last_event(connection)

    def check_space(self, bytes_wanted: int = 0) -> None:
        """Raise `disk_full` unless the disk holds `bytes_wanted` and the reserve beside it."""
        check_space(self._path.parent, self._reserve, bytes_wanted)

    def check(self) -> list[str]:
        """Every problem SQLCipher and SQLite find in the whole file; reads all of it."""
        connection = sqlcipher.connect(self._path, self._key, writer=False)
        try:
            found = [row[0] for row in connection.execute("PRAGMA cipher_integrity_check")]
            rows = connection.execute("PRAGMA integrity_check").fetchall()
            return found + [row[0] for row in rows if row[0] != "ok"]
        except sqlcipher.Error as cause:
            return [str(sqlcipher.explain(cause, self._path))]
        finally:
            connection.close()

    def close(self) -> None:
        """Finish what is queued, empty the log into the database, and close. Twice is once."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        seats = [
            self._seats.acquire(timeout=STORE_READER_WAIT_SECONDS_MAX)  # readers finish first
            for _ in range(STORE_READERS_MAX)
        ]
        with self._changed:
            connections, self._opened, self._idle = self._opened, [], []
        for connection in connections:
            _close(connection)
        for _ in range(sum(seats)):  # whoever waits for one is told that this is over
            self._seats.release()
        with contextlib.suppress(sqlcipher.Error):  # the log is replayed at the next start
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _close(self._writer)

    def _reader(self) -> Any:
        with self._changed:
            if self._idle:
                return self._idle.pop()
        return self._open_reader()

    def _open_reader(self) -> Any:
        connection = sqlcipher.connect(self._path, self._key, writer=False)
        with self._changed:
            if not self._closing:
                self._opened.append(connection)
                return connection
        connection.close()
        raise Dms3Error("node_stopping", "The database is closed.")

    def _enqueue(self, work: Callable[[Connection], T], seats: int) -> Future[T]:
        future: Future[T] = Future()
        with self._changed:
            if self._closing:
                raise Dms3Error("node_stopping", "The database is closed.")
            if self._broken is not None:
                raise self._broken
            if len(self._jobs) >= seats:
                raise Dms3Error(
                    "node_busy", f"{seats} changes wait already.", hint="Try again in a moment."
                )
            self._jobs.append((work, future))
            self._changed.notify()
        return future

    def _write_all(self) -> None:
        """The writer thread: whatever waits is the next group."""
        while True:
            with self._changed:
                while not self._jobs and not self._closing:
                    self._changed.wait()
                if not self._jobs:
                    return
                count = min(len(self._jobs), STORE_GROUP_WORKS_MAX)
                group = [self._jobs.popleft() for _ in range(count)]
            group = [job for job in group if job[1].set_running_or_notify_cancel()]
            works = [job for job in group if job[0] is not _truncate]
            if works:
                self._write_group(works)
            for future in [job[1] for job in group if job[0] is _truncate]:
                self._empty_log(future)  # outside a transaction, after what was asked before it
            del group, works  # what they hold is let go of now, not with the next group

    def _write_group(self, group: list[Job]) -> None:
        """One transaction for `group`; afterwards every future of it is resolved."""
        done: list[tuple[Future[Any], Any]] = []
        try:
            if self._broken is not None:
                raise self._broken
            self._writer.execute("BEGIN IMMEDIATE")
            for work, future in group:
                self._run(work, future, done)
            self._writer.execute("COMMIT")
            self.commits += 1
        except (sqlcipher.Error, Dms3Error) as cause:
            self._fail(group, cause)
            return
        for future, result in done:
            future.set_result(result)

    def _empty_log(self, future: Future[bool]) -> None:
        try:
            future.set_result(sqlcipher.empty_log(self._writer))
        except sqlcipher.Error as cause:
            self._note(cause)
            future.set_exception(sqlcipher.explain(cause, self._path))

    def _run(
        self,
        work: Callable[[Connection], Any],
        future: Future[Any],
        done: list[tuple[Future[Any], Any]],
    ) -> None:
        """Run one work in its savepoint; its own error stays its own."""
        writer = self._writer
        writer.execute("SAVEPOINT work")
        session = sqlcipher.Session(writer)
        try:
            result = work(session)
        except BaseException as error:  # it belongs to whoever holds the future
            if not writer.in_transaction:  # SQLite gave up the whole transaction (a full disk)
                raise self._lost(error) from error
            writer.execute("ROLLBACK TO work")
            writer.execute("RELEASE work")
            is_ours = isinstance(error, sqlcipher.Error)
            future.set_exception(sqlcipher.explain(error, self._path) if is_ours else error)
            return
        finally:
            session.end()
        writer.execute("RELEASE work")
        done.append((future, result))

    def _lost(self, error: BaseException) -> Dms3Error:
        if isinstance(error, sqlcipher.Error):
            self._note(error)
            return sqlcipher.explain(error, self._path)
        return Dms3Error("internal", "A database work ended its own transaction.")

    def _note(self, cause: BaseException) -> None:
        if sqlcipher.is_fatal(cause) and self._broken is None:
            self._broken = sqlcipher.explain(cause, self._path)

    def _fail(self, group: list[Job], cause: Exception) -> None:
        """Undo the group and tell everyone in it who does not know yet."""
        if not isinstance(cause, Dms3Error):
            self._note(cause)
            cause = sqlcipher.explain(cause, self._path)
        if self._writer.in_transaction:
            with contextlib.suppress(sqlcipher.Error):
                self._writer.execute("ROLLBACK")
        for _, future in group:
            if not future.done():
                future.set_exception(cause)


def _truncate(_connection: Connection) -> bool:
    """Stands in the queue for a truncation, which is no work inside a transaction."""
    raise AssertionError("a truncation runs outside of transactions")


def _append_events(connection: Connection, events: Sequence[StoredEvent]) -> None:
    expected = _last_event(connection) + 1
    for event in events:
        assert event.id == expected, f"event {event.id} follows {expected - 1}"
        data = json.dumps(event.data, ensure_ascii=False, separators=(",", ":"))
        connection.execute(
            "INSERT INTO event (id, topic, data, wall_us) VALUES (?, ?, ?, ?)",
            (event.id, event.topic, data, event.wall_us),
        )
        expected += 1
    connection.execute("DELETE FROM event WHERE id <= ?", (expected - 1 - EVENTS_KEPT_MAX,))


def _last_event(connection: Connection) -> int:
    row = connection.execute("SELECT max(id) FROM event").fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def _close(connection: Any) -> None:
    if connection is not None:
        connection.close()
