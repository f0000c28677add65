"""Streams that serve circuits: who gets the events of each, and the first message on one.

Source: libp2p circuit relay v2 specification. Part of io/transport.py. Knows neither hop nor
client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from dms3.core import limits
from dms3.core.errors import DecodeError, Dms3Error
from dms3.io.transport_wire import Secured
from dms3.libp2p.circuit import MessageReader
from dms3.libp2p.events import (
    ConnectionEvent,
    StreamData,
    StreamDrained,
    StreamFinished,
    StreamOpened,
    StreamReset,
)


class Receiver(Protocol):
    """Who is told what happens on a leg; `on_lost` is the last, and follows no `reset` of ours."""

    def on_data(self, data: bytes) -> None:
        """Bytes came; `Leg.consume` says that they were used."""
        ...

    def on_finished(self) -> None:
        """The peer will send no more."""
        ...

    def on_drained(self) -> None:
        """What was queued beyond STREAM_QUEUE_NOTICE_BYTES has gone."""
        ...

    def on_lost(self, reason: str) -> None:
        """The stream is over."""
        ...


class Leg:
    """One stream of `link`; `receiver` hears of it, and may be replaced at any time."""

    __slots__ = ("_legs", "_our_end", "_their_end", "link", "receiver", "stream")

    def __init__(self, legs: Legs, link: Secured, stream: int, receiver: Receiver) -> None:
        self._legs = legs
        self.link = link
        self.stream = stream
        self.receiver = receiver
        self._our_end = self._their_end = False

    def send(self, data: bytes) -> int:
        """Queue `data`; the bytes now unsent. Raises `limit_reached` beyond the bound."""
        return self.link.send(self.stream, data)

    def consume(self, count: int) -> None:
        """Say that `count` bytes have been used; the peer may send more."""
        self.link.consume(self.stream, count)

    def finish(self) -> None:
        """Send no more after what is queued."""
        self.link.finish(self.stream)
        self._our_end = True
        self._settle()

    def reset(self) -> None:
        """End it at once."""
        self._legs.forget(self)
        self.link.reset(self.stream)

    def finished(self) -> None:
        """The peer sends no more."""
        self._their_end = True
        self.receiver.on_finished()
        self._settle()

    def _settle(self) -> None:
        if self._our_end and self._their_end:
            self._legs.forget(self)


class Legs:
    """The legs of all connections."""

    def __init__(self) -> None:
        self._legs: dict[Secured, dict[int, Leg]] = {}

    def __contains__(self, link: object) -> bool:
        return link in self._legs

    def is_used(self, link: Secured | None) -> bool:
        """Whether something is going on over `link`."""
        legs = () if link is None else self._legs.get(link, {}).values()
        return any(not isinstance(leg.receiver, Left) for leg in legs)

    def open(self, link: Secured, protocol: str, receiver: Receiver) -> Leg:
        """A stream of ours; raises what `Secured.open_stream` raises."""
        return self.take(link, link.open_stream([protocol]), receiver)

    def take(self, link: Secured, stream: int, receiver: Receiver) -> Leg:
        """A stream that is there."""
        leg = Leg(self, link, stream, receiver)
        self._legs.setdefault(link, {})[stream] = leg
        return leg

    def forget(self, leg: Leg) -> None:
        """It is over."""
        of_link = self._legs.get(leg.link, {})
        of_link.pop(leg.stream, None)
        if not of_link:
            self._legs.pop(leg.link, None)

    def on_event(self, link: Secured, event: ConnectionEvent) -> bool:
        """Whether `event` was of a leg, which was told."""
        of_link = self._legs.get(link)
        if of_link is None:
            return False
        leg = of_link.get(getattr(event, "stream", -1))
        if leg is None:
            return False
        match event:
            case StreamData(data=data):
                leg.receiver.on_data(data)
            case StreamFinished():
                leg.finished()
            case StreamDrained():
                leg.receiver.on_drained()
            case StreamReset(reason=reason):
                self.forget(leg)
                leg.receiver.on_lost(reason)
            case StreamOpened():
                pass  # of ours: what was asked has gone with it
        return True

    def lost(self, link: Secured, reason: str) -> None:
        """The connection is over."""
        for leg in self._legs.pop(link, {}).values():
            leg.receiver.on_lost(reason)


class Held:
    """Keeps what comes on a leg until somebody takes it; the window of the stream bounds it."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []
        self._finished = False
        self.lost = ""  # why it is over

    def on_data(self, data: bytes) -> None:
        """Keep it."""
        self._chunks.append(data)

    def on_finished(self) -> None:
        """Keep that, too."""
        self._finished = True

    def on_drained(self) -> None:
        """Nothing was sent."""

    def on_lost(self, reason: str) -> None:
        """Whoever comes finds it over."""
        self.lost = reason or "it is over"

    def hand_over(self, receiver: Receiver) -> None:
        """Tell `receiver` all that happened so far."""
        for chunk in self._chunks:
            receiver.on_data(chunk)
        if self.lost:
            receiver.on_lost(self.lost)
        elif self._finished:
            receiver.on_finished()


class Left:
    """Hears the rest of a leg that is done with."""

    def on_data(self, data: bytes) -> None:
        """Without credit, so that there is no end of it."""

    def on_finished(self) -> None:
        """As expected."""

    def on_drained(self) -> None:
        """Good."""

    def on_lost(self, reason: str) -> None:
        """As well."""


Then = Callable[[bytes | None, bytes], None]
"""Told the message, and what came behind it; None: it did not come, or is too long."""


class OneMessage:
    """Waits for one message on a leg; `then` hears of it once, within CIRCUIT_MESSAGE_US_MAX."""

    def __init__(self, then: Then) -> None:
        self._then: Then | None = then
        self._reader = MessageReader()
        self._finished = False
        self.leg: Leg | None = None  # whose bytes are consumed
        self._timer = asyncio.get_running_loop().call_later(
            limits.CIRCUIT_MESSAGE_US_MAX / limits.SECOND_US, self._tell, None
        )

    def on_data(self, data: bytes) -> None:
        """A piece of the message."""
        try:
            found = self._reader.receive(data)
        except DecodeError:
            self._tell(None)
            return
        rest = found[1] if found is not None else b""
        if self.leg is not None:
            self.leg.consume(len(data) - len(rest))
        if found is not None:
            self._tell(found[0], rest)

    def on_finished(self) -> None:
        """It ends before it is whole."""
        self._tell(None)

    def on_drained(self) -> None:
        """A question is shorter than that."""

    def on_lost(self, reason: str) -> None:
        """It does not come."""
        del reason
        self._tell(None)

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._then = None
        self._timer.cancel()

    def _tell(self, message: bytes | None, rest: bytes = b"") -> None:
        then, self._then = self._then, None
        self._timer.cancel()
        if then is not None:
            then(message, rest)


def ask(legs: Legs, link: Secured, protocol: str, question: bytes, then: Then) -> Leg:
    """A new leg on which `question` was sent; `then` hears the answer.

    Raises `peer_unreachable`, `limit_reached` or `peer_refused`.
    """
    waiting = OneMessage(then)
    try:
        leg = waiting.leg = legs.open(link, protocol, waiting)
        leg.send(question)
    except Dms3Error:
        waiting.cancel()
        raise
    return leg
