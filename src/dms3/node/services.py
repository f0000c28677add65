"""What the fronts and the system commands ask of a running node, as a Protocol.

Source: docs/architecture.md, "Layers". `node/host.py` implements it; tests bring their own. What is
asked about one noun lies in `node/services_*.py`, as its commands do in `node/commands_*.py`. No
behaviour is defined here, so that the command line can import the table without a node.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from dms3.node.services_chain import ChainServices
from dms3.node.services_content import Content, Upload
from dms3.node.services_dapp import DappServices, EntryServices
from dms3.node.services_delivery import DeliveryServices
from dms3.node.services_message import MessageServices
from dms3.node.services_name import NameServices
from dms3.node.services_network import NetworkServices
from dms3.node.services_people import PeopleServices
from dms3.node.services_storage import StorageServices
from dms3.node.services_store import BackupServices, DocumentServices
from dms3.node.services_warrant import WarrantServices

if TYPE_CHECKING:  # help of the command line imports this module: 40 ms less
    from dms3.core.cid import Cid
    from dms3.core.database import StoredEvent


@dataclass(frozen=True, slots=True)
class Health:
    """One line of `dms3 doctor`: what was looked at, how it is, and what to do about it.

    `verdict`: "pass", "warn" or "fail". `fix`: the next step, "" for a pass.
    """

    name: str
    verdict: Literal["pass", "warn", "fail"]
    detail: str
    fix: str = ""


class EventGap(Protocol):
    """Events that a slow reader did not get (`io/loop.py`, Gap)."""

    @property
    def first(self) -> int:
        """The first missing id."""
        ...

    @property
    def last(self) -> int:
        """The last missing id."""
        ...


class NodeServices(Protocol):
    """A node, as its fronts see it. Every method may raise `node_locked` and `node_stopping`."""

    async def status(self) -> dict[str, Any]:
        """What `dms3 status` shows; JSON values, `ready` and `locked` among them. Never locked."""
        ...

    async def doctor(self, *, quick: bool = False) -> Sequence[Health]:
        """Every check of the node's health; `quick`: without those that read everything."""
        ...

    async def identity(self) -> dict[str, Any]:
        """What `dms3 id show` shows: root, peer_id, account, name, agents."""
        ...

    @property
    def people(self) -> PeopleServices:
        """Raises `node_locked` while the node is."""
        ...

    @property
    def documents(self) -> DocumentServices:
        """Raises `node_locked` while the node is."""
        ...

    @property
    def backups(self) -> BackupServices:
        """Raises `node_locked` while the node is."""
        ...

    @property
    def messages(self) -> MessageServices:
        """Raises `node_locked` while the node is."""
        ...

    @property
    def storing(self) -> StorageServices:
        """Raises `node_locked` while the node is."""
        ...

    @property
    def names(self) -> NameServices:
        """Raises `node_locked` while the node is."""
        ...

    @property
    def networks(self) -> NetworkServices:
        """Raises `node_locked` while the node is."""
        ...

    @property
    def delivery(self) -> DeliveryServices:
        """Raises `node_locked` while the node is, `not_found` when it is no delivery service."""
        ...

    @property
    def dapps(self) -> DappServices:
        """Raises `node_locked` while the node is."""
        ...

    @property
    def entries(self) -> EntryServices:
        """Raises `node_locked` while the node is."""
        ...

    @property
    def chains(self) -> ChainServices:
        """Raises `node_locked` while the node is."""
        ...

    @property
    def warrants(self) -> WarrantServices:
        """Raises `node_locked` while the node is."""
        ...

    async def delivery_rules(self, given: dict[str, Any]) -> dict[str, Any]:
        """The rules for senders at the person's delivery services, after `given` ones were set."""
        ...

    async def protect(self, passphrase: str, current: str | None) -> None:
        """Wrap the store key under `passphrase`; `current` is the old one when there is one."""
        ...

    async def unlock(self, passphrase: str) -> None:
        """Open a locked node; raises `passphrase_wrong`."""
        ...

    def ready(self) -> str:
        """Why the node is not ready ("locked", "starting"), or "" when it is."""
        ...

    async def metrics(self) -> bytes:
        """The node's own registry in Prometheus text format."""
        ...

    def subscribe(self) -> AbstractContextManager[AsyncIterator[StoredEvent | EventGap]]:
        """Events that become durable from now on; raises `limit_reached`."""
        ...

    async def events(self, since: int, limit: int) -> Sequence[StoredEvent]:
        """At most `limit` stored events with id > `since`, in order."""
        ...

    async def receive(self, chunks: AsyncIterator[bytes]) -> Upload:
        """Take an upload; raises `body_too_large`, `disk_full`, `node_busy`."""
        ...

    async def discard(self, upload: str) -> None:
        """Forget an upload that nobody imports; nothing happens when there is none."""
        ...

    async def upload(self, name: str) -> Content:
        """An upload by its id, such as an export that waits to be taken; raises `not_found`."""
        ...

    async def content(self, cid: Cid) -> Content:
        """The file `cid`; content of others is fetched from peers as it is read.

        Raises `content_unavailable`, `timed_out`, `argument_invalid` (a folder is not one file).
        """
        ...
