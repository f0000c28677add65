"""Circuits: connections over a stream through a hop, and places at hops; the ends of a circuit.

Source: libp2p circuit relay v2 specification; docs/wire.md, "Circuits". Part of io/transport.py. A
circuit is a byte stream like a socket: on it lies a whole connection, Noise and Yamux, between the
ends. At which hops to have a place is decided by machine "circuits" (p2p/circuits.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from dms3.core import limits
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import PeerId
from dms3.core.machine import Now
from dms3.io.transport_hop import HopServer
from dms3.io.transport_leg import Held, Left, Leg, Legs, OneMessage, ask
from dms3.io.transport_wire import Handler, Secured, Wire
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
    open_voucher,
)
from dms3.libp2p.events import ConnectionEvent, StreamOpened
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey, peer_id_text
from dms3.p2p.port import Reserved

_BUSY = {Status.RESERVATION_REFUSED, Status.RESOURCE_LIMIT_EXCEEDED}


class Carrier(Protocol):
    """The transport."""

    def now(self) -> Now:
        """This instant."""
        ...

    def connection_to(self, peer: PeerId) -> Secured | None:
        """The open connection to `peer`, or None."""
        ...

    def wire(self, remote: Multiaddr, expected: PeerId | None, *, inbound: bool) -> Wire:
        """A connection without a socket yet."""
        ...


class CircuitSocket(asyncio.Transport):
    """A leg in the place of a socket under `wire`."""

    def __init__(self, leg: Leg, wire: Wire) -> None:
        super().__init__()
        self._leg = leg
        self._wire = wire
        self._over = False

    # What a Wire asks of its socket.

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The stream has its own."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """A circuit has no name but its address."""
        del name
        return default

    def write(self, data: Any) -> None:
        """Send `data`; the wire is told when it is too much for now."""
        try:
            queued = self._leg.send(bytes(data))
        except Dms3Error:
            self._lose()
            return
        if queued > limits.STREAM_QUEUE_NOTICE_BYTES:
            self._wire.pause_writing()

    def close(self) -> None:
        """End the circuit after what is queued."""
        self._leg.receiver = Left()
        self._leg.finish()
        self._lose()

    def abort(self) -> None:
        """End it at once."""
        self._leg.receiver = Left()
        self._leg.reset()

    # Receiver of the leg.

    def on_data(self, data: bytes) -> None:
        """Bytes of the far end; its Yamux bounds them, so they are used at once."""
        self._leg.consume(len(data))
        self._wire.data_received(data)

    def on_finished(self) -> None:
        """The far end has closed."""
        self._wire.eof_received()

    def on_drained(self) -> None:
        """There is room again."""
        self._wire.resume_writing()

    def on_lost(self, reason: str) -> None:
        """The circuit is over."""
        del reason
        self._lose()

    def _lose(self) -> None:
        if not self._over:
            self._over = True
            asyncio.get_running_loop().call_soon(self._wire.connection_lost, None)


class Circuits:
    """Stands between the connections of `carrier` and their `handler`, and takes what is its own.

    `key`: of this node. `addresses`: where it can be dialled, told to who has a place here.
    """

    def __init__(
        self,
        carrier: Carrier,
        handler: Handler,
        key: NodeKey,
        addresses: Callable[[], Sequence[Multiaddr]],
    ) -> None:
        self._carrier = carrier
        self._handler = handler
        self._key = key
        self._legs = Legs()
        self._reserved: dict[PeerId, Multiaddr] = {}  # hop -> our address there
        self.hop = HopServer(carrier, self._legs, key, addresses)

    def protocols(self) -> tuple[str, ...]:
        """What peers may open, for Identify."""
        return (HOP_PROTOCOL, STOP_PROTOCOL) if self.hop.books.offered else (STOP_PROTOCOL,)

    def is_busy(self, peer: PeerId) -> bool:
        """Whether the connection to `peer` carries circuits, or a place depends on it."""
        link = self._carrier.connection_to(peer)
        used = self.hop.books.is_used_by(peer, self._carrier.now().mono_us)
        return peer in self._reserved or used or self._legs.is_used(link)

    # Handler of the transport's connections.

    def on_secured(self, link: Secured) -> None:
        """See Handler."""
        self._handler.on_secured(link)

    def on_event(self, link: Secured, event: ConnectionEvent) -> None:
        """Take what is of a circuit; the rest goes on."""
        if link in self._legs and self._legs.on_event(link, event):
            return
        if type(event) is StreamOpened and event.inbound:
            if event.protocol == HOP_PROTOCOL:
                self.hop.arrived(link, event.stream)
                return
            if event.protocol == STOP_PROTOCOL:
                self._arrived(link, event.stream)
                return
        self._handler.on_event(link, event)

    def on_closed(self, link: Secured, code: str, reason: str) -> None:
        """Circuits through this connection are over, and so are places."""
        self._legs.lost(link, reason)
        if self._carrier.connection_to(link.peer) is None:
            self._reserved.pop(link.peer, None)
            self.hop.gone(link.peer)
        self._handler.on_closed(link, code, reason)

    # A place at a hop.

    async def reserve(self, hop: PeerId) -> Reserved:
        """A place at the connected `hop`, had or renewed.

        Raises `peer_unreachable` when it is not connected or does not answer, `peer_refused`, or
        `limit_reached` when it is full.
        """
        link = self._carrier.connection_to(hop)
        if link is None or link.hop is not None:
            raise Dms3Error("peer_unreachable", f"{peer_id_text(hop)} is not connected directly.")
        answer, leg = await self._question(link, HopMessage(Hop.RESERVE))
        leg.receiver = Left()
        leg.finish()
        if answer.reservation is None:
            raise Dms3Error("peer_misbehaved", "The hop gives a place and does not say which.")
        _check_voucher(answer.reservation.voucher, hop, self._key.peer_id)
        place = link.endpoint.through(hop)
        self._reserved[hop] = place
        told = [one.without_peer() for one in answer.reservation.addresses]
        others = [one.through(hop) for one in told if one.tcp_endpoint is not None]
        left_us = answer.reservation.expire_s * limits.SECOND_US - self._carrier.now().wall_us
        places = tuple(map(str, dict.fromkeys((place, *others))))
        return Reserved(hop, places[: limits.ADDRESSES_PER_PEER_MAX], left_us)

    def leave(self, hop: PeerId) -> None:
        """No circuit through `hop` is taken any more; its place is free when it expires."""
        self._reserved.pop(hop, None)

    # A circuit that we begin.

    async def connect(self, link: Secured, remote: Multiaddr, target: PeerId) -> Wire:
        """A connection in the making to `target` through the hop of `link`.

        `remote`: what to call it. Raises `peer_unreachable`, `peer_refused`, `limit_reached`.
        """
        if link.hop is not None:
            raise Dms3Error(
                "peer_unreachable", f"{peer_id_text(link.peer)} is behind a hop itself."
            )
        question = HopMessage(Hop.CONNECT, target)
        _, leg = await self._question(link, question)
        wire = self._carrier.wire(remote, target, inbound=False)
        held = leg.receiver
        assert isinstance(held, Held), "nobody else takes a leg that was asked for"
        self._join(leg, wire, held)
        return wire

    async def _question(self, link: Secured, message: HopMessage) -> tuple[HopMessage, Leg]:
        """The answer OK of a hop, and its leg, Held; raises what it says instead."""
        done: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

        def then(answer: bytes | None, rest: bytes) -> None:
            leg.receiver = held = Held()
            if rest:
                held.on_data(rest)
            if not done.done():
                done.set_result(answer)

        leg = ask(self._legs, link, HOP_PROTOCOL, frame(encode_hop(message)), then)
        good = False
        try:
            found = await done
            if found is None:
                raise Dms3Error("peer_unreachable", f"{peer_id_text(link.peer)} is no hop.")
            answer = _granted(found, link.peer)
            good = True
        finally:
            if not good:
                leg.receiver = Left()
                leg.reset()
        return answer, leg

    @staticmethod
    def _join(leg: Leg, wire: Wire, held: Held) -> None:
        """The circuit is there: the connection begins on it, with what has come already."""
        socket = CircuitSocket(leg, wire)
        leg.receiver = socket
        wire.connection_made(socket)
        held.hand_over(socket)

    # A circuit that comes.

    def _arrived(self, link: Secured, stream: int) -> None:
        waiting = OneMessage(lambda message, rest: self._on_stop(leg, message, rest))
        leg = waiting.leg = self._legs.take(link, stream, waiting)

    def _on_stop(self, leg: Leg, message: bytes | None, rest: bytes) -> None:
        """A hop brings a circuit: taken when we have a place there."""
        leg.receiver = Left()
        if message is None:
            leg.reset()
            return
        status, source = Status.OK, None
        try:
            question = decode_stop(message)
            source = question.peer
            if question.kind is not Stop.CONNECT or source is None:
                status = Status.UNEXPECTED_MESSAGE
            elif leg.link.peer not in self._reserved:
                status = Status.PERMISSION_DENIED
        except DecodeError:
            status = Status.MALFORMED_MESSAGE
        try:
            leg.send(frame(encode_stop(StopMessage(Stop.STATUS, status=status))))
        except Dms3Error:
            leg.reset()
            return
        if status is not Status.OK:
            leg.finish()
            return
        held = Held()
        if rest:
            held.on_data(rest)
        wire = self._carrier.wire(self._reserved[leg.link.peer], source, inbound=True)
        self._join(leg, wire, held)


def _granted(message: bytes, hop: PeerId) -> HopMessage:
    """The answer of `hop` when it is OK; raises what it says instead."""
    try:
        answer = decode_hop(message)
    except DecodeError as error:
        raise Dms3Error("peer_misbehaved", f"The hop answers nonsense: {error}") from error
    if answer.kind is Hop.STATUS and answer.status == Status.OK:
        return answer
    try:
        name = Status(answer.status).name.replace("_", " ").lower()
    except ValueError:
        name = f"status {answer.status}"
    known = answer.status in _BUSY
    code = "limit_reached" if known else "peer_unreachable"
    raise Dms3Error(code, f"The hop {peer_id_text(hop)} says: {name}.")


def _check_voucher(voucher: bytes, hop: PeerId, own: PeerId) -> None:
    """Vouchers are advisory; a wrong one says that the hop is not to be relied on."""
    if not voucher:
        return
    try:
        found = open_voucher(voucher)
    except DecodeError as error:
        raise Dms3Error("peer_misbehaved", f"The hop's voucher does not hold: {error}") from error
    if (found.hop, found.peer) != (hop, own):
        raise Dms3Error("peer_misbehaved", "The hop's voucher is for somebody else.")
