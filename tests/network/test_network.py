"""Two nodes' networks over real sockets: transport, links, driver loop and peer book together."""

import asyncio
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId, Root
from dms3.core.limits import MIB, SCORE_REFUSE_MIN, SECOND_US
from dms3.core.machine import Answered, Call, Called, Received, Reply, Request, Requested, Send
from dms3.core.ports import Transaction
from dms3.crypto.signing import SigningKey
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.loop import Loop
from dms3.io.transport import Transport
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey, peer_id_text
from dms3.libp2p.peer_record import seal_record
from dms3.node.driver import Driver
from dms3.node.inbox import Hosted, Overflow
from dms3.node.network import Network
from dms3.p2p import exchange
from dms3.p2p import peers as book
from dms3.p2p.card import card_text, issue_card
from dms3.p2p.conduct import CONDUCT
from dms3.p2p.frames import VERSION, Version, encode_frame, encode_version
from dms3.p2p.known import PUBLIC_PROTOCOL
from dms3.p2p.peers import PeerBook
from dms3.p2p.port import Conducted, HangUp
from dms3.sim.disk import Disk

ECHO = "/dms3/echo/1"
NETWORK = bytes(range(32))


class Echo:
    """Answers with what it is asked, `big` with 2 MiB; keeps messages; asks on command."""

    def __init__(self) -> None:
        self.told = asyncio.Queue()
        self.asking = {}

    def on_start(self, view, now):
        del view, now
        return []

    def on_event(self, event, now):
        effects = []
        match event:
            case Requested(_, _, b"big", request):
                effects = [Reply(request, bytes(2 * MIB))]
            case Requested(_, _, body, request):
                effects = [Reply(request, body)]
            case Received(_, _, body):
                self.told.put_nowait(body)
            case Called("ask", (peer, body), request):
                token = f"ask/{request}"
                self.asking[token] = request
                effects = [Request(peer, ECHO, body, token, now.mono_us + 10 * SECOND_US)]
            case Called("tell", (peer, body), request):
                effects = [Send(peer, ECHO, body), Reply(request, None)]
            case Called("denounce", peer, request):
                conducted = Conducted(peer, "content_invalid")
                effects = [Call("peers.conduct", conducted, f"d/{request}"), Reply(request, None)]
            case Answered(token, body) if token in self.asking:
                effects = [Reply(self.asking.pop(token), body)]
        return effects

    def on_timer(self, now):
        del now
        return []

    def next_timer(self):
        return None


class Journal:
    """Commits at once, to memory."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.count = 0

    def commit(self, writes, events):
        self.count += 1
        self.disk.apply(Transaction(self.count, writes, events))
        done = Future()
        done.set_result(None)
        return done


class Node:
    """One node: its network on a free port, its loop, an echo machine and a peer book."""

    def __init__(
        self, name, network=NETWORK, join=(), minors=(0,), *, public=False, only_asked=()
    ) -> None:
        self.name = name
        self.key = NodeKey.generate(SystemEntropy())
        self.person = SigningKey.of_seed(SystemEntropy().draw(32))
        self.echo = Echo()
        self.journal = Journal()
        clock = SystemClock()
        machines = [
            Hosted("echo", self.echo, {ECHO: Overflow.HOLD}),
            Hosted(
                "peers",
                PeerBook(self.peer, Root(self.person.public), join, SystemEntropy(), public=public),
                {book.PROTOCOL: Overflow.HOLD, exchange.PROTOCOL: Overflow.HOLD},
            ),
        ]
        self.bugs = []
        driver = Driver(
            machines,
            self.journal.disk,
            last_event=0,
            on_bug=lambda *bug: self.bugs.append(bug),
        )
        self.loop = Loop(
            driver=driver,
            journal=self.journal,
            clock=clock,
            on_lag=lambda _: None,
            on_fault=lambda _, error: pytest.fail(repr(error)),
        )
        self.network = Network(
            protocols={
                ECHO: minors,
                book.PROTOCOL: book.MINORS,
                exchange.PROTOCOL: exchange.MINORS,
                **({PUBLIC_PROTOCOL: (0,)} if public else {}),
            },
            network=network,
            events=self.loop,
            clock=clock,
            agent="dms3/test",
            seal=partial(seal_record, self.key),
            only_asked=only_asked,
            transport=lambda owner: Transport(
                key=self.key,
                handler=owner,
                protocols=owner.speaks,
                identify=owner.describe,
                entropy=SystemEntropy(),
                clock=clock,
                gate=owner.gate,
            ),
        )

    @property
    def peer(self) -> PeerId:
        return self.key.peer_id

    @property
    def address(self) -> str:
        return f"{self.network.listening[0]}/p2p/{peer_id_text(self.peer)}"

    @property
    def card(self) -> str:
        now = SystemClock().now().wall_us
        card = issue_card(
            self.person,
            name=self.name,
            peer=self.peer,
            addresses=[str(self.network.listening[0])],
            certificate=b"",
            since_us=now,
            until_us=now + 60 * SECOND_US,
        )
        return card_text(card)

    @asynccontextmanager
    async def running(self):
        await self.network.listen(Multiaddr.tcp("127.0.0.1", 0))
        async with asyncio.TaskGroup() as group:
            reports = group.create_task(self.network.report(self.loop.call))
            pump = group.create_task(self.loop.run(self.network, {"transport": self.network.port}))
            try:
                with self.loop.subscribe() as self.events:
                    yield self
            finally:
                await self.network.close()
                self.loop.stop()
                await pump
                reports.cancel()
        assert self.bugs == []

    async def call(self, port, arguments=None):
        return await self.loop.call(port, arguments)

    async def connect(self, other):
        return await self.call("peers.connect", other.address)

    async def ask(self, other, body):
        return await self.call("echo.ask", (other.peer, body))

    async def notice(self, topic):
        async for event in self.events:
            if event.topic == topic:
                return event.data
        raise AssertionError(f"no {topic}")


@asynccontextmanager
async def pair(**options: Any):
    async with Node("alice").running() as alice, Node("bob", **options).running() as bob:
        yield alice, bob


def run(test):
    async def limited():
        async with asyncio.timeout(30):
            await test()

    asyncio.run(limited())


def test_peers_connect_ask_both_ways_and_tell():
    async def test():
        async with pair() as (alice, bob):
            dialed = await alice.connect(bob)
            assert dialed.peer == bob.peer
            assert await alice.ask(bob, b"hello") == b"hello"
            assert await bob.ask(alice, b"back") == b"back"
            await alice.call("echo.tell", (bob.peer, b"message"))
            assert await bob.echo.told.get() == b"message"
            assert await alice.call("peers.ping", bob.peer) > 0

    run(test)


def test_large_and_small_answers_travel_together():
    async def test():
        async with pair() as (alice, bob):
            await alice.connect(bob)
            big = [alice.ask(bob, b"big") for _ in range(3)]
            small = [alice.ask(bob, b"%d" % n) for n in range(300)]
            answers = await asyncio.gather(*big, *small)
            assert answers[:3] == [bytes(2 * MIB)] * 3
            assert answers[3:] == [b"%d" % n for n in range(300)]
            (figures,) = alice.network.figures()
            assert figures.peer == bob.peer
            assert figures.asked == 304  # one of them the probe
            assert figures.bytes_in > 6 * MIB
            assert figures.in_flight == 0
            assert not figures.inbound

    run(test)


def test_another_network_is_refused_by_name_at_both_ends():
    async def test():
        async with pair(network=bytes(32)) as (alice, bob):
            with pytest.raises(Dms3Error) as caught:
                await alice.connect(bob)
            assert caught.value.code == "network_mismatch"
            for node, other in ((alice, bob), (bob, alice)):
                await node.notice("peer.down")
                (row,) = await node.call("peers.list")
                assert row.peer == other.peer
                assert row.problem.code == "network_mismatch"
                assert row.points == 0

    run(test)


def test_minors_that_do_not_meet_are_a_named_failure():
    async def test():
        async with pair(minors=(7,)) as (alice, bob):
            await alice.connect(bob)
            with pytest.raises(Dms3Error) as caught:
                await alice.ask(bob, b"x")
            assert caught.value.code == "protocol_unsupported"

    run(test)


def test_questions_end_when_the_peer_goes_and_later_ones_are_refused_at_once():
    async def test():
        async with Node("alice").running() as alice:
            async with Node("bob").running() as bob:
                await alice.connect(bob)
                assert await alice.ask(bob, b"x") == b"x"
            await alice.notice("peer.down")
            with pytest.raises(Dms3Error) as caught:
                await alice.ask(bob, b"x")
            assert caught.value.code == "peer_unreachable"
            assert alice.network.figures() == []
            with pytest.raises(Dms3Error) as caught:
                await alice.connect(bob)
            assert caught.value.code == "peer_unreachable"

    run(test)


def test_a_contact_is_dialled_and_kept():
    async def test():
        async with pair() as (alice, bob):
            contact = await alice.call("peers.contact_add", bob.card)
            assert contact.name == "bob"
            up = await alice.notice("peer.up")
            assert up["name"] == "bob"
            assert await alice.ask(bob, b"x") == b"x"
            await bob.network.port("hang_up", HangUp(alice.peer, "test"))
            await alice.notice("peer.down")
            await alice.notice("peer.up")
            assert await alice.ask(bob, b"x") == b"x"

    run(test)


def test_a_bootstrap_address_without_a_peer_id_is_joined():
    async def test():
        async with Node("alice").running() as alice:
            where = str(alice.network.listening[0])
            async with Node("bob", join=[where]).running() as bob:
                await bob.notice("peer.up")
                assert await bob.ask(alice, b"x") == b"x"
                rows = await alice.call("peers.list")
                while not rows[0].addresses:  # until Identify has told where bob listens
                    rows = await alice.call("peers.list")
                assert rows[0].addresses == (str(bob.network.listening[0]),)

    run(test)


def test_a_peer_that_misbehaves_enough_is_refused_for_a_while():
    async def test():
        async with pair() as (alice, bob):
            await bob.connect(alice)
            times = -(-SCORE_REFUSE_MIN // CONDUCT["content_invalid"][0])
            for _ in range(times):
                await alice.call("echo.denounce", bob.peer)
            assert (await alice.notice("peer.refused"))["code"] == "content_invalid"
            await bob.notice("peer.down")
            with pytest.raises(Dms3Error) as caught:
                await alice.connect(bob)
            assert caught.value.code == "peer_refused"
            with pytest.raises(Dms3Error):
                await bob.connect(alice)

    run(test)


class Foe:
    """A libp2p peer without dms3 that writes what it likes."""

    def __init__(self) -> None:
        self.key = NodeKey.generate(SystemEntropy())
        self.happened = asyncio.Queue()

    def on_secured(self, link):
        pass

    def on_event(self, link, event):
        del link
        self.happened.put_nowait(event)

    def on_closed(self, link, code, reason):
        del link
        self.happened.put_nowait((code, reason))

    async def dial(self, node):
        transport = Transport(
            key=self.key,
            handler=self,
            protocols=lambda _: False,
            identify=node.network.describe,
            entropy=SystemEntropy(),
            clock=SystemClock(),
        )
        link = await transport.dial([Multiaddr.parse(node.address)], node.peer, SECOND_US * 5)
        return transport, link


def test_a_peer_without_our_protocols_stays_connected_and_is_shown_as_such():
    async def test():
        async with Node("alice").running() as alice:
            transport, _ = await Foe().dial(alice)
            await alice.notice("peer.up")
            rows = await alice.call("peers.list")
            while rows[0].problem is None:
                rows = await alice.call("peers.list")
            assert rows[0].problem.code == "protocol_unsupported"
            assert rows[0].connected
            await transport.close()

    run(test)


def test_a_peer_that_breaks_the_rules_on_the_wire_ends_up_refused():
    async def test():
        async with Node("alice").running() as alice:
            foe = Foe()
            transport, link = await foe.dial(alice)
            hello = encode_frame(VERSION, 0, encode_version(Version(NETWORK, (0,))))
            for _ in range(2):
                stream = link.open_stream([ECHO])
                link.send(stream, hello + b"\xff\xff\xff\xff\x7f")
            assert (await alice.notice("peer.refused"))["code"] == "frame_too_large"
            assert (await alice.notice("peer.down"))["peer"] == peer_id_text(foe.key.peer_id)
            await transport.close()

    run(test)


def test_bad_addresses_and_unknown_operations_are_named():
    async def test():
        async with Node("alice").running() as alice:
            for text, code in (
                ("nonsense", "argument_invalid"),
                ("/ip4/1.2.3.4", "peer_unreachable"),
                (alice.address, "argument_invalid"),
                (peer_id_text(Foe().key.peer_id), "not_found"),
            ):
                with pytest.raises(Dms3Error) as caught:
                    await alice.call("peers.connect", text)
                assert caught.value.code == code
            with pytest.raises(Dms3Error) as caught:
                await alice.call("peers.nonsense", None)
            assert caught.value.code == "method_unknown"
            with pytest.raises(Dms3Error) as caught:
                await alice.network.port("nonsense", None)
            assert caught.value.code == "method_unknown"

    run(test)


def test_answers_that_nobody_waits_for_are_dropped():
    async def test():
        async with pair() as (alice, bob):
            await alice.connect(bob)
            alice.network.reply(bob.peer, 12345, Failure("internal", "nobody asked"))
            alice.network.reply(alice.peer, 1, b"")
            alice.network.cancel(12345)
            alice.network.send(alice.peer, ECHO, b"to nobody")
            assert await alice.ask(bob, b"x") == b"x"

    run(test)
