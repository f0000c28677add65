"""Content-addressed blocks: small ones are rows, large ones are sealed records in pack files.

Source: docs/architecture.md, "Where data lies". The key of a pack lies, sealed under the store key,
in its row: without the row nobody can read the file. A record counts only when a committed row
names its place, so a torn tail is nothing. `io/packfile.py` is the form of a pack. This module
does not know documents or spaces, and does not compact (dead bytes are counted).
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dms3.core.cid import Cid
from dms3.core.database import Connection, Database
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    BLOCK_BYTES_MAX,
    DISK_RESERVE_BYTES_MIN,
    PACK_BYTES_MAX,
    PACK_RECORD_BYTES_MIN,
    STAGE_BLOCKS_MAX,
    STAGE_BYTES_MAX,
    SWEEP_ROWS_MAX,
)
from dms3.core.machine import Entropy
from dms3.crypto.seal import KEY_BYTES, NONCE_BYTES, open_sealed, seal
from dms3.io.packfile import (
    FRAME_BYTES,
    MARK,
    NAME_BYTES,
    PackFile,
    PackReader,
    decode_record,
    encode_record,
    explain,
    flush_folder,
    pack_path,
)

_KEY_PURPOSE = b"dms3 pack key 1"

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
_PUT_PACK = "INSERT INTO pack (name, key) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"


@dataclass(frozen=True, slots=True)
class Damage:
    """A stored block that cannot be given back: `reason` says what was found instead."""

    cid: Cid
    reason: str


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed: blocks, their bytes, and whole pack files."""

    blocks: int
    bytes: int
    packs: int


@dataclass(frozen=True, slots=True)
class PackUse:
    """One pack file: its name, its bytes on disk, and how many of them no block needs."""

    name: bytes
    bytes: int
    dead_bytes: int


@dataclass(frozen=True, slots=True)
class _Record:
    cid: Cid
    size: int
    pack: PackFile
    place: int
    length: int


@dataclass(slots=True, eq=False, weakref_slot=True)
class Staged:
    """Blocks on their way into a transaction; a sweep leaves them alone while this object lives.

    `new_bytes`: bytes of the blocks that were not stored yet.
    """

    small: dict[Cid, bytes] = field(default_factory=dict, repr=False)
    large: dict[Cid, _Record] = field(default_factory=dict, repr=False)
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
        """
        self._folder = folder
        self._key = key
        self._database = database
        self._entropy = entropy
        self._reserve = reserve
        self._lock = threading.Lock()  # appending, the lists below
        self._flushing = threading.Lock()  # one sync at a time
        self._current: PackFile | None = None
        self._full: list[PackFile] = []  # no longer appended to, maybe not flushed yet
        self._new_names = False  # a file was made and the folder not flushed since
        self._reader = PackReader(folder)
        self._staged: weakref.WeakSet[Staged] = weakref.WeakSet()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
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
        with self._flushing:
            with self._lock:
                packs = [pack for pack in (*self._full, self._current) if pack is not None]
                ends = [pack.end for pack in packs]
                new_names, self._new_names = self._new_names, False
            for pack, end in zip(packs, ends, strict=True):
                if pack.flushed < end and not pack.broken:
                    self._flush(pack, end)
            if new_names:
                flush_folder(self._folder)
            with self._lock:
                over = [pack for pack in self._full if pack.broken or pack.flushed == pack.end]
                self._full = [pack for pack in self._full if pack not in over]
            for pack in over:
                os.close(pack.number)

    def attach(self, connection: Connection, staged: Staged) -> None:
        """Insert the rows of `staged` inside the caller's transaction, after `sync`.

        Raises `node_busy` when a block that was stored at `stage` has been removed since: stage
        again.
        """
        for cid, data in staged.small.items():
            connection.execute(_PUT_SMALL, (cid.binary, len(data), data))
        rows: dict[bytes, int] = {}
        for record in staged.large.values():
            pack = record.pack
            if pack.flushed < record.place + record.length:
                assert pack.broken, "attach before sync"
                raise Dms3Error("home_unusable", "A pack could not be flushed to disk.")
            if pack.name not in rows:
                rows[pack.name] = _pack_row(connection, pack)
            connection.execute(
                _PUT_LARGE,
                (record.cid.binary, record.size, rows[pack.name], record.place, record.length),
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
        try:
            return self._get(cid)
        except DecodeError as cause:
            if not self.has(cid):  # swept between the look-up and the read
                return None
            raise Dms3Error(
                "store_corrupt",
                f"Block {cid} cannot be read back: {cause.reason}.",
                hint="Run `dms3 doctor`, then import the document again.",
            ) from cause

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
                reason = self._damage_of(cid, size)
                progress(size)
                if reason is not None and self.has(cid):
                    yield Damage(cid, reason)

    def sweep(self, referenced: str) -> Swept:
        """Remove every block whose CID the SQL query `referenced` does not give.

        Runs in steps of SWEEP_ROWS_MAX rows, each its own transaction; blocks staged at the moment
        stay. A pack without blocks is deleted. For a worker thread: it waits for the writer.
        `referenced` is text of this program, for example "SELECT cid FROM space_block".
        """
        with self._database.read() as connection:
            (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM block").fetchone() or (
                0,
            )
        blocks = count = 0
        for start in range(0, int(last), SWEEP_ROWS_MAX):
            step = functools.partial(self._sweep_step, referenced=referenced, start=start)
            removed = self._database.transact(step).result()
            blocks += removed[0]
            count += removed[1]
        names = self._database.transact(self._forget_packs).result()
        for name in names:
            self._reader.forget(name)
            pack_path(self._folder, name).unlink(missing_ok=True)
        return Swept(blocks, count, len(names))

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

    def close(self) -> None:
        """Flush and close every file."""
        self.sync()
        with self._lock:
            if self._current is not None:
                os.close(self._current.number)
            self._current = None
        self._reader.close()

    # appending

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
        record: _Record | None = None
        with self._lock:
            if len(data) >= PACK_RECORD_BYTES_MIN:
                record = self._append(cid, data)
                staged.large[cid] = record
            else:
                staged.small[cid] = data
            staged.known.discard(cid)
        staged.new_bytes += len(data)

    def _append(self, cid: Cid, data: bytes) -> _Record:
        if shutil.disk_usage(self._folder).free < self._reserve + len(data):
            raise Dms3Error("disk_full", "No space is left for blocks.", hint="Free some space.")
        length = len(data) + FRAME_BYTES
        try:
            pack = self._pack_for(length)
            record = encode_record(pack.key, self._entropy.draw(NONCE_BYTES), pack.name, cid, data)
            pack.write(record, pack.end)
        except OSError as cause:
            raise explain(cause) from cause
        place = pack.end
        pack.end += length
        return _Record(cid, len(data), pack, place, length)

    def _pack_for(self, length: int) -> PackFile:
        if self._current is not None and self._current.end + length > PACK_BYTES_MAX:
            self._full.append(self._current)
            self._current = None
        if self._current is None:
            name = self._entropy.draw(NAME_BYTES)
            key = self._entropy.draw(KEY_BYTES)
            nonce = self._entropy.draw(NONCE_BYTES)
            sealed = nonce + seal(self._key, nonce, key, _KEY_PURPOSE + name)
            pack = PackFile(pack_path(self._folder, name), name, key, sealed, len(MARK))
            self._current = pack
            self._new_names = True
            pack.write(MARK, 0)
            pack.flushed = 0
        return self._current

    def _flush(self, pack: PackFile, end: int) -> None:
        try:
            os.fsync(pack.number)
        except OSError as cause:  # what was not flushed now is never trusted to be flushed later
            with self._lock:
                pack.broken = True
                if self._current is pack:
                    self._current = None
                    self._full.append(pack)
            raise explain(cause) from cause
        pack.flushed = end

    # reading

    def _get(self, cid: Cid) -> bytes | None:
        """As `get`, but raises DecodeError for damage."""
        with self._database.read() as connection:
            row = connection.execute(_FIND, (cid.binary,)).fetchone()
        if row is None:
            return None
        data, size, place, length, name, sealed_key = row
        if data is None:
            record = self._reader.read(name, place, length)
            data = decode_record(self._unseal(name, sealed_key), name, cid, record)
        if len(data) != size:
            raise DecodeError(0, f"{len(data)} bytes instead of {size}")
        return bytes(data)

    def _unseal(self, name: bytes, sealed_key: bytes) -> bytes:
        nonce, sealed = sealed_key[:NONCE_BYTES], sealed_key[NONCE_BYTES:]
        return open_sealed(self._key, nonce, sealed, _KEY_PURPOSE + name)

    def _damage_of(self, cid: Cid, size: int) -> str | None:
        try:
            data = self._get(cid)
        except DecodeError as error:
            return error.reason
        if data is None or cid.matches(data):
            return None
        return f"its {size} bytes have another hash"

    # sweeping and recovery

    def _sweep_step(self, connection: Connection, referenced: str, start: int) -> tuple[int, int]:
        query = f"{_SWEEPABLE} ({referenced})"
        rows = connection.execute(query, (start, start + SWEEP_ROWS_MAX)).fetchall()
        with self._lock:
            staged = list(self._staged)
            free = [row for row in rows if not any(Cid(row[1]) in one for one in staged)]
        connection.executemany("DELETE FROM block WHERE id = ?", [(row[0],) for row in free])
        return len(free), sum(row[2] for row in free)

    def _forget_packs(self, connection: Connection) -> list[bytes]:
        """Delete the rows of packs without blocks; their files can go after the commit."""
        rows = connection.execute(
            "SELECT id, name FROM pack "
            "WHERE NOT EXISTS (SELECT 1 FROM block WHERE block.pack = pack.id)"
        ).fetchall()
        with self._lock:
            used = {record.pack.name for staged in self._staged for record in staged.large.values()}
            gone = [(number, name) for number, name in rows if name not in used]
            names = [name for _, name in gone]
            if self._current is not None and self._current.name in names:
                self._full.append(self._current)
                self._current = None
        connection.executemany("DELETE FROM pack WHERE id = ?", [(number,) for number, _ in gone])
        return names

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
            name, sealed_key, _ = rows[-1]
            path = pack_path(self._folder, name)
            with contextlib.suppress(DecodeError, FileNotFoundError):  # verify reports both
                if path.stat().st_size < ends[path]:
                    return
                key = self._unseal(name, sealed_key)
                self._current = PackFile(path, name, key, sealed_key, ends[path])


def _is_stored(connection: Connection, cid: Cid) -> bool:
    row = connection.execute("SELECT 1 FROM block WHERE cid = ?", (cid.binary,)).fetchone()
    return row is not None


def _pack_row(connection: Connection, pack: PackFile) -> int:
    connection.execute(_PUT_PACK, (pack.name, pack.sealed_key))
    row = connection.execute("SELECT id FROM pack WHERE name = ?", (pack.name,)).fetchone()
    assert row is not None, "the row was just inserted"
    return int(row[0])
