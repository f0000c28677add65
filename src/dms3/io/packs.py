"""Content-addressed blocks: small ones are rows, large ones are sealed records in pack files.

Source: docs/architecture.md, "Where data lies". The key of a pack lies, sealed under the store key,
in its row: without the row nobody can read the file. A record counts only when a committed row
names its place, so a torn tail is nothing. `io/packfile.py` is the form of a pack,
`io/packstage.py` the way in, `io/packsweep.py` the way out. This module does not know documents or
spaces.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dms3.core.cid import Cid
from dms3.core.database import Connection, Database
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import DISK_RESERVE_BYTES_MIN, SWEEP_ROWS_MAX
from dms3.core.machine import Entropy
from dms3.io.disk import hold_folder
from dms3.io.packfile import MARK, PackAppender, PackReader, decode_record, pack_path, unseal_key
from dms3.io.packstage import Staged, Staging, attach
from dms3.io.packsweep import PackUse, Sweeper, Swept

__all__ = ["Damage", "KeptPack", "PackUse", "Packs", "Staged", "Swept"]

_FIND = (
    "SELECT block.data, block.size, block.place, block.length, pack.name, pack.key "
    "FROM block LEFT JOIN pack ON pack.id = block.pack WHERE block.cid = ?"
)


@dataclass(frozen=True, slots=True)
class Damage:
    """A stored block that cannot be given back: `reason` says what was found instead."""

    cid: Cid
    reason: str


@dataclass(frozen=True, slots=True)
class KeptPack:
    """A pack for a backup: row number, name, its own key, the bytes that count, where it lies."""

    number: int
    name: bytes
    key: bytes = field(repr=False)
    end: int
    path: Path


class Packs:
    """The blocks of one home; see the module docstring. One object per folder at a time."""

    def __init__(
        self,
        folder: Path,
        key: bytes,
        database: Database,
        entropy: Entropy,
        *,
        reserve: int = DISK_RESERVE_BYTES_MIN,
    ) -> None:
        """Opens `folder` (made when missing) and removes what no committed row names.

        `key`: 32 bytes that seal the pack keys. `reserve`: bytes that stay free on the disk.
        Raises `home_in_use` while another object or process has the folder open.
        """
        self._folder = folder
        self._key = key
        self._database = database
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._held: int | None = hold_folder(folder)
        self._appender = PackAppender(folder, key, entropy, reserve)
        self._reader = PackReader(folder)
        self._staging = Staging(database, self._appender)
        self._sweeper = Sweeper(database, self._staging, self._reader, self.get)
        self._recover()

    def stage(self, blocks: Iterable[tuple[Cid, bytes]]) -> Staged:
        """Take `blocks` (each CID with its own bytes) on their way in; for any thread.

        Large blocks are sealed and appended now, not yet flushed; blocks already stored are only
        noted. The caller vouches that each CID names its bytes. Raises `disk_full`.
        """
        return self._staging.stage(blocks)

    def sync(self) -> None:
        """Make every staged record durable; before the transaction that attaches it.

        Raises `disk_full` or `home_unusable`; the records of that pack can then never be attached.
        """
        self._appender.sync()

    def attach(self, connection: Connection, staged: Staged) -> None:
        """Insert the rows of `staged` inside the caller's transaction, after `sync`.

        Raises `node_busy` when a block that was stored at `stage` has been removed since: stage
        again.
        """
        attach(connection, staged)

    def has(self, cid: Cid) -> bool:
        """Whether the block is stored (committed)."""
        return self.size(cid) is not None

    def size(self, cid: Cid) -> int | None:
        """Bytes of the block, or None when it is not stored."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT size FROM block WHERE cid = ?", (cid.binary,)
            ).fetchone()
        return None if row is None else int(row[0])

    def get(self, cid: Cid) -> bytes | None:
        """The block, or None when it is not stored; for any thread.

        Raises `store_corrupt` when its record is damaged or gone.
        """
        row = self._row(cid)
        while row is not None:
            try:
                return self._open(cid, row)
            except DecodeError as cause:
                again = self._row(cid)
                if again == row:
                    raise Dms3Error(
                        "store_corrupt",
                        f"Block {cid} cannot be read back: {cause.reason}.",
                        hint="Run `dms3 doctor`, then import the document again.",
                    ) from cause
                row = again  # it was moved or removed in between
        return None

    def verify(self, progress: Callable[[int], None] = lambda _: None) -> Iterator[Damage]:
        """Read back and hash every stored block, in order of its place; yields what is damaged.

        `progress` is called with the bytes of each block. For a worker thread; blocks that come or
        go meanwhile are no damage.
        """
        with self._database.read() as connection:
            (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM block").fetchone() or (
                0,
            )
        for start in range(0, int(last), SWEEP_ROWS_MAX):
            with self._database.read() as connection:
                rows = connection.execute(
                    "SELECT cid, size FROM block WHERE id > ? AND id <= ? ORDER BY pack, place, id",
                    (start, start + SWEEP_ROWS_MAX),
                ).fetchall()
            for binary, size in rows:
                cid = Cid(binary)
                reason = self._damage_of(cid)
                progress(size)
                if reason is not None:
                    yield Damage(cid, reason)

    def sweep(self, referenced: str) -> Swept:
        """Remove every block whose CID the SQL query `referenced` does not give.

        For a worker thread: it waits for the writer. Works on a full disk. `referenced` is text of
        this program, for example "SELECT cid FROM space_block".
        """
        return sum(self.sweeping(referenced), Swept())

    def sweeping(self, referenced: str) -> Iterator[Swept]:
        """As `sweep`, in steps; whoever takes them decides about the pace.

        A step is one transaction: SWEEP_ROWS_MAX rows looked at, SWEEP_BYTES_MAX bytes removed or
        moved, SHRINK_PAGES_MAX pages given back. Blocks staged at the moment stay. A pack without
        blocks is deleted; one that is mostly dead is rewritten without its dead records, then
        deleted; free pages of the database go back to the disk.
        """
        return self._sweeper.steps(referenced)

    def release(self, cids: Sequence[Cid], referenced: str) -> Swept:
        """Remove those of `cids` that `referenced` does not give; as `sweep`, of these alone.

        Their bytes in packs go with the next sweep. For a worker thread.
        """
        return self._sweeper.release(cids, referenced)

    @contextlib.contextmanager
    def pinned(self) -> Iterator[None]:
        """While the block runs no pack file is deleted, so that a snapshot's packs can be read.

        Blocks may move meanwhile; packs that have become empty go with the next sweep.
        """
        with self._staging.pinned():
            # What a sweep had already chosen to delete is committed before a snapshot is taken.
            self._database.transact(lambda _: None, frees_space=True).result()
            yield

    def use(self) -> list[PackUse]:
        """Every pack with its bytes on disk and its dead bytes (records no row names)."""
        return self._sweeper.use()

    def kept(self, connection: Connection) -> list[KeptPack]:
        """Every pack that blocks lie in, as `connection` sees them; read them while `pinned`.

        Raises `store_corrupt` when the key of one cannot be read.
        """
        rows = connection.execute(
            "SELECT pack.id, pack.name, pack.key, max(block.place + block.length) FROM pack "
            "JOIN block ON block.pack = pack.id GROUP BY pack.id ORDER BY pack.id"
        ).fetchall()
        found = []
        for number, name, sealed_key, end in rows:
            try:
                key = unseal_key(self._key, name, sealed_key)
            except DecodeError as cause:
                raise Dms3Error(
                    "store_corrupt",
                    f"The key of pack {name.hex()} cannot be read.",
                    hint="Run `dms3 store verify` to see what is lost.",
                ) from cause
            found.append(KeptPack(number, name, key, end, pack_path(self._folder, name)))
        return found

    def close(self) -> None:
        """Flush and close every file; a second time changes nothing."""
        held, self._held = self._held, None
        if held is not None:
            self._appender.close()
            self._reader.close()
            os.close(held)

    # reading

    def _row(self, cid: Cid) -> tuple[Any, ...] | None:
        with self._database.read() as connection:
            return connection.execute(_FIND, (cid.binary,)).fetchone()

    def _open(self, cid: Cid, row: tuple[Any, ...]) -> bytes:
        """The block that `row` describes; raises DecodeError for damage."""
        data, size, place, length, name, sealed_key = row
        if data is None:
            record = self._reader.read(name, place, length)
            data = decode_record(unseal_key(self._key, name, sealed_key), name, cid, record)
        if len(data) != size:
            raise DecodeError(0, f"{len(data)} bytes instead of {size}")
        return bytes(data)

    def _damage_of(self, cid: Cid) -> str | None:
        try:
            data = self.get(cid)
        except Dms3Error as error:
            return error.message
        if data is None or cid.matches(data):
            return None
        return f"its {len(data)} bytes have another hash"

    def _recover(self) -> None:
        """Cut off and delete what was written but never committed; go on in the last pack."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT pack.name, pack.key, max(block.place + block.length) FROM pack "
                "LEFT JOIN block ON block.pack = pack.id GROUP BY pack.id ORDER BY pack.id"
            ).fetchall()
        ends = {pack_path(self._folder, name): end or len(MARK) for name, _, end in rows}
        for path in sorted(self._folder.glob("*.pack")):
            if path not in ends:
                path.unlink()
            elif path.stat().st_size > ends[path]:
                os.truncate(path, ends[path])
        if rows:
            name, sealed_key, end = rows[-1]
            self._appender.resume(name, sealed_key, end or len(MARK))
