"""A hop: answers who wants a place or a circuit, and passes the bytes of circuits on.

Source: libp2p circuit relay v2 specification, "Hop protocol"; docs/wire.md, "Circuits". Part of
io/transport.py. What is allowed is decided by the books (p2p/circuits_hop.py). What passes is
sealed between the ends: a hop sees who talks to whom, and how much.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Sequence
from typing import Protocol

from dms3.core import limits
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import PeerId
from dms3.core.machine import Now
from dms3.io.transport_leg import Held, Left, Leg, Legs, OneMessage, ask
from dms3.io.transport_wire import Secured
from dms3.libp2p.circuit import (
    STOP_PROTOCOL,
    Hop,
    HopMessage,
    Limit,
    Reservation,
    Status,
    Stop,
    StopMessage,
    decode_hop,
    decode_stop,
    encode_hop,
    encode_stop,
    frame,
    seal_voucher,
)
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey
from dms3.p2p.circuits_hop import HopBooks

LIMIT = Limit(limits.CIRCUIT_US_MAX // limits.SECOND_US, limits.CIRCUIT_BYTES_MAX)


class Carrier(Protocol):
    """The transport."""

    def now(self) -> Now:
        """This instant."""
        ...

    def connection_to(self, peer: PeerId) -> Secured | None:
        """The open connection to `peer`, or None."""
        ...


class HopServer:
    """The hop of `carrier`: `key` signs vouchers, `addresses` are told to who gets a place."""

    def __init__(
        self,
        carrier: Carrier,
        legs: Legs,
        key: NodeKey,
        addresses: Callable[[], Sequence[Multiaddr]],
    ) -> None:
        self.books = HopBooks()
        self._carrier = carrier
        self._legs = legs
        self._key = key
        self._addresses = addresses

    def arrived(self, link: Secured, stream: int) -> None:
        """A peer has opened a stream to ask something."""
        waiting = OneMessage(lambda message, rest: self._on_question(leg, message, rest))
        leg = waiting.leg = self._legs.take(link, stream, waiting)

    def gone(self, peer: PeerId) -> None:
        """The last connection to `peer` has closed."""
        self.books.gone(peer)

    def _on_question(self, leg: Leg, message: bytes | None, rest: bytes) -> None:
        if message is None:
            leg.reset()
            return
        try:
            question = decode_hop(message)
        except DecodeError:
            self._refuse(leg, Status.MALFORMED_MESSAGE)
            return
        peer = leg.link.peer
        now = self._carrier.now()
        if leg.link.hop is not None:  # no circuit through a circuit
            self._refuse(leg, Status.PERMISSION_DENIED)
        elif not self.books.is_paced(peer, now.mono_us):
            self._refuse(leg, Status.RESOURCE_LIMIT_EXCEEDED)
        elif question.kind is Hop.RESERVE:
            self._reserve(leg, now)
        elif question.kind is Hop.CONNECT and question.peer is not None:
            self._connect(leg, question.peer, rest, now)
        else:
            self._refuse(leg, Status.UNEXPECTED_MESSAGE)

    def _refuse(self, leg: Leg, status: Status) -> None:
        self.books.refused(status)
        self._answer(leg, HopMessage(Hop.STATUS, status=status))

    def _answer(self, leg: Leg, message: HopMessage) -> None:
        """The last that is said on this leg."""
        leg.receiver = Left()
        _send(leg, encode_hop(message))
        leg.finish()

    def _reserve(self, leg: Leg, now: Now) -> None:
        until_s = self.books.reserve(leg.link.peer, _host(leg.link), now)
        if isinstance(until_s, Status):
            self._refuse(leg, until_s)
            return
        places = [one.with_peer(self._key.peer_id) for one in self._addresses()]
        own = tuple(one for one in places if one.tcp_endpoint is not None)
        voucher = seal_voucher(self._key, leg.link.peer, until_s)
        granted = Reservation(until_s, own[: limits.ADDRESSES_PER_PEER_MAX], voucher)
        self._answer(leg, HopMessage(Hop.STATUS, None, granted, LIMIT, Status.OK))

    def _connect(self, leg: Leg, target: PeerId, rest: bytes, now: Now) -> None:
        peer = leg.link.peer
        number = self.books.connect(peer, target, now.mono_us)
        if isinstance(number, Status):
            self._refuse(leg, number)
            return
        link = self._carrier.connection_to(target)
        assert link is not None, "a place ends with its connection"
        held = leg.receiver = Held()
        if rest:
            held.on_data(rest)
        question = encode_stop(StopMessage(Stop.CONNECT, peer, LIMIT))
        try:
            far = ask(
                self._legs,
                link,
                STOP_PROTOCOL,
                frame(question),
                lambda message, rest: self._on_stopped(leg, far, number, message, rest),
            )
        except Dms3Error:
            self.books.ended(number, "refused")
            self._refuse(leg, Status.CONNECTION_FAILED)

    def _on_stopped(
        self, leg: Leg, far: Leg, number: int, message: bytes | None, rest: bytes
    ) -> None:
        """The far end has answered, or not."""
        held = leg.receiver
        assert isinstance(held, Held), "nobody else takes a leg that waits for its far end"
        if held.lost or not _is_taken(message):
            self.books.ended(number, "refused")
            far.receiver = Left()
            far.reset()
            if not held.lost:
                self._refuse(leg, Status.CONNECTION_FAILED)
            return
        _send(leg, encode_hop(HopMessage(Hop.STATUS, limit=LIMIT, status=Status.OK)))
        self.books.began()
        pipe = _Pipe(self.books, number, leg, far, self._carrier)
        held.hand_over(pipe.there)
        if rest:
            pipe.back.on_data(rest)


class _Pipe:
    """A circuit that is through: `there` hears the source, `back` the target."""

    def __init__(
        self, books: HopBooks, number: int, source: Leg, target: Leg, carrier: Carrier
    ) -> None:
        self._books = books
        self._number = number
        self._legs = (source, target)
        self.carrier = carrier
        self._open = 2  # directions
        self.there = _Half(self, source, target, back=False)
        self.back = _Half(self, target, source, back=True)
        source.receiver, target.receiver = self.there, self.back
        seconds = limits.CIRCUIT_US_MAX / limits.SECOND_US
        self._timer = asyncio.get_running_loop().call_later(seconds, self.cut, "time")

    def passes(self, count: int, *, back: bool) -> int | None:
        """How long to wait before more; None when the circuit has been cut."""
        wait_us = self._books.passes(self._number, count, self.carrier.now().mono_us, back=back)
        if wait_us is None:
            self.cut("bytes")
        return wait_us

    def other(self, half: _Half) -> _Half:
        """The direction back."""
        return self.back if half is self.there else self.there

    def half_closed(self) -> None:
        """One direction has come to its end."""
        self._open -= 1
        if not self._open:
            self._end("closed")

    def cut(self, why: str) -> None:
        """End it in both directions."""
        for leg in self._legs:
            leg.receiver = Left()
            leg.reset()
        self._end(why)

    def _end(self, why: str) -> None:
        self._timer.cancel()
        self._books.ended(self._number, why)


class _Half:
    """One direction: what comes on leg `near` goes out on leg `far`.

    Credit goes back when the far side has room and the bytes of all circuits are not too many.
    """

    def __init__(self, pipe: _Pipe, near: Leg, far: Leg, *, back: bool) -> None:
        self._pipe = pipe
        self._near = near
        self._far = far
        self._back = back
        self._owed = 0
        self._due_us = 0

    def on_data(self, data: bytes) -> None:
        """Pass it on."""
        wait_us = self._pipe.passes(len(data), back=self._back)
        if wait_us is None:
            return
        self._owed += len(data)
        self._due_us = self._pipe.carrier.now().mono_us + wait_us
        try:
            queued = self._far.send(data)
        except Dms3Error:
            self._pipe.cut("unread")
            return
        if queued <= limits.STREAM_QUEUE_NOTICE_BYTES:
            self.pay()

    def pay(self) -> None:
        """Give the credit back, now or when it is time."""
        left_us = self._due_us - self._pipe.carrier.now().mono_us
        if left_us > 0 and self._owed:
            count, self._owed = self._owed, 0
            loop = asyncio.get_running_loop()
            loop.call_later(left_us / limits.SECOND_US, self._near.consume, count)
        elif self._owed:
            count, self._owed = self._owed, 0
            self._near.consume(count)

    def on_finished(self) -> None:
        """So is the direction."""
        self._far.finish()
        self._pipe.half_closed()

    def on_drained(self) -> None:
        """There is room on this leg for what comes from the other."""
        self._pipe.other(self).pay()

    def on_lost(self, reason: str) -> None:
        """One leg has gone, so the circuit has."""
        del reason
        self._pipe.cut("closed")


def _send(leg: Leg, message: bytes) -> None:
    """A message; a peer that has let 8 MB of them wait hears no more."""
    try:
        leg.send(frame(message))
    except Dms3Error:
        leg.reset()


def _is_taken(message: bytes | None) -> bool:
    try:
        answer = None if message is None else decode_stop(message)
    except DecodeError:
        return False
    return answer is not None and answer.kind is Stop.STATUS and answer.status == Status.OK


def _host(link: Secured) -> str:
    """The IP address that `link` comes from; "" for this machine's own."""
    endpoint = link.endpoint.tcp_endpoint
    if endpoint is None or ipaddress.ip_address(endpoint[1]).is_loopback:
        return ""
    return endpoint[1]
