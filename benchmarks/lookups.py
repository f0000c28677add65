"""How long a node among 20 needs for content it has never heard of, beside two other DHTs.

    python benchmarks/lookups.py [--nodes 20] [--gets 20]

Each system is 20 processes on loopback that know each other through the first; 1 KB is put on one
of them and asked for at another, once per content. Ours: a published file, from the request to the
API of a stranger to its last byte, over authenticated and encrypted connections, hashed and kept
durably; eight nodes hold a block. `kademlia`: a value over UDP, in the clear and unsigned, k = 8.
py-libp2p's kad: a value on eight nodes, over Noise and Yamux. One system after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import Row, note

from dms3.cli.dev import DevNetwork, DevNode, dev_network
from dms3.sdk.client import Client

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "build" / "peers"
PROGRAMS = ROOT / "tests" / "interop" / "peers"
NODES, GETS = 20, 20
CONTENT_BYTES = 1_024
OTHERS = {
    "kademlia": ("kademlia", [PEERS / "kademlia/bin/python", PROGRAMS / "kademlia/kad.py"]),
    "py-libp2p kad": ("py", [PEERS / "py/bin/python", PROGRAMS / "py/kad.py"]),
}


class Other:
    """One process of another DHT."""

    def __init__(self, command: list[Path]) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise ConnectionError("a process of another DHT ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def tell(self, **fields: Any) -> None:
        assert self.process.stdin is not None
        print(json.dumps(fields), file=self.process.stdin, flush=True)

    def ask(self, **fields: Any) -> dict[str, Any]:
        self.tell(**fields)
        return self.read()


@contextlib.contextmanager
def others(command: list[Path], count: int) -> Iterator[list[Other]]:
    """`count` processes that joined the first."""
    nodes = [Other(command) for _ in range(count)]
    try:
        addresses = [node.read()["address"] for node in nodes]
        for _ in range(2):  # the first to come learn of the last
            for node in nodes[1:]:
                node.tell(join=addresses[0])
            for node in nodes[1:]:
                node.read()
        yield nodes
    finally:
        for node in nodes:
            node.process.kill()
            node.process.wait()


def theirs(command: list[Path], count: int, gets: int) -> list[float]:
    """Seconds of each get by a node that did not hold the value."""
    found: list[float] = []
    missed = 0
    with others(command, count) as nodes:
        for number in range(gets):
            key = f"content {number}"
            nodes[number % count].ask(put=key, bytes=CONTENT_BYTES)
            for step in range(1, count):
                got = nodes[(number + step) % count].ask(get=key)
                if got["held"]:
                    continue
                if got["bytes"] == CONTENT_BYTES:
                    found.append(got["seconds"])
                else:
                    missed += 1
                break
    if missed:
        note(f"{missed} of {gets} gets found nothing")
    return found


async def publish(publisher: Client, folder: Path, number: int) -> str:
    """The CID of a file of random text that is published and has its holders."""
    space = f"space {number}"
    path = folder / f"content{number}.txt"
    path.write_text(os.urandom(CONTENT_BYTES // 2).hex())
    root = (await publisher.call("store", "add", paths=[str(path)], space=space))["root"]
    done: dict[str, Any] = {"stage": ""}
    while done["stage"] != "done":
        done = await publisher.call("store", "publish", space=space)
    return str(root)


def client(node: DevNode) -> Client:
    return Client(home=Path(node.home), api=node.api)


async def ours(network: DevNetwork, folder: Path, gets: int) -> list[float]:
    nodes = list(network.nodes.values())
    found = []
    for number in range(gets):
        async with client(nodes[number % len(nodes)]) as publisher:
            cid = await publish(publisher, folder, number)
        async with client(nodes[(number + len(nodes) // 2) % len(nodes)]) as stranger:
            await stranger.call("status")  # the client is connected to the API already
            begun = time.perf_counter()
            data = await stranger.download(cid)
            found.append(time.perf_counter() - begun)
            assert len(data) == CONTENT_BYTES
    return found


async def measure_ours(count: int, gets: int) -> list[float]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with dev_network(folder / "net", count) as network:
            return await ours(network, folder, gets)


def rows(count: int = NODES, gets: int = GETS) -> list[Row]:
    mine = asyncio.run(measure_ours(count, gets))
    note(f"ours, load {os.getloadavg()[0]:.1f}: {told(mine)}")
    lines = []
    for name, (folder, command) in OTHERS.items():
        if not (PEERS / folder / ".installed").exists():
            note(f"{name} is not in build/peers: run `make peers`")
            continue
        found = theirs(command, count, gets)
        note(f"{name}, load {os.getloadavg()[0]:.1f}: {told(found)}")
        lines.append(
            Row(
                f"get of unknown content among {count} processes, p50",
                statistics.median(mine) * 1e3,
                statistics.median(found) * 1e3,
                name,
                "ms",
                None,
                "ours: lookup, then a block that is hashed and durable, through the API",
            )
        )
    return lines


def told(seconds: list[float]) -> str:
    if not seconds:
        return "nothing found"
    ordered = sorted(seconds)
    return (
        f"{len(ordered)} gets, p50 {statistics.median(ordered) * 1e3:.1f} ms, slowest "
        f"{ordered[-1] * 1e3:.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--gets", type=int, default=GETS)
    options = parser.parse_args()
    for row in rows(options.nodes, options.gets):
        print(row)


if __name__ == "__main__":
    main()
