"""Our side of benchmarks/streams.py: the wire stack as a program between two real processes.

    python benchmarks/wire.py serve
    python benchmarks/wire.py ask ADDRESS

`serve` prints {"address"} and ends with its stdin. `ask` reads one JSON command per line and
answers {"seconds"}. Commands, the same for every program (tests/interop/peers/*/bench.*):

| what | fields | seconds |
|---|---|---|
| dial | count | of each dial with its handshakes, from a node that is new |
| echo | count, flight | of `count` requests: a new stream, 1 KB each way; `flight` at a time |
| bulk | bytes, piece | of one stream, in writes of `piece`, until the receiver has said its count |
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Coroutine
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
PIECE = 1 << 16
UNSENT_MAX = 1 << 20
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
        self.piece = b""

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

    async def bulk(self, link: Secured, size: int, piece: int = PIECE) -> None:
        """Send `size` bytes in writes of `piece`, until the other side has counted them."""
        stream = link.open_stream([SINK])
        self.bulk_left, self.piece = size, bytes(piece)
        self.push(link, stream)
        await self.expect(stream, 8)

    def push(self, link: Secured, stream: int) -> None:
        while self.bulk_left > 0:
            self.bulk_left -= len(self.piece)
            if link.send(stream, self.piece) > UNSENT_MAX:
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
    print(json.dumps({"address": str(address)}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await node.close()


async def timed(work: Coroutine[Any, Any, None]) -> float:
    start = time.perf_counter()
    await work
    return time.perf_counter() - start


async def dials(address: Multiaddr, count: int) -> list[float]:
    found = []
    for _ in range(count):
        node = transport(Client())
        start = time.perf_counter()
        await node.dial([address], None, TIMEOUT_US)
        found.append(time.perf_counter() - start)
        await node.close()
    return found


async def echoes(client: Client, link: Secured, count: int, flight: int) -> None:
    async def one_by_one() -> None:
        for _ in range(count // flight):
            await client.new_stream(link)

    async with asyncio.TaskGroup() as group:
        for _ in range(flight):
            group.create_task(one_by_one())


async def ask(address: Multiaddr) -> None:
    client = Client()
    node = transport(client)
    link = await node.dial([address], None, TIMEOUT_US)
    while line := await asyncio.to_thread(sys.stdin.readline):
        fields = json.loads(line)
        seconds: float | list[float]
        if fields["what"] == "dial":
            seconds = await dials(address, fields["count"])
        elif fields["what"] == "echo":
            seconds = await timed(echoes(client, link, fields["count"], fields["flight"]))
        else:
            seconds = await timed(client.bulk(link, fields["bytes"], fields["piece"]))
        print(json.dumps({"seconds": seconds}), flush=True)
    await node.close()


if __name__ == "__main__":
    uvloop.run(serve() if sys.argv[1] == "serve" else ask(Multiaddr.parse(sys.argv[2])))
