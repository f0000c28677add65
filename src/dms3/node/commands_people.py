"""Commands about people and their nodes: `id`, `unlock`, `contact`, `peer`.

Source: docs/interfaces.md, "Command line". Cheap to import: what they do is in `node/people.py`.
"""

from __future__ import annotations

from typing import Annotated

from dms3.node.services import NodeServices
from dms3.node.table import About, Result, Secret, command

Passphrase = Annotated[Secret, "the passphrase, read from a file or typed unseen"]


@command("id", "words", example="dms3 id words", needs_token=True)
async def id_words(node: NodeServices) -> Result:
    """The twelve words that are this person; whoever has them is this person too.

    Write them down on paper. They restore the person on another machine.
    """
    return Result(await node.people.words())


@command("id", "confirm", example="dms3 id confirm")
async def id_confirm(node: NodeServices) -> Result:
    """Say that the twelve words are written down; the page stops asking."""
    return Result(await node.people.words_written())


@command("id", "protect", example="dms3 id protect", needs_token=True)
async def id_protect(
    node: NodeServices,
    passphrase: Passphrase,
    current: Annotated[Secret | None, "the present passphrase, when there is one"] = None,
) -> Result:
    """Ask for a passphrase at every start; until it is given the node stays locked."""
    await node.protect(passphrase.text, None if current is None else current.text)
    return Result({"protected": True})


@command("unlock", example="dms3 unlock")
async def unlock(node: NodeServices, passphrase: Passphrase) -> Result:
    """Open a node that starts locked."""
    await node.unlock(passphrase.text)
    return Result(await node.identity())


@command("contact", "card", example="dms3 contact card")
async def contact_card(node: NodeServices) -> Result:
    """Your contact card: one line to give to the people you want to share with."""
    return Result(await node.people.card())


@command("contact", "add", example="dms3 contact add dms3:uzvq...")
async def contact_add(
    node: NodeServices, card: Annotated[str, About("the card, from dms3: on", metavar="CARD")]
) -> Result:
    """Add the person whose card this is; their node is kept connected."""
    return Result(await node.people.add(card))


@command("contact", "list", example="dms3 contact list")
async def contact_list(node: NodeServices) -> Result:
    """The people whose cards you have."""
    return Result(await node.people.contacts())


@command("contact", "remove", example="dms3 contact remove bob")
async def contact_remove(
    node: NodeServices, contact: Annotated[str, "name, or beginning of the root"]
) -> Result:
    """Forget a person and take back every grant given to them.

    Copies they already made may still exist.
    """
    return Result(await node.people.remove(contact))


@command("peer", "list", example="dms3 peer list")
async def peer_list(node: NodeServices) -> Result:
    """The nodes this one knows: connected or not, how far, how much was exchanged."""
    return Result(await node.people.peers())


@command("peer", "world", example="dms3 peer world")
async def peer_world(node: NodeServices) -> Result:
    """How much of the time the nodes it knows are there, as seen, as others say, and how sure.

    More nodes hold what lies near some that are seldom there. Who misbehaved has points.
    """
    return Result(await node.people.world())


@command("peer", "gossip", example="dms3 peer gossip")
async def peer_gossip(node: NodeServices) -> Result:
    """What was spread in the overlays of this node and heard from others, and what was dropped."""
    return Result(await node.people.gossip())


@command("peer", "connect", example="dms3 peer connect /ip4/192.0.2.1/tcp/7701")
async def peer_connect(
    node: NodeServices,
    address: Annotated[str, "a multiaddr, with or without /p2p/, or the id of a known peer"],
) -> Result:
    """Connect to a node now."""
    return Result(await node.people.connect(address))


@command("peer", "ping", example="dms3 peer ping bob")
async def peer_ping(
    node: NodeServices, peer: Annotated[str, "peer id, or the name of a contact"]
) -> Result:
    """The round-trip time to a connected node."""
    return Result(await node.people.ping(peer))


COMMANDS = (
    id_words,
    id_confirm,
    id_protect,
    unlock,
    contact_card,
    contact_add,
    contact_list,
    contact_remove,
    peer_list,
    peer_world,
    peer_gossip,
    peer_connect,
    peer_ping,
)
