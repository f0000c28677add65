"""Content-addressed blocks: small ones are rows, large ones are sealed records in pack files.

Source: docs/architecture.md, "Where data lies". The key of a pack lies, sealed under the store key,
in its row: without the row nobody can read the file. A record counts only when a committed row
names its place, so a torn tail is nothing. `io/packfile.py` is the form of a pack. This module
does not know documents or spaces.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dms3.core.cid import Cid
from dms3.core.database import Connection, Database
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    BLOCK_BYTES_MAX,
    DISK_RESERVE_BYTES_MIN,
    PACK_COMPACT_DEAD_FRACTION,
    PACK_RECORD_BYTES_MIN,
    SHRINK_PAGES_MAX,
    STAGE_BLOCKS_MAX,
    STAGE_BYTES_MAX,
    SWEEP_BYTES_MAX,
    SWEEP_ROWS_MAX,
)
from dms3.core.machine import Entropy
from dms3.io.disk import hold_folder
from dms3.io.packfile import (
    MARK,
    PackAppender,
    PackFile,
    PackReader,
    Record,
    decode_record,
    pack_path,
    unseal_key,
)

_FIND = (
    "SELECT block.data, block.size, block.place, block.length, pack.name, pack.key "
    "FROM block LEFT JOIN pack ON pack.id = block.pack WHERE block.cid = ?"
)
_PUT_SMALL = "INSERT INTO block (cid, size, data) VALUES (?, ?, ?) ON CONFLICT (cid) DO NOTHING"
_PUT_LARGE = (
    "INSERT INTO block (cid, size, pack, place, length) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (cid) DO NOTHING"
)
_SWEEPABLE = "SELECT id, cid, size FROM block WHERE id > ? AND id <= ? AND cid NOT IN"
_UNNEEDED = "SELECT size FROM block WHERE cid = ? AND cid NOT IN"
_MOVE = (
    "UPDATE block SET pack = ?, place = ?, length = ? "
    "WHERE cid = ? AND pack = (SELECT id FROM pack WHERE name = ?)"
)
_PUT_PACK = "INSERT INTO pack (name, key) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"


@dataclass(frozen=True, slots=True)
class Damage:
    """A stored block that cannot be given back: `reason` says what was found instead."""

    cid: Cid
    reason: str


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed: blocks, their bytes, pack files; `moved`: blocks it rewrote."""

    blocks: int = 0
    bytes: int = 0
    packs: int = 0
    moved: int = 0

    def __add__(self, other: Swept) -> Swept:
        """What both removed."""
        return Swept(
            self.blocks + other.blocks,
            self.bytes + other.bytes,
            self.packs + other.packs,
            self.moved + other.moved,
        )


@dataclass(frozen=True, slots=True)
class PackUse:
    """One pack file: its name, its bytes on disk, and how many of them no block needs."""

    name: bytes
    bytes: int
    dead_bytes: int


@dataclass(frozen=True, slots=True)
class KeptPack:
    """A pack for a backup: row number, name, its own key, the bytes that count, where it lies."""

    number: int
    name: bytes
    key: bytes = field(repr=False)
    end: int
    path: Path


@dataclass(slots=True, eq=False, weakref_slot=True)
class Staged:
    """Blocks on their way into a transaction; a sweep leaves them alone while this object lives.

    `new_bytes`: bytes of the blocks that were not stored yet.
    """

    small: dict[Cid, bytes] = field(default_factory=dict, repr=False)
    large: dict[Cid, Record] = field(default_factory=dict, repr=False)
    known: set[Cid] = field(default_factory=set, repr=False)
    new_bytes: int = 0

    def __contains__(self, cid: Cid) -> bool:
        return cid in self.small or cid in self.large or cid in self.known


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
        self._lock = threading.Lock()  # what is staged
        self._staged: weakref.WeakSet[Staged] = weakref.WeakSet()
        self._pins = 0  # readers of whole packs
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._held: int | None = hold_folder(folder)
        self._appender = PackAppender(folder, key, entropy, reserve)
        self._reader = PackReader(folder)
        self._recover()

    def stage(self, blocks: Iterable[tuple[Cid, bytes]]) -> Staged:
        """Take `blocks` (each CID with its own bytes) on their way in; for any thread.

        Large blocks are sealed and appended now, not yet flushed; blocks already stored are only
        noted. The caller vouches that each CID names its bytes. Raises `disk_full`.
        """
        staged = Staged()
        with self._lock:
            self._staged.add(staged)
        waiting: dict[Cid, bytes] = {}
        size = 0
        for cid, data in blocks:
            assert len(data) <= BLOCK_BYTES_MAX, f"a block of {len(data)} bytes"
            if cid in waiting or cid in staged:
                continue
            waiting[cid] = data
            size += len(data)
            if len(waiting) == STAGE_BLOCKS_MAX or size >= STAGE_BYTES_MAX:
                self._stage_some(staged, waiting)
                waiting, size = {}, 0
        self._stage_some(staged, waiting)
        return staged

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
        for cid, data in staged.small.items():
            connection.execute(_PUT_SMALL, (cid.binary, len(data), data))
        rows: dict[bytes, int] = {}
        for record in staged.large.values():
            number = _pack_row(connection, record, rows)
            connection.execute(
                _PUT_LARGE, (record.cid.binary, record.size, number, record.place, record.length)
            )
        for cid in sorted(staged.known):
            if not _is_stored(connection, cid):
                raise Dms3Error(
                    "node_busy", f"Block {cid} was removed meanwhile.", hint="Try the same again."
                )

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
        with self._database.read() as connection:
            last = _last_block(connection)
        start = 0
        while start < last:
            step = functools.partial(self._sweep_step, referenced=referenced, start=start)
            removed, size, start = self._database.transact(step, frees_space=True).result()
            yield Swept(removed, size)
        yield Swept(packs=self._delete_dead())
        moved = 0
        for use in self.use():
            if use.dead_bytes > use.bytes * PACK_COMPACT_DEAD_FRACTION:
                for count in self._compact(use.name):
                    moved += count
                    yield Swept(moved=count)
        if moved > 0:
            yield Swept(packs=self._delete_dead())
        while self._database.transact(_shrink, frees_space=True).result():
            yield Swept()

    def release(self, cids: Sequence[Cid], referenced: str) -> Swept:
        """Remove those of `cids` that `referenced` does not give; as `sweep`, of these alone.

        Their bytes in packs go with the next sweep. For a worker thread.
        """
        total = Swept()
        for start in range(0, len(cids), STAGE_BLOCKS_MAX):
            some = cids[start : start + STAGE_BLOCKS_MAX]
            step = functools.partial(self._release, cids=some, referenced=referenced)
            total += self._database.transact(step, frees_space=True).result()
        return total

    @contextlib.contextmanager
    def pinned(self) -> Iterator[None]:
        """While the block runs no pack file is deleted, so that a snapshot's packs can be read.

        Blocks may move meanwhile; packs that have become empty go with the next sweep.
        """
        with self._lock:
            self._pins += 1
        try:
            # What a sweep had already chosen to delete is committed before a snapshot is taken.
            self._database.transact(lambda _: None, frees_space=True).result()
            yield
        finally:
            with self._lock:
                self._pins -= 1

    def use(self) -> list[PackUse]:
        """Every pack with its bytes on disk and its dead bytes (records no row names)."""
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT pack.name, coalesce(sum(block.length), 0) FROM pack "
                "LEFT JOIN block ON block.pack = pack.id GROUP BY pack.id ORDER BY pack.id"
            ).fetchall()
        uses = []
        for name, live in rows:
            with contextlib.suppress(FileNotFoundError):
                size = pack_path(self._folder, name).stat().st_size
                uses.append(PackUse(name, size, max(0, size - live - len(MARK))))
        return uses

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

    # adding

    def _stage_some(self, staged: Staged, blocks: dict[Cid, bytes]) -> None:
        """Note those of `blocks` that are stored, place the others."""
        with self._lock:
            staged.known.update(blocks)  # before looking: from here on no sweep removes them
        with self._database.read() as connection:
            new = [cid for cid in blocks if not _is_stored(connection, cid)]
        for cid in new:
            self._place(staged, cid, blocks[cid])

    def _place(self, staged: Staged, cid: Cid, data: bytes) -> None:
        """Note a small block, or append a large one; then it is no longer a known one."""
        with self._lock:
            if len(data) >= PACK_RECORD_BYTES_MIN:
                staged.large[cid] = self._appender.append(cid, data)
            else:
                staged.small[cid] = data
            staged.known.discard(cid)
        staged.new_bytes += len(data)

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

    # sweeping and recovery

    def _sweep_step(
        self, connection: Connection, referenced: str, start: int
    ) -> tuple[int, int, int]:
        """Blocks and bytes removed behind row `start`, and the row to go on behind."""
        end = start + SWEEP_ROWS_MAX
        query = f"{_SWEEPABLE} ({referenced}) ORDER BY id"
        rows = connection.execute(query, (start, end)).fetchall()
        with self._lock:
            staged = list(self._staged)
            free = [row for row in rows if not any(Cid(row[1]) in one for one in staged)]
        size = 0
        for index, (number, _, length) in enumerate(free):
            size += length
            if size >= SWEEP_BYTES_MAX:
                free, end = free[: index + 1], number
                break
        connection.executemany("DELETE FROM block WHERE id = ?", [(row[0],) for row in free])
        return len(free), size, end

    def _release(self, connection: Connection, cids: Sequence[Cid], referenced: str) -> Swept:
        query = f"{_UNNEEDED} ({referenced})"
        with self._lock:
            staged = list(self._staged)
            free = [cid for cid in cids if not any(cid in one for one in staged)]
        swept = Swept()
        for cid in free:
            row = connection.execute(query, (cid.binary,)).fetchone()
            if row is not None:
                connection.execute("DELETE FROM block WHERE cid = ?", (cid.binary,))
                swept += Swept(1, row[0])
        return swept

    def _delete_dead(self) -> int:
        """Delete every pack no block lies in; the number of them."""
        names = self._database.transact(self._forget_packs, frees_space=True).result()
        for name in names:
            self._reader.forget(name)
            pack_path(self._folder, name).unlink(missing_ok=True)
        return len(names)

    def _forget_packs(self, connection: Connection) -> list[bytes]:
        """Delete the rows of packs without blocks; their files can go after the commit."""
        rows = connection.execute(
            "SELECT id, name FROM pack "
            "WHERE NOT EXISTS (SELECT 1 FROM block WHERE block.pack = pack.id)"
        ).fetchall()
        with self._lock:
            used = self._packs_in_use()
            free = [] if self._pins else rows
            gone = [(number, name) for number, name in free if name not in used]
            names = [name for _, name in gone]
            self._appender.retire(names)
        connection.executemany("DELETE FROM pack WHERE id = ?", [(number,) for number, _ in gone])
        return names

    def _packs_in_use(self) -> set[bytes]:
        """Names of packs with records on their way; the caller holds the lock."""
        return {record.pack.name for staged in self._staged for record in staged.large.values()}

    def _compact(self, name: bytes) -> Iterator[int]:
        """Move the blocks of pack `name` into the newest pack; the number moved in each step.

        A pack with a damaged record stays as it is, for `verify` to report.
        """
        with self._lock:
            if name in self._packs_in_use():
                return
            self._appender.retire([name])
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT cid, size FROM block "
                "WHERE pack = (SELECT id FROM pack WHERE name = ?) ORDER BY place",
                (name,),
            ).fetchall()
        while rows:
            some, rows = _some(rows)
            staged = Staged()
            with self._lock:
                self._staged.add(staged)
            for cid in some:
                try:
                    data = self.get(cid)
                except Dms3Error:
                    return
                if data is not None:
                    with self._lock:
                        staged.large[cid] = self._appender.append(cid, data, frees_space=True)
            self.sync()
            move = functools.partial(self._move, staged=staged, name=name)
            moved = self._database.transact(move, frees_space=True).result()
            with self._lock:
                self._staged.discard(staged)  # the writer may hold it a moment longer
            yield moved

    def _move(self, connection: Connection, staged: Staged, name: bytes) -> int:
        rows: dict[bytes, int] = {}
        moved = 0
        for record in staged.large.values():
            number = _pack_row(connection, record, rows)
            place = (number, record.place, record.length, record.cid.binary, name)
            moved += connection.execute(_MOVE, place).rowcount
        return moved

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


def _some(rows: list[tuple[bytes, int]]) -> tuple[list[Cid], list[tuple[bytes, int]]]:
    """The first of `rows` that one step moves, and the rest."""
    size = 0
    for count, (_, length) in enumerate(rows[:STAGE_BLOCKS_MAX], 1):
        size += length
        if size >= SWEEP_BYTES_MAX or count == STAGE_BLOCKS_MAX:
            break
    return [Cid(binary) for binary, _ in rows[:count]], rows[count:]


def _last_block(connection: Connection) -> int:
    row = connection.execute("SELECT max(id) FROM block").fetchone()
    return 0 if row is None or row[0] is None else int(row[0])


def _shrink(connection: Connection) -> bool:
    """Give some free pages of the database back to the disk; whether there were any."""
    before = _free_pages(connection)
    if before > 0:
        connection.execute(f"PRAGMA incremental_vacuum({SHRINK_PAGES_MAX})").fetchall()
    return _free_pages(connection) < before


def _free_pages(connection: Connection) -> int:
    row = connection.execute("PRAGMA freelist_count").fetchone()
    return 0 if row is None else int(row[0])


def _pack_row(connection: Connection, record: Record, known: dict[bytes, int]) -> int:
    """The id of the row of the record's pack, which is made when missing; raises if not durable."""
    record.check_flushed()
    pack = record.pack
    if pack.name not in known:
        known[pack.name] = _insert_pack(connection, pack)
    return known[pack.name]


def _is_stored(connection: Connection, cid: Cid) -> bool:
    row = connection.execute("SELECT 1 FROM block WHERE cid = ?", (cid.binary,)).fetchone()
    return row is not None


def _insert_pack(connection: Connection, pack: PackFile) -> int:
    connection.execute(_PUT_PACK, (pack.name, pack.sealed_key))
    row = connection.execute("SELECT id FROM pack WHERE name = ?", (pack.name,)).fetchone()
    assert row is not None, "the row was just inserted"
    return int(row[0])
