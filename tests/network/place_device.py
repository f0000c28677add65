"""Devices of a person: the real machine, driver and store, over real places, without a network."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from dms3.core.errors import Dms3Error
from dms3.core.machine import Called, Effect, Event, Now, Reply, View
from dms3.crypto.keys import KeyTree
from dms3.crypto.words import words_of_entropy
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.loop import Loop, Port
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node.driver import Driver
from dms3.node.inbox import Hosted
from dms3.storage.operations import Item, Place, StorageState
from dms3.storage.storage import Storage

BODY_BYTES = 700  # as a message with its signature
BATCH = 256
PATIENCE_SECONDS = 600
WORDS = words_of_entropy(b"storage of words")


class Mailbox:
    """A machine that keeps what storage brings, in memory."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.came = asyncio.Event()

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Nothing."""
        del view, now
        return []

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Keep items."""
        del now
        if not isinstance(event, Called):
            return []
        if event.operation == "merge":
            self.items.update((item.key, item) for item in event.arguments)
            self.came.set()
        return [Reply(event.request, None)]

    def on_timer(self, now: Now) -> list[Effect]:
        """Never."""
        del now
        return []

    def next_timer(self) -> int | None:
        """None."""
        return None


class Device:
    """One device; `mailbox` has what came of others."""

    def __init__(self, loop: Loop, mailbox: Mailbox) -> None:
        self._loop = loop
        self.mailbox = mailbox

    async def call(self, operation: str, arguments: Any = None) -> Any:
        """What the storage of this device answers."""
        return await self._loop.call(f"storage.{operation}", arguments)

    async def append(self, items: list[Item]) -> None:
        """Have items lie where all devices read them."""
        for start in range(0, len(items), BATCH):
            durable = await self.call("append", tuple(items[start : start + BATCH]))
            assert durable.shared or not durable.waiting_for

    async def move(self, place: Place) -> StorageState:
        """Use another place; everything lies there when this returns."""
        state: StorageState = await self.call("choose", place)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while state.moving is not None or state.place != place:
                await asyncio.sleep(0.02)
                state = await self.call("chosen")
        return state

    async def has(self, count: int) -> None:
        """Bring `count` items of other devices."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.mailbox.items) < count:
                with contextlib.suppress(Dms3Error):  # it is being opened
                    await self.call("earlier", count - len(self.mailbox.items))
                await self._more(count)

    async def sees(self, keys: set[str]) -> None:
        """Wait until these items of other devices are here, which nobody asks for."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not keys <= self.mailbox.items.keys():
                await self._more(1 << 60)

    async def _more(self, count: int) -> None:
        if len(self.mailbox.items) < count:
            self.mailbox.came.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.mailbox.came.wait(), 0.05)


class _Nobody:
    """There are no peers."""

    def cancel(self, handle: int) -> None:
        """Nothing was asked."""


@contextlib.asynccontextmanager
async def device(folder: Path, number: int, place_port: Port) -> AsyncIterator[Device]:
    """A device with its store in `folder`; `number` makes its id."""
    folder.mkdir(parents=True, exist_ok=True)
    clock, entropy = SystemClock(), SystemEntropy()
    store = Store.open(folder / "store.db", bytes(32), MIGRATIONS, reserve=0)
    mailbox = Mailbox()
    storage = Storage(KeyTree.of_words(WORDS), bytes([number]) * 16, f"device {number}", entropy)
    faults: list[object] = []
    driver = Driver(
        [Hosted("storage", storage), Hosted("mailbox", mailbox)],
        store.view(),
        last_event=store.last_event(),
        on_bug=lambda *bug: faults.append(bug),
    )
    loop = Loop(
        driver=driver,
        journal=store,
        clock=clock,
        on_lag=lambda _: None,
        on_fault=lambda *fault: faults.append(fault),
    )
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(loop.run(_Nobody(), {"place": place_port}))  # type: ignore[arg-type]
            try:
                yield Device(loop, mailbox)
            finally:
                loop.stop()
        assert not faults, faults
    finally:
        store.close()


def items_of(count: int, start: int = 0) -> list[Item]:
    """Messages, each later than the one before."""
    return [item_of(number) for number in range(start, start + count)]


def item_of(number: int) -> Item:
    text = f"message {number} ".encode()
    body = (text * (BODY_BYTES // len(text) + 1))[:BODY_BYTES]
    return Item("message", f"0x{number:064x}", body, 1_700_000_000_000 + number)
