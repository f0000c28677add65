"""Node processes as forks of one that has the program in memory: most of what a start costs is
reading it.

A process of tests has one nursery, begun with its first node and gone with itself. What it starts
runs as `python -m dms3 ...` or `python SCRIPT ...` would, in a process of its own with its own
arguments, environment and files; only /proc shows the nursery's command and environment, so tests
that look there `execute` their nodes. Linux only; elsewhere everything does.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

REQUEST_BYTES_MAX = 1 << 17  # command and environment
OUTPUT_BYTES_MAX = 1 << 24
NUMBER = struct.Struct("<q")  # first the process id, at the end what Popen calls returncode
# What a node reads before it is ready; what is missing here it reads itself.
PROGRAM = ("dms3.cli.main", "dms3.cli.local", "dms3.cli.up", "dms3.sdk", "Crypto.Hash.keccak")


class Child:
    """A process of the nursery, as subprocess.Popen has it."""

    stdout: IO[str]

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.status = status

    def poll(self) -> int | None:
        """How it ended, or None."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """How it ended; raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self.status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            (self.returncode,) = NUMBER.unpack(os.read(self.status, NUMBER.size))
            os.close(self.status)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """The rest of what it says, once it has ended."""
        self.wait(timeout)
        with self.stdout:
            return self.stdout.read(), None

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)


class AsyncChild:
    """A child, as asyncio.subprocess.Process has it."""

    def __init__(self, child: Child, stdout: asyncio.StreamReader) -> None:
        self.pid = child.pid
        self.stdout = stdout
        self.send_signal = child.send_signal
        self.kill = child.kill
        self._child = child

    async def wait(self) -> int:
        """How it ended."""
        if self._child.poll() is None:
            loop = asyncio.get_running_loop()
            told = loop.create_future()
            loop.add_reader(self._child.status, lambda: told.done() or told.set_result(None))
            try:
                await told
            finally:
                loop.remove_reader(self._child.status)
        return self._child.wait()


def execute(command: Sequence[str], stderr: IO[bytes], **environment: str) -> subprocess.Popen[str]:
    """Start `command` in the environment of this process and `environment`, with stdout a pipe."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, **environment},
    )


def start(
    command: Sequence[str], stderr: IO[bytes], *, session: bool = False, **environment: str
) -> Child | subprocess.Popen[str]:
    """As `execute`, from the nursery."""
    if sys.platform != "linux":
        return execute(command, stderr, **environment)
    out, theirs = os.pipe()
    try:
        env = {**os.environ, **environment}
        child = fork(command, (theirs, stderr.fileno()), env, session=session)
    finally:
        os.close(theirs)
    child.stdout = os.fdopen(out, encoding="utf-8")
    return child


def finished(
    command: Sequence[str],
    *,
    seconds: float = 60,
    merged: bool = False,
    cwd: Path | None = None,
    env: Mapping[str, str] = os.environ,
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` returns of `command`, from the nursery; `merged`: all is in stdout."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        files = (said.fileno(), (said if merged else complained).fileno())
        if sys.platform == "linux":
            child: Any = fork(command, files, env, cwd)
        else:
            child = subprocess.Popen(command, stdout=files[0], stderr=files[1], env=env, cwd=cwd)
        try:
            status = child.wait(seconds)
        finally:
            child.kill()
        texts = [os.pread(one.fileno(), OUTPUT_BYTES_MAX, 0).decode() for one in (said, complained)]
        return subprocess.CompletedProcess(command, status, *texts)


def fork(
    command: Sequence[str],
    files: tuple[int, int],
    env: Mapping[str, str],
    cwd: Path | None = None,
    *,
    session: bool = False,
) -> Child:
    """`command` with `files` as stdout and stderr, a fork of the nursery."""
    assert command[0] == sys.executable
    asked = {
        "words": list(command[1:]),
        "env": dict(env),
        "cwd": str(cwd or Path.cwd()),
        "session": session,
    }
    status, told = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        socket.send_fds(nursery(), [json.dumps(asked).encode()], [nothing, *files, told])
    finally:
        os.close(nothing)
        os.close(told)
    (pid,) = NUMBER.unpack(os.read(status, NUMBER.size))
    return Child(pid, status)


async def start_async(command: Sequence[str], stderr: IO[bytes]) -> AsyncChild:
    """As `start`, in a session of its own, for a program that awaits; on Linux."""
    child = start(command, stderr, session=True)
    assert isinstance(child, Child)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), child.stdout)
    return AsyncChild(child, reader)


@functools.cache
def nursery() -> socket.socket:
    """The line to the nursery of this process; the nursery ends when it is closed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


class Nursery:
    """Forks on request, and says how each fork ended."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._woken, self._waking = socket.socketpair()
        self._waking.setblocking(False)
        self._told: dict[int, int] = {}  # process id -> where its end is said

    def serve(self) -> dict[str, Any] | None:
        """In a fork: what it is to run. In the nursery: None, at its end."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)
        while True:
            ready, _, _ = select.select([self._line, self._woken], [], [])
            if self._woken in ready:
                self._woken.recv(4096)
                self._reap()
            if self._line in ready:
                data, given, _, _ = socket.recv_fds(self._line, REQUEST_BYTES_MAX, 4)
                if not data:
                    return None
                pid = os.fork()
                if pid == 0:
                    return self._become(json.loads(data), given)
                self._told[pid] = given.pop()
                self._say(self._told[pid], pid)
                for one in given:
                    os.close(one)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                told = self._told.pop(ended[0])
                self._say(told, os.waitstatus_to_exitcode(ended[1]))
                os.close(told)

    def _say(self, told: int, number: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know
            os.write(told, NUMBER.pack(number))

    def _become(self, asked: dict[str, Any], given: list[int]) -> dict[str, Any]:
        """Leave everything of the nursery behind."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for one in (self._line, self._woken, self._waking):
            one.close()
        for number, one in enumerate(given[:3]):
            os.dup2(one, number)
        for one in (*given, *self._told.values()):
            os.close(one)
        if asked["session"]:
            os.setsid()
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        return asked


def run(words: Sequence[str]) -> None:
    """Be what `python WORDS` is."""
    sys.orig_argv = [sys.executable, *words]
    if words[0] == "-m":
        sys.argv = list(words[1:])
        sys.path[0] = str(Path.cwd())
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(words)
        sys.path[0] = str(Path(words[0]).parent)
        runpy.run_path(words[0], run_name="__main__")


def main(descriptor: int) -> None:
    """The nursery, and every process that it becomes."""
    for name in PROGRAM:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what all share is not written to
    asked = Nursery(socket.socket(fileno=descriptor)).serve()
    if asked is not None:
        run(asked["words"])


if __name__ == "__main__":
    main(int(sys.argv[1]))
