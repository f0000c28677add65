"""The way into the block store: blocks that are staged, and the rows that attach them.

Source: docs/architecture.md, "Where data lies". Part of the block store: only `io/packs.py` and
`io/packsweep.py` use it. It knows which blocks and packs are on their way, so that nothing removes
them meanwhile; it removes nothing itself.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from dms3.core.cid import Cid
from dms3.core.database import Connection, Database
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    BLOCK_BYTES_MAX,
    PACK_RECORD_BYTES_MIN,
    STAGE_BLOCKS_MAX,
    STAGE_BYTES_MAX,
)
from dms3.io.packfile import PackAppender, PackFile, Record

_PUT_SMALL = "INSERT INTO block (cid, size, data) VALUES (?, ?, ?) ON CONFLICT (cid) DO NOTHING"
_PUT_LARGE = (
    "INSERT INTO block (cid, size, pack, place, length) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (cid) DO NOTHING"
)
_PUT_PACK = "INSERT INTO pack (name, key) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"


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


class Staging:
    """Everything on its way into one store; thread-safe. A sweep asks here before it removes."""

    def __init__(self, database: Database, appender: PackAppender) -> None:
        self._database = database
        self._appender = appender
        self._lock = threading.Lock()
        self._staged: weakref.WeakSet[Staged] = weakref.WeakSet()
        self._pins = 0  # readers of whole packs

    def stage(self, blocks: Iterable[tuple[Cid, bytes]]) -> Staged:
        """`blocks` (each CID with its own bytes), on their way in; see `Packs.stage`."""
        staged = self.begin()
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

    def begin(self) -> Staged:
        """Nothing yet; what is added counts as on its way while the object lives or until `end`."""
        staged = Staged()
        with self._lock:
            self._staged.add(staged)
        return staged

    def end(self, staged: Staged) -> None:
        """It has arrived, although somebody may hold the object a moment longer."""
        with self._lock:
            self._staged.discard(staged)

    def move(self, staged: Staged, cid: Cid, data: bytes) -> None:
        """Append a stored block once more, to the newest pack, whatever its size."""
        with self._lock:
            staged.large[cid] = self._appender.append(cid, data, frees_space=True)

    def sync(self) -> None:
        """Make every staged record durable; raises `disk_full` or `home_unusable`."""
        self._appender.sync()

    def claimed(self, cids: Iterable[Cid]) -> set[Cid]:
        """Those of `cids` that are on their way and have to stay."""
        with self._lock:
            staged = list(self._staged)
            return {cid for cid in cids if any(cid in one for one in staged)}

    def retire(self, names: Sequence[bytes]) -> list[bytes]:
        """Those of the packs `names` no record is on its way to; none will be from now on."""
        with self._lock:
            return self._retire(names)

    def retire_for_good(self, names: Sequence[bytes]) -> list[bytes]:
        """As `retire`, and none while somebody reads whole packs: these may be deleted."""
        with self._lock:
            return [] if self._pins else self._retire(names)

    @contextlib.contextmanager
    def pinned(self) -> Iterator[None]:
        """While the block runs `retire_for_good` gives nothing."""
        with self._lock:
            self._pins += 1
        try:
            yield
        finally:
            with self._lock:
                self._pins -= 1

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

    def _retire(self, names: Sequence[bytes]) -> list[bytes]:
        used = {record.pack.name for staged in self._staged for record in staged.large.values()}
        free = [name for name in names if name not in used]
        self._appender.retire(free)
        return free


def attach(connection: Connection, staged: Staged) -> None:
    """Insert the rows of `staged`, whose records are durable; see `Packs.attach`."""
    for cid, data in staged.small.items():
        connection.execute(_PUT_SMALL, (cid.binary, len(data), data))
    rows: dict[bytes, int] = {}
    for record in staged.large.values():
        number = pack_row(connection, record, rows)
        connection.execute(
            _PUT_LARGE, (record.cid.binary, record.size, number, record.place, record.length)
        )
    for cid in sorted(staged.known):
        if not _is_stored(connection, cid):
            raise Dms3Error(
                "node_busy", f"Block {cid} was removed meanwhile.", hint="Try the same again."
            )


def pack_row(connection: Connection, record: Record, known: dict[bytes, int]) -> int:
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
