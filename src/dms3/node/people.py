"""The person, their contacts and other nodes: what the `id`, `contact` and `peer` commands do.

Source: docs/interfaces.md. Asks the peer book and the identity, and shapes answers for programs and
people; decides nothing itself. Implements `PeopleServices` of node/services_people.py.
"""

from __future__ import annotations

from typing import Any

from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.gossip import GossipFigures
from dms3.core.ids import PeerId, Root
from dms3.core.limits import ADDRESSES_PER_PEER_MAX, CARD_LIFE_US
from dms3.core.overlay import location
from dms3.libp2p.peer_id import ED25519, parse_peer_id, peer_id_text, public_key_in
from dms3.node.node import Node
from dms3.p2p.card import card_text, issue_card
from dms3.p2p.contacts import Contact
from dms3.p2p.known import PeerRow
from dms3.p2p.port import Thought
from dms3.search.operations import Unshare

US_PER_MS = 1_000
_COUNTED = ("spread", "delivered", "refused", "received", "duplicates", "asked", "told")


class People:
    """The services over a running `node`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def show(self) -> dict[str, Any]:
        """Root, peer id, account address, name; agents of apps are added by whoever knows apps."""
        identity = self._node.identity
        return {
            "root": identity.root.hex(),
            "peer_id": peer_id_text(identity.peer),
            "account": identity.tree.account().address,
            "name": identity.name,
            "agents": [],
        }

    async def words(self) -> dict[str, Any]:
        """The twelve words, in order."""
        return {"words": self._node.identity.words}

    async def words_written(self) -> dict[str, Any]:
        """That the words are written down is kept; nobody is reminded any more."""
        await self._node.call("noting.words_written")
        return {"words_written": True}

    async def card(self) -> dict[str, Any]:
        """This node's card, valid for `CARD_LIFE_US`, with where it listens now."""
        identity = self._node.identity
        now = self._node.clock.now()
        listening = self._node.reachable[:ADDRESSES_PER_PEER_MAX]
        card = issue_card(
            identity.tree.root(),
            name=identity.name,
            peer=identity.peer,
            addresses=listening,
            certificate=encode(identity.certify(now.wall_us)),
            since_us=now.wall_us,
            until_us=now.wall_us + CARD_LIFE_US,
        )
        return {
            "card": card_text(card),
            "name": card.name,
            "root": card.root.hex(),
            "peer_id": peer_id_text(identity.peer),
            "addresses": list(card.addresses),
            "until_us": card.until_us,
        }

    async def add(self, card: str) -> dict[str, Any]:
        """The contact; raises `card_invalid`, `card_expired`, `limit_reached`."""
        added = _contact(await self._node.call("peers.contact_add", card))
        await self._node.call("mailbox.met")  # messages that waited for a card go now
        return added

    async def contacts(self) -> dict[str, Any]:
        """All contacts, by name."""
        found = await self._node.call("peers.contact_list")
        return {"contacts": [_contact(contact) for contact in found]}

    async def remove(self, name: str) -> dict[str, Any]:
        """The contact that was removed, and how many grants of theirs were taken back.

        Raises `not_found`. The grants go first: nobody without a name here goes on reading.
        """
        who: Contact = await self._node.call("peers.contact_find", name)
        done = await self._node.call("sharing.unshare", Unshare(None, Root(who.root)))
        gone = await self._node.call("peers.contact_remove", who.root.hex())
        return _contact(gone) | {"withdrawn": done.count}

    async def peers(self) -> dict[str, Any]:
        """Every known node, with the traffic of those that are connected."""
        figures = {one.peer: one for one in self._node.network.figures()}
        rows: tuple[PeerRow, ...] = await self._node.call("peers.list")
        peers = []
        for row in rows:
            data = _peer(row)
            if row.peer in figures:
                one = figures[row.peer]
                data |= {
                    "bytes_in": one.bytes_in,
                    "bytes_out": one.bytes_out,
                    "asked": one.asked,
                    "answered": one.answered,
                    "direct": one.direct,
                    "since_us": one.since_us,
                }
            peers.append(data)
        return {"peers": peers, "connected": sum(row.connected for row in rows)}

    async def world(self) -> dict[str, Any]:
        """What this node thinks of every node it knows, the connected ones first."""
        thoughts: tuple[Thought, ...] = await self._node.call("peers.world")
        return {"peers": [_thought(each) for each in thoughts]}

    async def gossip(self) -> dict[str, Any]:
        """What was spread and heard since the start, and the partners in each overlay."""
        figures: GossipFigures = await self._node.call("gossip.figures")
        overlays = [
            {
                "overlay": each.overlay.hex(),
                "nodes": each.nodes,
                "partners": each.links,
                "bodies": each.kept,
                "bytes": each.kept_bytes,
            }
            for each in figures.overlays
        ]
        counts = {name: getattr(figures, name) for name in _COUNTED}
        return counts | {"dropped": dict(figures.dropped), "overlays": overlays}

    async def connect(self, address: str) -> dict[str, Any]:
        """The connection; raises `peer_unreachable`, `network_mismatch`, `timed_out`."""
        dialed = await self._node.call("peers.connect", address)
        return {"peer_id": peer_id_text(dialed.peer), "address": dialed.address}

    async def ping(self, peer: str) -> dict[str, Any]:
        """The round trip; raises `peer_unreachable` when it is not connected."""
        wanted = await self._peer_of(peer)
        rtt_us = await self._node.call("peers.ping", wanted)
        return {"peer_id": peer_id_text(wanted), "milliseconds": rtt_us / US_PER_MS}

    async def _peer_of(self, text: str) -> PeerId:
        """A peer id as typed, or the node of the contact of that name."""
        try:
            return parse_peer_id(text)
        except DecodeError:
            try:
                contact: Contact = await self._node.call("peers.contact_find", text)
            except Dms3Error as error:
                raise Dms3Error(
                    error.code,
                    f"{text[:64]!r} is neither a peer id nor a contact.",
                    hint="See dms3 peer list and dms3 contact list.",
                ) from error
            return PeerId(contact.peer)


def location_text(peer: PeerId) -> str | None:
    """Where the node lies among all nodes, in hex; None for a key that dms3 nodes do not have."""
    key = public_key_in(peer)
    return location(key.data).hex() if key is not None and key.kind == ED25519 else None


def _contact(contact: Contact) -> dict[str, Any]:
    return {
        "name": contact.name,
        "root": contact.root.hex(),
        "peer_id": peer_id_text(PeerId(contact.peer)),
        "addresses": list(contact.addresses),
        "added_us": contact.added_us,
    }


def _thought(one: Thought) -> dict[str, Any]:
    return {
        "peer_id": peer_id_text(one.peer),
        "name": one.name,
        "connected": one.connected,
        "uptime": one.uptime,
        "own": _metric(one.own),
        "heard": None if one.heard is None else _metric(one.heard),
        "reporters": one.reporters,
        "looked_us": one.looked_us,
        "away": one.away,
        "points": one.points,
        "refused_until_us": one.refused_until_us,
    }


def _metric(pair: tuple[float, float]) -> dict[str, float]:
    value, confidence = pair
    return {"value": value, "confidence": confidence}


def _peer(row: PeerRow) -> dict[str, Any]:
    return {
        "peer_id": peer_id_text(row.peer),
        "location": location_text(row.peer),
        "name": row.name,
        "root": None if row.root is None else row.root.hex(),
        "connected": row.connected,
        "inbound": row.inbound,
        "found": row.found,
        "address": row.address,
        "addresses": list(row.addresses),
        "seen_us": row.seen_us,
        "points": row.points,
        "milliseconds": None if row.rtt_us is None else row.rtt_us / US_PER_MS,
        "problem": None if row.problem is None else row.problem.message,
    }
