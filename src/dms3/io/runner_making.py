"""The runner of apps for one running node: found, or made in the background, once.

Source: docs/sandbox.md, "The runner". `io/runner_cache.py` says where it lies and makes it, in a
process of its own; here is who waits for it, and what they are told meanwhile.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from dms3.core.errors import Dms3Error
from dms3.core.limits import RUNNER_BUILD_SECONDS_MAX
from dms3.io.runner_cache import Runner, RunnerCache


@dataclass(frozen=True, slots=True)
class Making:
    """How far the runner is: `phase` of io/runner_cache.py:PHASES, for `seconds` so far."""

    phase: str
    seconds: float


class RunnerMaking:
    """The runner in `cache`, None: the usual one; `on_making`: told each phase of making it."""

    def __init__(self, cache: RunnerCache | None, on_making: Callable[[str], None]) -> None:
        self._cache = cache
        self._on_making = on_making
        self._runner: asyncio.Future[Runner] | None = None
        self._making: tuple[str, float] | None = None

    def begin(self) -> None:
        """Whoever asks may wait from now on: `provide` follows."""
        self._runner = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        """Nobody waits any more."""
        if self._runner is not None and not self._runner.done():
            self._runner.cancel()

    @property
    def making(self) -> Making | None:
        """How far the runner is; None when it is there."""
        if self._making is None:
            return None
        phase, since = self._making
        return Making(phase, asyncio.get_running_loop().time() - since)

    async def ready(self) -> Runner:
        """The runner; waits for it while it is looked for, not while it is made."""
        if self._runner is None:
            raise Dms3Error("node_stopping", "The sandbox is not running.")
        making = self.making
        if making is not None and not self._runner.done():
            raise Dms3Error(
                "not_ready",
                f"The runner of apps is being made here, once: {making.phase}, "
                f"{making.seconds:.0f} s so far.",
                hint="It takes about a minute or two; ask again then.",
            )
        return await asyncio.shield(self._runner)

    async def provide(self) -> None:
        """Find the runner, or make it; what fails is told to whoever asks."""
        runner = self._runner
        assert runner is not None, "begun"
        try:
            cache = self._cache
            if cache is None:
                cache = await asyncio.to_thread(RunnerCache)
            found = await asyncio.to_thread(cache.find)
            if found is None:
                await self._make()
                found = await asyncio.to_thread(cache.make)
            if not runner.done():
                runner.set_result(found)
        except Dms3Error as error:
            if not runner.done():
                runner.set_exception(error)
                runner.exception()  # told to whoever asks
        finally:
            self._making = None

    async def _make(self) -> None:
        """Have the runner made by a process of its own, which says how far it is."""
        self._said("building")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "dms3.io.runner_cache"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(RUNNER_BUILD_SECONDS_MAX):
                async for line in process.stdout:
                    code, _, message = line.decode(errors="replace").strip().partition(" ")
                    if message:
                        raise Dms3Error("runner_missing", message)
                    self._said(code)
                await process.wait()
        except TimeoutError as error:
            raise Dms3Error(
                "runner_missing", "Making the runner of apps took too long and was stopped."
            ) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def _said(self, phase: str) -> None:
        since = self._making[1] if self._making else asyncio.get_running_loop().time()
        self._making = (phase, since)
        self._on_making(phase)
