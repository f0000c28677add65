"""The mDNS adapter and what watches the addresses of this machine, without a network."""

import asyncio
import types

import pytest

from dms3.core.limits import INTERFACES_MAX, MDNS_ANSWERS_BURST_MAX, MDNS_NAMES_MAX
from dms3.core.machine import Now
from dms3.io.clock import SystemEntropy
from dms3.io.discovery import Lan
from dms3.libp2p.mdns import SERVICE, Heard, encode_txt
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey
from dms3.node import interfaces
from dms3.node.reachable import Reachable, announced, local_addresses
from dms3.p2p.port import Found

ADDRESS = Multiaddr.parse("/ip4/192.0.2.7/tcp/4001")


def peer(number):
    return NodeKey(number.to_bytes(32, "big")).peer_id


class Still:
    """A clock that stands."""

    def now(self) -> Now:
        return Now(0, 0)


class Ear:
    """An adapter that is given packets by hand."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.names: list[str] = []
        self.lan = Lan(
            peer=peer(0),
            heard=self.heard.append,
            failed=pytest.fail,
            entropy=SystemEntropy(),
            clock=Still(),
        )

    def packet(self, *records: object):
        cache = types.SimpleNamespace(names=lambda: self.names)
        updates = [types.SimpleNamespace(new=record) for record in records]
        self.lan._on_records(types.SimpleNamespace(cache=cache), updates)


def txt(number, *, name=f"name.{SERVICE}", ttl=120, text=None):
    body = encode_txt(peer(number), [ADDRESS]) if text is None else text
    return types.SimpleNamespace(key=name, ttl=ttl, text=body)


def test_only_txt_records_of_the_service_that_are_not_taken_back_count():
    ear = Ear()
    pointer = types.SimpleNamespace(key=SERVICE, ttl=120, alias="x")
    ear.packet(
        txt(1),
        txt(2, name="name._http._tcp.local."),
        txt(3, ttl=0),
        txt(4, text=b"\xff"),
        txt(0),
        pointer,
    )
    assert ear.heard == [Heard(peer(1), (ADDRESS,))]


def test_answers_without_end_are_not_looked_at():
    ear = Ear()
    ear.packet(*(txt(n) for n in range(1, MDNS_ANSWERS_BURST_MAX + 50)))
    assert len(ear.heard) == MDNS_ANSWERS_BURST_MAX


def test_beyond_the_bound_of_names_all_are_forgotten():
    ear = Ear()
    ear.names = ["x"] * MDNS_NAMES_MAX
    ear.packet(txt(1))
    assert not ear.lan._flooded
    ear.names = ["x"] * (MDNS_NAMES_MAX + 1)
    ear.packet(txt(2))
    assert ear.lan._flooded
    assert ear.heard == [Heard(peer(1), (ADDRESS,))]


# Where the node is


def test_loopback_is_told_only_when_there_is_nothing_else(monkeypatch):
    monkeypatch.setattr(interfaces, "own_addresses", lambda _: ["192.0.2.7", "127.0.0.1"])
    everywhere = Multiaddr.parse("/ip4/0.0.0.0/tcp/4001")
    here = Multiaddr.parse("/ip4/127.0.0.1/tcp/4001")
    assert announced([everywhere]) == (str(ADDRESS),)
    assert announced([here]) == (str(here),)
    assert announced([here, ADDRESS]) == (str(ADDRESS),)
    assert announced([]) == ()
    assert local_addresses([str(here)]) == []
    assert local_addresses([str(here), str(ADDRESS)]) == [ADDRESS]


def test_without_a_way_outward_the_interfaces_are_asked(monkeypatch):
    class Nowhere:
        def __init__(self, *_arguments: object) -> None:
            raise OSError

    adapter = types.SimpleNamespace(
        ips=[
            types.SimpleNamespace(ip=ip)
            for ip in ["127.0.0.1", "10.0.0.5", ("fe80::1", 0, 2), ("fd00::5", 0, 2)]
        ]
    )
    crowd = types.SimpleNamespace(
        ips=[types.SimpleNamespace(ip=f"10.0.1.{n}") for n in range(1, 20)]
    )
    monkeypatch.setattr(interfaces.socket, "socket", Nowhere)
    monkeypatch.setattr(interfaces.ifaddr, "get_adapters", lambda: [adapter])
    assert interfaces.own_addresses(4) == ["10.0.0.5", "127.0.0.1"]
    assert interfaces.own_addresses(6) == ["fd00::5", "::1"]
    monkeypatch.setattr(interfaces.ifaddr, "get_adapters", lambda: [adapter, crowd])
    assert len(interfaces.own_addresses(4)) == INTERFACES_MAX + 1


class Net:
    """A network that listens where it is told."""

    def __init__(self) -> None:
        self.listening = (ADDRESS,)
        self.circuits = ()
        self.woken = asyncio.Event()
        self.told = []

    def tell(self, operation, arguments):
        self.told.append((operation, arguments))


class Local:
    """A local network that notes what is announced."""

    def __init__(self) -> None:
        self.said: asyncio.Queue = asyncio.Queue()

    def announce(self, addresses):
        self.said.put_nowait(list(addresses))


def test_what_is_heard_is_passed_on_as_far_as_it_can_be_dialled():
    net = Net()
    reachable = Reachable(net, None, ())
    loopback = Multiaddr.parse("/ip4/127.0.0.1/tcp/1")
    reachable.heard(Heard(peer(1), (loopback, ADDRESS)))
    reachable.heard(Heard(peer(2), (loopback, Multiaddr.parse("/dns4/a.b/tcp/1"))))
    assert net.told == [("found", Found(peer(1), (str(ADDRESS),), "lan"))]


def test_a_change_is_told_to_the_machines_and_to_the_lan_and_a_wake_to_the_lan():
    async def test():
        net, local, calls = Net(), Local(), []

        async def call(operation, arguments):
            calls.append((operation, arguments))

        reachable = Reachable(net, call, ("peers.listening", "dht.listening"))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(reachable.watch(local))
            assert await local.said.get() == [ADDRESS]
            net.woken.set()
            assert await local.said.get() == [ADDRESS]
            other = Multiaddr.parse("/ip4/192.0.2.8/tcp/4001")
            net.listening = (other,)
            net.woken.set()
            assert await local.said.get() == [other]
            task.cancel()
        both = [("peers.listening", (str(ADDRESS),)), ("dht.listening", (str(ADDRESS),))]
        assert calls[:2] == both
        assert calls[2:] == [(operation, (str(other),)) for operation, _ in both]

    asyncio.run(asyncio.wait_for(test(), 10))
