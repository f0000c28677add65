"""The workers of the sandbox that run functions: one kept, more while others wait for the network.

Source: docs/sandbox.md, "Processes". Who waits for whom is looked after here, so that calls which
wait for calls never stand still; what a function asks is answered by whoever called it (`Host`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from dms3.chain.sandboxing import Called, CallFunction, Loaded, Program
from dms3.core.errors import Dms3Error, Failure
from dms3.core.limits import (
    SANDBOX_IDLE_SECONDS_MAX,
    SANDBOX_JOB_SECONDS_MAX,
    SANDBOX_MESSAGE_BYTES_MAX,
    SANDBOX_NESTED_MAX,
    SANDBOX_WAITING_MAX,
)
from dms3.io import sandbox_frames as frames
from dms3.io.runner_cache import Runner
from dms3.io.sandbox_channel import Channel, LostError
from dms3.io.sandbox_jobs import call_text, called, key_of

_INSIDE: ContextVar[bool] = ContextVar("inside a call", default=False)

Host = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
"""What a function asks the node: JSON values or a Failure come back; Dms3Error is one, too."""


@dataclass(slots=True)
class Callers:
    """Workers that run functions: one kept, more while others wait for the network."""

    _ready: Callable[[], Awaitable[Runner]]
    _most: int
    _idle: list[Channel] = field(default_factory=list)
    _all: list[Channel] = field(default_factory=list)
    _seats: asyncio.Semaphore = field(init=False)
    _shares: WeakValueDictionary[bytes, asyncio.Semaphore] = field(
        default_factory=WeakValueDictionary
    )
    _waiting: int = 0

    def __post_init__(self) -> None:
        self._seats = asyncio.Semaphore(self._most)

    @contextlib.asynccontextmanager
    async def _seat(self, dna: bytes) -> AsyncIterator[None]:
        """A place to work. A call that another call waits for has one at once, or fails at once.

        Would it wait for a place that the other has, both would wait for ever. One app, by its
        DNA, never has all of them: others would wait for what it waits for.
        """
        if not _INSIDE.get():
            share = self._shares.setdefault(dna, asyncio.Semaphore(max(1, self._most - 1)))
            async with share, self._seats:
                yield
        elif len(self._all) - len(self._idle) >= SANDBOX_NESTED_MAX:
            raise Dms3Error("node_busy", f"{SANDBOX_NESTED_MAX} calls wait for other calls.")
        else:
            yield

    async def run(self) -> None:
        """End workers that nobody needs, until cancelled; then all."""
        try:
            while True:
                before = set(map(id, self._idle))
                await asyncio.sleep(SANDBOX_IDLE_SECONDS_MAX)
                for channel in [each for each in self._idle[:-1] if id(each) in before]:
                    self._idle.remove(channel)
                    await self._end(channel)
        finally:
            for channel in list(self._all):
                await self._end(channel)

    async def load(self, program: Program) -> Loaded:
        """What `program` declares."""
        key = key_of(program)

        async def work(channel: Channel) -> Any:
            channel.send(frames.program_frame(key, program))
            _, _, body = await channel.take()
            return json.loads(body)

        what = f"{program.part}.py"
        found = await self._with_worker(work, SANDBOX_JOB_SECONDS_MAX, what, program.dna)
        if "code" in found:
            raise Dms3Error(found["code"], found["message"], hint=found["hint"])
        return Loaded(
            tuple((name, line, doc) for name, line, doc in found["rules"]),
            tuple((name, access, line, doc) for name, access, line, doc in found["functions"]),
        )

    async def call(self, call: CallFunction, host: Host) -> Called:
        """What a function returns."""
        key = key_of(call.program)
        job = frames.jobs_frame(frames.CALL, [(key, call_text(call, key))])
        if len(job) > SANDBOX_MESSAGE_BYTES_MAX:
            raise Dms3Error(
                "body_too_large", f"The arguments of {call.function[:64]} are too long."
            )

        async def work(channel: Channel) -> Any:
            channel.send(job)
            given = False
            while True:
                kind, _, body = await channel.take()
                if kind == frames.ASK:
                    channel.send(frames.frame(frames.ANSWER, await _told(host, body)))
                elif kind == frames.LOADED:
                    found = json.loads(body)
                    if "code" in found:
                        raise Dms3Error(found["code"], found["message"], hint=found["hint"])
                    channel.send(job)
                elif body != b"null":
                    return json.loads(body)
                elif given:
                    raise LostError
                else:
                    given = True
                    channel.send(frames.program_frame(key, call.program))

        answer, fuel, asked = await self._with_worker(
            work, call.seconds, call.function[:64], call.program.dna
        )
        return called(call, answer, fuel, asked)

    async def _with_worker(
        self, work: Callable[[Channel], Awaitable[Any]], seconds: float, what: str, dna: bytes
    ) -> Any:
        """What `work` returns with a worker of its own; one that failed is not kept."""
        if self._waiting >= SANDBOX_WAITING_MAX:
            raise Dms3Error("node_busy", f"{SANDBOX_WAITING_MAX} calls wait already.")
        runner = await self._ready()
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds), self._seat(dna):
                channel = await self._take(runner)
                try:
                    found = await work(channel)
                except Dms3Error:
                    self._idle.append(channel)
                    raise
                except BaseException:  # it is in the middle of something
                    await self._end(channel)
                    raise
                self._idle.append(channel)
                return found
        except TimeoutError as error:
            raise Dms3Error(
                "timed_out", f"{what} took longer than {seconds:g} s and was stopped."
            ) from error
        except LostError as error:
            raise Dms3Error(
                "function_stopped", f"{what} ended the sandbox's process; the node goes on."
            ) from error
        finally:
            self._waiting -= 1

    async def _take(self, runner: Runner) -> Channel:
        while self._idle:
            channel = self._idle.pop()
            if not channel.lost:
                return channel
            await self._end(channel)
        channel = await Channel.start(runner)
        self._all.append(channel)
        return channel

    async def _end(self, channel: Channel) -> None:
        if channel in self._all:
            self._all.remove(channel)
        await asyncio.shield(channel.close())


async def _told(host: Host, question: bytes) -> bytes:
    """The node's answer to a question of a function."""
    inside = _INSIDE.set(True)
    try:
        name, arguments = json.loads(question)
        found = await host(name, arguments)
    except Dms3Error as error:
        found = Failure.of(error)
    finally:
        _INSIDE.reset(inside)
    if isinstance(found, Failure):
        found = {"error": {"code": found.code, "message": found.message}}
    else:
        found = {"value": found}
    text = json.dumps(found).encode()
    if len(text) > SANDBOX_MESSAGE_BYTES_MAX:
        text = json.dumps(
            {"error": {"code": "body_too_large", "message": "the answer is too long"}}
        ).encode()
    return text
