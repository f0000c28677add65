"""Speed of fetching a large file from another node, beside its floor in the same run.

    python benchmarks/fetch.py [--mb 60] [--rounds 3]

Two real nodes on loopback; a third process reads the file from the second node's API, which fetches
it from the first: block by block, each one hashed, kept durably, read back and sent on. Floor: the
same bytes over Noise and Yamux between two processes (`wire.py`), and then the durable write of as
many blocks (`store.py`). Of each figure the best round counts.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import store
import uvloop
import wire
from measure import Row, note

from dms3.cli.dev import dev_network
from dms3.io.clock import SystemEntropy
from dms3.io.packs import Packs
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.libp2p.multiaddr import Multiaddr
from dms3.sdk.client import Client

MB = 60
ROUNDS = 3
GOAL = 0.25
FIRST_GOAL = 0.25  # the first byte comes within this part of the whole
SHARED_SECONDS_MAX = 10


@dataclass(frozen=True)
class Round:
    """Seconds of one round: to the first byte, to the last byte, and of the floors."""

    first: float
    whole: float
    bulk: float
    write: float


async def bulk_seconds(address: Multiaddr, size: int) -> float:
    client = wire.Client()
    node = wire.transport(client)
    link = await node.dial([address], None, wire.TIMEOUT_US)
    seconds = await wire.timed(client.bulk(link, size))
    await node.close()
    return seconds


def write_seconds(folder: Path, size: int) -> float:
    items = store.blocks(store.LARGE, size // store.LARGE)
    key = os.urandom(32)
    database = Store.open(folder / "store.db", key, MIGRATIONS)
    packs = Packs(folder / "packs", key, database, SystemEntropy())
    try:
        return store.seconds(lambda: store.put(database, packs, items, store.LARGE_GROUP))
    finally:
        packs.close()
        database.close()


async def introduce(owner: Client, reader: Client) -> None:
    """Make the two known to each other and let `reader` read what `owner` keeps."""
    for one, other in ((owner, reader), (reader, owner)):
        card = await one.call("contact", "card")
        await other.call("contact", "add", card=card["card"])
    await owner.call("store", "share", space="documents", **{"with": "bob"})
    async with asyncio.timeout(SHARED_SECONDS_MAX):
        while len((await reader.call("store", "list"))["spaces"]) < 2:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.05)


async def fetch_seconds(
    owner: Client, reader: Client, folder: Path, size: int
) -> tuple[float, float]:
    """Seconds to the first and to the last byte of a new file of `size` random bytes."""
    data = os.urandom(size)
    path = folder / "file"
    path.write_bytes(data)
    root = (await owner.call("store", "add", paths=[str(path)]))["root"]
    pieces: list[bytes] = []
    first = 0.0
    begun = time.perf_counter()
    async for piece in reader.pieces(root):
        first = first or time.perf_counter() - begun
        pieces.append(piece)
    whole = time.perf_counter() - begun
    assert hashlib.sha256(b"".join(pieces)).digest() == hashlib.sha256(data).digest()
    return first, whole


async def measure(size: int, rounds: int, peer: Multiaddr) -> list[Round]:
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with dev_network(folder, 2) as network:
            homes = [Path(node.home) for node in network.nodes.values()]
            async with Client(homes[0]) as owner, Client(homes[1]) as reader:
                await introduce(owner, reader)
                for number in range(rounds):
                    first, whole = await fetch_seconds(owner, reader, folder, size)
                    bulk = await bulk_seconds(peer, size >> 16 << 16)  # sent in pieces of 64 KiB
                    scratch = folder / f"scratch{number}"
                    scratch.mkdir()
                    write = await asyncio.to_thread(write_seconds, scratch, size)
                    found.append(Round(first, whole, bulk, write))
                    show(number, size, found[-1])
    return found


def show(number: int, size: int, one: Round) -> None:
    fetch, wire_only, write, both = (
        size / seconds / 1e6 for seconds in (one.whole, one.bulk, one.write, one.bulk + one.write)
    )
    note(
        f"round {number + 1}, load {os.getloadavg()[0]:.1f}: fetch {fetch:.0f} MB/s, first byte "
        f"after {one.first * 1e3:.0f} ms; wire {wire_only:.0f} MB/s, durable write {write:.0f} "
        f"MB/s, both {both:.0f} MB/s; ratio {fetch / both:.2f}"
    )


def rows(size: int = MB * 1_000_000, rounds: int = ROUNDS) -> list[Row]:
    with subprocess.Popen(
        [sys.executable, wire.__file__, "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        peer = Multiaddr.parse(json.loads(server.stdout.readline())["address"])
        try:
            found = uvloop.run(measure(size, rounds, peer))
        finally:
            server.communicate("")
    floor = min(one.bulk for one in found) + min(one.write for one in found)
    best = min(found, key=lambda one: one.whole)
    return [
        Row(
            f"fetch of {size // 1_000_000} MB from another node",
            size / best.whole / 1e6,
            size / floor / 1e6,
            "wire, then durable write",
            "MB/s",
            GOAL,
            "each block hashed, durable, read back, and sent on over HTTP",
        ),
        Row(
            "first byte of that fetch",
            best.first * 1e3,
            best.whole * 1e3,
            "its last byte",
            "ms",
            FIRST_GOAL,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=MB)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    for row in rows(options.mb * 1_000_000, options.rounds):
        print(row)


if __name__ == "__main__":
    main()
