"""Long work under way: which commands run, how far each is, told to whoever watches.

Source: docs/api.md, "What is running". Nothing is stored: what has happened for good is an event
(`api/events.py`). It holds no more entries than the API has connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from dms3.core.limits import RUNNING_PAUSE_SECONDS
from dms3.node.table import Command, Progress, Step


@dataclass(slots=True)
class _Work:
    number: int
    command: str
    space: str | None
    begun: float
    progress: Progress


class Running:
    """The streaming commands that clients of one node wait for."""

    def __init__(self) -> None:
        self._works: dict[int, _Work] = {}
        self._count = 0
        self._watchers: set[asyncio.Event] = set()

    async def track(
        self, command: Command, arguments: Mapping[str, Any], steps: AsyncGenerator[Step]
    ) -> AsyncGenerator[Step]:
        """`steps`, noted while they go on."""
        self._count += 1
        now = asyncio.get_running_loop().time()
        space = arguments.get("space")
        work = _Work(self._count, command.name, space, now, Progress(0, None, ""))
        self._works[work.number] = work
        self._tell()
        try:
            async with aclosing(steps):
                async for step in steps:
                    if isinstance(step, Progress):
                        work.progress = step
                        self._tell()
                    yield step
        finally:
            del self._works[work.number]
            self._tell()

    def shown(self) -> dict[str, Any]:
        """What runs now, the oldest first; JSON values."""
        now = asyncio.get_running_loop().time()
        return {
            "running": [
                {
                    "number": work.number,
                    "command": work.command,
                    "space": work.space,
                    "seconds": round(now - work.begun, 1),
                    "done": work.progress.done,
                    "total": work.progress.total,
                    "unit": work.progress.unit,
                    "text": work.progress.text,
                }
                for work in self._works.values()
            ]
        }

    async def changes(self) -> AsyncGenerator[dict[str, Any]]:
        """What runs now, then again after each change, at most once in RUNNING_PAUSE_SECONDS."""
        changed = asyncio.Event()
        self._watchers.add(changed)
        try:
            while True:
                changed.clear()
                yield self.shown()
                await changed.wait()
                await asyncio.sleep(RUNNING_PAUSE_SECONDS)
        finally:
            self._watchers.discard(changed)

    def _tell(self) -> None:
        for watcher in self._watchers:
            watcher.set()
