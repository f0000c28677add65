"""One socket of the transport: bytes to and from its Connection, and the link its owner sees.

Source: asyncio transports and protocols. Writes once per turn of the loop. Part of io/transport.py,
which decides which connections there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol, cast

from dms3.core import limits
from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId
from dms3.libp2p import events
from dms3.libp2p.connection import Connection
from dms3.libp2p.events import ConnectionEvent
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import peer_id_text


class Handler(Protocol):
    """Who is told about connections; called on the loop, must not block.

    When a connection replaces another to the same peer, `on_secured` of the new one comes before
    `on_closed` of the old one. Events of streams the handler has reset may still follow.
    """

    def on_secured(self, link: Secured) -> None:
        """A connection is ready."""
        ...

    def on_event(self, link: Secured, event: ConnectionEvent) -> None:
        """Something happened on a stream, or the peer has described itself."""
        ...

    def on_closed(self, link: Secured, code: str, reason: str) -> None:
        """The connection is over, with every stream; `code` is a key of core/errors.CODES."""
        ...


class Owner(Protocol):
    """What a wire needs of the transport that owns it."""

    handler: Handler

    def now_us(self) -> int:
        """Monotonic microseconds."""
        ...

    def connect(self, wire: Wire, expected: PeerId | None) -> Connection:
        """The Connection of a new socket."""
        ...

    def admit(self, wire: Wire) -> bool:
        """Count a new socket in; False when it is one too many or unwanted."""
        ...

    def secured(self, wire: Wire, peer: PeerId) -> None:
        """The handshake is complete."""
        ...

    def closed(self, wire: Wire, code: str, reason: str) -> None:
        """The connection is over; the socket may still be open for a moment."""
        ...

    def forget(self, wire: Wire) -> None:
        """The socket is gone."""
        ...


class Secured:
    """A secured connection to `peer` at address `remote`; `inbound`: the peer dialled.

    What is queued is written once per turn of the loop. See `Connection` for the stream methods.
    """

    __slots__ = ("_wire", "endpoint", "hop", "inbound", "peer", "remote", "secured_us")

    def __init__(self, wire: Wire, peer: PeerId, now_us: int) -> None:
        self._wire = wire
        self.peer = peer
        self.remote = wire.remote
        self.inbound = wire.inbound
        self.secured_us = now_us
        circuit = wire.remote.circuit
        self.hop: PeerId | None = None if circuit is None else circuit[1]  # None: direct
        self.endpoint = wire.endpoint or wire.remote  # in numbers

    def open_stream(self, protocols: Sequence[str]) -> int:
        """A new stream; see `Connection.open_stream`."""
        self._wire.pass_time()
        stream = self._wire.connection.open_stream(protocols)
        self._wire.schedule()
        return stream

    def send(self, stream: int, data: bytes) -> int:
        """Queue `data`; the bytes of the stream now unsent. See `Connection.send`."""
        queued = self._wire.connection.send(stream, data)
        self._wire.schedule()
        return queued

    def consume(self, stream: int, count: int) -> None:
        """Say that `count` received bytes have been used."""
        self._wire.connection.consume(stream, count)
        self._wire.schedule()

    def finish(self, stream: int) -> None:
        """Close our half of the stream after what is queued."""
        self._wire.connection.finish(stream)
        self._wire.schedule()

    def reset(self, stream: int) -> None:
        """End the stream at once."""
        self._wire.connection.reset(stream)
        self._wire.schedule()

    def push_identify(self) -> None:
        """Tell the peer that what Identify says about this node has changed."""
        self._wire.pass_time()
        self._wire.connection.push_identify()
        self._wire.schedule()

    def close(self, reason: str) -> None:
        """End the connection after what is queued; `on_closed` follows with code `cancelled`."""
        self._wire.connection.close(reason)
        self._wire.schedule()

    @property
    def paused(self) -> bool:
        """Whether the socket takes no more for now."""
        return self._wire.paused

    @property
    def rtt_us(self) -> int:
        """The last measured round-trip time, in microseconds."""
        return self._wire.connection.rtt_us or 0

    def __repr__(self) -> str:
        return f"Secured({peer_id_text(self.peer)}, {self.remote}, inbound={self.inbound})"


class Wire(asyncio.Protocol):
    """One socket: moves bytes between it and its Connection, and keeps the Connection's timer."""

    def __init__(self, owner: Owner, *, expected: PeerId | None, remote: Multiaddr | None) -> None:
        self._owner = owner
        self._expected = expected
        self._loop = asyncio.get_running_loop()
        self._socket: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_us = 0
        self._scheduled = False
        self._ending = False
        self.inbound = remote is None
        self.remote = remote if remote is not None else Multiaddr.tcp("0.0.0.0", 0)  # noqa: S104  # unknown until the socket is there
        self.endpoint: Multiaddr | None = None  # in numbers, once there is a socket
        self.paused = False
        self.in_handshake = False  # inbound and counted as such by the transport
        self.link: Secured | None = None
        self.ready: asyncio.Future[Secured | Dms3Error] = self._loop.create_future()
        self.connection: Connection

    # Called by asyncio.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake on a fresh socket."""
        self._socket = cast("asyncio.Transport", transport)
        self._socket.set_write_buffer_limits(high=limits.SOCKET_QUEUE_BYTES)
        name = self._socket.get_extra_info("peername")
        if name:
            self.endpoint = Multiaddr.tcp(name[0], name[1])
        if self.inbound and self.endpoint is not None:
            self.remote = self.endpoint
        self.connection = self._owner.connect(self, self._expected)
        if self._owner.admit(self):
            self.flush()
        else:
            self._end_now()

    def data_received(self, data: bytes) -> None:
        """Take bytes of the peer."""
        self._dispatch(self.connection.receive_data(data, self._owner.now_us()))
        self.flush()

    def eof_received(self) -> bool:
        """The peer sends no more: the connection is over."""
        self._dispatch(self.connection.receive_eof(self._owner.now_us()))
        self.flush()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        del exc  # the reason a person sees comes from the Connection
        if self._timer is not None:
            self._timer.cancel()
        self._socket = None
        try:
            self._dispatch(self.connection.receive_eof(self._owner.now_us()))
        finally:
            self._owner.forget(self)  # else closing the transport would wait for it for ever

    def pause_writing(self) -> None:
        """The socket's queue is full."""
        self.paused = True

    def resume_writing(self) -> None:
        """The socket's queue has room again."""
        self.paused = False
        self.flush()

    # Called by the transport and its links.

    def pass_time(self) -> None:
        """Tell the connection what time it is; a quiet one does not know."""
        self.connection.pass_time(self._owner.now_us())

    def schedule(self) -> None:
        """Flush once this turn of the loop is over."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what is due, deliver what that caused, and set the timer."""
        self._scheduled = False
        connection = self.connection
        while self._socket is not None and not self.paused:
            data = connection.data_to_send()
            if not data:
                break
            try:
                self._socket.write(data)
            except RuntimeError:  # uvloop, of a socket that it has closed and said nothing of
                self._loop.call_soon(self._lose)
                return
        self._set_timer()
        if connection.closed:
            self._end()

    def close(self, code: str, reason: str) -> None:
        """End the connection from our side."""
        self.connection.close(reason, code)
        self._dispatch(self.connection.on_timer(self._owner.now_us()))
        self.flush()

    def abort(self) -> None:
        """Drop the socket at once."""
        self._end_now()

    def _set_timer(self) -> None:
        due = self.connection.next_timer()
        if due is None or self._socket is None:
            return
        if self._timer is None or due < self._timer_us:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_us = due
            delay = max(0, due - self._owner.now_us()) / limits.SECOND_US
            self._timer = self._loop.call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._dispatch(self.connection.on_timer(self._owner.now_us()))
        self.flush()

    def _dispatch(self, happened: list[ConnectionEvent]) -> None:
        for event in happened:
            if isinstance(event, events.Closed):
                self._owner.closed(self, event.code, event.reason)
            elif isinstance(event, events.Secured):
                self._owner.secured(self, event.peer)
            elif self.link is not None:
                self._owner.handler.on_event(self.link, event)

    def _end(self) -> None:
        """Close the socket after what is queued, but not later than CLOSE_US_MAX."""
        if self._socket is not None and not self._ending:
            self._ending = True
            self._socket.close()
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(
                limits.CLOSE_US_MAX / limits.SECOND_US, self._end_now
            )

    def _end_now(self) -> None:
        if self._socket is not None:
            self._socket.abort()
            self._loop.call_soon(self._lose)

    def _lose(self) -> None:
        """After an abort the socket is gone, also where nobody says so.

        uvloop closes the socket of an interrupted `create_connection` without `connection_lost`.
        """
        if self._socket is not None:
            self.connection_lost(None)
