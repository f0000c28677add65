"""Joins connections to the driver: peer port, handler of the transport, and io port "transport".

Source: docs/architecture.md, "Walks"; core/ports.py (`PeerPort`, `PeerEvents`). A session is
a peer's secured connection with a Link on it. Whom to connect to and whom to refuse is decided by
the machine PeerBook (p2p/peers.py), which hears of conduct and addresses through `report`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from dms3.core.errors import DecodeError, Dms3Error, Failure, Retry
from dms3.core.ids import PeerId
from dms3.core.limits import (
    HELD_OFFER_US,
    INBOUND_UNNEEDED_MAX,
    REFUSED_PEERS_MAX,
    REPORTS_WAITING_MAX,
    SECOND_US,
)
from dms3.core.machine import Entropy
from dms3.core.ports import PeerEvents
from dms3.io.transport import Transport as TcpTransport
from dms3.libp2p.events import ConnectionEvent, Identified, StreamData
from dms3.libp2p.identify import IdentifyInfo
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey, peer_id_text
from dms3.node.session import Clock, HopStanding, PeerFigures, Secured, Session, Transport
from dms3.p2p.link import Link
from dms3.p2p.port import (
    Announce,
    Conducted,
    Dialed,
    DialRequest,
    HangUp,
    Introduced,
    Keep,
    Refuse,
    Spoken,
)
from dms3.p2p.reach import others_word, own_word, reach_of_text
from dms3.p2p.stream import Asked, Given, LinkEvent, Misconduct, Told, Unasked

_WIRE_BITS = (
    64  # a question is known to the driver as `session number << 64 | question of the link`
)
_WIRE_MASK = (1 << _WIRE_BITS) - 1
_ABSENT = Failure("peer_unreachable", "The peer is not connected.", Retry.LATER)


class Network:
    """The node's peers.

    `protocols`: the minors of each dms3 protocol that is spoken; `network`: the 32-byte network id;
    `events`: the loop; `transport`: makes the transport that has this object as its handler, `gate`
    and `speaks`, and `describe` for Identify; `agent`: name and version of the program; `seal`: the
    signed record of a sequence number and addresses of this node (libp2p/peer_record.py).
    `only_asked`: protocols in which this node asks others and answers nobody.
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
        seal: Callable[[int, Sequence[Multiaddr]], bytes],
        only_asked: Collection[str] = (),
    ) -> None:
        self._seal = seal
        self._said = tuple(sorted(set(protocols) - set(only_asked)))
        self._protocols = protocols
        self._network = network
        self._events = events
        self._clock = clock
        self._agent = agent
        self._sessions: dict[PeerId, Session] = {}
        self._handles: dict[int, Session] = {}  # our questions that have not ended
        self._count = 0
        self._refused: dict[PeerId, int] = {}  # until this monotonic instant
        self._kept: frozenset[PeerId] = frozenset()  # these get in, whatever the crowd
        self._listening: list[Multiaddr] = []
        self._announced: tuple[Multiaddr, ...] = ()
        self._record = b""  # these addresses, signed
        self.circuits: tuple[str, ...] = ()  # addresses of circuits to this node
        self.woken = asyncio.Event()  # this machine slept, or is in another network now
        self._reports: deque[tuple[str, Any]] = deque()
        self._reported = asyncio.Event()
        self._transport = transport(self)

    # For the node

    async def listen(self, address: Multiaddr) -> Multiaddr:
        """Accept connections at `address`; the address with the port that was really taken."""
        taken = await self._transport.listen(address)
        self._listening.append(taken)
        return taken

    @property
    def listening(self) -> tuple[Multiaddr, ...]:
        """Where this node accepts connections."""
        return tuple(self._listening)

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
        return protocol in self._said

    def gate(self, peer: PeerId | None, address: Multiaddr, inbound: bool) -> bool:
        """Whether to have a connection with `peer`: not while it is refused, or one too many.

        Who comes and is not needed finds the door shut in a crowd; contacts get in.
        """
        del address  # addresses are limited by the transport itself
        if peer is None:
            return True
        crowded = inbound and peer not in self._kept and peer not in self._sessions
        if crowded and self._strangers() >= INBOUND_UNNEEDED_MAX:
            return False
        return self._refused.get(peer, 0) <= self._clock.now().mono_us

    def _strangers(self) -> int:
        """How many peers have come that are not kept."""
        return sum(
            session.secured.inbound and peer not in self._kept
            for peer, session in self._sessions.items()
        )

    def describe(self) -> IdentifyInfo:
        """What Identify says about this node."""
        return IdentifyInfo(
            protocol_version="dms3/1",
            agent=self._agent,
            addresses=self._announced or tuple(self._listening),
            protocols=self._said,
            signed_record=self._record,
        )

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

    # The io port "transport"

    async def port(self, operation: str, arguments: Any) -> Any:
        """Carry out dial(DialRequest) -> Dialed, and what has no answer.

        hang_up(HangUp), make_room(HangUp), release(HangUp), refuse(Refuse), keep(Keep),
        announce(Announce), wake(); and see `_circuit`.
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
                self._refuse(peer, for_us)
            case "keep", Keep(peers):
                self._kept = frozenset(peers)
            case "announce", Announce():
                self._announce(arguments)
            case "wake", None:
                self._transport.wake()
                self.woken.set()
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
                self.circuits = arguments
                self.woken.set()
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

    def _announce(self, announce: Announce) -> None:
        """Sign where this node is, and tell every peer that has not heard it."""
        self._announced = tuple(map(Multiaddr.parse, announce.addresses))
        record = self._seal(announce.sequence, self._announced)
        if record != self._record:
            self._record = record
            self._push()

    def _push(self) -> None:
        """Tell every peer what Identify says now."""
        for session in self._sessions.values():
            session.secured.push_identify()

    def _refuse(self, peer: PeerId, for_us: int) -> None:
        now_us = self._clock.now().mono_us
        over = [one for one, until_us in self._refused.items() if until_us <= now_us]
        for one in over:
            del self._refused[one]
        if len(self._refused) >= REFUSED_PEERS_MAX:  # the one that was nearest to its end goes
            del self._refused[min(self._refused, key=lambda one: (self._refused[one], one))]
        self._refused[peer] = now_us + for_us
        self._hang_up(peer, f"peer {peer_id_text(peer)} is refused for a while")

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
        peer, info = session.secured.peer, event.info
        if event.forged:
            self.tell("conduct", Conducted(peer, "record_forged"))
        near = reach_of_text(str(session.secured.remote))
        usable = own_word(info.addresses, near)
        seen = "" if info.observed is None else str(info.observed)
        direct = others_word((one for one in info.addresses if one.circuit is None), near)
        self.tell("circuits.spoken", Spoken(peer, info.protocols, seen, direct))
        self.tell("introduced", Introduced(peer, usable, info.protocols, info.signed_record))


def _parsed(texts: Sequence[str]) -> list[Multiaddr]:
    addresses = []
    for text in texts:
        try:
            addresses.append(Multiaddr.parse(text))
        except DecodeError:
            continue  # a peer's word about itself; the others may do
    return addresses


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
