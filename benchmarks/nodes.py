"""Real node processes for the benchmarks: started, watched in /proc, asked, and stopped."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dms3.sdk import wire
from dms3.sdk.where import find_node

PROGRAM = (sys.executable, "-m", "dms3")
STOP_SECONDS_MAX = 20


@dataclass(frozen=True)
class Running:
    """A node that is ready: its process, its home, what it said, seconds from start to ready."""

    process: subprocess.Popen[str]
    home: Path
    said: dict[str, Any]
    seconds: float

    def usage(self) -> tuple[float, float]:
        """Bytes resident, and seconds of processor so far, of the node and its workers."""
        numbers = [self.process.pid, *children(self.process.pid)]
        return sum(resident(one) for one in numbers), sum(processor(one) for one in numbers)

    def http(self) -> httpx.Client:
        """A client with the token of the home."""
        where = find_node(self.home)
        return httpx.Client(
            base_url=where.url, headers=wire.headers(where), timeout=600, trust_env=False
        )


@contextlib.contextmanager
def node(home: Path, *more: str, program: Sequence[str] = PROGRAM) -> Iterator[Running]:
    """A node with home `home`, started by `program` and `dms3 up`'s options, and stopped again."""
    home.mkdir(parents=True, exist_ok=True)
    command = [*program, "up", "--json", "--no-open", "--home", str(home)]
    command += ["--listen", "/ip4/127.0.0.1/tcp/0", "--api-listen", "127.0.0.1:0", *more]
    begun = time.perf_counter()
    with (home / "node.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - begun
        if not line:
            raise RuntimeError(f"the node did not start: {(home / 'node.log').read_text()[-500:]}")
        yield Running(process, home, json.loads(line)["data"], seconds)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def children(number: int) -> list[int]:
    path = Path(f"/proc/{number}/task/{number}/children")
    return [int(one) for one in path.read_text().split()]


def resident(number: int) -> float:
    pages = int(Path(f"/proc/{number}/statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def processor(number: int) -> float:
    fields = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
