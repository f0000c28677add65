"""The composition root: the one place that knows every part of a node and joins them.

Source: docs/architecture.md. Reads from top to bottom like the table of contents: store, identity,
documents, machines, driver, network. Decides nothing: rules live in the parts. Two nodes in one
process share nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from concurrent import futures
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dms3 import __version__
from dms3.core.cid import Cid
from dms3.core.dag_pb import Link
from dms3.core.errors import Dms3Error
from dms3.core.machine import Entropy, View
from dms3.core.network import network_id
from dms3.crypto.keys import KeyTree
from dms3.gossip.grounds import Counts
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.loop import Loop, Port
from dms3.io.packs import Packs
from dms3.io.pool import Pool
from dms3.io.schema import MIGRATIONS
from dms3.io.spool import Spool
from dms3.io.store import Store
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import peer_id_text
from dms3.libp2p.peer_record import seal_record
from dms3.node.backing import Backing, Source
from dms3.node.content import File, Folder
from dms3.node.dapps import Dapps
from dms3.node.dapps_opening import World, open_apps
from dms3.node.delivering import Delivering
from dms3.node.delivery_opening import opened
from dms3.node.delivery_secrets import service_secrets
from dms3.node.driver import Driver
from dms3.node.home import Home
from dms3.node.identity import Identity, create_identity, keep_identity, load_identity
from dms3.node.interfaces import spelled_out
from dms3.node.library import Library
from dms3.node.machines import PROTOCOLS, counts_of, machines_of
from dms3.node.message_ports import MessagePorts
from dms3.node.network import Network, over_tcp
from dms3.node.networks import Networks
from dms3.node.networks_book import Book
from dms3.node.outside import name_ports
from dms3.node.placing import Placing
from dms3.node.published import Published
from dms3.node.reachable import Reachable, local_network, watched
from dms3.node.settings import Settings
from dms3.node.upkeep import Upkeep
from dms3.node.watching import Faults, Log, Watch
from dms3.p2p.known import PUBLIC_PROTOCOL

AGENT = f"dms3/{__version__}"
LISTENING = (
    "circuits.listening",
    *("peers.listening", "dht.listening", "publishing.listening", "source.listening"),
)
"""Who wants to know where this node can be reached."""


@dataclass(slots=True, eq=False)
class Node:
    """A running node's parts, for the commands. Machines are asked through `call`."""

    identity: Identity
    store: Store
    packs: Packs
    spool: Spool
    library: Library
    loop: Loop
    network: Network
    clock: SystemClock
    group: asyncio.TaskGroup  # for what goes on beside commands
    upkeep: Upkeep
    backing: Backing
    ports: Mapping[str, Port] = field(default_factory=dict)
    lag_us: int = 0
    delivery: Delivering | None = None
    dapps: Dapps | None = None
    networks: Networks | None = None
    gossip: Counts = field(default_factory=Counts)

    async def call(self, operation: str, arguments: Any = None) -> Any:
        """What machine operation ("NAME.OPERATION") answers; raises its failure as Dms3Error."""
        return await self.loop.call(operation, arguments)

    async def content(self, cid: Cid) -> File:
        """The file `cid`, from here or from peers; raises `content_unavailable`."""
        return await File(self.library, self.call, self.group.create_task, cid).open()

    async def folder(self, cid: Cid) -> list[Link]:
        """The entries of the folder `cid`, from here or from peers; raises as `content`."""
        return await Folder(self.library, self.call, self.group.create_task, cid).entries()

    @property
    def reachable(self) -> tuple[str, ...]:
        """Where other nodes may try to reach this one: what it listens at, spelled out; hops."""
        return (*spelled_out(self.network.listening), *self.network.circuits)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where this node listens, each with its peer id."""
        peer = peer_id_text(self.identity.peer)
        return tuple(f"{address}/p2p/{peer}" for address in self.reachable)


@contextlib.asynccontextmanager
async def open_node(
    home: Home, key: bytes, settings: Settings, log: Log, watch: Watch
) -> AsyncIterator[Node]:
    """A running node on `home` (its lock is held by the caller) with the 32-byte store `key`.

    Leaving the block stops it in order: network, machines, documents, store. Raises Dms3Error for
    whatever is wrong with the home or the addresses; a machine that fails ends the block.
    """
    clock, entropy = SystemClock(), SystemEntropy()
    async with contextlib.AsyncExitStack() as stack:
        kept = await stack.enter_async_context(_kept(home, key, settings, clock, entropy))
        store, identity, packs, spool, library = kept
        secrets = await asyncio.to_thread(service_secrets, store, entropy)
        faults = Faults(log, watch)

        def lag(lag_us: int) -> None:
            node.lag_us = lag_us
            watch.lag(lag_us)

        hosted = machines_of(identity, settings, entropy, secrets.keys, home.place())
        driver = Driver(
            hosted,
            store.view(),
            last_event=store.last_event(),
            on_bug=faults.machine,
        )
        loop = Loop(driver=driver, journal=store, clock=clock, on_lag=lag, on_fault=faults.port)
        network = _network(identity, settings, loop, clock, entropy)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        upkeep = Upkeep(library, packs, loop.call)
        backing = Backing(Source(identity, store, packs, entropy), clock, loop.call)
        node = Node(
            identity, store, packs, spool, library, loop, network, clock, group, upkeep, backing
        )
        node.gossip = counts_of(hosted)
        posted = MessagePorts(store, loop.call, lambda: network.listening)
        placing = Placing(home.conversations, identity, store, loop.call, clock, entropy)
        outside = await stack.enter_async_context(
            name_ports(settings.ethereum, lambda: network.listening)
        )
        apps = open_apps(identity, store, loop.call, World(clock, entropy, log))
        published = Published(store, packs, loop.call)
        ports = _ports(network, library, published) | posted.ports | placing.ports | outside
        node.dapps, node.ports = apps.dapps, ports | apps.ports
        node.networks = _networks(node, apps.dapps)
        stack.callback(group.create_task(posted.run()).cancel)
        group.create_task(loop.run(network, node.ports))
        reports = group.create_task(network.report(loop.call))
        try:
            await asyncio.gather(
                library.start(), apps.dapps.start(), node.networks.start(store.view())
            )
            for address in settings.listen:
                await network.listen(Multiaddr.parse(address))
            for running in (upkeep.run(), placing.run(), apps.run(), node.networks.run()):
                stack.callback(group.create_task(running).cancel)
            if settings.delivery is not None:
                node.delivery = opened(secrets, store, loop.call, ports, settings)
                stack.callback(group.create_task(node.delivery.run()).cancel)
            reachable = Reachable(network, loop.call, LISTENING)
            lan = local_network(identity.peer, reachable, log.info) if settings.mdns else None
            async with watched(reachable, lan):
                yield node
        finally:
            reports.cancel()
            await network.close()
            loop.stop()


class _Kept(NamedTuple):
    """What lies in a home, opened."""

    store: Store
    identity: Identity
    packs: Packs
    spool: Spool
    library: Library


@contextlib.asynccontextmanager
async def _kept(
    home: Home, key: bytes, settings: Settings, clock: SystemClock, entropy: Entropy
) -> AsyncIterator[_Kept]:
    """The store with everything over it; closed in order at the end."""
    async with contextlib.AsyncExitStack() as stack:
        store = await asyncio.to_thread(Store.open, home.database, key, MIGRATIONS)
        stack.push_async_callback(asyncio.to_thread, store.close)
        identity = await _identity(store, entropy, settings)
        packs = await asyncio.to_thread(Packs, home.packs, packs_key(key), store, entropy)
        stack.callback(packs.close)
        spool = Spool(home.spool, entropy, limit=settings.upload_max)
        stack.callback(spool.close)
        pool = Pool()
        stack.push_async_callback(pool.close)
        yield _Kept(store, identity, packs, spool, Library(store, packs, pool, clock, entropy))


def _network(
    identity: Identity, settings: Settings, loop: Loop, clock: SystemClock, entropy: Entropy
) -> Network:
    return Network(
        protocols=PROTOCOLS,
        network=network_id(settings.network),
        events=loop,
        clock=clock,
        transport=over_tcp(identity.node_key, clock, entropy),
        agent=AGENT,
        seal=partial(seal_record, identity.node_key),
        only_asked=() if settings.overlay else (PUBLIC_PROTOCOL,),
    )


def _networks(node: Node, dapps: Dapps) -> Networks:
    book = Book(node.identity, node.store)
    return Networks(node, book, SystemEntropy(), dapps.renew)


def _ports(network: Network, library: Library, published: Published) -> dict[str, Port]:
    return {"transport": network.port, "library": library.serve, "published": published.serve}


async def _identity(store: Store, entropy: Entropy, settings: Settings) -> Identity:
    """The identity of this home; a new one, or name, is durable before anyone hears of it."""
    view: View = store.view()
    identity = load_identity(view)
    if identity is None:
        identity = create_identity(entropy, settings.name, settings.words)
    elif settings.words and KeyTree.of_words(settings.words).root_id() != identity.root:
        raise Dms3Error(
            "already_exists",
            "This home already belongs to another person than that of the words.",
            hint="Choose an empty folder with --home, or start without --words-file.",
        )
    elif settings.name_chosen and settings.name != identity.name:
        identity = replace(identity, name=settings.name)
    else:
        return identity
    written: futures.Future[None] = store.commit([keep_identity(identity)], [])
    await asyncio.wrap_future(written)
    return identity


def packs_key(store_key: bytes) -> bytes:
    """The key that seals pack keys: another one than the database's, so that neither is reused."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"dms3 packs").derive(store_key)
