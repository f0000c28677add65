"""A home brought back from a backup: beside the home, checked, then put in its place in one step.

Source: docs/adr/0006-backups.md. Everything goes into HOME/restored first, so a home is untouched
until all of it is there and has been read back; one that was killed goes on where it was. Person,
documents, contacts and grants come back; node key, device and store key are the new home's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path

from dms3.core.database import Connection
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    BACKUP_OBJECT_BYTES_MAX,
    BACKUP_PART_BYTES,
    DISK_RESERVE_BYTES_MIN,
    RESTORE_WRITES_MAX,
)
from dms3.core.machine import Entropy, Persist
from dms3.core.rows import decode_rows
from dms3.crypto.backup import BackupKeys, ForeignError, Manifest, NewerError, SavedPack, SavedTable
from dms3.crypto.seal import NONCE_BYTES
from dms3.io import tables
from dms3.io.disk import check_space, flush_folder, write_error
from dms3.io.objects import ObjectFolder
from dms3.io.packfile import pack_path, seal_key
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node.backing import DEVICE, RESTORED, part_places
from dms3.node.checking import Verified, check_stored
from dms3.node.home import Home, write_private
from dms3.node.identity import Identity, keep_identity

_STATES = "INSERT INTO state (tbl, key, value) VALUES (?, ?, ?)"
_PIECES = "restoring/pieces"  # those that are written, until all are


Write = Callable[[Connection], None]
"""Writes one piece, on the writer thread."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back, and what a check of all of it found."""

    manifest: Manifest
    verified: Verified


class Restoration:
    """One run; `run` in a thread, `done_bytes` and `total_bytes` may be read meanwhile.

    `home`: an empty home whose lock the caller holds. `identity`: who it will be, of the person of
    the backup.
    """

    def __init__(
        self,
        folder: ObjectFolder,
        home: Home,
        keys: tuple[bytes, bytes],
        identity: Identity,
        entropy: Entropy,
        generation: int | None,
    ) -> None:
        """`keys`: of the store, and that of pack keys. `generation`: None is the newest."""
        self._folder = folder
        self.home = home
        self._key, self._packs_key = keys
        self.identity = identity
        self._entropy = entropy
        self._generation = generation
        self._keys = BackupKeys(identity.tree)
        self.result: Restored | None = None
        self.done_bytes = 0
        self.total_bytes = 0
        self.stopped = False

    def run(self) -> None:
        """Bring everything beside the home and check it; then `Home.adopt` may take it.

        Raises `not_found`, `words_invalid`, `home_newer`, `store_corrupt`, `disk_full`.
        """
        manifest, data = read_manifest(self._folder, self._keys, self._generation)
        self._measure(manifest)
        try:
            self._begin(data)
            for pack in manifest.packs:
                self._pack(pack)
            flush_folder(self.home.staged_packs)
            self._database(manifest)
        except OSError as cause:
            raise write_error(cause, "the restoration") from cause
        except DecodeError as error:
            raise Dms3Error(
                "store_corrupt", f"The backup does not fit this program: {error.reason}."
            ) from error
        path = self.home.staged / self.home.database.name
        verified = check_stored(path, self.home.staged_packs, (self._key, self._packs_key))
        self.result = Restored(manifest, verified)
        write_private(self.home.staged_ready, b"\n")
        flush_folder(self.home.staged)

    def _measure(self, manifest: Manifest) -> None:
        """Look for every object before anything is written; raises `store_corrupt`."""
        self.total_bytes = sum(map(self._folder.size, sorted(manifest.objects())))
        check_space(self.home.path, DISK_RESERVE_BYTES_MIN, self.total_bytes)

    def _begin(self, manifest: bytes) -> None:
        """Make the folder beside the home; one of another backup is no use."""
        mine = self.home.staged / "manifest"
        if not mine.exists() or mine.read_bytes() != manifest:
            shutil.rmtree(self.home.staged, ignore_errors=True)
            self.home.staged_packs.mkdir(mode=0o700, parents=True)
            write_private(mine, manifest)
        self.home.staged_ready.unlink(missing_ok=True)

    # packs

    def _pack(self, pack: SavedPack) -> None:
        """One pack file, whole and flushed, every part of it hashed."""
        path = pack_path(self.home.staged_packs, pack.name)
        if len(pack.parts) != len(list(part_places(pack.end))):
            raise DecodeError(0, "a pack has another number of parts")
        if path.exists() and self._is_whole(path, pack):
            self._count(pack.end)
            return
        draft = path.with_name(path.name + ".draft")
        with open_private(draft) as number:
            for name, (_, size) in zip(pack.parts, part_places(pack.end), strict=True):
                data = self._folder.get(name, size)
                self._verify(name, data)
                _write_all(number, data)
                self._count(size)
            os.fsync(number)
        draft.replace(path)

    def _is_whole(self, path: Path, pack: SavedPack) -> bool:
        with path.open("rb") as file, contextlib.suppress(DecodeError):
            for name in pack.parts:
                self._keys.check(name, file.read(BACKUP_PART_BYTES))
            return not file.read(1)
        return False

    def _verify(self, name: bytes, data: bytes) -> None:
        try:
            self._keys.check(name, data)
        except DecodeError as error:
            raise _damaged(name, error) from error

    # the database

    def _database(self, manifest: Manifest) -> None:
        path = self.home.staged / self.home.database.name
        if manifest.schema > len(MIGRATIONS):
            raise _newer(f"its database has version {manifest.schema}")
        store = Store.open(path, self._key, MIGRATIONS[: manifest.schema])
        try:
            if store.view().get(RESTORED, DEVICE) is None:
                self._fill(store, manifest)
        finally:
            store.close()
        if manifest.schema < len(MIGRATIONS):  # its copy of the older one is of no use
            Store.open(path, self._key, MIGRATIONS).close()
            for copy in self.home.staged.glob(f"{path.name}.v*"):
                copy.unlink()

    def _fill(self, store: Store, manifest: Manifest) -> None:
        """Every piece in a transaction of its own, with a mark, so that none is written twice."""
        with store.read() as connection:
            done = {
                row[0]
                for row in connection.execute("SELECT key FROM state WHERE tbl = ?", (_PIECES,))
            }
        waiting: deque[Future[None]] = deque()
        for number, prepare in enumerate(self._writes(manifest)):
            mark = number.to_bytes(8, "big")
            if mark in done:
                self._count(0)
                continue

            waiting.append(store.transact(_marked(prepare(), mark)))
            while len(waiting) >= RESTORE_WRITES_MAX:
                waiting.popleft().result()
        while waiting:
            waiting.popleft().result()
        store.transact(lambda connection: self._finish(connection, manifest)).result()

    def _writes(self, manifest: Manifest) -> Iterator[Callable[[], Write]]:
        """What reads and gives each thing to be written, in order."""
        yield lambda: lambda connection: self._pack_rows(connection, manifest)
        for table in manifest.tables:
            if table.sql:
                yield (
                    lambda table=table: (
                        lambda connection: tables.make_table(  # type: ignore[misc]
                            connection, table.name, table.sql
                        )
                    )
                )
            for name in table.pieces:
                yield lambda table=table, name=name: self._piece(table, name)  # type: ignore[misc]

    def _piece(self, table: SavedTable, name: bytes) -> Write:
        sealed = self._folder.get(name, BACKUP_OBJECT_BYTES_MAX)
        try:
            found = decode_rows(self._keys.open(name, sealed), table.columns)
        except DecodeError as error:
            raise _damaged(name, error) from error
        self._count(len(sealed))

        def write(connection: Connection) -> None:
            if tables.columns_of(connection, table.name) != table.columns:
                raise DecodeError(0, f"table {table.name} has other columns")
            tables.insert(connection, table.name, found)

        return write

    def _pack_rows(self, connection: Connection, manifest: Manifest) -> None:
        for pack in manifest.packs:
            nonce = self._entropy.draw(NONCE_BYTES)
            sealed = seal_key(self._packs_key, nonce, pack.name, pack.key)
            connection.execute(
                "INSERT INTO pack (id, name, key) VALUES (?, ?, ?)",
                (pack.number, pack.name, sealed),
            )

    def _finish(self, connection: Connection, manifest: Manifest) -> None:
        connection.execute("DELETE FROM state WHERE tbl = ?", (_PIECES,))
        identity = replace(self.identity, name=manifest.name)
        for kept in (keep_identity(identity), Persist(RESTORED, DEVICE, manifest.device)):
            connection.execute(_STATES, (kept.table, kept.key, kept.value))

    def _count(self, size: int) -> None:
        self.done_bytes += size
        if self.stopped:
            raise Dms3Error(
                "cancelled",
                "The restoration was stopped.",
                hint="The same command goes on with it.",
            )


def read_manifest(
    folder: ObjectFolder, keys: BackupKeys, generation: int | None
) -> tuple[Manifest, bytes]:
    """The manifest `generation` (None: the newest) and its file.

    Raises `not_found`, `words_invalid` for another person's, `home_newer`, `store_corrupt`.
    """
    numbers = folder.generations()
    if not numbers:
        raise Dms3Error(
            "not_found",
            f"There is no backup in {folder.path}.",
            hint="Name the folder that `dms3 store backup` wrote to.",
        )
    number = numbers[-1] if generation is None else generation
    data = folder.manifest(number)
    try:
        return keys.open_manifest(number, data), data
    except ForeignError as error:
        raise Dms3Error(
            "words_invalid",
            f"The backup in {folder.path} is of another person than that of these words.",
            hint="Check the words, or the folder.",
        ) from error
    except NewerError as error:
        raise _newer(error.reason) from error
    except DecodeError as error:
        older = ", ".join(str(one) for one in numbers if one != number)
        raise Dms3Error(
            "store_corrupt",
            f"Generation {number} of the backup in {folder.path} is damaged: {error.reason}.",
            hint=f"Take another one with --generation: {older}." if older else "",
        ) from error


@contextlib.contextmanager
def open_private(path: Path) -> Iterator[int]:
    """A descriptor of a new file that only its owner can read."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        yield number
    finally:
        os.close(number)


def _marked(write: Write, mark: bytes) -> Write:
    """`write`, and that it was done."""

    def work(connection: Connection) -> None:
        write(connection)
        connection.execute(_STATES, (_PIECES, mark, b""))

    return work


def _write_all(number: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(number, rest) :]


def _damaged(name: bytes, error: DecodeError) -> Dms3Error:
    return Dms3Error(
        "store_corrupt",
        f"The file {name.hex()} of the backup is damaged: {error.reason}.",
        hint="Take an older generation with --generation, or another copy of the folder.",
    )


def _newer(reason: str) -> Dms3Error:
    return Dms3Error(
        "home_newer",
        f"This backup was made by a newer program: {reason}.",
        hint="Use that program.",
    )
