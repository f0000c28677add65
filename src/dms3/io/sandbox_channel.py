"""One worker process of the sandbox as the node sees it: started, spoken with, ended.

Source: docs/sandbox.md, "Processes". Messages are read by the event loop itself, so an answer
costs no thread. It does not know what jobs mean: see `io/sandbox_jobs.py`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from typing import cast

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import SANDBOX_START_SECONDS_MAX
from dms3.io import sandbox_frames as frames
from dms3.io.runner_cache import Runner

Message = tuple[bytes, int, bytes]


class LostError(Exception):
    """The worker has ended, or was ended."""


class Channel(asyncio.Protocol):
    """A worker process; `take` gets its messages in order."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._frames = frames.Frames()
        self._messages: deque[Message] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._transport: asyncio.WriteTransport | None = None
        self.on_message: Callable[[Message], None] | None = None
        self.on_lost: Callable[[], None] = lambda: None
        self.lost = False

    @classmethod
    async def start(cls, runner: Runner) -> Channel:
        """A worker that is ready; raises `runner_missing` when it cannot begin."""
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        spawning = loop.run_in_executor(None, _spawn, runner, theirs)
        try:
            process = await asyncio.shield(spawning)
        except BaseException:
            ours.close()
            if not spawning.done() or spawning.exception() is None:  # this start was cancelled
                process = await spawning
                process.kill()
                await asyncio.shield(asyncio.to_thread(process.wait))
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        channel = cls(process)
        try:
            await loop.create_connection(lambda: channel, sock=ours)
            async with asyncio.timeout(SANDBOX_START_SECONDS_MAX):
                kind, _, body = await channel.take()
        except BaseException as error:
            await channel.close()
            if isinstance(error, LostError | TimeoutError):
                raise _unusable("a worker process did not start") from error
            raise
        if kind != frames.HELLO:
            await channel.close()
            raise _unusable(body.decode(errors="replace"))
        return channel

    def send(self, data: bytes) -> None:
        """Send a message; nothing when the worker is lost, which `take` says."""
        if self._transport is not None and not self.lost:
            self._transport.write(data)

    async def take(self) -> Message:
        """The next message; LostError when none can come."""
        while not self._messages:
            if self.lost:
                raise LostError
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._messages.popleft()

    def kill(self) -> None:
        """End the process now; `on_lost` follows."""
        self._process.kill()
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """End the process and wait until it is gone."""
        self.kill()
        await asyncio.to_thread(self._process.wait)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio calls it."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """As asyncio calls it."""
        try:
            for message in self._frames.feed(data):
                if self.on_message is not None:
                    self.on_message(message)
                else:
                    self._messages.append(message)
        except DecodeError:
            self.kill()
        self._wake()

    def connection_lost(self, _error: Exception | None) -> None:
        """As asyncio calls it."""
        self.lost = True
        self._process.kill()
        self._wake()
        self.on_lost()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _spawn(runner: Runner, link: socket.socket) -> subprocess.Popen[bytes]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("DMS3_")
    }
    program = [sys.executable, "-m", "dms3.io.sandbox_worker"]
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [*program, str(link.fileno()), str(runner.path), runner.optimization],
        pass_fds=(link.fileno(),),
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _unusable(why: str) -> Dms3Error:
    return Dms3Error(
        "runner_missing",
        f"The sandbox of apps cannot run here: {why[:400]}",
        hint="Check free memory, remove the folder of the cache, and start again.",
    )
