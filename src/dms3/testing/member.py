"""One node of a test over its crashes: its app, its tasks, what its page was told.

Source: docs/testing.md; `node/dapps.py` does the same in a node. The app begins anew at each start.
"""

from __future__ import annotations

import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import OverlayId
from dms3.io.dapp_tables import DappRow
from dms3.node.dapps_calling import Calls, Here
from dms3.node.dapps_parts import Parts
from dms3.node.dapps_running import App, begin
from dms3.node.dapps_sandbox import Sandbox
from dms3.node.noting import Signal
from dms3.sim.world import Later, SimNode
from dms3.source.grounds import Own
from dms3.testing.byzantine import Conduct
from dms3.testing.tasks import Task, ask


@dataclass(slots=True, eq=False)
class Member:
    """The node `sim` of `person`; `proof` for the app's membrane, None for none."""

    sim: SimNode
    person: Own
    proof: Any
    sandbox: Sandbox
    conduct: Conduct = field(default_factory=Conduct)
    calls: Calls = field(init=False)
    app: App = field(init=False)
    signals: list[tuple[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    tasks: dict[Task[Any], None] = field(default_factory=dict)
    crash_at: int = 0  # transactions from now on until the one in which it crashes
    crash_durable: bool = False
    counted: int | None = None  # the last transaction

    def started(self, parts: Parts) -> None:
        """The node runs, and has not begun the app yet."""
        row = DappRow(0, bytes(parts.dna.id), parts.manifest.name, "", "test", 0, 0)
        self.app = App(row, parts, self.proof)
        here = Here(self.person, self._ask, self.sandbox, lambda _, line: self.log.append(line))
        self.calls = Calls(here, _One(self.app), contextlib.nullcontext())

    def begin(self, boot: int) -> None:
        """Begin the app, if the node still is in that life."""
        if self.sim.boot == boot and self.sim.driver is not None:
            self.task(self._begin())

    def task(self, coroutine: Coroutine[Any, Any, Any]) -> Task[Any]:
        """Do something that ends when the node does."""
        task = Task(self.sim, coroutine, lambda task: self.tasks.pop(task, None))
        self.tasks[task] = None
        return task

    def end_tasks(self, why: str) -> None:
        """Whatever the node was doing is given up."""
        for task in list(self.tasks):
            task.end(why)

    def serve(self, operation: str, arguments: Any) -> Later:
        """Port "dapps": what the app answers to agents of others."""
        later = Later()

        async def answer() -> None:
            try:
                later.give(await self.calls.serve(operation, arguments))
            except Dms3Error as error:
                later.give(Failure.of(error))

        self.task(answer())
        return later

    async def _begin(self) -> None:
        await begin(self.app, self._ask, self.sandbox)
        if self.app.state == "ready":
            await self.calls.callback(self.app, "init", {})

    async def _ask(self, operation: str, arguments: Any) -> Any:
        """What the node's machines answer; what is noted for its page stays in the test."""
        if isinstance(arguments, Signal):
            self.signals.append((arguments.name, arguments.value))
            return None
        return await ask(operation, arguments)


@dataclass(frozen=True, slots=True)
class _One:
    """The one app of a node."""

    only: App

    def app(self, name: str) -> App:
        """The app called `name`."""
        if name != self.only.name:
            raise Dms3Error("not_found", f"No app {name[:64]!r} is in this test.")
        return self.only

    def of_overlay(self, overlay: OverlayId) -> App:
        """The app with that DNA."""
        if overlay != self.only.overlay:
            raise Dms3Error("not_found", "That app is not in this test.")
        return self.only
