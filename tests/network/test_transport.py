"""Two transports over real sockets on free loopback ports."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from dms3.core import limits
from dms3.core.errors import Dms3Error
from dms3.core.machine import Now
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.transport import Secured, Transport
from dms3.libp2p.events import (
    ConnectionEvent,
    Identified,
    StreamData,
    StreamDrained,
    StreamFinished,
    StreamOpened,
    StreamReset,
)
from dms3.libp2p.identify import IdentifyInfo
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.multistream import HEADER, encode_message
from unit.libp2p.wire_kit import ECHO, key

ANY = Multiaddr.parse("/ip4/127.0.0.1/tcp/0")
TIMEOUT_US = 10 * limits.SECOND_US
GREETING = encode_message(HEADER)


class LateClock:
    """The clock of this machine, `late_us` ahead: time that passed without anything happening."""

    def __init__(self) -> None:
        self.late_us = 0

    def now(self) -> Now:
        now = SystemClock().now()
        return Now(now.mono_us + self.late_us, now.wall_us)


class Node:
    """A transport with a handler that echoes and lets tests await what happens."""

    def __init__(self, seed: int, gate=None) -> None:
        self.key = key(seed)
        self.clock = LateClock()
        self.secured: list[Secured] = []
        self.closed: list[tuple[Secured, str, str]] = []
        self.received: dict[int, bytearray] = {}
        self.events: list[ConnectionEvent] = []
        self._inbound: set[tuple[Secured, int]] = set()
        self._wake = asyncio.Event()
        self.transport = Transport(
            key=self.key,
            handler=self,
            protocols=lambda name: name == ECHO,
            identify=lambda: IdentifyInfo("test/1", f"node {seed}"),
            entropy=SystemEntropy(),
            clock=self.clock,
            **({"gate": gate} if gate else {}),
        )

    def on_secured(self, link: Secured) -> None:
        self.secured.append(link)
        self._wake.set()

    def on_closed(self, link: Secured, code: str, reason: str) -> None:
        self.closed.append((link, code, reason))
        self._wake.set()

    def on_event(self, link: Secured, event: ConnectionEvent) -> None:
        self.events.append(event)
        self._wake.set()
        if isinstance(event, StreamOpened) and event.inbound:
            self._inbound.add((link, event.stream))
        elif isinstance(event, StreamData):
            link.consume(event.stream, len(event.data))
            if (link, event.stream) in self._inbound:
                link.send(event.stream, event.data)
            else:
                self.received.setdefault(event.stream, bytearray()).extend(event.data)
        elif isinstance(event, StreamFinished) and (link, event.stream) in self._inbound:
            link.finish(event.stream)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._wake.clear()
                await self._wake.wait()

    async def until_handshakes(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self.transport._handshakes != count:  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(0)

    async def dial(self, address: Multiaddr, peer=None, timeout_us=TIMEOUT_US) -> Secured:
        return await self.transport.dial([address], peer, timeout_us)


@asynccontextmanager
async def nodes(*made: Node):
    try:
        yield [await node.transport.listen(ANY) for node in made]
    finally:
        for node in made:
            await node.transport.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())


async def raw(address: Multiaddr) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    _, host, port = address.tcp_endpoint
    return await asyncio.open_connection(host, port)


def test_dial_echo_and_close():
    async def test() -> None:
        a, b = Node(1), Node(2)
        async with nodes(a, b) as (_, address):
            assert address.tcp_endpoint[2] != 0
            link = await a.dial(address, peer=b.key.peer_id)
            assert link.peer == b.key.peer_id
            assert not link.inbound
            assert a.transport.connection_to(b.key.peer_id) is link
            stream = link.open_stream([ECHO])
            body = bytes(range(256)) * 8_000  # eight windows
            assert link.send(stream, body) > limits.STREAM_QUEUE_NOTICE_BYTES
            link.finish(stream)
            await a.until(lambda: StreamFinished(stream) in a.events)
            assert a.received[stream] == body
            assert StreamDrained(stream) in a.events
            await a.until(lambda: any(isinstance(e, Identified) for e in a.events))
            link.close("done")
            await b.until(lambda: b.closed)
            assert a.closed == [(link, "cancelled", "done")]
            assert b.closed[0][1:] == ("peer_refused", "the peer ended the session normally")
            assert a.transport.connections() == b.transport.connections() == []

    run(test)


def test_a_stream_is_answered_after_a_quiet_time():
    """Longer than an agreement may take, shorter than between two pings."""

    async def test() -> None:
        a, b = Node(1), Node(2)
        async with nodes(a, b) as (_, address):
            link = await a.dial(address)
            first = link.open_stream([ECHO])
            link.send(first, b"x")
            await a.until(lambda: first in a.received)  # whatever comes with a connection is over
            quiet_us = limits.STREAM_NEGOTIATION_US_MAX + limits.SECOND_US
            assert quiet_us < limits.PING_INTERVAL_US
            link._wire._on_timer()  # the deadline of the first agreement passes: nothing to do
            a.clock.late_us = b.clock.late_us = quiet_us
            stream = link.open_stream([ECHO])
            link.send(stream, b"after a pause")
            await a.until(lambda: stream in a.received or StreamReset in map(type, a.events))
            assert a.received[stream] == b"after a pause"

    run(test)


def test_an_open_connection_is_used_again():
    async def test() -> None:
        a, b = Node(1), Node(2)
        async with nodes(a, b) as (there, address):
            link = await a.dial(address, peer=b.key.peer_id)
            assert await a.dial(address, peer=b.key.peer_id) is link
            await b.until(lambda: b.secured)
            assert (await b.dial(there, peer=a.key.peer_id)) is b.secured[0]

    run(test)


@pytest.mark.parametrize("round_", range(10))
def test_simultaneous_dials_keep_one_and_the_same(round_):
    async def test() -> None:
        a, b = Node(1 + 2 * round_), Node(2 + 2 * round_)
        async with nodes(a, b) as (at_a, at_b):
            links = await asyncio.gather(
                a.dial(at_b, peer=b.key.peer_id), b.dial(at_a, peer=a.key.peer_id)
            )
            assert [link.peer for link in links] == [b.key.peer_id, a.key.peer_id]
            opened = len(a.secured), len(b.secured)
            await a.until(lambda: len(a.secured) - len(a.closed) == 1)
            await b.until(lambda: len(b.secured) - len(b.closed) == 1)
            (at, bt) = a.transport.connections()[0], b.transport.connections()[0]
            assert at.inbound != bt.inbound, opened
            stream = at.open_stream([ECHO])
            at.send(stream, b"still here")
            await a.until(lambda: bytes(a.received.get(stream, b"")) == b"still here")

    run(test)


def test_another_peer_at_the_address_is_named():
    async def test() -> None:
        a, b = Node(1), Node(2)
        async with nodes(a, b) as (_, address):
            with pytest.raises(Dms3Error, match="answers at the address of") as error:
                await a.dial(address, peer=key(3).peer_id)
            assert error.value.code == "peer_unreachable"
            assert a.secured == []

    run(test)


def test_our_own_address_is_refused():
    async def test() -> None:
        a = Node(1)
        async with nodes(a) as (address,):
            with pytest.raises(Dms3Error) as error:
                await a.dial(address)
            assert error.value.code == "peer_refused"

    run(test)


def test_nobody_there():
    async def test() -> None:
        a, b = Node(1), Node(2)
        async with nodes(a, b) as (_, address):
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                dead = Multiaddr.tcp("127.0.0.1", free.getsockname()[1])
            with pytest.raises(Dms3Error, match="does not answer") as error:
                await a.dial(dead)
            assert error.value.code == "peer_unreachable"
            link = await a.transport.dial([dead, address], b.key.peer_id, TIMEOUT_US)
            assert link.remote == address

    run(test)


def test_addresses_that_cannot_be_dialled():
    async def test() -> None:
        a = Node(1)
        for text in ("/ip4/127.0.0.1/udp/1/quic-v1", "/dnsaddr/a.example", "/p2p-circuit"):
            with pytest.raises(Dms3Error, match="No address can be dialled"):
                await a.dial(Multiaddr.parse(text))
        with pytest.raises(Dms3Error, match="none"):
            await a.transport.dial([], None, TIMEOUT_US)

    run(test)


@asynccontextmanager
async def foreign_listener(says: bytes):
    """A listener that is not ours: says something after the first bytes, then waits."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(says)
        with suppress(ConnectionError):
            while await reader.read(1024):
                pass
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield Multiaddr.tcp(*server.sockets[0].getsockname())
    async with asyncio.timeout(10):
        await gone.wait()  # our transport has given up its socket
    server.close()
    await server.wait_closed()


def test_a_peer_that_stays_silent_times_out():
    async def test() -> None:
        async with foreign_listener(b"") as address:
            with pytest.raises(Dms3Error) as error:
                await Node(1).dial(address, timeout_us=100_000)
            assert error.value.code == "timed_out"

    run(test)


def test_a_plain_text_listener_is_refused():
    async def test() -> None:
        async with foreign_listener(GREETING + encode_message("na")) as address:
            with pytest.raises(Dms3Error, match="does not speak /noise") as error:
                await Node(1).dial(address)
            assert error.value.code == "protocol_unsupported"

    run(test)


def test_a_plain_text_dialer_is_refused_and_nobody_else_notices():
    async def test() -> None:
        a, b = Node(1), Node(2)
        async with nodes(a, b) as (_, address):
            link = await a.dial(address)
            reader, writer = await raw(address)
            writer.write(GREETING + encode_message("/plaintext/2.0.0"))
            refusal = GREETING + encode_message("na")
            assert await reader.readexactly(len(refusal)) == refusal
            writer.write(b"\xff" * 100)
            await reader.read()
            writer.close()
            assert b.transport.connections()[0].peer == a.key.peer_id
            stream = link.open_stream([ECHO])
            link.send(stream, b"x")
            await a.until(lambda: stream in a.received)

    run(test)


def test_handshakes_in_progress_are_bounded(monkeypatch):
    monkeypatch.setattr(limits, "HANDSHAKES_MAX", 3)

    async def test() -> None:
        a, b = Node(1), Node(2)
        async with nodes(a, b) as (_, address):
            silent = [await raw(address) for _ in range(3)]
            await b.until_handshakes(3)
            await a.dial(address)  # takes the place of the one that has been silent longest
            await silent[0][0].read()
            assert silent[0][0].at_eof()
            await b.until_handshakes(2)
            assert b.transport.failed == {"limit_reached": 1}
            for _, other in silent:
                other.close()

    run(test)


def test_connections_are_bounded(monkeypatch):
    monkeypatch.setattr(limits, "CONNECTIONS_MAX", 1)

    async def test() -> None:
        a, b, c = Node(1), Node(2), Node(3)
        async with nodes(a, b, c) as (address, _, _):
            await b.dial(address)
            with pytest.raises(Dms3Error) as error:
                await c.dial(address)
            assert error.value.code == "peer_unreachable"
            assert [link.peer for link in a.transport.connections()] == [b.key.peer_id]

    run(test)


def test_a_stalled_handshake_is_cut(monkeypatch):
    monkeypatch.setattr(limits, "HANDSHAKE_US_MAX", 50_000)

    async def test() -> None:
        b = Node(2)
        async with nodes(b) as (address,):
            reader, writer = await raw(address)
            writer.write(GREETING)
            async with asyncio.timeout(5):
                assert await reader.read() == GREETING  # then the end
            writer.close()

    run(test)


def test_the_gate_is_asked_by_address_and_by_peer():
    async def test() -> None:
        refused = key(1).peer_id
        asked = []

        def gate(peer, _address, inbound) -> bool:
            asked.append((peer, inbound))
            return peer != refused

        a, b, c = Node(1), Node(2, gate), Node(3)
        async with nodes(a, b, c) as (at_a, address, _):
            link = await a.dial(address)
            await a.until(lambda: a.closed)
            assert a.closed[0][0] is link
            assert b.secured == []
            with pytest.raises(Dms3Error):
                await b.dial(at_a, peer=refused)
            assert (await c.dial(address)).peer == b.key.peer_id
            assert asked[0] == (None, True)

    run(test)


def test_closing_tells_every_peer_and_frees_the_port():
    async def test() -> None:
        a, b = Node(1), Node(2)
        address = await b.transport.listen(ANY)
        await a.dial(address)
        await b.until(lambda: b.secured)
        await b.transport.close()
        assert b.closed[0][1] == "node_stopping"
        await a.until(lambda: a.closed)
        with pytest.raises(Dms3Error) as error:
            await b.dial(address)
        assert error.value.code == "node_stopping"
        again = Node(3)
        assert await again.transport.listen(address) == address
        with pytest.raises(Dms3Error) as error:
            await Node(4).transport.listen(address)
        assert error.value.code == "port_in_use"
        await again.transport.close()
        await a.transport.close()

    run(test)


def test_only_tcp_addresses_can_be_listened_at():
    async def test() -> None:
        for text in ("/dns4/localhost/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"):
            with pytest.raises(Dms3Error) as error:
                await Node(1).transport.listen(Multiaddr.parse(text))
            assert error.value.code == "argument_invalid"

    run(test)


def test_a_newer_connection_of_a_peer_replaces_the_older():
    async def test() -> None:
        old, new, b = Node(1), Node(1), Node(2)
        async with nodes(b) as (address,):
            first = await old.dial(address)
            await new.dial(address)
            await b.until(lambda: b.closed)
            assert len(b.transport.connections()) == 1
            await old.until(lambda: old.closed)
            assert old.closed[0][0] is first
            assert b.secured[1] is b.transport.connections()[0]
            await old.transport.close()
            await new.transport.close()

    run(test)
