"""Speed of the wire stack between two real processes over loopback.

    python benchmarks/wire.py [--requests 4000] [--bulk-mb 100] [--asyncio] [--py-libp2p]

Measured: dial and handshake; one new stream per 1 KB request and answer, one at a time and 32 in
flight; the same on one long-lived stream; bulk over one stream. Prints one line per figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.transport import Secured, Transport
from dms3.libp2p.events import (
    ConnectionEvent,
    StreamData,
    StreamDrained,
    StreamFinished,
    StreamOpened,
)
from dms3.libp2p.identify import IdentifyInfo
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey

ECHO, SINK = "/bench/echo/1", "/bench/sink/1"
BODY = b"x" * 1024
TIMEOUT_US = 10_000_000


class Server:
    """Answers every 1 KB with 1 KB on echo streams; counts bytes on sink streams."""

    def __init__(self) -> None:
        self.protocols: dict[tuple[Secured, int], str] = {}
        self.received: dict[tuple[Secured, int], int] = {}

    def on_secured(self, link: Secured) -> None:
        pass

    def on_closed(self, link: Secured, code: str, reason: str) -> None:
        pass

    def on_event(self, link: Secured, event: ConnectionEvent) -> None:
        if isinstance(event, StreamOpened):
            self.protocols[link, event.stream] = event.protocol
            self.received[link, event.stream] = 0
        elif isinstance(event, StreamData):
            key = link, event.stream
            total = self.received[key] = self.received[key] + len(event.data)
            link.consume(event.stream, len(event.data))
            if self.protocols[key] == ECHO and total % len(BODY) == 0:
                link.send(event.stream, BODY)
        elif isinstance(event, StreamFinished):
            key = link, event.stream
            if self.protocols.pop(key) == SINK:
                link.send(event.stream, self.received[key].to_bytes(8, "big"))
            del self.received[key]
            link.finish(event.stream)


class Client:
    """Wakes a future when the answer on a stream is complete."""

    def __init__(self) -> None:
        self.waiting: dict[int, tuple[asyncio.Future[None], int]] = {}
        self.bulk_left = 0

    def on_secured(self, link: Secured) -> None:
        pass

    def on_closed(self, link: Secured, code: str, reason: str) -> None:
        if code not in {"cancelled", "node_stopping"}:
            raise SystemExit(f"connection closed: {link} {code} {reason}")

    def on_event(self, link: Secured, event: ConnectionEvent) -> None:
        if isinstance(event, StreamData):
            future, missing = self.waiting[event.stream]
            missing -= len(event.data)
            self.waiting[event.stream] = future, missing
            link.consume(event.stream, len(event.data))
            if missing == 0:
                future.set_result(None)
        elif isinstance(event, StreamDrained):
            self.push(link, event.stream)

    def expect(self, stream: int, size: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting[stream] = future, size
        return future

    async def new_stream(self, link: Secured) -> None:
        stream = link.open_stream([ECHO])
        link.send(stream, BODY)
        await self.expect(stream, len(BODY))
        link.finish(stream)
        del self.waiting[stream]

    async def bulk(self, link: Secured, size: int) -> None:
        stream = link.open_stream([SINK])
        self.bulk_left = size
        self.push(link, stream)
        await self.expect(stream, 8)

    def push(self, link: Secured, stream: int) -> None:
        chunk = bytes(1 << 16)
        while self.bulk_left:
            self.bulk_left -= len(chunk)
            if link.send(stream, chunk) > 1 << 20:
                return
        link.finish(stream)


def transport(handler: Server | Client) -> Transport:
    return Transport(
        key=NodeKey.generate(SystemEntropy()),
        handler=handler,
        protocols={ECHO, SINK}.__contains__,
        identify=lambda: IdentifyInfo("bench/1", "bench"),
        entropy=SystemEntropy(),
        clock=SystemClock(),
    )


async def serve() -> None:
    node = transport(Server())
    address = await node.listen(Multiaddr.parse("/ip4/127.0.0.1/tcp/0"))
    print(address, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await node.close()


def report(name: str, value: float, unit: str) -> None:
    print(f"{name:44} {value:12,.1f} {unit}", flush=True)


async def timed(work: Coroutine[Any, Any, None]) -> float:
    start = time.perf_counter()
    await work
    return time.perf_counter() - start


async def measure(address: Multiaddr, requests: int, bulk_mb: int) -> None:
    dials = []
    for _ in range(20):
        node = transport(Client())
        start = time.perf_counter()
        await node.dial([address], None, TIMEOUT_US)
        dials.append(time.perf_counter() - start)
        await node.close()
    report("dial and handshake, median", sorted(dials)[10] * 1e3, "ms")
    client = Client()
    node = transport(client)
    link = await node.dial([address], None, TIMEOUT_US)

    async def requests_one_by_one(count: int) -> None:
        for _ in range(count):
            await client.new_stream(link)

    async def in_flight() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(32):
                group.create_task(requests_one_by_one(requests // 32))

    async def long_lived() -> None:
        stream = link.open_stream([ECHO])
        for _ in range(requests):
            link.send(stream, BODY)
            await client.expect(stream, len(BODY))

    await requests_one_by_one(200)
    report(
        "new stream + 1 KB, one at a time",
        requests / await timed(requests_one_by_one(requests)),
        "/s",
    )
    report("new stream + 1 KB, 32 in flight", requests / await timed(in_flight()), "/s")
    report("1 KB on one stream, one at a time", requests / await timed(long_lived()), "/s")
    size = bulk_mb << 20
    report(
        f"bulk {bulk_mb} MB on one stream",
        size / await timed(client.bulk(link, size)) / 1e6,
        "MB/s",
    )
    await node.close()


class ForeignPeer:
    """One py-libp2p process, driven by lines of JSON (tests/interop/peers/py/peer.py)."""

    ROOT = Path(__file__).parents[1]

    def __init__(self) -> None:
        python = self.ROOT / "build/peers/py/bin/python"
        script = self.ROOT / "tests/interop/peers/py/peer.py"
        self.process = subprocess.Popen(
            [python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ready = self._read(lambda line: line.get("event") == "ready")

    def _read(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            found: dict[str, Any] = json.loads(line)
            if wanted(found):
                return found
        raise SystemExit("the py-libp2p process ended")

    def command(self, name: str, **fields: object) -> float:
        """Seconds that the command took."""
        assert self.process.stdin is not None
        start = time.perf_counter()
        print(json.dumps({"id": 1, "command": name, **fields}), file=self.process.stdin, flush=True)
        answer = self._read(lambda line: line.get("id") == 1)
        if not answer["ok"]:
            raise SystemExit(f"py-libp2p: {answer['error']}")
        return time.perf_counter() - start


def measure_py_libp2p(requests: int, bulk_mb: int) -> None:
    one, two = ForeignPeer(), ForeignPeer()
    address, peer = two.ready["addresses"][0], two.ready["peer"]
    if "/p2p/" not in address:
        address = f"{address}/p2p/{peer}"
    report("py-libp2p: dial and handshake, once", one.command("dial", address=address) * 1e3, "ms")
    one.command("echoes", peer=peer, bytes=1024, count=20)
    seconds = one.command("echoes", peer=peer, bytes=1024, count=requests)
    report("py-libp2p: new stream + 1 KB, one at a time", requests / seconds, "/s")
    size = bulk_mb << 20
    speed = size / one.command("push", peer=peer, bytes=size) / 1e6
    report(f"py-libp2p: bulk {bulk_mb} MB on one stream", speed, "MB/s")
    for peer_process in (one, two):
        peer_process.command("stop")
        peer_process.process.wait(10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--asyncio", action="store_true", help="the plain asyncio loop")
    parser.add_argument("--py-libp2p", action="store_true", help="and py-libp2p beside it")
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--bulk-mb", type=int, default=100)
    options = parser.parse_args()
    run = asyncio.run if options.asyncio else uvloop.run
    if options.serve:
        run(serve())
        return
    command = [sys.executable, __file__, "--serve", *(["--asyncio"] * options.asyncio)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        address = Multiaddr.parse(server.stdout.readline().strip())
        run(measure(address, options.requests, options.bulk_mb))
        server.communicate("")
    if options.py_libp2p:
        measure_py_libp2p(max(1, options.requests // 10), options.bulk_mb)


if __name__ == "__main__":
    main()
