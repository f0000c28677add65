"""What nodes await, on simulated time: coroutines of the node, and functions of apps in threads.

Source: docs/testing.md, "How it works". A coroutine goes on when a machine has answered, as an
event of the world. A function of an app runs in a thread of its own, because the sandbox cannot be
left in the middle; whoever waits for it stands still meanwhile, so exactly one thread ever runs,
and equal seeds give equal traces.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from dms3.chain.sandboxing import Called, CallFunction
from dms3.core.errors import Dms3Error, Failure
from dms3.io.sandbox_engine import SandboxEngine
from dms3.sim.world import SimNode

T = TypeVar("T")
Host = Callable[[str, Mapping[str, Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A question to a machine of the node, awaited: its answer, or its failure raised."""

    operation: str
    arguments: Any

    def __await__(self) -> Generator[Asked, Any, Any]:
        """Go on with the answer."""
        body = yield self
        if isinstance(body, Failure):
            raise body.error()
        return body


async def ask(operation: str, arguments: Any = None) -> Any:
    """What machine operation ("NAME.OPERATION") of the task's node answers; raises its failure."""
    return await Asked(operation, arguments)


class Task(Generic[T]):
    """A coroutine of `node`; it ends with it. `done` is told of the end, once."""

    def __init__(
        self,
        node: SimNode,
        coroutine: Coroutine[Asked, Any, T],
        done: Callable[[Task[T]], None] = lambda _: None,
    ) -> None:
        self.node = node
        self.error: Dms3Error | None = None
        self.over = False
        self._coroutine = coroutine
        self._told = done
        self._value: T
        self._boot = node.boot
        node.world.at(node.world.time_us, self._go, None)

    @property
    def value(self) -> T:
        """What it has returned; raises what it has raised."""
        if self.error is not None:
            raise self.error
        assert self.over, "the task is not over"
        return self._value

    def end(self, why: str) -> None:
        """Give it up, between two of its steps."""
        if not self.over:
            self._coroutine.close()
            self._end(Dms3Error("node_unreachable", why))

    def _go(self, answer: Any) -> None:
        if self.over:
            return
        if self.node.boot != self._boot or self.node.driver is None:
            self.end("The node crashed meanwhile.")
            return
        try:
            asked = self._coroutine.send(answer)
        except StopIteration as stop:
            self._value = stop.value
            self._end(None)
        except Dms3Error as error:
            self._end(error)
        else:
            self._put(asked)

    def _put(self, asked: Asked) -> None:
        world = self.node.world

        def answered(body: Any) -> None:
            world.at(world.time_us, self._go, body)

        try:
            self.node.call(asked.operation, asked.arguments, answered)
        except Dms3Error as error:
            answered(Failure.of(error))

    def _end(self, error: Dms3Error | None) -> None:
        self.over, self.error = True, error
        self._told(self)


@dataclass(frozen=True, slots=True)
class _Question:
    name: str
    arguments: Mapping[str, Any]


class _GoneError(Exception):
    """Nobody waits for the function any more."""


class _Guest:
    """One run of a function, in a thread; `go` lets it run until it asks or ends."""

    def __init__(self, engine: SandboxEngine, call: CallFunction) -> None:
        self._engine = engine
        self._call = call
        self._turn = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._work, name=f"dms3 {call.function}")
        self._answer: Any = None
        self._said: _Question | Called | Exception | None = None
        self._gone = False

    def go(self, answer: Any = None) -> _Question | Called:
        """What it asks next, or has returned; raises what it fails with."""
        self._answer = answer
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._turn.release()
        self._back.acquire()
        if isinstance(self._said, _Question):
            return self._said
        self._thread.join()
        if isinstance(self._said, Called):
            return self._said
        assert self._said is not None, "the sandbox has a bug: see the error of its thread"
        raise self._said

    def end(self) -> None:
        """Stop it where it waits."""
        if isinstance(self._said, _Question):
            self._gone = True
            with contextlib.suppress(_GoneError, Dms3Error):  # how it ends is nobody's concern
                self.go()

    def _ask(self, name: str, arguments: Mapping[str, Any]) -> Any:
        self._said = _Question(name, arguments)
        self._back.release()
        self._turn.acquire()
        if self._gone:
            raise _GoneError
        return self._answer

    def _work(self) -> None:
        self._said = None
        try:
            self._said = self._engine.call(self._call, self._ask)
        except (Dms3Error, _GoneError) as error:
            self._said = error
        finally:
            self._back.release()


class Sandboxed:
    """Implements `node.dapps_sandbox.Engine` with a sandbox in this process."""

    making = None

    def __init__(self, engine: SandboxEngine) -> None:
        self._engine = engine

    async def serve(self, operation: str, arguments: Any) -> Any:
        """Operation "load"."""
        assert operation == "load", "nothing else is asked by apps"
        return self._engine.load(arguments)

    async def call(self, asked: CallFunction, host: Host) -> Called:
        """What a function returns; `host` answers what it asks."""
        guest = _Guest(self._engine, asked)
        try:
            said = guest.go()
            while isinstance(said, _Question):
                said = guest.go(await host(said.name, said.arguments))
        finally:
            guest.end()
        return said
