"""Many streams over one secured byte stream: Yamux /yamux/1.0.0, sans-I/O.

Source: libp2p yamux specification (a copy of hashicorp's). Data is handed up as it arrives and is
not kept: the window bounds what the peer may send before the application has consumed it. Windows
grow while they are the bottleneck, up to a bound per stream and per connection.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass

from dms3.core import limits
from dms3.core.errors import Dms3Error
from dms3.libp2p.events import StreamData, StreamDrained, StreamFinished, StreamReset

PROTOCOL = "/yamux/1.0.0"
_DATA, _WINDOW, _PING, _GO_AWAY = 0, 1, 2, 3
_SYN, _ACK, _FIN, _RST = 1, 2, 4, 8
_HEADER = struct.Struct(">BBHII")
_HEADER_SIZE = 12
_UINT32_MAX = (1 << 32) - 1
_GROWTH_RTT = 4  # a window used up within this many round trips is too small
_RTT_UNKNOWN_US = 100_000
NORMAL, PROTOCOL_ERROR, INTERNAL_ERROR = 0, 1, 2  # Yamux specification, session termination
_GO_AWAY_TEXT = {NORMAL: "normally", PROTOCOL_ERROR: "because of a protocol error"}


@dataclass(frozen=True, slots=True)
class StreamArrived:
    """The peer opened a stream; nothing is agreed on it yet."""

    stream: int


YamuxEvent = StreamArrived | StreamData | StreamDrained | StreamFinished | StreamReset


class _Stream:
    """Flow control and unsent data of one stream."""

    __slots__ = (
        "acknowledged",
        "consumed",
        "fin_received",
        "fin_sent",
        "fin_wanted",
        "grown_us",
        "id",
        "inbound",
        "noticed",
        "queue",
        "queued",
        "receive_window",
        "scheduled",
        "send_window",
        "window",
    )

    def __init__(self, identifier: int, *, inbound: bool, now_us: int) -> None:
        self.id = identifier
        self.inbound = inbound
        self.acknowledged = False  # by the peer when it is ours, by us when it is the peer's
        self.send_window = limits.YAMUX_WINDOW_BYTES
        self.receive_window = limits.YAMUX_WINDOW_BYTES
        self.window = limits.YAMUX_WINDOW_BYTES
        self.consumed = 0  # taken by the application, not yet given back to the peer
        self.grown_us = now_us
        self.queue: deque[memoryview] = deque()
        self.queued = 0
        self.noticed = False
        self.scheduled = False
        self.fin_wanted = False
        self.fin_sent = False
        self.fin_received = False


class Yamux:
    """One side of a session. `take_events` says what happened, `take` what must be sent.

    `remote_closed` is why, once the peer has said that it goes away. `rtt_us` is measured by ping.
    """

    def __init__(self, *, dialer: bool, now_us: int) -> None:
        self._streams: dict[int, _Stream] = {}
        self._next_id = 1 if dialer else 2
        self._inbound = 0
        self._unacknowledged = 0  # streams of ours without ACK
        self._refused = 0
        self._growth = 0
        self._now_us = now_us
        self._header = bytearray()  # an unfinished header
        self._body: _Stream | None = None  # whose data is coming; None while it is skipped
        self._body_left = 0
        self._body_fin = False
        self._control: list[bytes] = []
        self._control_size = 0
        self._ready: deque[_Stream] = deque()
        self._unanswered: dict[int, _Stream] = {}  # inbound, to acknowledge at the next flush
        self._events: list[YamuxEvent] = []
        self.remote_closed: str | None = None
        self.rtt_us = _RTT_UNKNOWN_US
        self._ping_sent_us: int | None = None
        self._ping_value = 0

    # What the application does.

    def open(self) -> int:
        """A new stream of ours; raises `limit_reached` or `peer_refused`."""
        if self.remote_closed is not None:
            raise Dms3Error("peer_refused", "the peer is closing the connection")
        ours = len(self._streams) - self._inbound
        if (
            ours >= limits.YAMUX_OUTBOUND_STREAMS_MAX
            or self._unacknowledged >= limits.YAMUX_BACKLOG_STREAMS_MAX
            or self._next_id > _UINT32_MAX
        ):
            raise Dms3Error("limit_reached", f"{ours} streams to this peer are open already")
        stream = _Stream(self._next_id, inbound=False, now_us=self._now_us)
        self._next_id += 2
        self._unacknowledged += 1
        self._streams[stream.id] = stream
        self._put(_WINDOW, _SYN, stream.id, 0)
        return stream.id

    def send(self, identifier: int, data: bytes) -> int:
        """Queue `data`; the bytes of this stream now unsent. Nothing when the stream is over.

        Raises `limit_reached` when the queue would exceed STREAM_QUEUE_BYTES_MAX.
        """
        stream = self._streams.get(identifier)
        if stream is None or stream.fin_wanted:
            return 0
        queued = stream.queued + len(data)
        if queued > limits.STREAM_QUEUE_BYTES_MAX:
            raise Dms3Error("limit_reached", f"stream {identifier} has too much unsent data")
        if data:
            stream.queue.append(memoryview(data))
            stream.queued = queued
            if queued > limits.STREAM_QUEUE_NOTICE_BYTES:
                stream.noticed = True
            self._schedule(stream)
        return queued

    def consume(self, identifier: int, count: int) -> None:
        """Give `count` consumed bytes back to the sender once they make up half a window."""
        stream = self._streams.get(identifier)
        if stream is None or stream.fin_received:
            return
        stream.consumed = min(stream.consumed + count, stream.window - stream.receive_window)
        if stream.consumed * 2 >= stream.window:
            delta = stream.consumed + self._grow(stream)
            stream.consumed = 0
            stream.receive_window += delta
            self._put(_WINDOW, self._ack(stream), identifier, delta)

    def finish(self, identifier: int) -> None:
        """Close our half of the stream after the queued data."""
        stream = self._streams.get(identifier)
        if stream is not None and not stream.fin_wanted:
            stream.fin_wanted = True
            self._schedule(stream)

    def reset(self, identifier: int) -> None:
        """End the stream at once in both directions."""
        stream = self._streams.get(identifier)
        if stream is not None:
            self._put(_WINDOW, _RST, identifier, 0)
            self._drop(stream)

    def is_open(self, identifier: int) -> bool:
        """Whether the stream still exists in at least one direction."""
        return identifier in self._streams

    def ping(self, now_us: int) -> None:
        """Ask the peer for a sign of life."""
        self._ping_value = (self._ping_value + 1) & _UINT32_MAX
        self._ping_sent_us = now_us
        self._put(_PING, _SYN, 0, self._ping_value)

    @property
    def ping_sent_us(self) -> int | None:
        """When the unanswered ping was sent, or None."""
        return self._ping_sent_us

    def go_away(self, code: int) -> None:
        """Tell the peer that the session ends."""
        self._put(_GO_AWAY, 0, 0, code)

    # What the peer does.

    def receive(self, data: bytes, now_us: int) -> None:
        """Take `data`; raises `peer_misbehaved` or `limit_reached` to end the session."""
        self._now_us = now_us
        offset = 0
        size = len(data)
        while offset < size:
            if self._body_left:
                offset = self._take_body(data, offset)
                continue
            if self._header or size - offset < _HEADER_SIZE:
                missing = _HEADER_SIZE - len(self._header)
                self._header += data[offset : offset + missing]
                offset = min(size, offset + missing)
                if len(self._header) < _HEADER_SIZE:
                    break
                header = _HEADER.unpack(self._header)
                self._header.clear()
            else:
                header = _HEADER.unpack_from(data, offset)
                offset += _HEADER_SIZE
            self._on_header(*header)
            if self._control_size > limits.YAMUX_CONTROL_BYTES_MAX:
                raise Dms3Error("limit_reached", "the peer floods frames and reads no answers")

    def take_events(self) -> list[YamuxEvent]:
        """What has happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    def _take_body(self, data: bytes, offset: int) -> int:
        end = min(len(data), offset + self._body_left)
        self._body_left -= end - offset
        stream = self._body
        if stream is not None:
            self._events.append(StreamData(stream.id, data[offset:end]))
        if self._body_left == 0:
            self._body = None
            if stream is not None and self._body_fin:
                self._on_fin(stream)
        return end

    def _on_header(self, version: int, kind: int, flags: int, identifier: int, value: int) -> None:
        if version != 0 or kind > _GO_AWAY:
            raise _misbehaved(f"sent frame version {version} type {kind}")
        if kind == _PING:
            self._on_ping(flags, value)
        elif kind == _GO_AWAY:
            text = _GO_AWAY_TEXT.get(value, "because of an internal error")
            self.remote_closed = f"the peer ended the session {text}"
        else:
            self._on_stream_frame(kind, flags, identifier, value)

    def _on_ping(self, flags: int, value: int) -> None:
        if flags & _SYN:
            self._put(_PING, _ACK, 0, value)
        elif flags & _ACK and self._ping_sent_us is not None and value == self._ping_value:
            self.rtt_us = max(1, self._now_us - self._ping_sent_us)
            self._ping_sent_us = None

    def _on_stream_frame(self, kind: int, flags: int, identifier: int, value: int) -> None:
        if flags & _SYN:
            self._on_syn(identifier)
        stream = self._streams.get(identifier)
        if stream is None:
            self._on_stranger(kind, identifier, value)
            return
        if not stream.inbound and not stream.acknowledged:  # whatever the flags: it took it
            stream.acknowledged = True
            self._unacknowledged -= 1
        if flags & _RST:
            if not (stream.fin_wanted and stream.fin_received):
                self._events.append(StreamReset(identifier, "the peer reset the stream"))
            self._drop(stream)
            stream = None
        if kind == _DATA:
            self._on_data(stream, flags, value)
        elif stream is not None:
            self._on_window(stream, flags, value)

    def _on_stranger(self, kind: int, identifier: int, value: int) -> None:
        """A frame of a stream that is over or was refused: what is on the way is skipped."""
        ours = identifier % 2 == self._next_id % 2
        if identifier == 0 or (ours and identifier >= self._next_id):
            raise _misbehaved(f"sent a frame of stream {identifier}, which nobody opened")
        if kind == _DATA:
            self._on_data(None, 0, value)

    def _on_syn(self, identifier: int) -> None:
        if identifier == 0 or identifier % 2 == self._next_id % 2:
            raise _misbehaved(f"opened stream {identifier}, which is not its to open")
        if identifier in self._streams:
            raise _misbehaved(f"opened stream {identifier} twice")
        if self._inbound >= limits.YAMUX_INBOUND_STREAMS_MAX:
            self.refuse(identifier)
            return
        stream = _Stream(identifier, inbound=True, now_us=self._now_us)
        self._streams[identifier] = stream
        self._inbound += 1
        self._unanswered[identifier] = stream
        self._events.append(StreamArrived(identifier))

    def count_useless(self) -> None:
        """Count an inbound stream that came to nothing; `limit_reached` when there is no end."""
        self._refused += 1
        if self._refused > limits.YAMUX_REFUSED_STREAMS_MAX:
            raise Dms3Error("limit_reached", "the peer opens streams without end")

    def refuse(self, identifier: int) -> None:
        """Answer an inbound stream with a reset; raises `limit_reached` when there is no end."""
        self.count_useless()
        stream = self._streams.get(identifier)
        if stream is not None:
            self._drop(stream)
        self._put(_WINDOW, _RST, identifier, 0)

    def count_useful(self) -> None:
        """An inbound stream was put to use: the peer does not merely flood."""
        self._refused = 0

    def _on_data(self, stream: _Stream | None, flags: int, length: int) -> None:
        if stream is None:
            if length > limits.YAMUX_WINDOW_BYTES_MAX:
                raise _misbehaved("sent a frame larger than any window")
        else:
            if stream.fin_received and length:
                raise _misbehaved(f"sent data after the end of stream {stream.id}")
            if length > stream.receive_window:
                raise _misbehaved(f"sent more than the window of stream {stream.id}")
            stream.receive_window -= length
            if flags & _FIN and not length:
                self._on_fin(stream)
        self._body = stream
        self._body_left = length
        self._body_fin = bool(flags & _FIN)

    def _on_window(self, stream: _Stream, flags: int, delta: int) -> None:
        stream.send_window += delta
        if stream.send_window > _UINT32_MAX:
            raise _misbehaved(f"raised the window of stream {stream.id} beyond 32 bits")
        if stream.queued:
            self._schedule(stream)
        if flags & _FIN:
            self._on_fin(stream)

    def _on_fin(self, stream: _Stream) -> None:
        if stream.fin_received:
            return
        stream.fin_received = True
        self._events.append(StreamFinished(stream.id))
        if stream.fin_sent:
            self._drop(stream)

    # What is sent.

    def take(self, budget: int) -> list[bytes | memoryview]:
        """Frames to send, in order, about `budget` bytes of data; empty when there are none."""
        for stream in self._unanswered.values():
            if not stream.acknowledged and not stream.scheduled:
                stream.acknowledged = True
                self._put(_WINDOW, _ACK, stream.id, 0)
        self._unanswered.clear()
        out: list[bytes | memoryview] = list(self._control)
        self._control.clear()
        self._control_size = 0
        while self._ready and budget > 0:
            stream = self._ready.popleft()
            stream.scheduled = False
            budget -= self._emit(stream, out)
        return out

    def _is_current(self, stream: _Stream) -> bool:
        return self._streams.get(stream.id) is stream

    def _emit(self, stream: _Stream, out: list[bytes | memoryview]) -> int:
        """Append one data frame of `stream`, and its end when it is due; the bytes appended."""
        if not self._is_current(stream):
            return 0
        size = min(stream.queued, stream.send_window, limits.YAMUX_FRAME_BYTES)
        done = stream.fin_wanted and not stream.fin_sent and size == stream.queued
        if size == 0 and not done:
            return 0
        flags = self._ack(stream)
        if size:
            out.append(_HEADER.pack(0, _DATA, flags, stream.id, size))
            stream.send_window -= size
            stream.queued -= size
            _cut(stream.queue, size, out)
            flags = 0
        if done:  # in a frame of its own: js-libp2p loses data that comes with the end
            out.append(_HEADER.pack(0, _WINDOW, flags | _FIN, stream.id, 0))
        if done:
            stream.fin_sent = True
            if stream.fin_received:
                self._drop(stream)
        elif stream.queued and stream.send_window:
            self._schedule(stream)
        if stream.noticed and stream.queued <= limits.STREAM_QUEUE_NOTICE_BYTES:
            stream.noticed = False
            self._events.append(StreamDrained(stream.id))
        return size + _HEADER_SIZE

    def _ack(self, stream: _Stream) -> int:
        """The ACK flag, if the next frame of `stream` has to carry it."""
        if stream.acknowledged or not stream.inbound:
            return 0
        stream.acknowledged = True
        return _ACK

    def _schedule(self, stream: _Stream) -> None:
        if not stream.scheduled:
            stream.scheduled = True
            self._ready.append(stream)

    def _put(self, kind: int, flags: int, identifier: int, value: int) -> None:
        self._control.append(_HEADER.pack(0, kind, flags, identifier, value))
        self._control_size += _HEADER_SIZE

    def _grow(self, stream: _Stream) -> int:
        """Double a window that was used up quickly; the bytes it grew by."""
        quick = self._now_us - stream.grown_us < _GROWTH_RTT * self.rtt_us
        stream.grown_us = self._now_us
        growth = min(
            stream.window,
            limits.YAMUX_WINDOW_BYTES_MAX - stream.window,
            limits.YAMUX_GROWTH_BYTES_MAX - self._growth,
        )
        if not quick or growth <= 0:
            return 0
        stream.window += growth
        self._growth += growth
        return growth

    def _drop(self, stream: _Stream) -> None:
        del self._streams[stream.id]
        self._unanswered.pop(stream.id, None)
        if stream.inbound:
            self._inbound -= 1
        elif not stream.acknowledged:
            self._unacknowledged -= 1
        self._growth -= stream.window - limits.YAMUX_WINDOW_BYTES
        stream.queue.clear()
        stream.queued = 0
        if self._body is stream:
            self._body = None


def _cut(queue: deque[memoryview], size: int, out: list[bytes | memoryview]) -> None:
    """Move the first `size` bytes of `queue` to `out` without copying them."""
    while size:
        head = queue[0]
        if len(head) <= size:
            out.append(queue.popleft())
            size -= len(head)
        else:
            out.append(head[:size])
            queue[0] = head[size:]
            return


def _misbehaved(what: str) -> Dms3Error:
    return Dms3Error("peer_misbehaved", f"the peer {what}")
