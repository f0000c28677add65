"""The program of a worker process of the sandbox: one job after the other, until its parent ends.

Source: docs/sandbox.md, "Processes". Started by `io/sandbox_channel.py` as `python -m
dms3.io.sandbox_worker NUMBER RUNNER OPTIMIZATION` with a socket to the parent at that descriptor.
It has neither secrets nor settings and opens nothing but the runner.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import socket
import sys
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import cast

import wasmtime

from dms3.core.errors import DecodeError, Dms3Error
from dms3.io import sandbox_frames as frames
from dms3.io.runner_cache import Runner
from dms3.io.sandbox_engine import SandboxEngine, UnknownProgramError
from dms3.io.wasm_engine import Optimization

_READ_BYTES = 256 * 1024


class _ParentGoneError(Exception):
    """The node has ended."""


class Worker:
    """One engine, and the socket to the node."""

    def __init__(self, link: socket.socket, runner: Runner) -> None:
        self._link = link
        self._frames = frames.Frames()
        self._waiting: deque[tuple[bytes, int, bytes]] = deque()
        try:
            self._engine = SandboxEngine(runner)
        except wasmtime.WasmtimeError as error:
            self._send(frames.frame(frames.BROKEN, str(error).encode()[:1_000]))
            raise _ParentGoneError from error
        self._send(frames.frame(frames.HELLO))

    def serve(self) -> None:
        """Do jobs until the parent goes away."""
        while True:
            kind, number, body = self._next()
            if kind == frames.JUDGE:
                self._judge(number, body)
            elif kind == frames.CALL:
                self._call(number, body)
            elif kind == frames.PROGRAM:
                self._keep(body)

    def _keep(self, body: bytes) -> None:
        key, program = frames.read_program(body)
        try:
            found = asdict(self._engine.keep(key, program))
        except Dms3Error as error:
            found = {"code": error.code, "message": error.message, "hint": error.hint}
        found["key"] = key
        self._send(frames.frame(frames.LOADED, json.dumps(found).encode()))

    def _judge(self, count: int, body: bytes) -> None:
        answers: list[object] = []
        for key, job in frames.read_jobs(body, count):
            try:
                answers.append(self._engine.judge_job(key, job))
            except UnknownProgramError:
                answers.append(None)
        self._send(frames.frame(frames.JUDGED, json.dumps(answers).encode()))

    def _call(self, count: int, body: bytes) -> None:
        ((key, job),) = frames.read_jobs(body, count)
        try:
            found: object = self._engine.call_job(key, job, self._ask)
        except UnknownProgramError:
            found = None
        self._send(frames.frame(frames.CALLED, json.dumps(found).encode()))

    def _ask(self, question: str) -> str:
        self._send(frames.frame(frames.ASK, question.encode()))
        _, _, answer = self._next()  # nothing else comes while a call runs
        return answer.decode()

    def _next(self) -> tuple[bytes, int, bytes]:
        while not self._waiting:
            data = self._link.recv(_READ_BYTES)
            if not data:
                raise _ParentGoneError
            self._waiting.extend(self._frames.feed(data))
        return self._waiting.popleft()

    def _send(self, data: bytes) -> None:
        self._link.sendall(data)


def main() -> None:
    """Serve one parent until it goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a memory image would hold documents
    number, path, optimization = sys.argv[1:4]
    runner = Runner(Path(path), "", cast("Optimization", optimization))
    with socket.socket(fileno=int(number)) as link:
        link.setblocking(True)
        with contextlib.suppress(_ParentGoneError, OSError, DecodeError):
            Worker(link, runner).serve()


if __name__ == "__main__":
    main()
