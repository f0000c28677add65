"""What the fronts ask of a running node about documents, searches and backups, as Protocols.

Source: docs/interfaces.md, `store` and `search`. `node/documents.py` and `node/backups.py`
implement them. No behaviour is defined here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dms3.node.services_content import Content
from dms3.node.table import BlobOrPath, Step

if TYPE_CHECKING:  # help of the command line imports this module: 40 ms less
    from dms3.core.cid import Cid


@dataclass(frozen=True, slots=True)
class SearchAsked:
    """A search as a person asks it; `scope` is local, peers, public, cloud or all."""

    query: str
    space: str | None
    kind: str | None
    where: tuple[str, ...]
    scope: str
    limit: int


class DocumentServices(Protocol):
    """Spaces and documents, here and at peers; answers are JSON values."""

    def add(self, paths: Sequence[BlobOrPath], space: str, kind: str | None) -> AsyncIterator[Step]:
        """Import; steps, the result last."""
        ...

    def add_car(self, file: BlobOrPath, space: str) -> AsyncIterator[Step]:
        """Import a CAR; steps, the result last."""
        ...

    def export_car(self, cid: str) -> AsyncIterator[Step]:
        """Bring a whole DAG here; steps, and last what to download."""
        ...

    async def car(self, cid: Cid) -> Content:
        """The CAR of a DAG all of which is here; raises `content_unavailable`."""
        ...

    async def list(self, space: str | None, after: int, limit: int) -> dict[str, Any]:
        """Spaces, and the documents of one when it is named."""
        ...

    async def recent(self, space: str | None, before: int | None, limit: int) -> dict[str, Any]:
        """Documents of one space or of all mine, the last one first."""
        ...

    async def containers(self) -> dict[str, Any]:
        """Every container of my spaces."""
        ...

    async def describe(self, cid: str) -> dict[str, Any]:
        """What is known of the file `cid`, after its first block is here."""
        ...

    async def folder(self, cid: str, limit: int) -> dict[str, Any]:
        """The entries of the folder `cid`, its own blocks fetched when they are not here."""
        ...

    async def remove(self, cid: str, space: str | None) -> dict[str, Any]:
        """How many documents were removed."""
        ...

    async def share(self, space: str, contact: str, until: str | None) -> dict[str, Any]:
        """The grant that was given."""
        ...

    async def unshare(self, space: str, contact: str) -> dict[str, Any]:
        """How many grants were taken back."""
        ...

    def publish(self, space: str, network: str | None = None) -> AsyncIterator[Step]:
        """Make a space public, or that of a network; steps, the result last."""
        ...

    async def unpublish(self, space: str) -> dict[str, Any]:
        """Make a space public no longer."""
        ...

    def verify(self) -> AsyncIterator[Step]:
        """Check every block, document and index entry; steps, the result last."""
        ...

    async def search(self, asked: SearchAsked) -> dict[str, Any]:
        """Hits here and, where asked, at peers."""
        ...


class BackupServices(Protocol):
    """Backups of the node, and a restoration into an empty one."""

    def backup(self, url: str) -> AsyncIterator[Step]:
        """Write a generation into the folder `url`; steps, the result last."""
        ...

    def restore(self, url: str, words: str | None, generation: int | None) -> AsyncIterator[Step]:
        """Bring back the newest or the named generation; steps, the result last."""
        ...
