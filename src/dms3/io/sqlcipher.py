"""Opening an encrypted SQLite file: key, settings, migrations, and what its errors mean.

Source: SQLCipher API documentation; SQLite "Write-Ahead Logging". Part of the store adapter: only
`io/store.py` uses it. It knows no table.
"""

from __future__ import annotations

import os
import shutil
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlcipher3 import dbapi2

from dms3.core.database import Migration
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    STORE_BUSY_MS_MAX,
    STORE_CHECK_BYTES_MAX,
    STORE_TRUNCATE_MS_MAX,
    STORE_WAL_BYTES_MAX,
)
from dms3.io.disk import check_space, flush_folder

Error = dbapi2.Error
KEY_BYTES = 32
PAGE_BYTES = 4096  # SQLCipher 4 default
APPLICATION_ID = 0x444D5333  # "DMS3", in the header of the file
_CURSORS_NOTED = 256  # then those that are gone are struck off

_FULL = 13  # SQLite result codes; the low byte of an extended code
_CORRUPT = 11
_NOTADB = 26
_IOERR = 10
_BUSY = 5
_READONLY = 8
_CANTOPEN = 14


def connect(path: Path, key: bytes, *, writer: bool) -> Any:
    """A connection to the database at `path` with the raw 32-byte `key`.

    In autocommit mode, usable from any thread by one at a time. A reader can change nothing.
    Raises `passphrase_wrong`, `store_corrupt`, or what the disk says.
    """
    assert len(key) == KEY_BYTES, f"a store key has {KEY_BYTES} bytes, not {len(key)}"
    connection = dbapi2.connect(str(path), isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA cipher_log_level = NONE")  # it would write to standard error
    _set_key(connection, key)
    _check_key(connection, path)
    connection.execute(f"PRAGMA busy_timeout = {STORE_BUSY_MS_MAX}")
    connection.execute("PRAGMA temp_store = MEMORY")  # sorting leaves nothing on disk
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    if writer:
        connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
        connection.execute("PRAGMA cache_size = -16000")
    else:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cache_size = -4000")
    return connection


def _set_key(connection: Any, key: bytes) -> None:
    connection.execute(f"PRAGMA key = \"x'{key.hex()}'\"")


class Session:
    """What a work or a reader is given: statements, as long as it runs and no longer.

    The driver below shares prepared statements among the cursors of a connection. A cursor that
    outlived its work would reset a statement, from another thread, that is already used again, or
    hold an old snapshot open. So `end` closes whatever is left.
    """

    __slots__ = ("_connection", "_cursors")

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._cursors: list[weakref.ref[Any]] = []

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        """Run one statement; rows are read from the result before the work ends."""
        cursor = self._connection.execute(sql, parameters)
        if cursor.description is not None:  # it gives rows, so it may be left half read
            if len(self._cursors) >= _CURSORS_NOTED:
                self._cursors = [cursor for cursor in self._cursors if cursor() is not None]
            self._cursors.append(weakref.ref(cursor))
        return cursor

    def executemany(self, sql: str, parameters: Iterable[Sequence[Any]], /) -> Any:
        """Run one statement once per row of parameters; the result has only a row count."""
        cursor = self._connection.executemany(sql, parameters)
        cursor.close()
        return cursor

    def end(self) -> None:
        """Close every cursor; later statements raise."""
        for reference in self._cursors:
            cursor = reference()
            if cursor is not None:
                cursor.close()
        self._cursors.clear()
        self._connection = _Ended()


class _Ended:
    """Stands where the connection was."""

    def execute(self, _sql: str, _parameters: object) -> None:
        raise AssertionError("a connection was used after its work had ended")

    executemany = execute


def enter_wal(connection: Any) -> None:
    """Set the durability of a writer: write-ahead log, flushed at every commit.

    A new file is laid out so that free pages can be given back to the disk.
    """
    if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise Dms3Error(
            "home_unusable",
            f"The database cannot use a write-ahead log here (mode {mode}).",
            hint="Put the home folder on a local file system.",
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {STORE_WAL_BYTES_MAX}")


def empty_log(connection: Any) -> bool:
    """Move the log of a writer into the database and truncate it; False when a reader is in it."""
    connection.execute(f"PRAGMA busy_timeout = {STORE_TRUNCATE_MS_MAX}")
    try:
        busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        connection.execute(f"PRAGMA busy_timeout = {STORE_BUSY_MS_MAX}")
    return not busy


def _check_key(connection: Any, path: Path) -> None:
    """Read the first page: the key is checked by nothing else."""
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except Error as cause:
        failed = _failed_pages(connection)
        connection.close()
        if getattr(cause, "sqlite_errorcode", 0) & 0xFF != _NOTADB or failed is None:
            raise explain(cause, path) from cause
        raise _key_or_damage(path, failed) from cause


def check_pages(connection: Any, path: Path) -> None:
    """Raise `store_corrupt` when a page of a file of STORE_CHECK_BYTES_MAX or less is damaged.

    A larger file would hold up the start; its damage shows when a page is read, or to `doctor`.
    """
    if not PAGE_BYTES <= path.stat().st_size <= STORE_CHECK_BYTES_MAX:
        return
    failed = _failed_pages(connection)
    if failed:  # a page that was torn by a power cut is still whole in the log
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        failed = _failed_pages(connection)
    if failed:
        raise _key_or_damage(path, failed)


def _failed_pages(connection: Any) -> int | None:
    """How many pages fail their checksum; None when even that cannot be told."""
    try:
        return len(connection.execute("PRAGMA cipher_integrity_check").fetchall())
    except Error:
        return None


def _key_or_damage(path: Path, failed: int) -> Dms3Error:
    """Every page carries a keyed checksum: a wrong key fails on all of them, damage on some."""
    pages = path.stat().st_size // PAGE_BYTES
    if pages > 0 and failed >= pages:
        return Dms3Error(
            "passphrase_wrong",
            f"{path.name} does not open with this key.",
            hint="Use the key file of this home, or restore both from one backup.",
        )
    return Dms3Error(
        "store_corrupt",
        f"{path.name} is damaged: {failed} of {pages} pages fail their checksum.",
        hint="Restore the home folder from a backup.",
    )


def explain(cause: BaseException, path: Path) -> Dms3Error:
    """The error people see for a failure of SQLite or of the file system under it."""
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    name = getattr(cause, "sqlite_errorname", type(cause).__name__)
    if code == _FULL:
        return Dms3Error(
            "disk_full",
            f"No space is left for {path.name}.",
            hint="Free some space; nothing that was confirmed is lost.",
        )
    if code in (_CORRUPT, _NOTADB):
        return Dms3Error(
            "store_corrupt",
            f"{path.name} is damaged ({name}).",
            hint="Restore the home folder from a backup.",
        )
    if code == _BUSY:
        return Dms3Error(
            "node_busy", f"Another program holds {path.name}.", hint="Try again in a moment."
        )
    if code in (_IOERR, _READONLY, _CANTOPEN):
        return Dms3Error(
            "home_unusable",
            f"{path.name} cannot be read or written ({name}).",
            hint="Check the disk and the permissions of the home folder.",
        )
    return Dms3Error("internal", f"The database refused a statement ({name}).")


def is_fatal(cause: BaseException) -> bool:
    """Whether nothing written after `cause` could be trusted (a failed flush, a damaged file)."""
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF in (_IOERR, _CORRUPT, _NOTADB)


def migrate(connection: Any, path: Path, migrations: Sequence[Migration], reserve: int) -> None:
    """Bring the database to the newest of `migrations`, after a copy of the file it was.

    `reserve`: bytes that stay free on the disk. Raises `home_newer` when the file is ahead of this
    program, and `disk_full` when the copy has no room.
    """
    numbers = [migration.number for migration in migrations]
    assert numbers == list(range(1, len(numbers) + 1)), f"migrations have a gap: {numbers}"
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise Dms3Error(
            "home_newer",
            f"This home has database version {version}; this program knows {len(migrations)}.",
            hint="Use the newer program, or the copy it kept next to the database.",
        )
    if version == len(migrations):
        return
    if version > 0:
        _keep_copy(connection, path, version, reserve)
    for migration in migrations[version:]:
        _apply(connection, path, migration)


def copy_path(path: Path, version: int) -> Path:
    """Where the copy of a database of `version` is kept."""
    return path.with_name(f"{path.name}.v{version}")


def _keep_copy(connection: Any, path: Path, version: int, reserve: int) -> None:
    """Copy the whole file beside it, durably, or not at all."""
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    check_space(path.parent, reserve, path.stat().st_size)
    target = copy_path(path, version)
    part = target.with_name(target.name + ".part")
    connection.execute("BEGIN IMMEDIATE")  # no other process writes while the file is copied
    try:
        with path.open("rb") as source, part.open("wb") as copy:
            part.chmod(0o600)
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())
        part.replace(target)
        flush_folder(path.parent)
    except OSError as cause:
        part.unlink(missing_ok=True)
        raise Dms3Error(
            "home_unusable", f"The copy of {path.name} failed: {cause.strerror}."
        ) from cause
    finally:
        connection.execute("ROLLBACK")


def _apply(connection: Any, path: Path, migration: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in migration.statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {migration.number}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    except Error as cause:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        error = explain(cause, path)
        if error.code != "internal":
            raise error from cause
        raise Dms3Error(
            "home_unusable",
            f"Database change {migration.number} ({migration.name}) failed: {cause}.",
            hint="The database is unchanged; please report this.",
        ) from cause


def private_file(path: Path) -> None:
    """Create `path`, readable by its owner only, when it is not there; durable."""
    try:
        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.close(number)
        flush_folder(path.parent)
    except OSError as cause:
        raise Dms3Error(
            "home_unusable",
            f"{path} cannot be opened: {cause.strerror}.",
            hint="Check the folder and its permissions.",
        ) from cause
