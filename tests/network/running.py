"""A node as its own process, for tests that attack it from outside."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dms3.io.clock import SystemClock
from dms3.sdk import SyncClient
from network.nursery import Child, start

STOP_SECONDS = 20

Process = Child | subprocess.Popen[str]


@dataclass(frozen=True)
class Running:
    """A node that runs: its process, its home, the data of its first line of output."""

    process: Process
    home: Path
    data: Mapping[str, Any]
    log: Path

    @property
    def token(self) -> str:
        return (self.home / "api.token").read_text().strip()

    @property
    def api(self) -> tuple[str, int]:
        host, _, port = self.data["api"].rpartition(":")
        return host, int(port)

    @property
    def listening(self) -> tuple[str, int]:
        parts = self.data["address"].split("/")
        return parts[2], int(parts[4])

    @property
    def workers(self) -> list[int]:
        """The process ids of its children."""
        pid = self.process.pid
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        found = [int(word) for word in text.split()]
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += [int(word) for word in (task / "children").read_text().split()]
        return sorted(set(found))

    def memory(self) -> int:
        """Resident bytes of the node itself."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("the node is gone")

    def call(self, noun: str, verb: str = "", **arguments: Any) -> dict[str, Any]:
        with SyncClient(home=self.home, api=self.data["api"]) as client:
            return client.call(noun, verb, **arguments)

    def errors(self) -> list[str]:
        """Lines of its log that no test expects: its own bugs."""
        return [
            line
            for line in self.log.read_text(errors="replace").splitlines()
            if "Traceback" in line or "request_failed" in line or "machine_failed" in line
        ]


def seconds() -> float:
    """Monotonic time."""
    return SystemClock().now().mono_us / 1e6


def wait_until(holds: Callable[[], bool], within_s: float = 20) -> None:
    """Wait for what another process does where it gives no sign but a file or a figure."""
    end = seconds() + within_s
    pause = threading.Event()
    while not holds():
        assert seconds() < end, "it did not come to pass in time"
        pause.wait(0.02)


def command(home: Path, *words: str) -> list[str]:
    address = ("--listen", "/ip4/127.0.0.1/tcp/0", "--api-listen", "127.0.0.1:0")
    given = [*address, *words]
    return [sys.executable, "-m", "dms3", "up", "--json", "--no-open", "--home", str(home), *given]


@contextlib.contextmanager
def running(
    home: Path, *words: str, begin: Callable[..., Process] = start, **environment: str
) -> Iterator[Running]:
    """A node on `home`; it has to end well, and without a bug of its own, when it is asked to."""
    log = home.with_name(home.name + ".log")
    with log.open("ab") as errors:
        process = begin(command(home, *words), errors, **environment)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        node = Running(process, home, json.loads(line)["data"], log)
        yield node
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=STOP_SECONDS)
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 0, log.read_text()
    assert node.errors() == []
