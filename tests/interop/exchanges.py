"""What every foreign libp2p must be able to do with us, in both directions.

test_js_libp2p.py, test_py_libp2p.py and test_go_libp2p.py run these with their kind of peer.
"""

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId
from dms3.io.clock import SystemEntropy
from dms3.io.transport import Secured
from dms3.libp2p.peer_id import NodeKey, peer_id_text
from dms3.libp2p.peer_record import open_record
from interop import ours
from interop.ours import BULK, ECHO, OurNode, our_node, pattern_digest
from interop.peer import ForeignPeer, PeerError, foreign

BULK_BYTES = 50_000_000
LOOKS_MAX = 1_000  # at what the peer says, each a round trip


# They dial us. Each takes our node and the peer, which is connected.


async def they_identify(node: OurNode, peer: ForeignPeer) -> None:
    found = await peer.command("identify", peer=node.peer_id)
    assert found["agent"] == ours.AGENT
    assert {ECHO, BULK} <= set(found["protocols"])
    assert str(node.addresses[0]) in found["addresses"]


async def they_believe_our_record(node: OurNode, peer: ForeignPeer) -> None:
    """The signed record is verified by them; after a push they hold the newer one."""
    await they_hold(node, peer, "1")
    node.sequence = 2
    for link in node.transport.connections():
        link.push_identify()
    await they_hold(node, peer, "2")


async def they_hold(node: OurNode, peer: ForeignPeer, sequence: str) -> None:
    """Some ask us anew, others look at what they have."""
    for _ in range(LOOKS_MAX):
        found = await peer.command("identify", peer=node.peer_id)
        if found["sequence"] == sequence:
            return
    raise AssertionError(f"they hold record {found['sequence']!r}, not {sequence!r}")


async def they_ping(node: OurNode, peer: ForeignPeer) -> None:
    found = await peer.command("ping", peer=node.peer_id)
    assert 0 <= found["milliseconds"] < 5000


async def they_echo(node: OurNode, peer: ForeignPeer) -> None:
    found = await peer.command("echo", peer=node.peer_id, bytes=1024)
    assert found["same"]
    assert found["bytes"] == 1024


async def they_echo_many(node: OurNode, peer: ForeignPeer) -> None:
    """Streams are really gone after use: far more than may be open at once."""
    await peer.command("echoes", peer=node.peer_id, bytes=1024, count=500)


async def they_push(node: OurNode, peer: ForeignPeer) -> None:
    found = await peer.command("push", peer=node.peer_id, bytes=BULK_BYTES)
    assert found.items() >= pattern_digest(BULK_BYTES).items()


async def they_pull(node: OurNode, peer: ForeignPeer) -> None:
    found = await peer.command("pull", peer=node.peer_id, bytes=BULK_BYTES)
    assert found.items() >= pattern_digest(BULK_BYTES).items()


THEY = (
    they_identify,
    they_believe_our_record,
    they_ping,
    they_echo,
    they_echo_many,
    they_push,
    they_pull,
)


async def with_inbound(kind: str, exchange) -> None:
    """Runs `exchange` on a connection that the foreign peer dialled."""
    async with our_node() as node, foreign(kind) as peer:
        found = await peer.command("dial", address=node.address)
        assert found["peer"] == node.peer_id
        await exchange(node, peer)
        (link,) = node.transport.connections()
        assert link.inbound
        assert peer_id_text(link.peer) == peer.peer_id


# We dial them. Each takes our node and the connection.


async def we_identify(node: OurNode, link: Secured) -> None:
    found = await node.identity_of(link, {ECHO, BULK})
    assert "libp2p" in found.agent
    assert found.observed is not None


async def we_believe_their_record(node: OurNode, link: Secured) -> None:
    found = await node.identity_of(link)
    record = open_record(found.signed_record)
    assert record.peer == link.peer
    assert record.sequence > 0
    places = {address.without_peer() for address in record.addresses}
    assert places & {address.without_peer() for address in found.addresses}


async def we_ping(node: OurNode, link: Secured) -> None:
    stream = node.open(link, "/ipfs/ping/1.0.0")
    sent = bytes(range(32))
    await stream.write(sent)
    back = b""
    while len(back) < 32:
        back += await stream.read()
    assert back == sent
    stream.finish()


async def we_echo(node: OurNode, link: Secured) -> None:
    await ours.echo(node, link, 1024)


async def we_echo_many(node: OurNode, link: Secured) -> None:
    for _ in range(500):
        await ours.echo(node, link, 1024)


async def we_push(node: OurNode, link: Secured) -> None:
    assert await ours.push(node, link, BULK_BYTES) == pattern_digest(BULK_BYTES)


async def we_pull(node: OurNode, link: Secured) -> None:
    assert await ours.pull(node, link, BULK_BYTES) == pattern_digest(BULK_BYTES)


WE = (we_identify, we_believe_their_record, we_ping, we_echo, we_echo_many, we_push, we_pull)


async def with_outbound(kind: str, exchange) -> None:
    """Runs `exchange` on a connection that we dialled."""
    async with our_node() as node, foreign(kind) as peer:
        link = await node.dial(peer.address)
        assert not link.inbound
        assert peer_id_text(link.peer) == peer.peer_id
        await exchange(node, link)


# What must not work.


async def plaintext_dial_is_refused(kind: str) -> None:
    """A peer that only speaks plaintext dials us: nothing is secured, the next one is served."""
    async with our_node() as node:
        async with foreign(kind, "plaintext") as peer:
            with pytest.raises(PeerError):
                await peer.command("dial", address=node.address)
        assert node.secured == []
        async with foreign(kind) as peer:
            await peer.command("dial", address=node.address)
            await they_echo(node, peer)


async def plaintext_listener_is_refused(kind: str) -> None:
    """We dial a peer that only speaks plaintext."""
    async with our_node() as node, foreign(kind, "plaintext") as peer:
        await refused(node, peer, None)


async def wrong_identity_is_refused(kind: str) -> None:
    """We dial an address and expect somebody else there."""
    async with our_node() as node, foreign(kind) as peer:
        stranger = NodeKey.generate(SystemEntropy()).peer_id
        await refused(node, peer, stranger)


async def refused(node: OurNode, peer: ForeignPeer, expected: PeerId | None) -> None:
    address = peer.address.split("/p2p/")[0]
    with pytest.raises(Dms3Error) as caught:
        await node.dial(address, expected)
    assert caught.value.code in {"protocol_unsupported", "peer_misbehaved", "peer_unreachable"}
    print(caught.value.code, caught.value.message)
    assert node.secured == []


REFUSALS = (plaintext_dial_is_refused, plaintext_listener_is_refused, wrong_identity_is_refused)
