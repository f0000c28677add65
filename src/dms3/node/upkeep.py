"""Deletion made real while the node runs: blocks nobody needs go, half-dead packs are rewritten.

Source: docs/adr/0004-packs-are-compacted.md. A pass at the start, after whatever may have loosened
blocks (a removal, an import, an expiry), and from time to time. Each step is one transaction in a
thread and is followed by a rest, a longer one while something is imported. What a step does is
`io/packs.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    UPKEEP_BUSY_FACTOR_MIN,
    UPKEEP_REST_FACTOR_MIN,
    UPKEEP_SECONDS_MAX,
)
from dms3.io import catalogue
from dms3.io.packs import Packs, Swept
from dms3.node.library import Library
from dms3.node.noting import Compacted

T = TypeVar("T")

Call = Callable[[str, Any], Awaitable[Any]]
"""Asks an operation of a machine (`Node.call`)."""


@dataclass(frozen=True, slots=True)
class UpkeepFigures:
    """The packs after the last pass, and what passes since the start have removed.

    `passes`: finished ones. `packs`, `pack_bytes`, `dead_bytes`: files, their bytes, and how many
    of those no block needs. `problem`: why the last pass did not finish, or "".
    """

    running: bool = False
    passes: int = 0
    packs: int = 0
    pack_bytes: int = 0
    dead_bytes: int = 0
    removed: Swept = field(default_factory=Swept)
    problem: str = ""


class Upkeep:
    """Runs passes over `packs`; `run` it as a task until it is cancelled."""

    def __init__(self, library: Library, packs: Packs, call: Call) -> None:
        self._library = library
        self._packs = packs
        self._call = call
        self.figures = UpkeepFigures()
        self.passed = asyncio.Event()  # set at the end of each pass

    @property
    def removed(self) -> Swept:
        """What passes and removals have removed since the start."""
        return self.figures.removed + self._library.released

    async def run(self) -> None:
        """Pass after pass; ends only by cancellation, and then after the step under way."""
        while True:
            self._library.loosened.clear()
            await self._try_pass()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UPKEEP_SECONDS_MAX):
                    await self._library.loosened.wait()

    async def _try_pass(self) -> None:
        """One pass; what stops it (a full queue, a failing disk) is noted, another one comes."""
        self.figures = replace(self.figures, running=True)
        problem = ""
        try:
            swept = await self._pass()
            if swept != Swept():
                told = Compacted(swept.blocks, swept.bytes, swept.packs, swept.moved)
                await self._call("noting.compacted", told)
        except Dms3Error as error:
            problem = error.message
        done = self.figures.passes + (not problem)
        self.figures = replace(self.figures, running=False, passes=done, problem=problem)
        self.passed.set()

    async def _pass(self) -> Swept:
        total = Swept()
        steps = self._packs.sweeping(catalogue.REFERENCED)
        while True:
            begun = time.perf_counter()
            step = await in_thread(lambda: next(steps, None))
            if step is None:
                break
            total += step
            self.figures = replace(self.figures, removed=self.figures.removed + step)
            busy = self._library.importing
            factor = UPKEEP_BUSY_FACTOR_MIN if busy else UPKEEP_REST_FACTOR_MIN
            await asyncio.sleep(factor * (time.perf_counter() - begun))
        uses = await in_thread(self._packs.use)
        self.figures = replace(
            self.figures,
            packs=len(uses),
            pack_bytes=sum(use.bytes for use in uses),
            dead_bytes=sum(use.dead_bytes for use in uses),
        )
        return total


async def in_thread(work: Callable[[], T]) -> T:
    """What `work` returns; unlike `asyncio.to_thread`, a cancelled caller waits for its end.

    So nothing works on the store any more when the store is closed.
    """
    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    finally:
        if not running.done():
            await asyncio.wait([running])
            running.exception()  # seen, though nobody waits for it any more
