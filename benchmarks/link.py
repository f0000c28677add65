"""Speed of framed requests between two real processes over loopback, beside a bare uvloop echo.

    python benchmarks/link.py [--requests 40000] [--in-flight 32] [--rounds 5]

Measured: 1 KB requests and answers through Network and Link (frames, Yamux, Noise), and the same
through a bare TCP echo that cuts length-prefixed frames and answers them one by one, one write for
each, in one run. Machines and their driver are not included. Medians of
the rounds count.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import struct
import subprocess
import sys
import time
from functools import partial
from typing import Any

import uvloop
from measure import Row, note
from nodes import processor

from dms3.core.errors import Failure
from dms3.core.ids import PeerId
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.transport import Transport
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey
from dms3.libp2p.peer_record import seal_record
from dms3.node.network import Network
from dms3.p2p.port import DialRequest

PROTOCOL = "/dms3/bench/1"
BODY = b"x" * 1024
DEADLINE_US = 60_000_000
LENGTH = struct.Struct(">I")
REQUESTS, IN_FLIGHT, ROUNDS = 40_000, 32, 5
GOAL = 0.25


class Events:
    """What a driver is to the network: here it answers at once and counts."""

    def __init__(self) -> None:
        self.network: Network
        self.left = 0
        self.in_flight = 0
        self.handle = 0
        self.failure: bytes | Failure | None = None
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
        if body != BODY:
            self.failure = body
            self.done.set()
            return
        self.in_flight -= 1
        self.fill(self.in_flight + 1)

    async def run(self, total: int, in_flight: int) -> float:
        """Seconds for `total` questions."""
        self.left, self.done = total, asyncio.Event()
        started = time.perf_counter()
        self.fill(in_flight)
        async with asyncio.timeout(DEADLINE_US / 1e6):
            await self.done.wait()
        if self.failure is not None:
            raise RuntimeError(f"a request failed: {self.failure}")
        return time.perf_counter() - started

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
    key = NodeKey.generate(entropy)
    events.network = Network(
        protocols={PROTOCOL: (0,)},
        network=bytes(32),
        events=events,
        clock=clock,
        agent="bench",
        seal=partial(seal_record, key),
        transport=lambda owner: Transport(
            key=key,
            handler=owner,
            protocols=owner.speaks,
            identify=owner.describe,
            entropy=entropy,
            clock=clock,
        ),
    )
    return events.network


class Framed(asyncio.Protocol):
    """Cuts what comes into frames, a 4-byte length and a body, and handles them one by one."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer
        buffer += data
        start, size = 0, len(buffer)
        while size - start >= LENGTH.size:
            (length,) = LENGTH.unpack_from(buffer, start)
            end = start + LENGTH.size + length
            if end > size:
                break
            self.on_frame(bytes(buffer[start + LENGTH.size : end]))
            start = end
        del buffer[:start]

    def send(self, body: bytes) -> None:
        self.transport.write(LENGTH.pack(len(body)) + body)

    def on_frame(self, body: bytes) -> None:
        """One write for one answered frame."""
        self.send(body)


class BareAsker(Framed):
    def __init__(self, requests: int, in_flight: int) -> None:
        super().__init__()
        self.left = requests
        self.unsent = requests - in_flight
        self.in_flight = in_flight
        self.done = asyncio.Event()
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.lost.set()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        for _ in range(self.in_flight):
            self.send(BODY)

    def on_frame(self, body: bytes) -> None:
        assert body == BODY
        self.left -= 1
        if self.unsent:
            self.unsent -= 1
            self.send(BODY)
        elif not self.left:
            self.done.set()


async def serve() -> None:
    taken = await network(Events()).listen(Multiaddr.tcp("127.0.0.1", 0))
    bare = await asyncio.get_running_loop().create_server(Framed, "127.0.0.1", 0)
    print(taken, bare.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def busy(server: int) -> float:
    """Seconds of processor used so far by this process and the server's."""
    return time.process_time() + processor(server)


async def measure(
    address: str, port: int, server: int, requests: int, in_flight: int
) -> dict[str, float]:
    """Requests per second: ours one at a time, ours in flight, and the bare echo's in flight.

    Under "NAME busy" the microseconds of processor of both processes for each request.
    """
    events = Events()
    ours = network(events)
    await ours.port("dial", DialRequest((address,), None))
    rates = {}
    for name, count, total in (("single", 1, requests // 10), ("ours", in_flight, requests)):
        worked = busy(server)
        rates[name] = total / await events.run(total, count)
        rates[f"{name} busy"] = (busy(server) - worked) / total * 1e6
    asker = BareAsker(requests, in_flight)
    worked = busy(server)
    started = time.perf_counter()
    await asyncio.get_running_loop().create_connection(lambda: asker, "127.0.0.1", port)
    async with asyncio.timeout(DEADLINE_US / 1e6):
        await asker.done.wait()
    rates["bare"] = requests / (time.perf_counter() - started)
    rates["bare busy"] = (busy(server) - worked) / requests * 1e6
    asker.transport.close()
    await asker.lost.wait()
    await ours.close()
    return rates


def tell(number: int, in_flight: int, rates: dict[str, float]) -> None:
    note(
        f"round {number + 1}, load {os.getloadavg()[0]:.1f}: framed 1 KB requests/s: "
        f"{rates['single']:,.0f} one at a time, {rates['ours']:,.0f} with {in_flight} in flight; "
        f"bare echo of frames {rates['bare']:,.0f}; ratio {rates['ours'] / rates['bare']:.2f}; "
        f"processor per request {rates['ours busy']:.0f} and {rates['bare busy']:.0f} us"
    )


def run(requests: int, in_flight: int, rounds: int) -> list[dict[str, float]]:
    """The rates of each round against one server process."""
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            address, port = server.stdout.readline().decode().split()
            found = []
            for number in range(rounds):
                found.append(
                    uvloop.run(measure(address, int(port), server.pid, requests, in_flight))
                )
                tell(number, in_flight, found[-1])
            return found
        finally:
            server.kill()


def rows(requests: int = REQUESTS, in_flight: int = IN_FLIGHT, rounds: int = ROUNDS) -> list[Row]:
    """Medians of the rounds: the rates, and what a request costs."""
    found = run(requests, in_flight, rounds)

    def middle(name: str) -> float:
        return statistics.median(rates[name] for rates in found)

    name = f"framed 1 KB requests, {in_flight} in flight"
    peer = "bare uvloop echo"
    why = "Noise, Yamux, numbered requests and deadlines in Python, on both sides"
    return [
        Row(name, middle("ours"), middle("bare"), peer, "/s", GOAL, why),
        Row(
            f"{name}: processor for each, both sides",
            middle("ours busy"),
            middle("bare busy"),
            peer,
            "us",
            None,
            "the same; the kernel's part is in both",
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve())
        return
    for row in rows(options.requests, options.in_flight, options.rounds):
        print(row)


if __name__ == "__main__":
    main()
