"""One connection to a peer, sans-I/O: bytes in, events and bytes out, time and entropy injected.

Source: libp2p connections specification. Everything above an open byte stream: the secure channel,
the multiplexer, agreement on each stream's protocol, Ping and Identify, keep-alive. Whatever a peer
sends, the outcome is events and at most one `Closed` that names the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dms3.core import limits
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import PeerId
from dms3.core.machine import Entropy
from dms3.libp2p import identify, services
from dms3.libp2p.channel import Channel
from dms3.libp2p.events import (
    Closed,
    ConnectionEvent,
    Secured,
    StreamData,
    StreamDrained,
    StreamFinished,
    StreamOpened,
    StreamReset,
)
from dms3.libp2p.identify import IdentifyInfo
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.multistream import Dialer, Listener
from dms3.libp2p.peer_id import NodeKey
from dms3.libp2p.yamux import NORMAL, PROTOCOL_ERROR, StreamArrived, Yamux, YamuxEvent


@dataclass(slots=True)
class _Held:
    """Application data that waits until one of several proposed protocols is agreed."""

    chunks: list[bytes] = field(default_factory=list)
    size: int = 0


class Connection:
    """One side of a connection; `peer` is None until `Secured`.

    `key` is this node's identity; `dialer`, whether we opened the byte stream; `expected_peer`, who
    must answer (None: anyone); `protocols`, whether a peer may open streams of a name; `identify`,
    what to say about this node; `remote`, the peer's address as we see it. All times are monotonic
    microseconds.
    """

    def __init__(  # noqa: PLR0913  # eight unlike things, each by name
        self,
        *,
        key: NodeKey,
        dialer: bool,
        expected_peer: PeerId | None,
        protocols: Callable[[str], bool],
        identify: Callable[[], IdentifyInfo],
        entropy: Entropy,
        now_us: int,
        remote: Multiaddr | None = None,
    ) -> None:
        self._channel = Channel(
            key=key,
            dialer=dialer,
            expected_peer=expected_peer,
            entropy=entropy,
            deliver=self._on_plain,
        )
        self._key = key
        self._dialer = dialer
        self._protocols = protocols
        self._describe = identify
        self._remote = remote
        self._now_us = now_us
        self._deadline_us = now_us + limits.HANDSHAKE_US_MAX
        self._mux: Yamux | None = None
        self._services: services.Services | None = None
        self._internal: dict[int, str] = {}  # streams we opened for Identify, not agreed yet
        self._negotiating: dict[int, Dialer | Listener] = {}
        self._arriving = 0  # Listeners in _negotiating
        self._deadlines: dict[int, int] = {}  # of negotiations, in order
        self._held: dict[int, _Held] = {}
        self._finishing: set[int] = set()  # to be finished once a protocol is agreed
        self._ended: set[int] = set()  # streams we ended while their events were being looked at
        self._pending: list[ConnectionEvent] = []
        self._ping_us = 0  # when to ping, or when the answer is due
        self.closed = False

    @property
    def peer(self) -> PeerId | None:
        """The proven peer, once there is one."""
        return self._channel.peer

    @property
    def secured(self) -> bool:
        """Whether streams can be opened."""
        return self._mux is not None and not self.closed

    @property
    def rtt_us(self) -> int | None:
        """The last measured round-trip time, None before `Secured`."""
        return self._mux.rtt_us if self._mux is not None else None

    # Bytes of the socket.

    def receive_data(self, data: bytes, now_us: int) -> list[ConnectionEvent]:
        """The events caused by `data`, which the peer has sent."""
        self._now_us = now_us
        if self.closed:
            return self._take()
        try:
            self._channel.receive(data)
            if self._mux is None and self._channel.established:
                self._on_established()
        except DecodeError as error:
            self._fail("peer_misbehaved", error.reason)
        except Dms3Error as error:
            self._fail(error.code, error.message)
        return self._take()

    def receive_eof(self, now_us: int) -> list[ConnectionEvent]:
        """The events caused by the end of the byte stream."""
        self._now_us = now_us
        if self._mux is None:
            self._fail("peer_unreachable", "the peer hung up during the handshake")
        else:
            self._fail("peer_unreachable", self._mux.remote_closed or "the peer hung up")
        return self._take()

    def data_to_send(self) -> bytes:
        """The next bytes for the socket, about CONNECTION_FLUSH_BYTES at most; empty when none."""
        out = self._channel.take()
        mux = self._mux
        if mux is not None:
            frames = mux.take(limits.CONNECTION_FLUSH_BYTES)
            if frames:
                try:
                    out += self._channel.seal(b"".join(frames))
                except Dms3Error as error:
                    self._fail(error.code, error.message)
                drained = mux.take_events()
                if drained and not self.closed:
                    self._on_events(drained)
        return b"".join(out)

    # Streams.

    def pass_time(self, now_us: int) -> None:
        """It is `now_us`: what is opened next has its time from here on, after any quiet."""
        self._now_us = max(self._now_us, now_us)

    def open_stream(self, protocols: Sequence[str]) -> int:
        """A new stream that offers `protocols` in order; `StreamOpened` or `StreamReset` follows.

        With one protocol, data may be sent at once; with several it is held until one is agreed.
        Raises `peer_unreachable` unless secured, `limit_reached`, `peer_refused`.
        """
        if self._mux is None or self.closed:
            raise Dms3Error("peer_unreachable", "the connection is not open")
        stream = self._mux.open()
        negotiation = Dialer(protocols)
        self._negotiating[stream] = negotiation
        self._deadlines[stream] = self._now_us + limits.STREAM_NEGOTIATION_US_MAX
        self._mux.send(stream, negotiation.first_flight)
        if not negotiation.lazy:
            self._held[stream] = _Held()
        return stream

    def send(self, stream: int, data: bytes) -> int:
        """Queue `data`; the bytes of the stream now unsent. Nothing when the stream is over.

        When the result exceeds STREAM_QUEUE_NOTICE_BYTES, `StreamDrained` follows. Raises
        `limit_reached`, and queues nothing, beyond STREAM_QUEUE_BYTES_MAX.
        """
        if self._mux is None or self.closed:
            return 0
        held = self._held.get(stream) if self._held else None
        if held is None:
            return self._mux.send(stream, data)
        if held.size + len(data) > limits.STREAM_QUEUE_BYTES_MAX // 2:
            raise Dms3Error("limit_reached", f"stream {stream} has too much unsent data")
        held.chunks.append(data)
        held.size += len(data)
        return held.size

    def consume(self, stream: int, count: int) -> None:
        """Say that `count` received bytes of the stream have been used; the peer may send more."""
        if self._mux is not None and not self.closed:
            self._mux.consume(stream, count)

    def finish(self, stream: int) -> None:
        """Close our half of the stream once everything queued is sent and a protocol is agreed."""
        if self._mux is None or self.closed:
            return
        if stream in self._negotiating:  # js-libp2p misses an end that comes before its handler
            self._finishing.add(stream)
        else:
            self._mux.finish(stream)

    def reset(self, stream: int) -> None:
        """End the stream at once; no event follows."""
        if self._mux is None or self.closed:
            return
        self._forget(stream)
        self._mux.reset(stream)

    def push_identify(self) -> None:
        """Tell the peer that what we say about ourselves has changed; Identify push."""
        self._open_internal(identify.PUSH_PROTOCOL)

    def close(self, reason: str, code: str = "cancelled") -> None:
        """End the connection; `Closed(code, reason)` is the last event."""
        self._fail(code, reason)

    # Time.

    def next_timer(self) -> int | None:
        """When `on_timer` wants to be called; an instant in the past while events are waiting."""
        if self._pending:
            return self._now_us
        if self.closed:
            return None
        if self._mux is None:
            return self._deadline_us
        if self._deadlines:
            return min(self._ping_us, next(iter(self._deadlines.values())))
        return self._ping_us

    def on_timer(self, now_us: int) -> list[ConnectionEvent]:
        """The events of time passing: deadlines missed, keep-alive, and events of sending."""
        self._now_us = max(self._now_us, now_us)
        if self.closed:
            return self._take()
        if self._mux is None:
            if now_us >= self._deadline_us:
                self._fail("timed_out", "the peer did not finish the handshake in time")
            return self._take()
        try:
            while self._deadlines and next(iter(self._deadlines.values())) <= now_us:
                self._end(next(iter(self._deadlines)), "no protocol was agreed in time")
        except Dms3Error as error:
            self._fail(error.code, error.message)
        if now_us >= self._ping_us:
            self._keep_alive(self._mux)
        return self._take()

    def _keep_alive(self, mux: Yamux) -> None:
        sent = mux.ping_sent_us
        if sent is None:
            mux.ping(self._now_us)
            self._ping_us = self._now_us + limits.PING_INTERVAL_US
        elif self._now_us - sent >= limits.PING_ANSWER_US_MAX:
            self._fail("timed_out", "the peer answers no ping")
        else:
            self._ping_us = sent + limits.PING_ANSWER_US_MAX

    # What came out of the channel.

    def _on_plain(self, plain: bytes) -> None:
        if self.closed:
            return  # what came behind the end, in the same read of the socket
        mux = self._mux or self._on_established()
        try:
            mux.receive(plain, self._now_us)
        finally:  # what came before a violation has happened, however the bytes were cut
            self._on_events(mux.take_events())
        if mux.remote_closed is not None and not self._negotiating:
            self._fail("peer_refused", mux.remote_closed)

    def _on_established(self) -> Yamux:
        peer = self._channel.peer
        assert peer is not None, "an established channel has a proven peer"
        self._mux = mux = Yamux(dialer=self._dialer, now_us=self._now_us)
        self._services = services.Services(
            mux=mux,
            peer=peer,
            remote=self._remote,
            public_key=self._key.public_bytes,
            describe=self._describe,
        )
        self._pending.append(Secured(peer))
        mux.ping(self._now_us)
        self._ping_us = self._now_us + limits.PING_INTERVAL_US
        self._open_internal(identify.PROTOCOL)
        return mux

    def _open_internal(self, protocol: str) -> None:
        stream = self.open_stream([protocol])
        self._internal[stream] = protocol

    def _on_events(self, events: list[YamuxEvent]) -> None:
        out = self._pending
        negotiating = self._negotiating
        served = self._services
        assert served is not None, "there are no streams before services"
        ended = self._ended
        for event in events:
            stream = event.stream
            if isinstance(event, StreamArrived):
                ended.discard(stream)
                self._on_arrived(stream)
            elif stream in ended:
                continue
            elif stream in negotiating:
                self._on_negotiating(event)
            elif stream in served:
                self._on_served(served, event)
            else:
                out.append(event)
        if ended:
            ended.clear()

    def _on_arrived(self, stream: int) -> None:
        mux = self._mux
        assert mux is not None, "streams arrive through the multiplexer"
        if self._arriving >= limits.YAMUX_BACKLOG_STREAMS_MAX:
            mux.refuse(stream)
            return
        self._arriving += 1
        self._negotiating[stream] = Listener(self._supports)
        self._deadlines[stream] = self._now_us + limits.STREAM_NEGOTIATION_US_MAX

    def _supports(self, protocol: str) -> bool:
        return protocol in services.PROTOCOLS or self._protocols(protocol)

    def _on_negotiating(self, event: YamuxEvent) -> None:
        stream = event.stream
        if isinstance(event, StreamData):
            try:
                self._negotiate(stream, self._negotiating[stream], event.data)
            except DecodeError as error:
                self._end(stream, error.reason)
            except Dms3Error as error:
                self._end(stream, error.message)
        elif isinstance(event, StreamFinished):
            self._end(stream, "the peer ended the stream before agreeing", finished=True)
        elif isinstance(event, StreamReset):
            self._end(stream, event.reason)
        elif isinstance(event, StreamDrained):  # lazy: data goes out before the answer comes
            self._pending.append(event)

    def _negotiate(self, stream: int, negotiation: Dialer | Listener, data: bytes) -> None:
        mux = self._mux
        assert mux is not None, "streams negotiate through the multiplexer"
        reply, rest = negotiation.receive(data)
        mux.consume(stream, len(data) - len(rest))
        if reply:
            mux.send(stream, reply)
        protocol = negotiation.protocol
        if protocol is None:
            return
        inbound = isinstance(negotiation, Listener)
        held = self._held.get(stream)
        internal = self._internal.get(stream)
        finishing = stream in self._finishing
        self._forget(stream)
        if inbound:
            mux.count_useful()
        if internal or (inbound and protocol in services.PROTOCOLS):
            self._serve(stream, protocol, inbound=inbound, data=rest)
            return
        self._pending.append(StreamOpened(stream, protocol, inbound))
        if held is not None:
            mux.send(stream, b"".join(held.chunks))
        if finishing:
            mux.finish(stream)
        if rest:
            self._pending.append(StreamData(stream, rest))

    def _serve(self, stream: int, protocol: str, *, inbound: bool, data: bytes) -> None:
        served = self._services
        assert served is not None, "there are no streams before services"
        served.start(stream, protocol, inbound=inbound)
        if data and stream in served:
            served.receive(stream, data)
        if stream not in served:
            self._ended.add(stream)

    def _on_served(self, served: services.Services, event: YamuxEvent) -> None:
        if isinstance(event, StreamData):
            served.receive(event.stream, event.data)
        elif isinstance(event, StreamFinished):
            identified = served.finish(event.stream)
            if identified is not None:
                self._pending.append(identified)
        elif isinstance(event, StreamReset):
            served.drop(event.stream)
        if event.stream not in served:
            self._ended.add(event.stream)

    def _end(self, stream: int, reason: str, *, finished: bool = False) -> None:
        """A negotiation came to nothing: end the stream, and tell whoever opened it.

        `finished`: the peer has closed its half.
        """
        mux = self._mux
        assert mux is not None, "streams end in the multiplexer"
        negotiation = self._negotiating[stream]
        self._ended.add(stream)
        surfaced = isinstance(negotiation, Dialer) and stream not in self._internal
        self._forget(stream)
        if isinstance(negotiation, Listener) and finished:
            mux.finish(stream)  # a refusal may still be on its way to the peer
        else:
            mux.reset(stream)
        if surfaced:
            self._pending.append(StreamReset(stream, reason))
        elif isinstance(negotiation, Listener):
            mux.count_useless()

    def _forget(self, stream: int) -> None:
        if isinstance(self._negotiating.pop(stream, None), Listener):
            self._arriving -= 1
        self._deadlines.pop(stream, None)
        self._held.pop(stream, None)
        self._finishing.discard(stream)
        self._internal.pop(stream, None)

    def _fail(self, code: str, reason: str) -> None:
        if self.closed:
            return
        if self._mux is not None:
            wrong = code in {"peer_misbehaved", "limit_reached"}
            self._mux.go_away(PROTOCOL_ERROR if wrong else NORMAL)
        self.closed = True
        self._pending.append(Closed(code, reason))

    def _take(self) -> list[ConnectionEvent]:
        events, self._pending = self._pending, []
        return events
