"""Joins connections to the driver: peer port, and handler of the transport.

Source: docs/architecture.md, "Walks"; core/ports.py (`PeerPort`, `PeerEvents`). A session is
a peer's secured connection with a Link on it. Whom to connect to and whom to refuse is decided by
the machine PeerBook (p2p/peers.py), which hears of conduct and addresses through `report`, and is
carried out in `node/transport_port.py`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.ids import PeerId
from dms3.core.limits import HELD_OFFER_US, REPORTS_WAITING_MAX, SECOND_US
from dms3.core.machine import Entropy
from dms3.core.ports import PeerEvents
from dms3.io.transport import Transport as TcpTransport
from dms3.libp2p.events import ConnectionEvent, Identified, StreamData
from dms3.libp2p.identify import IdentifyInfo
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey
from dms3.node.described import Described, Seal, introduced
from dms3.node.door import Door
from dms3.node.session import Clock, HopStanding, PeerFigures, Secured, Session, Transport
from dms3.node.transport_port import TransportPort
from dms3.p2p.link import Link
from dms3.p2p.port import Conducted
from dms3.p2p.stream import Asked, Given, LinkEvent, Misconduct, Told, Unasked

_WIRE_BITS = (
    64  # a question is known to the driver as `session number << 64 | question of the link`
)
_WIRE_MASK = (1 << _WIRE_BITS) - 1
_ABSENT = Failure("peer_unreachable", "The peer is not connected.", Retry.LATER)


class Network:
    """The node's peers: a session for each, between its link and the driver. It dials nobody.

    `protocols`: the minors of each dms3 protocol that is spoken; `network`: the 32-byte network id;
    `events`: the loop; `transport`: makes the transport that has this object as its handler, `gate`
    and `speaks`, and `describe` for Identify; `agent`: name and version of the program; `seal`
    signs where this node is. `only_asked`: protocols in which it asks others and answers nobody.
    """

    def __init__(  # noqa: PLR0913  # eight unlike things, each by name
        self,
        *,
        protocols: Mapping[str, Sequence[int]],
        network: bytes,
        events: PeerEvents,
        clock: Clock,
        transport: Callable[[Network], Transport],
        agent: str,
        seal: Seal,
        only_asked: Collection[str] = (),
    ) -> None:
        self._protocols = protocols
        self._network = network
        self._events = events
        self._clock = clock
        self._sessions: dict[PeerId, Session] = {}
        self._handles: dict[int, Session] = {}  # our questions that have not ended
        self._count = 0
        self._described = Described(agent, tuple(sorted(set(protocols) - set(only_asked))), seal)
        self._door = Door(clock, self._sessions)
        self._reports: deque[tuple[str, Any]] = deque()
        self._reported = asyncio.Event()
        self._transport = transport(self)
        self._port = TransportPort(self._transport, self._sessions, self._door, self._described)

    # For the node

    async def listen(self, address: Multiaddr) -> Multiaddr:
        """Accept connections at `address`; the address with the port that was really taken."""
        taken = await self._transport.listen(address)
        self._described.listening.append(taken)
        return taken

    @property
    def listening(self) -> tuple[Multiaddr, ...]:
        """Where this node accepts connections."""
        return tuple(self._described.listening)

    @property
    def circuits(self) -> tuple[str, ...]:
        """Addresses of circuits to this node."""
        return self._described.circuits

    @property
    def woken(self) -> asyncio.Event:
        """Set when this machine slept, or is in another network now; whoever looks clears it."""
        return self._described.woken

    async def close(self) -> None:
        """End every connection; the machines are told."""
        await self._transport.close()

    async def report(self, call: Callable[[str, Any], Awaitable[Any]]) -> None:
        """Tell the peer book what happens, until cancelled; `call` is `Loop.call`."""
        while True:
            while self._reports:
                operation, arguments = self._reports.popleft()
                try:
                    await call(operation if "." in operation else f"peers.{operation}", arguments)
                except Dms3Error as error:
                    if error.code == "node_stopping":
                        return
            self._reported.clear()
            await self._reported.wait()

    def tell(self, operation: str, arguments: Any) -> None:
        """Have `report` ask the peer book for `operation`, or "MACHINE.OPERATION" for that.

        Dropped when too many wait.
        """
        if len(self._reports) < REPORTS_WAITING_MAX:
            self._reports.append((operation, arguments))
            self._reported.set()

    def figures(self) -> list[PeerFigures]:
        """The connected peers, oldest connection first."""
        return [session.figures() for session in self._sessions.values()]

    def hop_figures(self) -> HopStanding:
        """What this node passes on between others, now and since its start."""
        books = self._transport.circuits.hop.books
        figures, now_us = books.figures, self._clock.now().mono_us
        return HopStanding(books.offered, books.places(now_us), books.circuits, figures)

    def failed_handshakes(self) -> dict[str, int]:
        """Inbound handshakes that failed, by the code they ended with."""
        return dict(self._transport.failed)

    # For the transport

    def speaks(self, protocol: str) -> bool:
        """Whether peers may open streams of `protocol`."""
        return protocol in self._described.protocols

    def gate(self, peer: PeerId | None, address: Multiaddr, inbound: bool) -> bool:
        """Whether to have a connection with `peer`, who may not be known yet: see `Door`."""
        del address  # addresses are limited by the transport itself
        return peer is None or self._door.admits(peer, inbound=inbound)

    def describe(self) -> IdentifyInfo:
        """What Identify says about this node."""
        return self._described.info()

    def on_secured(self, link: Secured) -> None:
        """A connection is ready; it may take the place of an older one to the same peer."""
        peer = link.peer
        before = self._sessions.pop(peer, None)
        other = before is not None and (before.secured.hop is None) != (link.hop is None)
        if before is not None:
            self._end(before)
        if other:  # a direct one for a circuit: another address, and all is to be looked at anew
            self._events.peer_down(peer, "replaced by a connection of another kind")
        self._count += 1
        mine = Link(link, self._protocols, self._network)
        self._sessions[peer] = Session(self._count, link, mine, self._clock.now().wall_us)
        if before is None or other:
            self._events.peer_up(peer, str(link.remote), inbound=link.inbound)

    def on_event(self, link: Secured, event: ConnectionEvent) -> None:
        """Something happened on a stream, or the peer has described itself."""
        session = self._sessions.get(link.peer)
        if session is None or session.secured is not link:
            return  # of a connection that has been replaced
        if type(event) is Identified:
            self._introduce(session, event)
            return
        if type(event) is StreamData:
            session.bytes_in += len(event.data)
        self._deliver(session, session.link.on_event(event, self._clock.now().mono_us))

    def on_closed(self, link: Secured, code: str, reason: str) -> None:
        """The connection is over."""
        session = self._sessions.get(link.peer)
        if session is None or session.secured is not link:
            return
        del self._sessions[link.peer]
        if code in ("peer_misbehaved", "limit_reached"):  # of the connection itself: Noise, Yamux
            self.tell("conduct", Conducted(link.peer, "connection_broken"))
        self._end(session)
        self._events.peer_down(link.peer, reason)
        if link.hop is not None and not link.inbound:
            self.tell("release", link.hop)  # it may have been dialled for this alone

    # For the driver: core.ports.PeerPort

    def send(self, peer: PeerId, protocol: str, body: bytes) -> None:
        """A one-way message; dropped when `peer` is not connected or does not read."""
        session = self._sessions.get(peer)
        if session is None:
            return
        if session.link.send(protocol, body, self._clock.now().mono_us):
            session.bytes_out += len(body)
        self._arm(session)

    def request(
        self, peer: PeerId, protocol: str, body: bytes, handle: int, deadline_us: int
    ) -> None:
        """Ask `peer`; exactly one answer follows."""
        session = self._sessions.get(peer)
        if session is None:
            self._events.answered(handle, _ABSENT)
            return
        now_us = self._clock.now().mono_us
        self._handles[handle] = session
        failure = session.link.request(protocol, body, handle, deadline_us, now_us)
        if failure is not None:
            del self._handles[handle]
            self._events.answered(handle, failure)
            return
        session.asked += 1
        session.bytes_out += len(body)
        self._arm(session)

    def reply(self, peer: PeerId, wire: int, body: bytes | Failure) -> None:
        """Answer a question; dropped when its connection is gone."""
        session = self._sessions.get(peer)
        if session is None or session.number != wire >> _WIRE_BITS:
            return
        if not isinstance(body, Failure):
            session.bytes_out += len(body)
        session.link.reply(wire & _WIRE_MASK, body, self._clock.now().mono_us)
        self._arm(session)

    def cancel(self, handle: int) -> None:
        """Forget a question of ours."""
        session = self._handles.pop(handle, None)
        if session is not None:
            session.link.cancel(handle)
            self._arm(session)

    # For machines: the io port "transport"

    async def port(self, operation: str, arguments: Any) -> Any:
        """Carry out an operation of the io port "transport": see `TransportPort`."""
        return await self._port.serve(operation, arguments)

    # Small parts

    def _deliver(self, session: Session, happened: list[LinkEvent]) -> None:
        """Tell the driver, in order; what it takes gets its credit back."""
        events = self._events
        peer = session.secured.peer
        for event in happened:
            kind = type(event)
            if isinstance(event, Given):
                if self._handles.pop(event.handle, None) is not None:
                    events.answered(event.handle, event.body)
            elif isinstance(event, Asked):
                session.answered += 1
                wire = session.number << _WIRE_BITS | event.request
                events.requested(peer, event.protocol, event.body, wire)
                session.link.taken(event)
            elif isinstance(event, Told):
                session.held.append(event)
            elif isinstance(event, Unasked):
                events.withdrawn(peer, session.number << _WIRE_BITS | event.request)
            elif kind is Misconduct:
                self.tell("conduct", Conducted(peer, event.code))  # type: ignore[union-attr]
        if session.held:
            self._offer(session)
        self._arm(session)

    def _offer(self, session: Session) -> None:
        """Offer messages in order; a stream whose message is not taken gets no credit meanwhile."""
        peer = session.secured.peer
        blocked: set[int] = set()
        for _ in range(len(session.held)):
            event = session.held.popleft()
            if event.stream in blocked:
                session.held.append(event)
            elif self._events.received(peer, event.protocol, event.body):
                session.link.taken(event)
            else:
                blocked.add(event.stream)
                session.held.append(event)

    def _arm(self, session: Session) -> None:
        """One timer of the event loop for what the link waits for, or for what is held."""
        due = session.link.next_timer()
        if session.held:
            again = self._clock.now().mono_us + HELD_OFFER_US
            due = again if due is None else min(due, again)
        if due is None or (session.timer is not None and session.timer_us <= due):
            return
        if session.timer is not None:
            session.timer.cancel()
        delay = max(0, due - self._clock.now().mono_us) / SECOND_US
        session.timer_us = due
        session.timer = asyncio.get_running_loop().call_later(delay, self._on_timer, session)

    def _on_timer(self, session: Session) -> None:
        session.timer = None
        now_us = self._clock.now().mono_us
        due = session.link.next_timer()
        is_due = due is not None and due <= now_us
        self._deliver(session, session.link.on_timer(now_us) if is_due else [])

    def _end(self, session: Session) -> None:
        """The link of `session` is over."""
        if session.timer is not None:
            session.timer.cancel()
        session.held.clear()
        self._deliver(session, session.link.close())

    def _introduce(self, session: Session, event: Identified) -> None:
        """Pass on what the peer says of itself, as often as addresses change at most."""
        if not session.pushes.admit(self._clock.now().mono_us):
            return
        if event.forged:
            self.tell("conduct", Conducted(session.secured.peer, "record_forged"))
        spoken, told = introduced(session.secured, event.info)
        self.tell("circuits.spoken", spoken)
        self.tell("introduced", told)


def over_tcp(key: NodeKey, clock: Clock, entropy: Entropy) -> Callable[[Network], Transport]:
    """What makes the transport of a network: TCP, as the node whose key is `key`."""
    return lambda network: TcpTransport(
        key=key,
        handler=network,
        protocols=network.speaks,
        identify=network.describe,
        entropy=entropy,
        gate=network.gate,
        clock=clock,
    )
