"""Circuit Relay v2 with js-libp2p and go-libp2p: they use our hop, and we use theirs."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from dms3.core.errors import Dms3Error
from dms3.libp2p.peer_id import parse_peer_id
from interop.ours import echo, our_node, pattern_digest, push
from interop.peer import PeerError, foreign

KIND = "js"
SMALL = 60_000  # js-libp2p passes 128 KiB each way on one circuit
pytestmark = pytest.mark.interop


def test_they_listen_and_dial_through_our_hop():
    async def scenario():
        async with AsyncExitStack() as stack:
            hop, ours = [await stack.enter_async_context(our_node()) for _ in range(2)]
            hop.transport.circuits.hop.books.offered = True
            place = f"{hop.address}/p2p-circuit"
            theirs = await stack.enter_async_context(foreign(KIND, "noise", place))
            address = (await theirs.event("reserved"))["address"]
            assert address == f"{place}/p2p/{theirs.peer_id}"

            link = await ours.dial(address)
            assert link.hop == hop.key.peer_id
            figures = hop.transport.circuits.hop.books.figures
            assert figures.circuits == 1
            await echo(ours, link, SMALL)
            assert await push(ours, link, 2_000_000) == pattern_digest(2_000_000)
            assert (await ours.identity_of(link)).agent == "dms3-test/js-libp2p"

            other = await stack.enter_async_context(foreign(KIND))
            assert (await other.command("dial", address=address))["peer"] == theirs.peer_id
            said = await other.command("echo", peer=theirs.peer_id, bytes=SMALL)
            assert said["same"]
            assert (figures.circuits, figures.refused) == (2, {})

            nobody = f"{place}/p2p/{ours.peer_id}"  # is connected to the hop, and has no place
            with pytest.raises(PeerError, match="NO_RESERVATION"):
                await other.command("dial", address=nobody)
            assert figures.refused == {"no_reservation": 1}

    asyncio.run(scenario())


def test_we_are_dialled_through_their_hop():
    async def scenario():
        async with AsyncExitStack() as stack:
            behind, ours = [await stack.enter_async_context(our_node()) for _ in range(2)]
            hop = await stack.enter_async_context(foreign(KIND, "noise", "hop"))
            await behind.dial(hop.address)
            reserved = await behind.transport.circuits.reserve(parse_peer_id(hop.peer_id))
            assert reserved.left_us > 0
            address = f"{reserved.addresses[0]}/p2p/{behind.peer_id}"

            link = await ours.dial(address)
            assert link.hop == parse_peer_id(hop.peer_id)
            await echo(ours, link, SMALL)
            (back,) = [one for one in behind.secured if one.peer == ours.key.peer_id]
            assert (back.inbound, back.hop) == (True, link.hop)

            theirs = await stack.enter_async_context(foreign(KIND))
            assert (await theirs.command("dial", address=address))["peer"] == behind.peer_id
            said = await theirs.command("echo", peer=behind.peer_id, bytes=SMALL)
            assert said["same"]

            ours_again = f"{reserved.addresses[0]}/p2p/{theirs.peer_id}"
            with pytest.raises(Dms3Error, match="no reservation") as refused:
                await ours.dial(ours_again)
            assert refused.value.code == "peer_unreachable"

    asyncio.run(scenario())


def test_go_dials_through_our_hop():
    async def scenario():
        async with AsyncExitStack() as stack:
            hop, behind = [await stack.enter_async_context(our_node()) for _ in range(2)]
            hop.transport.circuits.hop.books.offered = True
            await behind.dial(hop.address)
            reserved = await behind.transport.circuits.reserve(hop.key.peer_id)
            theirs = await stack.enter_async_context(foreign("go"))
            address = f"{reserved.addresses[0]}/p2p/{behind.peer_id}"
            assert (await theirs.command("dial", address=address))["peer"] == behind.peer_id
            link = behind.transport.connection_to(parse_peer_id(theirs.peer_id))
            assert link is not None
            assert link.hop == hop.key.peer_id
            await echo(behind, link, SMALL)
            assert await push(behind, link, 2_000_000) == pattern_digest(2_000_000)

    asyncio.run(scenario())


def test_we_are_dialled_through_the_hop_of_go():
    async def scenario():
        async with AsyncExitStack() as stack:
            behind, ours = [await stack.enter_async_context(our_node()) for _ in range(2)]
            hop = await stack.enter_async_context(foreign("go", "noise", "hop"))
            await behind.dial(hop.address)
            reserved = await behind.transport.circuits.reserve(parse_peer_id(hop.peer_id))
            link = await ours.dial(f"{reserved.addresses[0]}/p2p/{behind.peer_id}")
            assert link.hop == parse_peer_id(hop.peer_id)
            await echo(ours, link, SMALL)

    asyncio.run(scenario())
