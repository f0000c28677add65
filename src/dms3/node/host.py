"""A home with its node, locked or open: what the fronts see of a running program.

Source: docs/architecture.md, "Commands". A protected home starts locked: the API answers, every
command that needs the store says `node_locked`, and `unlock` opens the node in place. Implements
`NodeServices` of node/services.py; what commands do is in people.py, documents.py, health.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from dms3 import __version__
from dms3.core.cid import Cid
from dms3.core.database import StoredEvent
from dms3.core.errors import Dms3Error, first_error
from dms3.core.limits import SECOND_US
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.keyfile import KeyFile
from dms3.io.loop import Gap
from dms3.node.backups import Backups
from dms3.node.health import describe, examine
from dms3.node.home import Home
from dms3.node.metrics import Metrics
from dms3.node.node import Node, open_node
from dms3.node.opened import Opened
from dms3.node.services import Health
from dms3.node.services_content import Content, Upload
from dms3.node.settings import Settings
from dms3.node.spooled import Spooled
from dms3.node.watching import Log


class Host(Opened):
    """The node on `home`, whose lock the caller holds. `run` it, then `open` or `unlock` it."""

    def __init__(self, home: Home, settings: Settings, roles: Sequence[str], log: Log) -> None:
        self.home = home
        self._settings = settings
        self._roles = tuple(roles)
        self._log = log
        self._keys = KeyFile(home.key, SystemEntropy())
        self._clock = SystemClock()
        self._begun = self._clock.now()
        self._key: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        self._opened: asyncio.Future[Node] = asyncio.get_running_loop().create_future()
        self._unlocking = asyncio.Lock()  # one attempt at a time: each costs what it should
        self._leaving = asyncio.Event()  # set to end the open node, for good or to open it again
        self._stopped = False
        self._port = 0
        self._node: Node | None = None
        self._metrics = Metrics()

    async def run(self) -> None:
        """Wait for the key, run the node until `stop`; raises the Dms3Error that ends it before."""
        key = await self._key
        if key is None:
            return
        await self._run_once(key)
        while not self._stopped:  # it was left to be opened again
            self._leaving.clear()
            await self._run_once(key)

    async def _run_once(self, key: bytes) -> None:
        """The node from its opening until it is left."""
        try:
            await asyncio.to_thread(self.home.adopt)
            async with open_node(self.home, key, self._settings, self._log, self._metrics) as node:
                self._node = node
                self._opened.set_result(node)
                await self._leaving.wait()
        except* Dms3Error as group:
            error = first_error(group)
            if not self._opened.done():
                self._opened.set_exception(error)
                self._opened.exception()  # seen, also when nobody waits for it
            raise error from None
        finally:
            self._node = None

    def stop(self) -> None:
        """End `run`."""
        self._stopped = True
        self._leaving.set()
        if not self._key.done():
            self._key.set_result(None)

    async def reopen(self) -> None:
        """Close the node and open it again, with what was restored; it listens where it did."""
        listening = tuple(str(address) for address in self._running().network.listening)
        self._settings = replace(self._settings, listen=listening)
        self._opened = asyncio.get_running_loop().create_future()
        self._leaving.set()
        await asyncio.shield(self._opened)

    @property
    def store_key(self) -> bytes:
        """The key of the open store."""
        self._running()
        key = self._key.result()
        assert key is not None, "the node is open"
        return key

    # the key

    @property
    def protected(self) -> bool:
        """Whether a passphrase is needed."""
        return self._keys.exists() and self._keys.protected()

    async def open(self) -> None:
        """Open an unprotected home; a new one gets its key. Raises what is wrong with the home."""
        new = not self._keys.exists()
        if new and self.home.database.exists():
            self._keys.open()  # says what is missing
        key = self._keys.create() if new else self._keys.open()
        await self._use(key)

    async def unlock(self, passphrase: str) -> None:
        """Open a protected home; raises `passphrase_wrong`. An open one stays as it is."""
        async with self._unlocking:
            key = await asyncio.to_thread(self._keys.unlock, passphrase)
            await self._use(key)

    async def protect(self, passphrase: str, current: str | None) -> None:
        """Wrap the store key under `passphrase`; `current` is the old one when there is one."""
        self._running()
        async with self._unlocking:
            await asyncio.to_thread(self._keys.protect, passphrase, current)

    async def _use(self, key: bytes) -> None:
        if not self.home.staged_ready.exists():
            self.home.check_store()
        if not self._key.done():
            self._key.set_result(key)
        await asyncio.shield(self._opened)

    # services

    @property
    def node(self) -> Node | None:
        """The open node, or None."""
        return self._node

    @property
    def backups(self) -> Backups:
        """Backups of this node, and a restoration into it while it is empty."""
        return Backups(self._running(), self)

    def answers(self, port: int) -> None:
        """Say at which port the private listener answers: pages of apps are there, too."""
        self._port = port

    def _api_port(self) -> int:
        return self._port

    def offer(self, url: str) -> None:
        """Say where the public listener answers, before the node is opened."""
        self._settings = replace(self._settings, public_url=url)

    def ready(self) -> str:
        """Why the node is not ready, or "" when it is."""
        if self._node is not None:
            return ""
        return "locked" if self.protected and not self._key.done() else "starting"

    async def status(self) -> dict[str, Any]:
        """How the node is; while it is locked, only that."""
        why = self.ready()
        data: dict[str, Any] = {
            "ready": not why,
            "locked": why == "locked",
            "version": __version__,
            "home": str(self.home.path),
            "protected": self.protected,
            "free_bytes": shutil.disk_usage(self.home.path).free,
            "roles": list(self._roles),
            "seconds": (self._clock.now().mono_us - self._begun.mono_us) // SECOND_US,
        }
        if self._node is None:
            return data
        return data | await describe(self._node)

    async def doctor(self, *, quick: bool = False) -> Sequence[Health]:
        """Every check of the node's health; `quick`: without those that read everything."""
        return await examine(self.home, self._node, quick=quick)

    async def identity(self) -> dict[str, Any]:
        """Root, peer id, account, name and agents of this node's person."""
        return self.people.show() | {"agents": await self.dapps.agents()}

    async def metrics(self) -> bytes:
        """The node's registry in Prometheus text format."""
        if self._node is not None:
            with contextlib.suppress(Dms3Error):  # it stops, and says the rest
                self._metrics.chains(await self._node.call("validation.totals"))
                self._metrics.overlays(await self._node.call("dht.figures"))
        return self._metrics.text(self._node)

    def subscribe(self) -> AbstractContextManager[AsyncIterator[StoredEvent | Gap]]:
        """Events that become durable from now on."""
        return self._running().loop.subscribe()

    async def events(self, since: int, limit: int) -> Sequence[StoredEvent]:
        """Stored events after `since`."""
        return await asyncio.to_thread(self._running().store.events, since, limit)

    async def receive(self, chunks: AsyncIterator[bytes]) -> Upload:
        """Take an upload into the spool."""
        return await self._running().spool.receive(chunks)

    async def discard(self, upload: str) -> None:
        """Remove an upload from the spool."""
        await asyncio.to_thread(self._running().spool.remove, upload)

    async def upload(self, name: str) -> Content:
        """An upload by its id."""
        return Spooled(self._running().spool, name)

    async def content(self, cid: Cid) -> Content:
        """A file by its CID, from here or from peers."""
        return await self._running().content(cid)

    def _running(self) -> Node:
        if self._node is not None:
            return self._node
        if self.ready() == "locked":
            raise Dms3Error(
                "node_locked",
                "This node is locked.",
                hint="Unlock it with dms3 unlock.",
            )
        raise Dms3Error("node_busy", "The node is starting or stopping.", hint="Ask again soon.")

    def _has_role(self, role: str) -> bool:
        return role in self._roles
