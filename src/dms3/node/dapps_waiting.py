"""Waiting until others hold an action: what is told of it when enough have signed, or in time.

Source: docs/chains.md, "Published". It reads the events of the node from before the commit on, so
nothing is missed and nothing is asked twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from dms3.chain.operations import Published
from dms3.core.cid import Cid
from dms3.core.database import StoredEvent
from dms3.node.node import Node

TOPIC = "chain.published"
_LOOK_SECONDS = 1  # between two reports of progress


@contextmanager
def holders(node: Node) -> Iterator[Holders]:
    """To be used around a commit: nothing that happens after it is missed."""
    with node.loop.subscribe() as live:
        yield Holders(node, live)


class Holders:
    """Who holds actions that `node` writes, from the events `live`."""

    def __init__(self, node: Node, live: AsyncIterator[Any]) -> None:
        self._node = node
        self._live = live

    async def of(self, action: Cid, seconds: int) -> AsyncIterator[Published]:
        """Who holds `action`: each second until that is enough, or so many are over."""
        for _ in range(seconds):
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._until(str(action))
                    break
            yield await self._far(action)
        yield await self._far(action)

    async def _far(self, action: Cid) -> Published:
        far: Published = await self._node.call("source.published", action)
        return far

    async def _until(self, action: str) -> None:
        async for event in self._live:
            if not isinstance(event, StoredEvent):
                return  # some were lost: what was asked for may be among them
            if event.topic == TOPIC and event.data["action"] == action:
                return
