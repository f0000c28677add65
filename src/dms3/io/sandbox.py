"""Port "sandbox": rules judge and functions run in worker processes, so nothing waits for them.

Source: docs/sandbox.md, "Processes"; `chain/sandboxing.py` (operations). One worker judges, batch
by batch; others run functions, which may wait for the network, as many as wait at once. A job that
kills its worker costs itself. Makes the runner in the background when it is not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

from dms3.chain.sandboxing import Called, CallFunction, Judge, Judged, Loaded, Program
from dms3.core.errors import Dms3Error, Failure
from dms3.core.limits import (
    RUNNER_BUILD_SECONDS_MAX,
    SANDBOX_BATCH_MAX,
    SANDBOX_CALLERS_MAX,
    SANDBOX_IDLE_SECONDS_MAX,
    SANDBOX_JOB_SECONDS_MAX,
    SANDBOX_MESSAGE_BYTES_MAX,
    SANDBOX_NESTED_MAX,
    SANDBOX_WAITING_MAX,
)
from dms3.io import sandbox_frames as frames
from dms3.io.runner_cache import Runner, RunnerCache
from dms3.io.sandbox_channel import Channel, LostError
from dms3.io.sandbox_jobs import call_text, called, judge_text, key_of, verdict_of

_INSIDE: ContextVar[bool] = ContextVar("inside a call", default=False)

Host = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
"""What a function asks the node: JSON values or a Failure come back; Dms3Error is one, too."""


@dataclass(frozen=True, slots=True)
class Making:
    """How far the runner is: `phase` of io/runner_cache.py:PHASES, for `seconds` so far."""

    phase: str
    seconds: float


@dataclass(slots=True)
class _Job:
    """A judging that waits."""

    program: Program
    key: str
    text: str
    answer: asyncio.Future[tuple[list[Any], int]]
    tries: int = 0


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
        self._cache = cache
        self._on_making = on_making
        self._runner: asyncio.Future[Runner] | None = None
        self._making: tuple[str, float] | None = None
        self._judges = _Judges(self._ready)
        self._callers = _Callers(self._ready, callers)

    async def run(self) -> None:
        """Find or make the runner, and serve until cancelled; then the workers end."""
        loop = asyncio.get_running_loop()
        self._runner = loop.create_future()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._provide(self._runner))
                group.create_task(self._judges.run())
                group.create_task(self._callers.run())
        finally:
            if not self._runner.done():
                self._runner.cancel()

    @property
    def making(self) -> Making | None:
        """How far the runner is; None when it is there."""
        if self._making is None:
            return None
        phase, since = self._making
        return Making(phase, asyncio.get_running_loop().time() - since)

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
        await self._ready()
        answer, fuel = await self._judges.judge(judge)
        return Judged(verdict_of(answer), fuel)

    async def call(self, call: CallFunction, host: Host) -> Called:
        """What a function returns; raises as `SandboxEngine.call` does, and as above.

        `timed_out` when it takes longer than `call.seconds`.
        """
        return await self._callers.call(call, host)

    async def _ready(self) -> Runner:
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

    async def _provide(self, runner: asyncio.Future[Runner]) -> None:
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


@dataclass(slots=True)
class _Judges:
    """One worker that judges; what waits goes to it in batches."""

    _ready: Callable[[], Awaitable[Runner]]
    _queue: deque[_Job] = field(default_factory=deque)
    _sent: list[_Job] = field(default_factory=list)
    _channel: Channel | None = None
    _timer: asyncio.TimerHandle | None = None
    _dead: list[Channel] = field(default_factory=list)
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Start workers when there is work and none of them, until cancelled."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                while self._dead:
                    await self._dead[-1].close()
                    self._dead.pop()
                if self._channel is None and self._queue:
                    await self._begin()
        finally:
            if self._channel is not None:
                self._channel.on_lost = lambda: None
                self._dead.append(self._channel)
                self._channel = None
            for channel in self._dead:
                await asyncio.shield(channel.close())
            self._fail([*self._sent, *self._queue], Dms3Error("node_stopping", "The node stops."))

    async def judge(self, judge: Judge) -> tuple[list[Any], int]:
        """The answer to a judging, and its fuel."""
        if len(self._queue) >= SANDBOX_WAITING_MAX:
            raise Dms3Error("node_busy", f"{SANDBOX_WAITING_MAX} operations wait to be judged.")
        key = key_of(judge.program)
        text = judge_text(judge, key)
        if len(text) > SANDBOX_MESSAGE_BYTES_MAX:
            return ["abandoned", "what the rules would have to read is too long"], 0
        loop = asyncio.get_running_loop()
        job = _Job(judge.program, key, text, loop.create_future())
        self._queue.append(job)
        self._push()
        return await job.answer

    async def _begin(self) -> None:
        try:
            channel = await Channel.start(await self._ready())
        except Dms3Error as error:
            self._fail(list(self._queue), error)
            self._queue.clear()
            return
        channel.on_message, channel.on_lost = self._message, self._lost
        self._channel = channel
        if channel.lost:
            self._lost()
        self._push()

    def _push(self) -> None:
        """Send what waits, unless the worker is at work."""
        if self._channel is None:
            self._wanted.set()
            return
        if self._sent or not self._queue:
            return
        most = 1 if self._queue[0].tries else SANDBOX_BATCH_MAX  # alone, when it may have killed
        size = 0
        while self._queue and len(self._sent) < most and size < SANDBOX_MESSAGE_BYTES_MAX:
            if self._queue[0].tries and self._sent:
                break
            job = self._queue.popleft()
            if job.answer.done():  # whoever asked has gone
                continue
            self._sent.append(job)
            size += len(job.text)
        if self._sent:
            self._channel.send(
                frames.jobs_frame(frames.JUDGE, [(job.key, job.text) for job in self._sent])
            )
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(SANDBOX_JOB_SECONDS_MAX, self._channel.kill)

    def _message(self, message: tuple[bytes, int, bytes]) -> None:
        kind, _, body = message
        if kind == frames.JUDGED:
            self._stop_timer()
            sent, self._sent = self._sent, []
            for job, found in zip(sent, json.loads(body), strict=True):
                if job.answer.done():
                    continue
                if found is None:  # not loaded there: give it, then ask again
                    self._give(job)
                else:
                    job.answer.set_result((found[0], found[1]))
        elif kind == frames.LOADED:
            self._unusable(json.loads(body))
        self._push()

    def _give(self, job: _Job) -> None:
        assert self._channel is not None
        self._channel.send(frames.program_frame(job.key, job.program))
        self._queue.appendleft(job)

    def _unusable(self, found: dict[str, Any]) -> None:
        """A program cannot be loaded: nothing can be said of what it should judge."""
        if "code" in found:
            for job in (*self._sent, *self._queue):
                if job.key == found["key"] and not job.answer.done():
                    job.answer.set_result((["abandoned", str(found["message"])], 0))

    def _lost(self) -> None:
        """The worker is gone: what it had is tried once more, each alone."""
        self._stop_timer()
        if self._channel is not None:
            self._dead.append(self._channel)
            self._channel = None
        sent, self._sent = self._sent, []
        for job in reversed(sent):
            job.tries += 1
            if job.tries <= 1 or len(sent) > 1:
                self._queue.appendleft(job)
            elif not job.answer.done():
                job.answer.set_result((["abandoned", "it ended the sandbox's process"], 0))
        self._wanted.set()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fail(self, jobs: list[_Job], error: Dms3Error) -> None:
        for job in jobs:
            if not job.answer.done():
                job.answer.set_exception(error)
                job.answer.exception()


@dataclass(slots=True)
class _Callers:
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
