"""Io port "transport": what machines ask of connections: to dial, hang up, refuse, announce, wake.

Source: docs/architecture.md, "The machine" (Call); p2p/port.py has the arguments. Carries out what
was decided by the machines "peers" and "circuits"; what a connection carries is `node/network.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import PeerId
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import peer_id_text
from dms3.node.described import Described
from dms3.node.door import Door
from dms3.node.session import Session, Transport
from dms3.p2p.port import Announce, Dialed, DialRequest, HangUp, Keep, Refuse


class TransportPort:
    """The port. It decides nothing, and reads nothing that comes in.

    Arguments: `transport`; `sessions` by peer; the `door`; how this node is `described`.
    """

    def __init__(
        self,
        transport: Transport,
        sessions: Mapping[PeerId, Session],
        door: Door,
        described: Described,
    ) -> None:
        self._transport = transport
        self._sessions = sessions
        self._door = door
        self._described = described

    async def serve(self, operation: str, arguments: Any) -> Any:
        """Carry out dial(DialRequest) -> Dialed, and what has no answer.

        hang_up(HangUp), make_room(HangUp), release(HangUp), refuse(Refuse), keep(Keep),
        announce(Announce), wake(); and see `_circuit`. Raises as the transport's `dial` does, and
        `method_unknown`.
        """
        match operation, arguments:
            case "dial", DialRequest():
                return await self._dial(arguments)
            case "hang_up", HangUp(peer, reason):
                self._hang_up(peer, reason)
            case "make_room", HangUp(peer, reason):
                if not self._transport.circuits.is_busy(peer):
                    self._hang_up(peer, reason)
            case "release", HangUp(peer, reason):
                self._release(peer, reason)
            case "refuse", Refuse(peer, for_us):
                self._door.refuse(peer, for_us)
                self._hang_up(peer, f"peer {peer_id_text(peer)} is refused for a while")
            case "keep", Keep(peers):
                self._door.kept = frozenset(peers)
            case "announce", Announce():
                if self._described.announce(arguments):
                    self._push()
            case "wake", None:
                self._transport.wake()
                self._described.woken.set()
            case _:
                return await self._circuit(operation, arguments)
        return None

    async def _circuit(self, operation: str, arguments: Any) -> Any:
        """Carry out reserve(PeerId of a hop) -> Reserved, leave(PeerId), hop(whether to be one).

        circuits(addresses of circuits to this node, for all to know), and straighten(DialRequest)
        -> whether the circuit to the peer gave way to a direct connection.
        """
        circuits = self._transport.circuits
        match operation, arguments:
            case "reserve", bytes():
                return await circuits.reserve(PeerId(arguments))
            case "straighten", DialRequest(_, peer) if peer is not None:
                return await self._straighten(peer, arguments)
            case "leave", bytes():
                circuits.leave(PeerId(arguments))
            case "hop", bool():
                circuits.hop.books.offered = arguments
                self._push()
            case "circuits", tuple():
                self._described.at_circuits(arguments)
            case _:
                raise Dms3Error("method_unknown", f"The transport has no {operation!r}.")
        return None

    async def _dial(self, request: DialRequest) -> Dialed:
        addresses = _parsed(request.addresses)
        secured = await self._transport.dial(addresses, request.peer, request.timeout_us)
        return Dialed(secured.peer, str(secured.remote))

    async def _straighten(self, peer: PeerId, request: DialRequest) -> bool:
        """Whether the circuit to `peer` gave way to a direct connection.

        Not while a question is under way: it would have to be asked again.
        """
        session = self._sessions.get(peer)
        if session is None or session.secured.hop is None or session.link.in_flight():
            return False
        await self._transport.straighten(_parsed(request.addresses), peer, request.timeout_us)
        return True

    def _hang_up(self, peer: PeerId, reason: str) -> None:
        session = self._sessions.get(peer)
        if session is not None:
            session.secured.close(reason)

    def _release(self, peer: PeerId, reason: str) -> None:
        """Hang up, unless another part of the node waits for an answer of this peer.

        Nor while circuits lead through it, or a place at a hop depends on it.
        """
        session = self._sessions.get(peer)
        busy = session is not None and session.link.in_flight()
        if session is not None and not busy and not self._transport.circuits.is_busy(peer):
            session.secured.close(reason)

    def _push(self) -> None:
        """Tell every peer what Identify says now."""
        for session in self._sessions.values():
            session.secured.push_identify()


def _parsed(texts: Sequence[str]) -> list[Multiaddr]:
    addresses = []
    for text in texts:
        try:
            addresses.append(Multiaddr.parse(text))
        except DecodeError:
            continue  # a peer's word about itself; the others may do
    return addresses
