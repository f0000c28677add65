"""Kills whoever writes to a place in the middle of it, again and again, and reads what is there.

Nothing that was said to be durable may be lost or old, nothing may be half. `place_writer.py` is
the program that is killed; `seed` decides when.
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from dms3.core.errors import Dms3Error
from dms3.io.loop import Port
from dms3.storage.operations import GetObject, Place
from network.place_writer import SLOTS, name_of, number_of

WRITER = Path(__file__).with_name("place_writer.py")
FIRST_ACKS = 6  # a writer is killed at or after so many durable writes...
MORE_ACKS_MAX = 24  # ...and before so many more


@dataclass
class Ledger:
    """What writers said: slot -> the last number that was begun, and that was durable."""

    begun: dict[int, int] = field(default_factory=dict)
    durable: dict[int, int] = field(default_factory=dict)

    @property
    def next(self) -> int:
        return max(self.begun.values(), default=0) + 1

    def take(self, line: str) -> bool:
        """Note a line of a writer; True for a durable write."""
        kind, slot, number = line.split()
        if kind == "begun":
            self.begun[int(slot)] = int(number)
        elif kind == "durable":
            self.durable[int(slot)] = int(number)
        return kind == "durable"


@dataclass(frozen=True)
class Job:
    """Where to write, as whom: `home` of the writer, the overlay it joins, and a seed."""

    place: Place
    home: Path
    seed: str
    join: tuple[str, ...] = ()


def write_and_kill(job: Job, ledger: Ledger, acks: int) -> None:
    """Run a writer until it has said `acks` times that something is durable, and kill it."""
    place = job.place
    told = {
        "place": [place.kind, place.url, place.secret],
        "home": str(job.home),
        "join": list(job.join),
        "seed": job.seed,
        "start": ledger.next,
    }
    log = job.home.with_name(job.home.name + ".log")
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, str(WRITER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    timer = threading.Timer(120, process.kill)
    timer.start()
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()
        count = 0
        for line in process.stdout:
            count += ledger.take(line)
            if count == acks:
                break
        assert count == acks, f"the writer ended after {count}: {log.read_text()[-3_000:]}"
        process.kill()
        for line in process.stdout:  # what it had said before it died
            if line.endswith("\n"):
                ledger.take(line)
    finally:
        timer.cancel()
        process.kill()
        with contextlib.suppress(ValueError):
            process.communicate()


async def look(port: Port, job: Job, ledger: Ledger, retry: Callable[[], Awaitable[None]]) -> int:
    """Read every slot; how many objects there are. Fails when one is lost, old or half."""
    found = 0
    for slot in range(SLOTS):
        data = await _read(port, job, slot, retry)
        durable, begun = ledger.durable.get(slot), ledger.begun.get(slot, -1)
        if data is None:
            assert durable is None, f"slot {slot}: durable write {durable} is lost ({job.seed})"
            continue
        number = number_of(slot, data)
        assert number <= begun, f"slot {slot}: {number} was never begun"
        assert durable is None or number >= durable, (
            f"slot {slot}: {number} is older than {durable}"
        )
        found += 1
    return found


async def _read(
    port: Port, job: Job, slot: int, retry: Callable[[], Awaitable[None]]
) -> bytes | None:
    for left in range(50, -1, -1):
        try:
            data: bytes | None = await port("get", GetObject(job.place, name_of(job.seed, slot)))
        except Dms3Error as error:
            if not left or error.code not in ("peer_unreachable", "timed_out"):
                raise
            await retry()
        else:
            return data
    raise AssertionError("not reached")


def kills_of(seed: str, count: int) -> list[int]:
    """After how many durable writes each of `count` writers is killed."""
    drawn = random.Random(seed)
    return [FIRST_ACKS + drawn.randrange(MORE_ACKS_MAX) for _ in range(count)]
