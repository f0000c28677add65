"""Port "sandbox": rules judge and functions run in worker processes, so nothing waits for them.

Source: docs/sandbox.md, "Processes"; `chain/sandboxing.py` (operations). One worker judges
(`io/sandbox_judges.py`), others run functions (`io/sandbox_callers.py`), all with one runner
(`io/runner_making.py`). Decides nothing itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from dms3.chain.sandboxing import Called, CallFunction, Judge, Judged, Loaded, Program
from dms3.core.errors import Failure
from dms3.core.limits import SANDBOX_CALLERS_MAX
from dms3.io.runner_cache import RunnerCache
from dms3.io.runner_making import Making, RunnerMaking
from dms3.io.sandbox_callers import Callers, Host
from dms3.io.sandbox_jobs import verdict_of
from dms3.io.sandbox_judges import Judges


class Sandbox:
    """The port of one node; `run` keeps it going."""

    def __init__(
        self,
        cache: RunnerCache | None = None,
        *,
        callers: int = SANDBOX_CALLERS_MAX,
        on_making: Callable[[str], None] = lambda _phase: None,
    ) -> None:
        """`on_making`: told of each phase while the runner is made."""
        self._runner = RunnerMaking(cache, on_making)
        self._judges = Judges(self._runner.ready)
        self._callers = Callers(self._runner.ready, callers)

    async def run(self) -> None:
        """Find or make the runner, and serve until cancelled; then the workers end."""
        self._runner.begin()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._runner.provide())
                group.create_task(self._judges.run())
                group.create_task(self._callers.run())
        finally:
            self._runner.end()

    @property
    def making(self) -> Making | None:
        """How far the runner is; None when it is there."""
        return self._runner.making

    async def serve(self, operation: str, arguments: Any) -> Any:
        """Carry out an operation of the port."""
        match operation, arguments:
            case "load", Program():
                return await self.load(arguments)
            case "judge", Judge():
                return await self.judge(arguments)
            case _:
                return Failure("method_unknown", f"The sandbox has no operation {operation!r} so.")

    async def load(self, program: Program) -> Loaded:
        """What `program` declares; raises `rules_invalid`, `not_ready`, `runner_missing`."""
        return await self._callers.load(program)

    async def judge(self, judge: Judge) -> Judged:
        """Judge an operation; raises `not_ready`, `runner_missing`, `node_busy`."""
        await self._runner.ready()
        answer, fuel = await self._judges.judge(judge)
        return Judged(verdict_of(answer), fuel)

    async def call(self, call: CallFunction, host: Host) -> Called:
        """What a function returns; raises as `SandboxEngine.call` does, and as above.

        `timed_out` when it takes longer than `call.seconds`.
        """
        return await self._callers.call(call, host)
