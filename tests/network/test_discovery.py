"""Nodes meet on the local network and after a sleep; a crowd locks no contact out."""

import asyncio
import signal
import socket
import struct
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import pytest

from dms3.core.codec import encode
from dms3.core.database import StoredEvent
from dms3.core.ids import PeerId
from dms3.core.limits import SECOND_US
from dms3.core.machine import Now
from dms3.core.network import MAIN, NetworkParameters
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.discovery import Lan
from dms3.io.transport import Transport
from dms3.libp2p.identify import IdentifyInfo
from dms3.libp2p.mdns import Heard, encode_txt
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey, peer_id_text
from dms3.libp2p.peer_record import seal_record
from dms3.node import door
from dms3.node.home import Home
from dms3.node.interfaces import own_addresses
from dms3.node.metrics import Metrics
from dms3.node.node import Node, open_node
from dms3.node.settings import Settings
from dms3.p2p import exchange
from dms3.p2p.conduct import CONDUCT
from dms3.p2p.known import PUBLIC_PROTOCOL
from network.running import running, wait_until
from network.test_network import Node as Small
from network.test_network import pair, run

GROUP = "224.0.0.251"  # RFC 6762


def multicast_passes(host: str) -> bool:
    """Whether a packet to the group comes back on the interface `host`."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth,
    ):
        ear.settimeout(1)
        try:
            ear.bind(("", 0))
            member = socket.inet_aton(GROUP) + socket.inet_aton(host)
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
            mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, struct.pack("b", 1))
            mouth.sendto(b"here", (GROUP, ear.getsockname()[1]))
            return ear.recv(16) == b"here"
        except OSError:
            return False


# The local network


class Ear:
    """What one side of a LAN hears and complains about."""

    def __init__(self, port: int) -> None:
        self.key = NodeKey.generate(SystemEntropy())
        self.address = Multiaddr.tcp("127.0.0.1", port)
        self.heard: asyncio.Queue[Heard] = asyncio.Queue()
        self.failed: asyncio.Queue[str] = asyncio.Queue()
        self.lan = Lan(
            peer=self.key.peer_id,
            heard=self.heard.put_nowait,
            failed=self.failed.put_nowait,
            entropy=SystemEntropy(),
            clock=SystemClock(),
        )

    async def hears(self, other: "Ear") -> Heard:
        while (heard := await self.heard.get()).peer != other.key.peer_id:
            pass
        return heard


def test_two_adapters_hear_each_other_over_multicast_on_loopback():
    if not multicast_passes("127.0.0.1"):
        pytest.skip("no multicast on loopback here")

    async def test():
        one, two = Ear(4001), Ear(4002)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ear.lan.run()) for ear in (one, two)]
            one.lan.announce([one.address])
            two.lan.announce([two.address])
            assert await one.hears(two) == Heard(two.key.peer_id, (two.address,))
            assert await two.hears(one) == Heard(one.key.peer_id, (one.address,))
            moved = Multiaddr.tcp("127.0.0.1", 4003)
            two.lan.announce([moved])
            while (await one.hears(two)).addresses != (moved,):
                pass
            for task in tasks:
                task.cancel()
        assert one.failed.empty()

    run(test)


PTR, TXT = 12, 16  # RFC 1035 section 3.2.2
SERVICE = b"\x04_p2p\x04_udp\x05local\x00"
QUESTION = struct.pack(">6H", 0, 0, 1, 0, 0, 0) + SERVICE + struct.pack(">2H", PTR, 1)


def answer_of(ear: Ear) -> bytes:
    """What js-libp2p answers: a pointer and TXT, neither SRV nor addresses."""
    name = b"\x20" + b"a" * 32 + SERVICE
    text = encode_txt(ear.key.peer_id, [ear.address])
    head = struct.pack(">6H", 0, 0x8400, 0, 2, 0, 0)
    pointer = SERVICE + struct.pack(">2HIH", PTR, 1, 120, len(name)) + name
    return head + pointer + name + struct.pack(">2HIH", TXT, 1, 120, len(text)) + text


def test_a_program_that_knows_only_the_specification_hears_and_is_heard():
    if not multicast_passes("127.0.0.1"):
        pytest.skip("no multicast on loopback here")

    async def test():
        ours, theirs = Ear(4001), Ear(4002)
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            here = socket.inet_aton("127.0.0.1")
            other.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
            async with asyncio.TaskGroup() as group:
                task = group.create_task(ours.lan.run())
                ours.lan.announce([ours.address])
                found = b""
                while encode_txt(ours.key.peer_id, [ours.address]) not in found:
                    await loop.sock_sendto(other, QUESTION, (GROUP, 5353))
                    with suppress(TimeoutError):  # it may not have opened its sockets yet
                        async with asyncio.timeout(0.2):
                            found = await loop.sock_recv(other, 9000)
                assert SERVICE in found
                await loop.sock_sendto(other, answer_of(theirs), (GROUP, 5353))
                assert await ours.hears(theirs) == Heard(theirs.key.peer_id, (theirs.address,))
                task.cancel()

    run(test)


def test_a_network_that_is_not_there_is_said_and_waited_for():
    async def test():
        ear = Ear(4001)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(ear.lan.run())
            ear.lan.announce([Multiaddr.tcp("203.0.113.9", 4001)])  # no interface of this machine
            assert await ear.failed.get()
            task.cancel()

    run(test)


def test_two_processes_meet_without_being_told_of_each_other(tmp_path: Path):
    host = own_addresses(4)[0]
    if host == "127.0.0.1" or not multicast_passes(host):
        pytest.skip("no interface with multicast here, other than loopback")
    alone = tmp_path / "network"  # so that other nodes around here are left alone
    alone.write_bytes(encode(NetworkParameters(f"test {SystemEntropy().draw(8).hex()}")))
    words = ("--listen", "/ip4/0.0.0.0/tcp/0", "--network", str(alone))
    with (
        running(tmp_path / "alice", *words) as alice,
        running(tmp_path / "bob", *words) as bob,
        running(tmp_path / "carol", *words, "--no-mdns") as carol,
    ):
        names = {node.data["peer_id"]: node for node in (alice, bob)}
        for node in (alice, bob):
            wait_until(lambda node=node: node.call("peer", "list")["connected"] == 1)
            (row,) = [row for row in node.call("peer", "list")["peers"] if row["connected"]]
            assert row["peer_id"] in names
        ways = {
            row["found"]
            for node in (alice, bob)
            for row in node.call("peer", "list")["peers"]
            if row["connected"]
        }
        assert "lan" in ways
        assert carol.call("peer", "list")["peers"] == []


# Signed records


async def listed(node, holds):
    """The first peer of `node`, once `holds` is true of it; each look is a turn of the node."""
    while True:
        rows = await node.call("peers.list")
        if rows and holds(rows[0]):
            return rows[0]


def test_another_address_is_signed_pushed_and_believed():
    async def test():
        async with pair() as (alice, bob):
            await alice.connect(bob)
            for port in (4001, 4002):
                moved = f"/ip4/127.0.0.1/tcp/{port}"
                await bob.call("peers.listening", (moved,))
                await listed(alice, lambda row, moved=moved: moved in row.addresses)
            (row,) = await alice.call("peers.list")
            assert row.addresses == (str(bob.network.listening[0]), moved)
            assert row.points == 0

    run(test)


class Stranger:
    """A libp2p program that says of itself what `describe` says."""

    def __init__(self, describe) -> None:
        self.key = NodeKey.generate(SystemEntropy())
        self.transport = Transport(
            key=self.key,
            handler=self,
            protocols=lambda _: False,
            identify=describe,
            entropy=SystemEntropy(),
            clock=SystemClock(),
        )

    def on_secured(self, link): ...

    def on_event(self, link, event): ...

    def on_closed(self, link, code, reason): ...

    async def dial(self, node):
        await self.transport.dial([Multiaddr.parse(node.address)], node.peer, 5 * SECOND_US)
        return self


def test_somebody_elses_record_costs_its_sender():
    async def test():
        async with Small("alice").running() as alice:
            other = seal_record(NodeKey.generate(SystemEntropy()), 9, [])
            stranger = Stranger(lambda: IdentifyInfo(signed_record=other))
            await stranger.dial(alice)
            row = await listed(alice, lambda row: row.points)
            assert row.points == CONDUCT["record_forged"][0]
            await stranger.transport.close()

    run(test)


# Peers of peers


def test_who_joins_one_node_meets_the_public_others_and_no_private_one():
    async def test():
        async with AsyncExitStack() as stack:
            names = {"hub": True, "one": True, "two": True, "private": False}
            nodes = {}
            for name, public in names.items():
                node = await stack.enter_async_context(Small(name, public=public).running())
                await node.call("peers.listening", (str(node.network.listening[0]),))
                nodes[name] = node
            hub, private = nodes["hub"], nodes["private"]
            await private.connect(hub)
            await nodes["one"].connect(hub)
            late = await stack.enter_async_context(Small("late", public=True).running())
            await nodes["two"].connect(hub)
            while not all(row.addresses for row in await rows(hub)):
                pass  # each look is a turn of the node; then all have described themselves
            await late.connect(hub)
            while not {nodes["one"].peer, nodes["two"].peer} <= connected(await rows(late)):
                await late.notice("peer.up")
            found = {row.peer: row.found for row in await rows(late)}
            assert found[nodes["one"].peer] in ("exchange", "inbound")
            assert private.peer not in found
            assert connected(await rows(private)) == {hub.peer}

    run(test)


async def rows(node):
    return await node.call("peers.list")


def connected(listed_rows):
    return {row.peer for row in listed_rows if row.connected}


def test_who_only_asks_in_a_protocol_neither_names_nor_answers_it():
    async def test():
        async with Small("alice", public=True).running() as alice:
            assert alice.network.speaks(PUBLIC_PROTOCOL)
            assert PUBLIC_PROTOCOL in alice.network.describe().protocols
        shy = Small("shy", public=True, only_asked=(PUBLIC_PROTOCOL,))
        async with shy.running():
            assert not shy.network.speaks(PUBLIC_PROTOCOL)
            assert PUBLIC_PROTOCOL not in shy.network.describe().protocols
            assert exchange.PROTOCOL in shy.network.describe().protocols

    run(test)


# Room


def test_a_crowd_of_strangers_does_not_lock_a_contact_out(monkeypatch):
    monkeypatch.setattr(door, "INBOUND_UNNEEDED_MAX", 4)

    async def test():
        async with AsyncExitStack() as stack:
            alice = await stack.enter_async_context(Small("alice").running())
            bob = await stack.enter_async_context(Small("bob").running())
            crowd = []
            for _ in range(12):
                stranger = Stranger(IdentifyInfo)
                stack.push_async_callback(stranger.transport.close)
                crowd.append(await stranger.dial(alice))
            rows = await alice.call("peers.list")
            assert sum(row.connected for row in rows) == 4
            await alice.call("peers.contact_add", bob.card)
            await alice.call("peers.disconnect", bob.peer)  # it is to come by itself
            await bob.connect(alice)
            rows = await alice.call("peers.list")
            assert [row.found for row in rows if row.peer == bob.peer] == ["contact"]
            assert sum(row.connected for row in rows) == 5

    run(test)


# Sleep


class Sleeper:
    """The system's clock; a sleep is a jump of its wall time."""

    slept_us = 0

    def now(self) -> Now:
        now = SystemClock().now()
        return Now(now.mono_us, now.wall_us + type(self).slept_us)


class Quiet:
    """A log."""

    def info(self, event: str, **values: object) -> None: ...

    def error(self, event: str, **values: object) -> None:
        raise AssertionError(f"{event} {values}")


async def told(events, topic: str) -> StoredEvent:
    async for event in events:
        if event.topic == topic:
            return event
    raise AssertionError(topic)


def test_after_a_sleep_dead_connections_are_found_and_replaced(tmp_path: Path, monkeypatch):
    """The other node is stopped, as if it were gone: it says nothing, and nothing says so."""
    monkeypatch.setattr("dms3.node.node.SystemClock", Sleeper)
    monkeypatch.setattr(Sleeper, "slept_us", 0)
    home = Home(tmp_path / "home")
    home.create()

    async def scenario(node: Node, process, peer: PeerId) -> None:
        with node.loop.subscribe() as events:
            while not any(row.connected for row in await node.call("peers.list")):
                await told(events, "peer.up")
            process.send_signal(signal.SIGSTOP)
            before = node.clock.now().mono_us
            Sleeper.slept_us = 8 * 3600 * SECOND_US
            gone = await told(events, "peer.down")
            assert gone.data["peer"] == peer_id_text(peer)
            assert gone.data["reason"] == "it does not answer any more"
            took_us = node.clock.now().mono_us - before
            process.send_signal(signal.SIGCONT)
            up = await told(events, "peer.up")
            assert up.data["peer"] == peer_id_text(peer)
            print(f"noticed {took_us / SECOND_US:.1f} s after waking")

    async def test(bob) -> None:
        settings = Settings("alice", ("/ip4/127.0.0.1/tcp/0",), (bob.data["address"],), MAIN)
        peer = Multiaddr.parse(bob.data["address"]).peer
        async with open_node(home, bytes(32), settings, Quiet(), Metrics()) as node:
            await scenario(node, bob.process, peer)

    with running(tmp_path / "bob") as bob:
        run(partial(test, bob))
