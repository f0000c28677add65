"""What the fronts and the system commands ask of a running node, as a Protocol.

Source: docs/architecture.md, "Layers". `node/node.py` implements it; tests bring their own. No
behaviour is defined here, so that the command line can import the table without a node.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from dms3.node.services_chain import ChainServices
from dms3.node.services_dapp import DappServices, EntryServices
from dms3.node.services_network import NetworkServices
from dms3.node.services_warrant import WarrantServices
from dms3.node.table import BlobOrPath, Step

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


class Content(Protocol):
    """A file that can be streamed, found here or fetched from peers."""

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        ...

    @property
    def name(self) -> str:
        """Its file name for saving, or "" when it has none."""
        ...

    def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `end` (exclusive) in pieces; raises `content_unavailable` on the way."""
        ...


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


class Upload(Protocol):
    """What the spool answers (`io/spool.py`)."""

    @property
    def id(self) -> str:
        """32 hex characters."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
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


class PeopleServices(Protocol):
    """The person, their contacts and the nodes of others; answers are JSON values."""

    async def words(self) -> dict[str, Any]:
        """The twelve words."""
        ...

    async def words_written(self) -> dict[str, Any]:
        """Keep that the person has written the words down."""
        ...

    async def card(self) -> dict[str, Any]:
        """This node's contact card."""
        ...

    async def add(self, card: str) -> dict[str, Any]:
        """The contact that the text of a card makes."""
        ...

    async def contacts(self) -> dict[str, Any]:
        """All contacts."""
        ...

    async def remove(self, name: str) -> dict[str, Any]:
        """The contact that was removed, and how many of their grants were taken back."""
        ...

    async def peers(self) -> dict[str, Any]:
        """Known and connected nodes."""
        ...

    async def world(self) -> dict[str, Any]:
        """What this node thinks of the nodes it knows."""
        ...

    async def gossip(self) -> dict[str, Any]:
        """What is spread in the overlays."""
        ...

    async def connect(self, address: str) -> dict[str, Any]:
        """A connection to the node at a multiaddr, or to a known peer id."""
        ...

    async def ping(self, peer: str) -> dict[str, Any]:
        """The round-trip time to a connected peer id or contact."""
        ...


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


class MessageServices(Protocol):
    """Messages with people; answers are JSON values."""

    async def send(
        self, to: str, text: str, attach: Sequence[BlobOrPath], reply: str | None
    ) -> dict[str, Any]:
        """A new message, or an answer to the one with hash `reply`."""
        ...

    async def edit(self, message: str, text: str) -> dict[str, Any]:
        """Other words for a message of mine."""
        ...

    async def delete(self, message: str) -> dict[str, Any]:
        """Ask that a message of mine is shown no longer."""
        ...

    async def react(self, message: str, text: str) -> dict[str, Any]:
        """A sign on a message."""
        ...

    async def inbox(self, since: int, limit: int) -> dict[str, Any]:
        """Messages of others by arrival, those with a number above `since`."""
        ...

    async def conversation(
        self, name: str, before: int | None, around: str | None, limit: int
    ) -> dict[str, Any]:
        """The last messages with a person, those before a number, or on both sides of a hash."""
        ...

    async def conversations(self, limit: int) -> dict[str, Any]:
        """Everybody messages were exchanged with, the latest first."""
        ...

    async def opened(self, name: str) -> dict[str, Any]:
        """The messages of a person are on a screen."""
        ...

    async def fetch(self) -> dict[str, Any]:
        """Ask every own service."""
        ...

    async def attachment(self, message: str, number: int) -> dict[str, Any]:
        """A file in a message."""
        ...

    async def content(self, message: str, number: int) -> Content:
        """The bytes of a file in a message."""
        ...

    async def profile(self, name: str | None) -> dict[str, Any]:
        """Who a name is; None: this person."""
        ...

    async def people(self) -> dict[str, Any]:
        """Everybody known by messages."""
        ...

    async def decide(self, name: str, what: str) -> dict[str, Any]:
        """accept, block, unblock or forget somebody, or note them as verified."""
        ...

    async def services(self) -> dict[str, Any]:
        """Who carries my messages."""
        ...

    async def carry(self, name: str) -> dict[str, Any]:
        """Use a delivery service."""
        ...

    async def uncarry(self, name: str) -> dict[str, Any]:
        """Leave one."""
        ...

    async def settings(self, receipts: str | None, requests: str | None) -> dict[str, Any]:
        """The settings, after a change ("yes" or "no")."""
        ...

    async def adopt(self, address: str, signature: str, nonce: str | None) -> dict[str, Any]:
        """Use the keys of a wallet's signature."""
        ...

    def export(self) -> AsyncIterator[Step]:
        """Everything as one file; steps, the result last."""
        ...

    def bring_in(self, file: BlobOrPath) -> AsyncIterator[Step]:
        """Take in what was exported; steps, the result last."""
        ...


class StorageServices(Protocol):
    """Where messages are kept, and by which devices; answers are JSON values."""

    async def storage(self) -> dict[str, Any]:
        """The place in use, and others."""
        ...

    def store_in(self, kind: str, url: str, secret: str, *, lost: bool) -> AsyncIterator[Step]:
        """Move to another place; steps, the result last."""
        ...

    async def earlier(self, name: str) -> dict[str, Any]:
        """Bring older messages."""
        ...

    async def devices(self) -> dict[str, Any]:
        """The person's devices."""
        ...

    async def remove_device(self, beginning: str) -> dict[str, Any]:
        """Take a device off the list."""
        ...


class NameServices(Protocol):
    """Who names are, and the person's own; answers are JSON values."""

    async def show(self, name: str, *, fresh: bool) -> dict[str, Any]:
        """Who a name is, and who says so."""
        ...

    async def own(self) -> dict[str, Any]:
        """My names."""
        ...

    async def claim(self, name: str) -> dict[str, Any]:
        """A first-come name that is mine now."""
        ...

    async def add(self, name: str, *, primary: bool) -> dict[str, Any]:
        """A name of ENS that counts among mine now."""
        ...

    async def use(self, name: str) -> dict[str, Any]:
        """My names, the primary one first."""
        ...

    async def drop(self, name: str) -> dict[str, Any]:
        """My names that are left."""
        ...

    async def forget(self, name: str) -> dict[str, Any]:
        """Whether the key of a first-come name was known."""
        ...


class DeliveryServices(Protocol):
    """This node as a delivery service; answers are JSON values."""

    async def status(self) -> dict[str, Any]:
        """Where it answers, what waits, what was taken and refused since the start."""
        ...


class BackupServices(Protocol):
    """Backups of the node, and a restoration into an empty one."""

    def backup(self, url: str) -> AsyncIterator[Step]:
        """Write a generation into the folder `url`; steps, the result last."""
        ...

    def restore(self, url: str, words: str | None, generation: int | None) -> AsyncIterator[Step]:
        """Bring back the newest or the named generation; steps, the result last."""
        ...


@dataclass(frozen=True, slots=True)
class SearchAsked:
    """A search as a person asks it; `scope` is local, peers, public, cloud or all."""

    query: str
    space: str | None
    kind: str | None
    where: tuple[str, ...]
    scope: str
    limit: int
