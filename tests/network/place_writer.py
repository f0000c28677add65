"""A program that writes objects to a place until it is killed, and says which ones are durable.

    python place_writer.py < JOB

JOB is one line of JSON: `place` (kind, url, secret), `home`, `join` (addresses of an overlay),
`seed`, and `start`, its first number. Each line of output is `begun SLOT NUMBER` or `durable SLOT
NUMBER`. What it writes is known from slot and number alone (`content`), so that a reader sees what
is half, old or another's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from dms3.core.errors import Dms3Error
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.loop import Port
from dms3.io.place_ipfs import open_ipfs
from dms3.io.place_local import LocalPlace
from dms3.io.place_opendal import open_opendal
from dms3.io.place_service import open_service
from dms3.io.places import Places
from dms3.storage.operations import Place, PutObject

SLOTS = 16
AT_ONCE = 4
LARGE_EVERY = 5  # one of so many objects is large: cut into parts where a place needs that
LARGE_BYTES, SMALL_BYTES = 150_000, 900


def name_of(seed: str, slot: int) -> str:
    return hashlib.sha256(f"{seed}/{slot}".encode()).hexdigest()


def content(slot: int, number: int) -> bytes:
    """What is written under a slot at one time; no two are alike, nor a part of another."""
    head = f"{slot:08}{number:08}".encode()
    size = LARGE_BYTES if number % LARGE_EVERY == 0 else SMALL_BYTES
    block = hashlib.sha256(head).digest()
    return head + (block * (size // len(block) + 1))[:size]


def number_of(slot: int, data: bytes) -> int:
    """Which write it was; an AssertionError when it is none, or not whole."""
    number = int(data[8:16])
    assert data == content(slot, number), f"slot {slot}: not what write {number} was"
    return number


def plain_places(home: Path) -> Places:
    """Places of every kind that needs no node."""
    entropy = SystemEntropy()
    tag = entropy.draw(8).hex()

    async def nobody() -> Any:
        raise AssertionError("the secret of the place says who")

    def cloud(place: Place) -> Any:
        return open_opendal(place, tag, lambda: SystemClock().now().wall_us)

    return Places(
        {
            "local": lambda _: LocalPlace(home / "conversations"),
            "ipfs": lambda place: open_ipfs(place, tag),
            "s3": cloud,
            "webdav": cloud,
            "opendal": cloud,
            "service": lambda place: open_service(place, nobody),
        },
        entropy,
    )


@contextlib.asynccontextmanager
async def port_of(kind: str, home: Path, join: tuple[str, ...] = ()) -> AsyncIterator[Port]:
    """Port "place" for a kind: of a node of its own where that is needed."""
    home.mkdir(parents=True, exist_ok=True)
    if kind != "overlay":
        places = plain_places(home)
        try:
            yield places.serve
        finally:
            await places.close()
        return
    from network.place_node import member  # noqa: PLC0415  # a second of a start

    async with member(home, join) as node:
        yield node.ports["place"]


async def write(port: Port, place: Place, seed: str, start: int) -> None:
    """Write one object after the other, some at once, for ever."""
    count = iter(range(start, sys.maxsize))
    free = list(range(SLOTS))

    async def one_by_one() -> None:
        while True:
            slot = free.pop(0)  # never two writes of one slot at once: which is last is known
            number = next(count)
            say(f"begun {slot} {number}")
            await port("put", PutObject(place, name_of(seed, slot), content(slot, number)))
            say(f"durable {slot} {number}")
            free.append(slot)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_by_one())


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def main() -> None:
    job = json.loads(sys.stdin.readline())
    place = Place(*job["place"])
    async with port_of(place.kind, Path(job["home"]), tuple(job["join"])) as port:
        await settled(port, place)
        say("ready 0 0")
        await write(port, place, job["seed"], job["start"])


async def settled(port: Port, place: Place) -> None:
    """Wait until the place takes what it is given: an overlay is joined first."""
    for _ in range(300):
        try:
            await port("check", place)
        except Dms3Error as error:
            if place.kind != "overlay":
                raise
            sys.stderr.write(f"{error}\n")
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("the place takes nothing")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    asyncio.run(main())
