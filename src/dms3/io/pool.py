"""Worker processes for work over 2 ms, so that the event loop keeps answering.

Source: docs/architecture.md, "The driver". Workers are started fresh (nothing is forked) when the
first job comes, with neither secrets nor `DMS3_*` settings in their environment or arguments.
One job at a time per worker: a job that crashes or hangs costs itself and its worker, no other job.
It does not keep results and retries nothing.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    POOL_JOB_SECONDS_MAX,
    POOL_JOBS_MAX,
    POOL_MESSAGE_BYTES_MAX,
    POOL_START_SECONDS_MAX,
    POOL_WORKERS_MAX,
)
from dms3.io.pool_worker import HELLO

P = ParamSpec("P")
T = TypeVar("T")

_WORKER_LOST = ("late", "died", "cancelled")  # outcomes after which a worker is replaced


def default_workers() -> int:
    """Two, or the number of processors when that is more, within POOL_WORKERS_MAX."""
    return min(POOL_WORKERS_MAX, max(2, os.cpu_count() or 2))


class Pool:
    """A bounded set of worker processes; lazily started, ended by `close`."""

    def __init__(
        self,
        workers: int | None = None,
        *,
        jobs: int = POOL_JOBS_MAX,
        seconds: float = POOL_JOB_SECONDS_MAX,
    ) -> None:
        """`workers`: processes. `jobs`: waiting and running at most. `seconds`: one job at most."""
        self._workers = workers or default_workers()
        self._jobs = jobs
        self._seconds = seconds
        self._running: list[_Job] = []  # waiting too; only the loop's thread changes it
        self._closed = False
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(self._workers):
            self._idle.put(None)  # a seat whose worker is not started yet
        self._threads = ThreadPoolExecutor(self._workers, thread_name_prefix="pool")

    async def run(self, function: Callable[P, T], *args: P.args, **_none: P.kwargs) -> T:
        """The result of `function(*args)` computed in a worker.

        `function` is importable by name; arguments and result are picklable. Dms3Errors of the
        function arrive as they are. Raises `node_busy` when too many jobs wait, `timed_out` when
        the job takes too long, `content_invalid` when it ate all memory or killed its worker,
        `internal` for any other exception of the function. Cancelling kills the job.
        """
        if self._closed:
            raise Dms3Error("node_stopping", "The worker pool is closed.")
        if len(self._running) >= self._jobs:
            raise Dms3Error(
                "node_busy", f"{self._jobs} jobs wait already.", hint="Try again in a moment."
            )
        job = _Job(function.__name__, pickle.dumps((function, args)))
        self._running.append(job)
        try:
            loop = asyncio.get_running_loop()
            outcome = await loop.run_in_executor(self._threads, self._serve, job)
        except asyncio.CancelledError:
            job.cancel()
            raise
        finally:
            self._running.remove(job)
        result: T = _result_of(job.name, outcome)
        return result

    async def close(self) -> None:
        """Stop every job and end the workers."""
        self._closed = True
        for job in self._running:
            job.cancel()
        await asyncio.to_thread(self._threads.shutdown)
        while not self._idle.empty():
            worker = self._idle.get()
            if worker is not None:
                await asyncio.to_thread(worker.stop)

    def _serve(self, job: _Job) -> tuple[Any, ...]:
        """Run `job` on an idle worker; a worker that failed is not kept."""
        worker = self._idle.get()
        keep = None
        try:
            if worker is not None and not worker.alive:  # the system took it while it was idle
                worker.stop()
                worker = None
            worker = worker or _Worker()
            outcome = job.run(worker, self._seconds)
            keep = worker if outcome[0] not in _WORKER_LOST else None
            return outcome
        finally:
            if worker is not None and keep is None:
                worker.stop()
            self._idle.put(keep)


class _Worker:
    """One process and the socket to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            environment = {
                name: value for name, value in os.environ.items() if not name.startswith("DMS3_")
            }
            self.process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", "dms3.io.pool_worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self.link: Connection[Any, Any] = Connection(ours.detach())
        try:
            self.link.send_bytes(pickle.dumps(sys.path))
            ready = self.link.poll(POOL_START_SECONDS_MAX) and self.link.recv_bytes() == HELLO
        except (EOFError, OSError):
            ready = False
        if not ready:
            self.stop()
            raise Dms3Error(
                "home_unusable",
                "A worker process did not start.",
                hint="Check free memory and that the program is fully installed.",
            )

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def stop(self) -> None:
        """End the process now."""
        self.process.kill()
        self.process.wait()
        self.link.close()


class _Job:
    """One call on its way through a worker."""

    def __init__(self, name: str, call: bytes) -> None:
        self.name = name
        self._call = call
        self._lock = threading.Lock()
        self._cancelled = False
        self._worker: _Worker | None = None

    def run(self, worker: _Worker, seconds: float) -> tuple[Any, ...]:
        """The outcome; after those of _WORKER_LOST the worker is of no more use."""
        with self._lock:
            if self._cancelled:
                return ("cancelled",)
            self._worker = worker
        outcome = self._exchange(worker.link, seconds)
        with self._lock:
            self._worker = None
            return ("cancelled",) if self._cancelled else outcome

    def _exchange(self, link: Connection[Any, Any], seconds: float) -> tuple[Any, ...]:
        try:
            link.send_bytes(self._call)
            if not link.poll(seconds):
                return ("late", seconds)
            answer = link.recv_bytes(POOL_MESSAGE_BYTES_MAX)
        except (EOFError, OSError):  # the process is gone, or its answer is beyond every bound
            return ("died",)
        outcome: tuple[Any, ...] = pickle.loads(answer)  # noqa: S301 - our own worker
        return outcome

    def cancel(self) -> None:
        """Never start, or kill the worker that runs this."""
        with self._lock:
            self._cancelled = True
            if self._worker is not None:
                self._worker.process.kill()


def _result_of(name: str, outcome: tuple[Any, ...]) -> Any:
    """The value of an outcome, or its error."""
    match outcome:
        case ("result", value):
            return value
        case ("undecodable", offset, reason):
            raise DecodeError(offset, reason)
        case ("failure", code, message, hint, retry, blame):
            raise Dms3Error(code, message, hint=hint, retry=retry, blame=blame)
        case ("late", seconds):
            raise Dms3Error("timed_out", f"{name} took longer than {seconds} s and was stopped.")
        case ("exhausted",) | ("died",):
            raise Dms3Error("content_invalid", f"{name} used up its memory or crashed its worker.")
        case ("broken", kind, place):
            raise Dms3Error("internal", f"{name} failed with {kind} at {place}.")
        case _:
            raise Dms3Error("cancelled", f"{name} was cancelled.")
