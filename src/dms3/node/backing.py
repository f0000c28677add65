"""Backups of a running node: a consistent snapshot, written to a folder, only what is new.

Source: docs/adr/0006-backups.md. Rows of the database are read in one snapshot, cut into pieces and
sealed; pack files are sealed already and are copied in parts. What must never come back on another
machine is left out. `node/restoring.py` is the way back; `io/objects.py` the folder.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from dms3.core import rows
from dms3.core.codec import decode
from dms3.core.database import Connection
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import BACKUP_GENERATIONS_KEPT_MAX, BACKUP_PART_BYTES
from dms3.core.machine import Entropy
from dms3.crypto.backup import (
    VERSION,
    BackupKeys,
    ForeignError,
    Manifest,
    NewerError,
    SavedPack,
    SavedTable,
)
from dms3.crypto.seal import NONCE_BYTES, TAG_BYTES
from dms3.io import catalogue, tables
from dms3.io.objects import ObjectFolder, folder_of
from dms3.io.packs import KeptPack, Packs
from dms3.io.store import Store
from dms3.node.identity import Identity
from dms3.node.library import Clock
from dms3.node.noting import LAST, NOTED, LastBackup

SAVED_STATES = {
    "peers": True,  # contacts, and where nodes were seen
    "circuits": False,  # keeps nothing
    "sharing": True,  # grants given and received
    "fetch": True,  # what was being fetched
    "publishing": True,  # which spaces are public
    "public": False,  # what others have published: it is brought again
    "dht": False,  # what this node holds for others
    "names": True,  # names of the person, and whose each name was when first seen
    "mailbox": True,  # people, keys, carriers, what is still to be sent
    "storage": True,  # where conversations lie; another home is another device there
    "validation": False,  # what this node holds for others, but SAVED_PARTS; chains: "source"
    "gossip": False,  # keeps nothing
    "source": True,  # own chains, to be read and published: another home is another device
    "noting": False,  # says when *this* home was backed up
}
"""Whether a backup holds the state of a machine. Vote logs, consensus keys, ratchets: never."""

SAVED_PARTS = (
    "validation/convictions",  # the person's own word, block or pardon, and evidence
    "validation/voices",  # who else has warned of them...
    "validation/people",  # ...and whose agents these are
)
"""Of a machine that is not saved: the tables of its state that are."""

SAVED_TABLES = {
    "state": True,  # of the machines above
    "event": False,  # a history of this node, not of the person
    "pack": False,  # in the manifest, with keys that the store key of another home can seal
    "block": True,
    "space": True,
    "container": True,
    "document": True,
    "document_text": True,
    "space_block": True,
    "held_block": False,  # what this node holds for others
    "correspondence": True,
    "message": True,  # what a person wrote and was written; a second sending is known by its hash
    "mail_key": False,  # a delivery service is not moved: its name is that of the node
    "mail_account": False,
    "mail_message": False,  # what waits for others is nobody's to copy
    "mail_seen": False,
    "mail_interval": False,
    "place_chunk": False,  # written again with what is put into the overlay
    "locker": False,  # of others, as what waits for them
    "locker_object": False,
    "cloud_conversation": False,
    "cloud_message": False,
    "delivery_held": False,
    "dapp": True,  # apps of the person, whose chains are restored from the network
    "dapp_file": True,
}
"""Whether a backup holds each table of `io/schema.py`; the tables of full-text indexes always."""

Call = Callable[[str, Any], Awaitable[Any]]
"""Asks an operation of a machine (`Node.call`)."""

RESTORED = "node/restored"
"""The state table that says from which device's backup a home came."""

DEVICE = b"device"
_STATES = (*(name for name, saved in SAVED_STATES.items() if saved), *SAVED_PARTS, "networks")
_LOOK_SECONDS = 0.25  # between two reports of progress


@dataclass(frozen=True, slots=True)
class Backed:
    """A finished backup: its manifest, the objects and bytes that were new, bytes freed."""

    manifest: Manifest
    objects: int
    written_bytes: int
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class Source:
    """What a backup is made of: the parts of a node."""

    identity: Identity
    store: Store
    packs: Packs
    entropy: Entropy

    def state(self, table: str, key: bytes) -> bytes | None:
        """A committed value of machine state."""
        with self.store.read() as connection:
            row = connection.execute(
                "SELECT value FROM state WHERE tbl = ? AND key = ?", (table, key)
            ).fetchone()
        return None if row is None else bytes(row[0])


class Backup:
    """One run; `run` in a thread, `done_bytes` and `total_bytes` may be read meanwhile."""

    def __init__(self, source: Source, folder: ObjectFolder, now_us: int) -> None:
        self._source = source
        self._folder = folder
        self._now_us = now_us
        self._keys = BackupKeys(source.identity.tree)
        self._known: dict[bytes, SavedPack] = {}  # packs of the generation before
        self._objects = 0
        self._written = 0
        self.result: Backed | None = None
        self.done_bytes = 0
        self.total_bytes = 0
        self.stopped = False

    def run(self) -> None:
        """Write a generation; raises Dms3Error and leaves the earlier ones whole."""
        with self._folder.held(), self._source.packs.pinned():
            numbers = self._folder.generations()
            if numbers:
                self._look_at(numbers[-1])
            saved, packs, schema, (documents, size) = self._database()
            manifest = Manifest(
                v=VERSION,
                generation=(numbers[-1] if numbers else 0) + 1,
                made_us=self._now_us,
                name=self._source.identity.name,
                device=self._source.identity.device,
                schema=schema,
                documents=documents,
                size=size,
                tables=tuple(saved),
                packs=tuple(self._pack(pack) for pack in packs),
            )
            nonce = self._source.entropy.draw(NONCE_BYTES)
            self._folder.put_manifest(
                manifest.generation, self._keys.seal_manifest(manifest, nonce)
            )
            freed = self._prune(manifest)
            self.result = Backed(manifest, self._objects, self._written, freed)

    def _look_at(self, number: int) -> None:
        """Refuse to mix homes, and learn which packs are there; a damaged one teaches nothing."""
        try:
            before = self._keys.open_manifest(number, self._folder.manifest(number))
        except (ForeignError, NewerError) as error:
            raise Dms3Error(
                "home_newer" if isinstance(error, NewerError) else "already_exists",
                f"That folder holds another backup: {error.reason}.",
                hint="Choose another folder.",
            ) from error
        except DecodeError:
            return
        mine = (self._source.identity.device, self._source.state(RESTORED, DEVICE))
        if before.device not in mine:
            raise Dms3Error(
                "already_exists",
                f"That folder holds the backup of another node of yours, {before.name!r}.",
                hint="Choose a folder for each node.",
            )
        self._known = {pack.name: pack for pack in before.packs}

    # the database

    def _database(self) -> tuple[list[SavedTable], list[KeptPack], int, tuple[int, int]]:
        """Tables, packs, version and counts, all of one moment."""
        with self._source.store.snapshot() as connection:
            packs = self._source.packs.kept(connection)
            pages = connection.execute("PRAGMA page_count").fetchone() or (0,)
            page_bytes = connection.execute("PRAGMA page_size").fetchone() or (0,)
            known = sum(pack.end for pack in packs if pack.name in self._known)
            new = sum(pack.end for pack in packs) - known
            self.total_bytes = int(pages[0]) * int(page_bytes[0]) + new + known
            self._folder.check_space(new)
            version = connection.execute("PRAGMA user_version").fetchone() or (0,)
            spaces = [row for row in catalogue.spaces(connection) if row.owner is None]
            counts = (sum(row.documents for row in spaces), sum(row.bytes for row in spaces))
            saved = [
                self._table(connection, table)
                for table in tables.tables(connection)
                if SAVED_TABLES.get(table.name, True)
            ]
        return saved, packs, int(version[0]), counts

    def _table(self, connection: Connection, table: tables.Table) -> SavedTable:
        if not table.columns:
            return SavedTable(table.name, table.sql, 1, ())
        names = []
        for piece in rows.pieces(tables.rows_of(connection, table, _STATES)):
            name = self._keys.name(piece)
            if not self._folder.has(name, len(piece) + TAG_BYTES):
                self._put(name, self._keys.seal(name, piece))
            names.append(name)
            self._count(len(piece))
        return SavedTable(table.name, "", len(table.columns), tuple(names))

    # packs

    def _pack(self, pack: KeptPack) -> SavedPack:
        """Its parts; those that the generation before had are not read again.

        Bytes before the end of a pack never change, so whole parts stay what they were.
        """
        known = self._known.get(pack.name)
        parts: list[bytes] = []
        if known is not None and known.end <= pack.end:
            whole = known.end == pack.end
            parts = list(known.parts if whole else known.parts[: known.end // BACKUP_PART_BYTES])
        with contextlib.ExitStack() as stack:
            for number, (start, size) in enumerate(part_places(pack.end)):
                self._count(size)
                if number < len(parts) and self._folder.has(parts[number], size):
                    continue
                file = stack.enter_context(self._opened(pack.path))
                file.seek(start)
                data = file.read(size)
                if len(data) != size:
                    raise Dms3Error(
                        "store_corrupt",
                        f"The pack {pack.path.name} is shorter than it should be.",
                        hint="Run `dms3 store verify` to see what is lost.",
                    )
                name = self._keys.name(data)
                parts[number : number + 1] = [name]
                if not self._folder.has(name, size):
                    self._put(name, data)
        return SavedPack(pack.number, pack.name, pack.key, pack.end, tuple(parts))

    @staticmethod
    def _opened(path: Path) -> Any:
        try:
            return path.open("rb")
        except OSError as cause:
            raise Dms3Error(
                "store_corrupt",
                f"The pack {path.name} cannot be read: {cause.strerror}.",
                hint="Run `dms3 store verify` to see what is lost.",
            ) from cause

    def _put(self, name: bytes, data: bytes) -> None:
        self._folder.put(name, data)
        self._objects += 1
        self._written += len(data)

    def _count(self, size: int) -> None:
        self.done_bytes += size
        if self.stopped:
            raise Dms3Error("cancelled", "The backup was stopped; the one before it is whole.")

    def _prune(self, manifest: Manifest) -> int:
        """Let go of old generations; of objects only while every manifest left is readable."""
        keep = self._folder.generations()[-BACKUP_GENERATIONS_KEPT_MAX:]
        wanted: set[bytes] | None = manifest.objects()
        for number in keep:
            if number == manifest.generation:
                continue
            try:
                older = self._keys.open_manifest(number, self._folder.manifest(number))
            except DecodeError:
                wanted = None
            if wanted is not None:
                wanted |= older.objects()
        return self._folder.prune(keep, wanted)


class Backing:
    """The backups of a running node; one at a time."""

    def __init__(self, source: Source, clock: Clock, call: Call) -> None:
        self._source = source
        self._clock = clock
        self._call = call
        self._running = asyncio.Lock()
        last = source.state(NOTED, LAST)
        self.last: LastBackup | None = None if last is None else decode(LastBackup, last)

    async def backup(self, url: str) -> AsyncGenerator[Backup, None]:
        """Write a generation into the folder `url`: the run as it goes on, its `result` at the end.

        Raises `argument_invalid`, `already_exists` for another's folder, `disk_full`, `node_busy`.
        """
        folder = folder_of(url)
        if self._running.locked():
            raise Dms3Error("node_busy", "A backup is under way.", hint="Wait for its end.")
        async with self._running:
            now_us = self._clock.now().wall_us
            run = Backup(self._source, ObjectFolder(folder), now_us)
            async with contextlib.aclosing(watched(run)) as steps:
                async for step in steps:
                    yield step
            backed = run.result
            assert backed is not None, "the run has ended"
            self.last = LastBackup(
                1, now_us, str(folder), backed.manifest.generation, backed.written_bytes
            )
            await self._call("noting.backed_up", self.last)


class Run(Protocol):
    """Long work in a thread; `stopped` asks it to end."""

    stopped: bool

    def run(self) -> None:
        """To the end; raises Dms3Error."""
        ...


R = TypeVar("R", bound=Run)


async def watched(run: R) -> AsyncGenerator[R, None]:
    """Run it in a thread and give it a few times a second; whoever leaves stops it."""
    working = asyncio.get_running_loop().run_in_executor(None, run.run)
    try:
        while not working.done():
            await asyncio.wait([working], timeout=_LOOK_SECONDS)
            yield run
        await working
    finally:
        run.stopped = True
        if not working.done():
            await asyncio.wait([working])
            working.exception()  # seen, though nobody waits for it any more


def part_places(end: int) -> Iterator[tuple[int, int]]:
    """Start and size of each part of a pack of `end` bytes."""
    for start in range(0, end, BACKUP_PART_BYTES):
        yield start, min(BACKUP_PART_BYTES, end - start)
