"""Speed of framed requests between two real processes over loopback, beside a bare uvloop echo.

    python benchmarks/link.py [--requests 40000] [--in-flight 32]

Measured: 1 KB requests and answers through Network and Link (frames, Yamux, Noise), and the same
bytes through a TCP echo without anything, in one run. Machines and their driver are not included.
Prints one line per figure and their ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from typing import Any

import uvloop

from dms3.core.errors import Failure
from dms3.core.ids import PeerId
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.transport import Transport
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey
from dms3.node.network import Network
from dms3.p2p.port import DialRequest

PROTOCOL = "/dms3/bench/1"
BODY = b"x" * 1024
DEADLINE_US = 60_000_000


class Events:
    """What a driver is to the network: here it answers at once and counts."""

    def __init__(self) -> None:
        self.network: Network
        self.left = 0
        self.in_flight = 0
        self.handle = 0
        self.done = asyncio.Event()

    def peer_up(self, peer: PeerId, address: str, *, inbound: bool) -> None:
        del address, inbound
        self.peer = peer

    def peer_down(self, peer: PeerId, reason: str) -> None:
        pass

    def received(self, peer: PeerId, protocol: str, body: bytes) -> bool:
        del peer, protocol, body
        return True

    def requested(self, peer: PeerId, protocol: str, body: bytes, wire: int) -> None:
        del protocol
        self.network.reply(peer, wire, body)

    def withdrawn(self, peer: PeerId, wire: int) -> None:
        pass

    def answered(self, handle: int, body: bytes | Failure) -> None:
        del handle
        assert body == BODY, body
        self.in_flight -= 1
        self.fill(self.in_flight + 1)

    def fill(self, in_flight: int) -> None:
        """Ask until `in_flight` questions are under way."""
        deadline = SystemClock().now().mono_us + DEADLINE_US
        while self.left and self.in_flight < in_flight:
            self.left -= 1
            self.in_flight += 1
            self.handle += 1
            self.network.request(self.peer, PROTOCOL, BODY, self.handle, deadline)
        if not self.left and not self.in_flight:
            self.done.set()


def network(events: Events) -> Network:
    clock, entropy = SystemClock(), SystemEntropy()
    events.network = Network(
        protocols={PROTOCOL: (0,)},
        network=bytes(32),
        events=events,
        clock=clock,
        agent="bench",
        transport=lambda owner: Transport(
            key=NodeKey.generate(entropy),
            handler=owner,
            protocols=owner.speaks,
            identify=owner.describe,
            entropy=entropy,
            clock=clock,
        ),
    )
    return events.network


class BareEcho(asyncio.Protocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class BareAsker(asyncio.Protocol):
    def __init__(self, requests: int, in_flight: int) -> None:
        self.wanted = requests * len(BODY)
        self.unsent = requests - in_flight
        self.in_flight = in_flight
        self.got = 0
        self.done = asyncio.Event()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(BODY * self.in_flight)

    def data_received(self, data: bytes) -> None:
        before = self.got // len(BODY)
        self.got += len(data)
        more = min(self.unsent, self.got // len(BODY) - before)
        self.unsent -= more
        self.transport.write(BODY * more)
        if self.got >= self.wanted:
            self.done.set()


async def serve() -> None:
    taken = await network(Events()).listen(Multiaddr.tcp("127.0.0.1", 0))
    bare = await asyncio.get_running_loop().create_server(BareEcho, "127.0.0.1", 0)
    print(taken, bare.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


async def measure(address: str, port: int, requests: int, in_flight: int) -> None:
    events = Events()
    ours = network(events)
    await ours.port("dial", DialRequest((address,), None))
    rates = {}
    for count in (1, in_flight):
        events.left, events.done = requests if count > 1 else requests // 10, asyncio.Event()
        total, started = events.left, time.perf_counter()
        events.fill(count)
        await events.done.wait()
        rates[count] = total / (time.perf_counter() - started)
        print(f"framed 1 KB requests, {count} in flight: {rates[count]:,.0f}/s")
    asker = BareAsker(requests, in_flight)
    started = time.perf_counter()
    await asyncio.get_running_loop().create_connection(lambda: asker, "127.0.0.1", port)
    await asker.done.wait()
    bare = requests / (time.perf_counter() - started)
    print(f"bare uvloop echo, {in_flight} in flight: {bare:,.0f}/s")
    print(f"ratio: {rates[in_flight] / bare:.2f}")
    await ours.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--in-flight", type=int, default=32)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve())
        return
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        address, port = server.stdout.readline().decode().split()
        uvloop.run(measure(address, int(port), options.requests, options.in_flight))
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
