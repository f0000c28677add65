"""The worker of the sandbox that judges: what waits goes to it in batches, one at a time.

Source: docs/sandbox.md, "Processes". What kills the worker is tried once more, alone, and given up;
the rest is judged by the next one. It says what the rules answered, not what follows from it.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from dms3.chain.sandboxing import Judge, Program
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    SANDBOX_BATCH_MAX,
    SANDBOX_JOB_SECONDS_MAX,
    SANDBOX_MESSAGE_BYTES_MAX,
    SANDBOX_WAITING_MAX,
)
from dms3.io import sandbox_frames as frames
from dms3.io.runner_cache import Runner
from dms3.io.sandbox_channel import Channel
from dms3.io.sandbox_jobs import judge_text, key_of


@dataclass(slots=True)
class _Job:
    """A judging that waits."""

    program: Program
    key: str
    text: str
    answer: asyncio.Future[tuple[list[Any], int]]
    tries: int = 0


@dataclass(slots=True)
class Judges:
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
