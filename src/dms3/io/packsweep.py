"""The way out of the block store: removing blocks nothing needs, and giving their bytes back.

Source: docs/adr/0004-packs-are-compacted.md. Part of the block store: only `io/packs.py` uses it.
What is needed is said by a query of the caller; what is on its way in is asked of `Staging`. It
does not decide when or how fast to sweep.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dms3.core.cid import Cid
from dms3.core.database import Connection, Database
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    PACK_COMPACT_DEAD_FRACTION,
    SHRINK_PAGES_MAX,
    STAGE_BLOCKS_MAX,
    SWEEP_BYTES_MAX,
    SWEEP_ROWS_MAX,
)
from dms3.io.packfile import MARK, PackReader
from dms3.io.packstage import Staged, Staging, pack_row

_SWEEPABLE = "SELECT id, cid, size FROM block WHERE id > ? AND id <= ? AND cid NOT IN"
_UNNEEDED = "SELECT size FROM block WHERE cid = ? AND cid NOT IN"
_MOVE = (
    "UPDATE block SET pack = ?, place = ?, length = ? "
    "WHERE cid = ? AND pack = (SELECT id FROM pack WHERE name = ?)"
)


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


class Sweeper:
    """Sweeps one store; see the module docstring. For worker threads: it waits for the writer."""

    def __init__(
        self,
        database: Database,
        staging: Staging,
        files: PackReader,
        get: Callable[[Cid], bytes | None],
    ) -> None:
        """`get` gives a stored block, or None; it raises Dms3Error when that is damaged."""
        self._database = database
        self._staging = staging
        self._files = files
        self._get = get

    def steps(self, referenced: str) -> Iterator[Swept]:
        """Remove every block that `referenced` does not give; see `Packs.sweeping`."""
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
        """Remove those of `cids` that `referenced` does not give; see `Packs.release`."""
        total = Swept()
        for start in range(0, len(cids), STAGE_BLOCKS_MAX):
            some = cids[start : start + STAGE_BLOCKS_MAX]
            step = functools.partial(self._release, cids=some, referenced=referenced)
            total += self._database.transact(step, frees_space=True).result()
        return total

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
                size = self._files.size(name)
                uses.append(PackUse(name, size, max(0, size - live - len(MARK))))
        return uses

    def _sweep_step(
        self, connection: Connection, referenced: str, start: int
    ) -> tuple[int, int, int]:
        """Blocks and bytes removed behind row `start`, and the row to go on behind."""
        end = start + SWEEP_ROWS_MAX
        query = f"{_SWEEPABLE} ({referenced}) ORDER BY id"
        rows = connection.execute(query, (start, end)).fetchall()
        claimed = self._staging.claimed(Cid(row[1]) for row in rows)
        free = [row for row in rows if Cid(row[1]) not in claimed]
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
        claimed = self._staging.claimed(cids)
        swept = Swept()
        for cid in cids:
            row = connection.execute(query, (cid.binary,)).fetchone()
            if row is not None and cid not in claimed:
                connection.execute("DELETE FROM block WHERE cid = ?", (cid.binary,))
                swept += Swept(1, row[0])
        return swept

    def _delete_dead(self) -> int:
        """Delete every pack no block lies in; the number of them."""
        names = self._database.transact(self._forget_packs, frees_space=True).result()
        for name in names:
            self._files.delete(name)
        return len(names)

    def _forget_packs(self, connection: Connection) -> list[bytes]:
        """Delete the rows of packs without blocks; their files can go after the commit."""
        rows = connection.execute(
            "SELECT name FROM pack "
            "WHERE NOT EXISTS (SELECT 1 FROM block WHERE block.pack = pack.id)"
        ).fetchall()
        names = self._staging.retire_for_good([name for (name,) in rows])
        connection.executemany("DELETE FROM pack WHERE name = ?", [(name,) for name in names])
        return names

    def _compact(self, name: bytes) -> Iterator[int]:
        """Move the blocks of pack `name` into the newest pack; the number moved in each step.

        A pack with a damaged record stays as it is, for `verify` to report.
        """
        if not self._staging.retire([name]):
            return
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT cid, size FROM block "
                "WHERE pack = (SELECT id FROM pack WHERE name = ?) ORDER BY place",
                (name,),
            ).fetchall()
        while rows:
            some, rows = _some(rows)
            staged = self._staging.begin()
            for cid in some:
                try:
                    data = self._get(cid)
                except Dms3Error:
                    return
                if data is not None:
                    self._staging.move(staged, cid, data)
            self._staging.sync()
            move = functools.partial(self._move, staged=staged, name=name)
            moved = self._database.transact(move, frees_space=True).result()
            self._staging.end(staged)  # the writer may hold it a moment longer
            yield moved

    def _move(self, connection: Connection, staged: Staged, name: bytes) -> int:
        rows: dict[bytes, int] = {}
        moved = 0
        for record in staged.large.values():
            number = pack_row(connection, record, rows)
            place = (number, record.place, record.length, record.cid.binary, name)
            moved += connection.execute(_MOVE, place).rowcount
        return moved


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
