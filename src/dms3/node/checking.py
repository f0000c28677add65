"""Whether everything stored is whole: blocks, the trees of documents, the index.

Source: docs/interfaces.md, `store verify`. Reads every block and changes nothing. Runs in a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dms3.core.cid import DAG_CBOR, RAW, Cid
from dms3.core.database import Database
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import VERIFY_DAMAGES_LISTED_MAX
from dms3.core.unixfs_read import links_of
from dms3.io import catalogue, index
from dms3.io.catalogue import DocumentRow
from dms3.io.clock import SystemEntropy
from dms3.io.packs import Packs
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.search.kind import MESSAGE

_PAGE_DOCUMENTS = 500


@dataclass(frozen=True, slots=True)
class Damaged:
    """One thing that is not as it should be: a block, a document or a container, and why."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What was looked at, and the first VERIFY_DAMAGES_LISTED_MAX damages."""

    blocks: int
    bytes: int
    documents: int
    damaged: tuple[Damaged, ...]


def check_stored(path: Path, folder: Path, keys: tuple[bytes, bytes]) -> Verified:
    """Look at everything in the database at `path` and the packs in `folder`, opened for this.

    `keys`: of the store, and that of pack keys. Raises as `Store.open`.
    """
    store = Store.open(path, keys[0], MIGRATIONS)
    try:
        packs = Packs(folder, keys[1], store, SystemEntropy())
        try:
            return Check(store, packs).run()
        finally:
            packs.close()
    finally:
        store.close()


class Check:
    """One run over a home; `run` in a thread, `blocks` and `bytes` may be read meanwhile."""

    def __init__(self, database: Database, packs: Packs) -> None:
        self._database = database
        self._packs = packs
        self._found: list[Damaged] = []
        self.blocks = 0
        self.bytes = 0
        self.documents = 0
        self.stopped = False

    def run(self) -> Verified:
        """Look at everything."""
        for damage in self._packs.verify(self._count):
            self._note(f"block {damage.cid}", damage.reason)
        self._each_document(self._check_document)
        self._check_index()
        return Verified(self.blocks, self.bytes, self.documents, tuple(self._found))

    def _count(self, size: int) -> None:
        self.blocks += 1
        self.bytes += size
        if self.stopped:
            raise Dms3Error("cancelled", "The check was stopped.")

    def _note(self, what: str, reason: str) -> None:
        if len(self._found) < VERIFY_DAMAGES_LISTED_MAX:
            self._found.append(Damaged(what, reason))

    def _each_document(self, check: Callable[[DocumentRow, frozenset[Cid]], None]) -> None:
        after = 0
        while True:
            with self._database.read() as connection:
                rows = catalogue.all_documents(connection, after, _PAGE_DOCUMENTS)
                needs = {row.number: catalogue.blocks_of(connection, row.number) for row in rows}
            for row in rows:
                self.documents += row.container is not None
                check(row, frozenset(needs[row.number]))
            if len(rows) < _PAGE_DOCUMENTS:
                return
            after = rows[-1].number

    def _check_document(self, row: DocumentRow, needs: frozenset[Cid]) -> None:
        """Every block of a document's tree is needed by it and stored, and no other."""
        if row.kind == MESSAGE:
            return  # it has no blocks: what it says lies with the messages
        name = f"document {row.name or row.source}"
        try:
            reached = self._tree(row, needs)
        except DecodeError as error:
            self._note(name, error.reason)
            return
        for cid in sorted(reached - needs):
            self._note(name, f"block {cid} of it is not kept for it")
        for cid in sorted(needs - reached):
            if row.note != catalogue.INCOMPLETE:
                self._note(name, f"block {cid} is kept for it and not part of it")

    def _tree(self, row: DocumentRow, needs: frozenset[Cid]) -> set[Cid]:
        """The blocks under a document; of a folder only its own, its files are documents."""
        if row.cid.codec == DAG_CBOR:  # an open index: made anew after every change
            lost = next((cid for cid in sorted(needs) if not self._packs.has(cid)), None)
            if lost is not None:
                raise DecodeError(0, f"block {lost} is missing")
            return set(needs)
        reached: set[Cid] = set()
        waiting = [row.cid]
        while waiting:
            cid = waiting.pop()
            if cid in reached or (row.container is None and cid not in needs):
                continue
            reached.add(cid)
            if cid.codec == RAW:
                if not self._packs.has(cid):
                    raise DecodeError(0, f"block {cid} is missing")
                continue
            block = self._packs.get(cid)
            if block is None:
                raise DecodeError(0, f"block {cid} is missing")
            waiting += links_of(cid, block)
        return reached

    def _check_index(self) -> None:
        with self._database.read() as connection:
            spaces = [space.number for space in catalogue.spaces(connection)]
            containers = index.containers(connection, spaces)
        for container in containers:
            name = f"container {container.number} ({container.kind})"
            number = container.number
            try:
                self._database.transact(
                    lambda connection, number=number: index.check_table(connection, number)  # type: ignore[misc]
                ).result()
            except Dms3Error as error:
                self._note(name, f"its index is damaged: {error.message}")
                continue
            with self._database.read() as connection:
                for reason in index.differences(connection, number):
                    self._note(name, reason)
