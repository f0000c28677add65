"""Conversation storage at nodes of other people: the overlay, and lockers of a delivery service.

Five real nodes, two of them delivery services; those who write are nodes in this process, or
programs that are killed.
"""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from dms3.cli.dev import DevNetwork, DevNode
from dms3.core.errors import Dms3Error
from dms3.core.limits import CHUNK_LIFE_US, CHUNK_RENEW_US
from dms3.core.machine import Now
from dms3.core.overlay import PUBLIC, GetContent, Got
from dms3.crypto.signing import PUBLIC_BYTES
from dms3.dht.chunks import NAME as CHUNK
from dms3.io.clock import SystemClock
from dms3.libp2p.peer_id import parse_peer_id
from dms3.names.forms import key_name
from dms3.node.node import Node
from dms3.node.overlay_place import OverlayPlace
from dms3.node.placing import overlay_seed
from dms3.storage.operations import (
    DeleteObject,
    GetObject,
    ListObjects,
    Place,
    PutObject,
)
from network.nodes import network_of
from network.place_campaign import Job, Ledger, kills_of, look, write_and_kill
from network.place_node import member
from network.place_writer import name_of, settled

NODES = 5
KILLS, KILLS_LONG = 1, 100
HOLDER_EVERY = 4  # kills of a writer for each kill of a node that holds what was written
PATIENCE_SECONDS = 150
OVERLAY = Place("overlay")
SEED = "places of others"
LARGE = bytes(range(256)) * 1_000  # some parts


def run(tmp_path: Path, test) -> None:
    """Run `test(network)` beside five nodes."""

    async def main() -> None:
        async with asyncio.timeout(3_500), network_of(tmp_path / "network", NODES) as network:
            await test(network)

    asyncio.run(main())


async def failure(node: Node, operation: str, asked: object) -> Dms3Error:
    with pytest.raises(Dms3Error) as failed:
        await node.ports["place"](operation, asked)
    return failed.value


@pytest.mark.timeout(600)
def test_the_overlay_and_a_service_keep_what_they_are_given(tmp_path):
    async def test(network: DevNetwork) -> None:
        first = network.nodes["alice"]
        async with member(tmp_path / "one", (first.address,)) as one:
            await settled(one.ports["place"], OVERLAY)
            await overlay_keeps(one)
            async with member(tmp_path / "two", (first.address,), one.identity.words) as two:
                await settled(two.ports["place"], OVERLAY)
                await devices_share(one, two)
            await chunks_are_renewed(one)
            await a_stranger_finds_nothing(one, tmp_path / "stranger", first.address)
            await overlay_killed(network, one, tmp_path, KILLS)
            await service_keeps(network, one)
            await service_killed(network, one, tmp_path, KILLS)

    run(tmp_path, test)


async def overlay_keeps(one: Node) -> None:
    serve = one.ports["place"]
    names = [name_of(SEED, slot) for slot in range(4)]
    for name in names:
        await serve("put", PutObject(OVERLAY, name, name.encode()))
    for data in (LARGE, b"small again", b"", LARGE[::-1]):
        await serve("put", PutObject(OVERLAY, names[0], data))
        assert await serve("get", GetObject(OVERLAY, names[0])) == data
    assert await serve("get", GetObject(OVERLAY, names[1])) == names[1].encode()
    assert await serve("get", GetObject(OVERLAY, "0" * 64)) is None
    for _ in range(2):
        await serve("delete", DeleteObject(OVERLAY, names[0]))
    assert await serve("get", GetObject(OVERLAY, names[0])) is None
    error = await failure(one, "list", ListObjects(OVERLAY))
    assert error.code == "protocol_unsupported"


async def devices_share(one: Node, two: Node) -> None:
    """Two devices of a person write under the same names; the later write is what both read."""
    name = name_of(SEED, 1)
    for number in range(3):
        for writer, reader in ((one, two), (two, one)):
            data = f"{number} {writer.identity.peer.hex()}".encode()
            await writer.ports["place"]("put", PutObject(OVERLAY, name, data))
            assert await reader.ports["place"]("get", GetObject(OVERLAY, name)) == data
    await one.ports["place"]("delete", DeleteObject(OVERLAY, name))
    assert await two.ports["place"]("get", GetObject(OVERLAY, name)) is None
    await two.ports["place"]("put", PutObject(OVERLAY, name, b"back"))
    assert await one.ports["place"]("get", GetObject(OVERLAY, name)) == b"back"


class Later:
    """A clock that is ahead, of one back-end alone."""

    def __init__(self, by_us: int) -> None:
        self.by_us = by_us

    def now(self) -> Now:
        now = SystemClock().now()
        return replace(now, wall_us=now.wall_us + self.by_us)


async def chunks_are_renewed(one: Node) -> None:
    """What is due within half of its life is put again, once, whoever wrote it."""
    overlay = OverlayPlace(overlay_seed(one.identity), one.call, one.store, SystemClock())
    assert await overlay.renew() == 0
    name = name_of(SEED, 2)
    before = await held(overlay, name)
    soon = Later(CHUNK_LIFE_US - CHUNK_RENEW_US + 60_000_000)
    early = OverlayPlace(overlay_seed(one.identity), one.call, one.store, soon)
    rows = await asyncio.to_thread(early._due, soon.now().wall_us + CHUNK_RENEW_US)
    assert name in [row[1] for row in rows]
    horizon_us = soon.now().wall_us + CHUNK_RENEW_US
    await overlay._renew(name, horizon_us)
    after = await held(overlay, name)
    assert after.sequence > before.sequence
    assert after.until_us > before.until_us
    assert await overlay.get(name) == name.encode()


async def held(overlay: OverlayPlace, name: str):
    found, _ = await overlay._find(name)
    assert found.chunk is not None
    return found.chunk


async def a_stranger_finds_nothing(one: Node, folder: Path, join: str) -> None:
    """Another person asks for the same names and keys of their own, and is told nothing."""
    name = name_of(SEED, 2)
    async with member(folder, (join,)) as stranger:
        await settled(stranger.ports["place"], OVERLAY)
        serve = stranger.ports["place"]
        assert await serve("get", GetObject(OVERLAY, name)) is None
        await serve("put", PutObject(OVERLAY, name, b"mine"))
        assert await one.ports["place"]("get", GetObject(OVERLAY, name)) == name.encode()
        got: Got = await stranger.call("dht.get", GetContent(PUBLIC, CHUNK, bytes.fromhex(name)))
        assert got.values == ()


async def overlay_killed(network: DevNetwork, one: Node, tmp_path: Path, kills: int) -> None:
    """Writers are killed, and once in a while one of those who hold what they wrote."""
    home = tmp_path / "writer"
    ledgers = {}
    join = tuple(node.address for node in network.nodes.values())
    for number, acks in enumerate(kills_of(SEED, kills)):
        ledger = ledgers.setdefault(0, Ledger())
        job = Job(OVERLAY, home, f"{SEED} kill", join)
        await asyncio.to_thread(write_and_kill, job, ledger, acks)
        holder = list(network.nodes)[number // HOLDER_EVERY % NODES]
        killed = number % HOLDER_EVERY == 0
        if killed:
            network.kill(holder)
            await network.wait(holder)
        async with member(home, join) as writer:  # the same person: it finds its own names
            await settled(writer.ports["place"], OVERLAY)
            await look(writer.ports["place"], job, ledger, lambda: asyncio.sleep(0.2))
        if killed:
            await network.start_node(holder)
    print(f"overlay: {kills} kills, {ledgers[0].next - 1} writes begun")
    await settled(one.ports["place"], OVERLAY)


async def service_keeps(network: DevNetwork, one: Node) -> Place:
    """A locker: what is kept, and who does not get in."""
    place = await carried(network, one)
    serve = one.ports["place"]
    await serve("check", place)
    names = sorted(name_of(f"{SEED} service", slot) for slot in range(6))
    for name in names:
        await serve("put", PutObject(place, name, name.encode()))
    await serve("put", PutObject(place, names[0], LARGE))
    assert await serve("get", GetObject(place, names[0])) == LARGE
    assert await serve("list", ListObjects(place)) == tuple(names)
    assert await serve("list", ListObjects(place, names[2])) == tuple(names[3:])
    for _ in range(2):
        await serve("delete", DeleteObject(place, names[0]))
    assert await serve("get", GetObject(place, names[0])) is None
    wrong = {"name": key_name(one.identity.root), "seed": "ab" * 32}
    for secret in (wrong, wrong | {"name": key_name(bytes(32))}):
        error = await failure(
            one, "get", GetObject(replace(place, secret=json.dumps(secret)), names[1])
        )
        assert error.code == "unauthorized"
        assert "ab" * 32 not in str(error)
    return place


def service_of(network: DevNetwork) -> DevNode:
    """One of the delivery services."""
    return next(node for node in network.nodes.values() if "delivery" in node.roles)


async def carried(network: DevNetwork, one: Node) -> Place:
    """The locker of the person of `one` at a service that carries for them."""
    node = service_of(network)
    name = key_name(parse_peer_id(node.peer_id)[-PUBLIC_BYTES:])
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:  # the service finds the name as soon as its record is in the overlay
            try:
                await one.call("mailbox.carry", name)
            except Dms3Error:
                await asyncio.sleep(0.2)
            else:
                return Place("service", f"http://{node.public}/dm3")


async def service_killed(network: DevNetwork, one: Node, tmp_path: Path, kills: int) -> None:
    """Writers are killed, and so is the service; what it said to have is there."""
    place = await carried(network, one)
    seed = one.identity.tree.dm3(0).hex()
    secret = {"name": key_name(one.identity.root), "seed": seed}
    job = Job(replace(place, secret=json.dumps(secret)), tmp_path / "poster", f"{SEED} locker")
    ledger = Ledger()
    name = service_of(network).name
    for acks in kills_of(f"{SEED} service", kills):
        await asyncio.to_thread(write_and_kill, job, ledger, acks)
        network.kill(name)
        await network.wait(name)
        await network.start_node(name)
        await look(one.ports["place"], job, ledger, lambda: asyncio.sleep(0.2))
    print(f"service: {kills} kills, {ledger.next - 1} writes begun")


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_a_hundred_kills_of_those_who_write_to_the_overlay(tmp_path):
    async def test(network: DevNetwork) -> None:
        first = network.nodes["alice"]
        async with member(tmp_path / "one", (first.address,)) as one:
            await settled(one.ports["place"], OVERLAY)
            await overlay_killed(network, one, tmp_path, KILLS_LONG)

    run(tmp_path, test)


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_a_hundred_kills_of_those_who_write_to_a_service(tmp_path):
    async def test(network: DevNetwork) -> None:
        first = network.nodes["alice"]
        async with member(tmp_path / "one", (first.address,)) as one:
            await service_killed(network, one, tmp_path, KILLS_LONG)

    run(tmp_path, test)
