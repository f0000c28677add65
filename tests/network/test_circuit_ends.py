"""Transports joined by a hop in one process: limits, refusals, liars, and the direct way first."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import CIRCUITS_OF_ONE_MAX, KIB
from dms3.io import transport_hop
from dms3.io.transport import Secured
from dms3.libp2p.circuit import (
    HOP_PROTOCOL,
    STOP_PROTOCOL,
    Hop,
    HopMessage,
    Status,
    Stop,
    StopMessage,
    decode_hop,
    decode_stop,
    encode_hop,
    encode_stop,
    frame,
)
from dms3.libp2p.multiaddr import Multiaddr
from dms3.p2p import circuits_hop
from interop.ours import OurNode, StreamLostError, echo, our_node, pattern_digest, pull, push

TIMEOUT_SECONDS = 30


def run(scenario) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(TIMEOUT_SECONDS), AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(our_node()) for _ in range(3)]
            await scenario(*nodes)

    asyncio.run(bounded())


async def behind(bob: OurNode, hop: OurNode) -> str:
    """Bob gets a place at the hop; his address there."""
    hop.transport.circuits.hop.books.offered = True
    await bob.dial(hop.address)
    reserved = await bob.transport.circuits.reserve(hop.key.peer_id)
    return f"{reserved.addresses[0]}/p2p/{bob.peer_id}"


def books(hop: OurNode):
    return hop.transport.circuits.hop.books


async def until(holds) -> None:
    """Turns of the loop, until what the other ends do has come about."""
    while not holds():  # noqa: ASYNC110  # nothing tells of what is inside
        await asyncio.sleep(0)


def test_large_transfers_go_both_ways_and_leave_nothing_behind():
    async def scenario(alice, hop, bob):
        link = await alice.dial(await behind(bob, hop))
        assert link.hop == hop.key.peer_id
        assert await push(alice, link, 700_000) == pattern_digest(700_000)
        assert await pull(alice, link, 700_000) == pattern_digest(700_000)
        back = bob.transport.connection_to(alice.key.peer_id)
        assert back.inbound
        await echo(bob, back, 10_000)
        assert alice.transport.circuits.is_busy(hop.key.peer_id)
        link.close("done")
        await until(lambda: not books(hop).circuits)
        await until(lambda: bob.transport.connection_to(alice.key.peer_id) is None)
        assert books(hop).figures.ended == {"closed": 1}
        assert not alice.transport.circuits.is_busy(hop.key.peer_id)
        for node, links in ((alice, 1), (hop, 2), (bob, 1)):
            assert len(node.transport.connections()) == links

    run(scenario)


@pytest.mark.parametrize(
    ("module", "name", "value", "why"),
    [
        (circuits_hop, "CIRCUIT_BYTES_MAX", 300 * KIB, "bytes"),
        (transport_hop.limits, "CIRCUIT_US_MAX", 1, "time"),
    ],
    ids=["bytes", "time"],
)
def test_a_circuit_that_costs_too_much_is_cut_and_dialled_anew(
    monkeypatch, module, name, value, why
):
    monkeypatch.setattr(module, name, value)

    async def scenario(alice, hop, bob):
        address = await behind(bob, hop)
        with pytest.raises((Dms3Error, StreamLostError)):
            await push(alice, await alice.dial(address), 2_000_000)
        await until(lambda: not books(hop).circuits)
        assert books(hop).figures.ended == {why: 1}
        monkeypatch.undo()
        again = await alice.dial(address)
        assert await push(alice, again, 700_000) == pattern_digest(700_000)

    run(scenario)


async def asked(node: OurNode, link: Secured, protocol: str, message: bytes) -> bytes:
    """The one message that `link` answers."""
    stream = node.open(link, protocol)
    await stream.write(message)
    found = b""
    while not found or len(found) <= found[0]:
        found += await stream.read()
    stream.finish()
    return found[1:]


@pytest.mark.parametrize(
    ("question", "status"),
    [
        (encode_hop(HopMessage(Hop.STATUS, status=100)), Status.UNEXPECTED_MESSAGE),
        (encode_hop(HopMessage(Hop.CONNECT)), Status.UNEXPECTED_MESSAGE),
        (b"\xff", Status.MALFORMED_MESSAGE),
    ],
    ids=["an answer", "nobody named", "no message"],
)
def test_a_hop_says_what_is_wrong_with_a_question(question, status):
    async def scenario(alice, hop, bob):
        await behind(bob, hop)
        link = await alice.dial(hop.address)
        answer = decode_hop(await asked(alice, link, HOP_PROTOCOL, frame(question)))
        assert (answer.kind, answer.status) == (Hop.STATUS, status)
        assert books(hop).figures.refused == {status.name.lower(): 1}

    run(scenario)


def test_places_and_circuits_are_for_who_is_connected_directly():
    async def scenario(alice, hop, bob):
        link = await alice.dial(await behind(bob, hop))
        books(bob).offered = True
        for message in (HopMessage(Hop.RESERVE), HopMessage(Hop.CONNECT, hop.key.peer_id)):
            question = frame(encode_hop(message))
            answer = decode_hop(await asked(alice, link, HOP_PROTOCOL, question))
            assert answer.status == Status.PERMISSION_DENIED
        with pytest.raises(Dms3Error, match="not connected directly"):
            await alice.transport.circuits.reserve(bob.key.peer_id)

    run(scenario)


def test_a_hop_that_stops_being_one_gives_neither_place_nor_circuit():
    async def scenario(alice, hop, bob):
        address = await behind(bob, hop)
        books(hop).offered = False
        link = await alice.dial(hop.address)
        with pytest.raises(Dms3Error, match="is no hop") as refused:
            await alice.transport.circuits.reserve(link.peer)
        assert refused.value.code == "peer_unreachable"
        with pytest.raises(Dms3Error, match="is no hop"):
            await alice.dial(address)

    run(scenario)


def test_a_circuit_through_a_hop_that_was_not_asked_is_refused():
    async def scenario(alice, hop, bob):
        link = await alice.dial(bob.address)
        question = frame(encode_stop(StopMessage(Stop.CONNECT, hop.key.peer_id)))
        answer = decode_stop(await asked(alice, link, STOP_PROTOCOL, question))
        assert (answer.kind, answer.status) == (Stop.STATUS, Status.PERMISSION_DENIED)
        assert bob.transport.connection_to(hop.key.peer_id) is None

    run(scenario)


def test_a_hop_that_lies_about_who_comes_gets_nobody_in(monkeypatch):
    stop = StopMessage

    async def scenario(alice, hop, bob):
        address = await behind(bob, hop)
        mallory = hop.key.peer_id  # says that it is the hop itself who comes
        monkeypatch.setattr(
            transport_hop, "StopMessage", lambda kind, _, limit: stop(kind, mallory, limit)
        )
        with pytest.raises((Dms3Error, StreamLostError)):
            await echo(alice, await alice.dial(address), 10)
        assert bob.transport.connection_to(alice.key.peer_id) is None

    run(scenario)


def test_the_direct_way_is_taken_and_replaces_a_circuit():
    async def scenario(alice, hop, bob):
        address = await behind(bob, hop)
        both = [Multiaddr.parse(address), Multiaddr.parse(bob.address)]
        link = await alice.transport.dial(both, bob.key.peer_id, 5_000_000)
        assert link.hop is None
        link.close("again")
        await until(lambda: bob.transport.connection_to(alice.key.peer_id) is None)
        circuit = await alice.dial(address)
        assert circuit.hop is not None
        del bob.transport._links[alice.key.peer_id]  # else it would not dial
        direct = await bob.dial(alice.address)
        assert direct.hop is None
        await until(lambda: alice.transport.connection_to(bob.key.peer_id).hop is None)
        assert bob.transport.connection_to(alice.key.peer_id) is direct
        await until(lambda: not books(hop).circuits)

    run(scenario)


def test_a_circuit_is_straightened_and_stays_when_that_fails():
    async def scenario(alice, hop, bob):
        address = await behind(bob, hop)
        circuit = await alice.dial(address)
        nowhere = [Multiaddr.parse("/ip4/127.0.0.1/tcp/1"), Multiaddr.parse(address)]
        with pytest.raises(Dms3Error) as failed:
            await alice.transport.straighten(nowhere, bob.key.peer_id, 5_000_000)
        assert failed.value.code == "peer_unreachable"
        assert alice.transport.connection_to(bob.key.peer_id) is circuit
        await echo(alice, circuit, 10)
        there = [Multiaddr.parse(bob.address)]
        direct = await alice.transport.straighten(there, bob.key.peer_id, 5_000_000)
        assert (direct.hop, alice.transport.connection_to(bob.key.peer_id)) == (None, direct)
        await echo(alice, direct, 10)
        await until(lambda: not books(hop).circuits)

    run(scenario)


def test_a_circuit_never_replaces_a_direct_connection_that_is_as_young():
    async def scenario(alice, hop, bob):
        address = await behind(bob, hop)
        direct = await alice.dial(bob.address)
        del alice.transport._links[bob.key.peer_id]  # as if it had not been there when it dialled
        second = asyncio.get_running_loop().create_future()
        alice.transport._waiting.setdefault(bob.key.peer_id, []).append(second)
        hop_link = await alice.dial(hop.address)
        remote = Multiaddr.parse(address).without_peer()
        alice.transport._links[bob.key.peer_id] = direct
        wire = await alice.transport.circuits.connect(hop_link, remote, bob.key.peer_id)
        assert await wire.ready is direct
        await echo(alice, direct, 10)

    run(scenario)


def test_when_the_hop_goes_its_circuits_do():
    async def scenario(alice, hop, bob):
        address = await behind(bob, hop)
        link = await alice.dial(address)
        await hop.transport.close()
        await until(lambda: alice.transport.connection_to(bob.key.peer_id) is None)
        await until(lambda: bob.transport.connection_to(alice.key.peer_id) is None)
        assert link.peer == bob.key.peer_id
        assert not bob.transport.circuits.is_busy(hop.key.peer_id)
        with pytest.raises(Dms3Error):
            await alice.dial(address)

    run(scenario)


def test_one_node_has_a_bounded_number_of_circuits():
    async def scenario(alice, hop, bob):
        address = await behind(bob, hop)
        for _ in range(CIRCUITS_OF_ONE_MAX):
            books(hop).connect(hop.key.peer_id, bob.key.peer_id, hop.transport.now_us())
        with pytest.raises(Dms3Error, match="resource limit exceeded") as refused:
            await alice.dial(address)
        assert refused.value.code == "limit_reached"

    run(scenario)
