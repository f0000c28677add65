"""All dms3 protocols of one peer over one multiplexed connection, without I/O.

Source: docs/wire.md, "Streams" and "Conduct". One long-lived stream per protocol in each direction
that asks, opened at the first question. A violation resets the stream it happened on and nothing
else. The same class runs in the node and in the simulator; peers and scores are not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.limits import (
    DEADLINE_US_MAX,
    FRAME_BODY_BYTES_MAX,
    LINK_TICK_US,
    STREAMS_INBOUND_MAX,
    VERSION_WAIT_US,
)
from dms3.libp2p.events import (
    ConnectionEvent,
    StreamData,
    StreamDrained,
    StreamFinished,
    StreamOpened,
    StreamReset,
)
from dms3.p2p.answering import Answering, split_handle
from dms3.p2p.asking import Asking
from dms3.p2p.conduct import Misbehaved
from dms3.p2p.frames import Version
from dms3.p2p.stream import (
    Asked,
    Disagreed,
    Given,
    LinkEvent,
    Misconduct,
    Muxed,
    Refused,
    Told,
    Unasked,
)

PREFIX = "/dms3/"
_UNSPOKEN = "the peer does not speak /"  # how libp2p/multistream.py words a refused proposal
_TOO_LARGE = Failure("body_too_large", f"A message has at most {FRAME_BODY_BYTES_MAX} bytes.")
_CLOSED = Failure("peer_unreachable", "The connection to the peer is closed.", Retry.LATER)


class Link:
    """The dms3 side of one connection.

    Arguments: `mux`, the connection; `protocols`, the minors spoken of each protocol id, rising;
    `network`, the 32-byte network id. Every `now_us` is an instant of one monotonic clock. All
    methods that return events return them in the order in which they happened.
    """

    def __init__(self, mux: Muxed, protocols: Mapping[str, Sequence[int]], network: bytes) -> None:
        self._mux = mux
        self._versions = {
            name: Version(network, tuple(minors)) for name, minors in protocols.items()
        }
        self._asking: dict[str, Asking] = {}  # by protocol
        self._answering: dict[str, Answering] = {}  # by protocol: the one that may still ask
        self._sides: dict[int, Asking | Answering] = {}  # by stream
        self._owners: dict[int, Asking] = {}  # by handle of our questions
        self._inbound = 0
        self._refusals: dict[str, Failure] = {}  # protocols the peer does not speak with us
        self._events: list[LinkEvent] = []  # made outside of an event: given with the next timer
        self._timer: int | None = None
        self._closed = False

    # What the node asks for

    def request(
        self, protocol: str, body: bytes, handle: int, deadline_us: int, now_us: int
    ) -> Failure | None:
        """Ask the peer; one `Given(handle)` follows, unless a Failure is returned at once.

        `handle` is not in use by another question. Nothing follows after `cancel(handle)`.
        """
        assert handle not in self._owners, f"handle {handle} is in use"
        side = self._ready_to_send(protocol, body, now_us)
        if isinstance(side, Failure):
            return side
        deadline_us = min(deadline_us, now_us + DEADLINE_US_MAX)
        try:
            failure = side.request(handle, body, deadline_us)
        except Misbehaved as fault:
            self._owners[handle] = side
            self._drop_later(side, fault)
            return None
        if failure is None:
            self._owners[handle] = side
            self._wake(min(deadline_us, now_us + LINK_TICK_US))
        return failure

    def send(self, protocol: str, body: bytes, now_us: int) -> bool:
        """Send a one-way message; False when it was dropped."""
        side = self._ready_to_send(protocol, body, now_us)
        if isinstance(side, Failure):
            return False
        try:
            return side.tell(body)
        except Misbehaved as fault:
            self._drop_later(side, fault)
            return False

    def reply(self, request: int, body: bytes | Failure, now_us: int) -> None:
        """Answer an `Asked`; nothing happens when it has ended in the meantime."""
        stream, number = split_handle(request)
        side = self._sides.get(stream)
        if not isinstance(side, Answering):
            return
        try:
            side.reply(number, body)
        except Misbehaved as fault:
            self._drop_later(side, fault)
            return
        if side.queued:
            self._wake(now_us + LINK_TICK_US)
        if side.done:
            self._retire(side)

    def taken(self, event: Asked | Told) -> None:
        """An inbox has taken `event` (or it has been refused): its credit goes back."""
        stream = event.stream if isinstance(event, Told) else split_handle(event.request)[0]
        side = self._sides.get(stream)
        if isinstance(side, Answering):
            side.taken(event.credit)

    def cancel(self, handle: int) -> None:
        """Forget our question `handle`; the peer is told. Unknown handles are ignored."""
        side = self._owners.pop(handle, None)
        if side is not None:
            try:
                side.cancel(handle)
            except Misbehaved as fault:
                self._drop_later(side, fault)

    def close(self, failure: Failure = _CLOSED) -> list[LinkEvent]:
        """The connection has ended: our questions fail, the peer's are withdrawn. Idempotent."""
        self._closed = True
        self._timer = None
        events = self._events
        self._events = []
        for side in list(self._sides.values()):
            self._end(side, failure, events)
        return events

    # What the connection tells

    def on_event(self, event: ConnectionEvent, now_us: int) -> list[LinkEvent]:
        """What follows from an event of the connection; those of no concern give nothing."""
        if isinstance(event, StreamData):  # the usual case
            return self.on_data(event.stream, event.data, now_us)
        match event:
            case StreamOpened(stream, protocol, True):
                return self.on_opened(stream, protocol, now_us)
            case StreamFinished(stream):
                return self.on_finished(stream)
            case StreamReset(stream, reason):
                unspoken = reason.startswith(_UNSPOKEN)
                return self.on_reset(stream, "protocol_unsupported" if unspoken else "")
            case StreamDrained(stream):
                self.on_drained(stream)
        return []

    def on_opened(self, stream: int, protocol: str, now_us: int) -> list[LinkEvent]:
        """The peer has opened `stream` for `protocol`, one of ours."""
        before = self._answering.get(protocol)
        code = None
        if before is not None:
            code = "stream_repeated"
        elif self._inbound >= STREAMS_INBOUND_MAX:
            code = "streams_excess"
        if code or self._closed or protocol not in self._versions:
            self._mux.reset(stream)
            return [Misconduct(code, protocol)] if code else []
        side = Answering(self._mux, stream, protocol, self._versions[protocol], now_us)
        self._answering[protocol] = side
        self._sides[stream] = side
        self._inbound += 1
        self._wake(now_us + LINK_TICK_US)
        return []

    def on_data(self, stream: int, data: bytes, now_us: int) -> list[LinkEvent]:
        """Bytes of a stream; those of a stream that has ended are dropped."""
        side = self._sides.get(stream)
        if side is None:
            self._mux.consume(stream, len(data))
            return []
        events: list[LinkEvent] = []
        try:
            side.on_data(data, now_us, events)
        except Misbehaved as fault:
            self._settle(events)
            self._drop(side, fault, events)
            return events
        except Disagreed as end:
            self._settle(events)
            self._part(side, end.failure, now_us, events)
            return events
        if isinstance(side, Asking):
            self._settle(events)
            if side.spent and not side.handles():
                self._retire(side)
        if side.unfinished or isinstance(side, Answering):
            self._wake(now_us + LINK_TICK_US)
        return events

    def on_finished(self, stream: int) -> list[LinkEvent]:
        """The peer sends no more on `stream`."""
        side = self._sides.get(stream)
        events: list[LinkEvent] = []
        if isinstance(side, Asking):  # whoever answers never finishes first
            self._mux.reset(stream)
            self._end(side, _ended("It ended the stream."), events)
        elif side is not None:
            side.finishing = True
            if self._answering.get(side.protocol) is side:
                del self._answering[side.protocol]
            if side.done:
                self._retire(side)
        return events

    def on_reset(self, stream: int, code: str) -> list[LinkEvent]:
        """The stream was abandoned; `code` is `protocol_unsupported` when it was not wanted."""
        side = self._sides.get(stream)
        events: list[LinkEvent] = []
        if side is None:
            return events
        failure = _ended("It abandoned the stream.")
        if code == "protocol_unsupported" and isinstance(side, Asking) and side.minor is None:
            failure = Failure(code, f"The peer does not speak {side.protocol}.")
            self._refusals[side.protocol] = failure
            events.append(Refused(side.protocol, failure))
        self._end(side, failure, events)
        return events

    def on_drained(self, stream: int) -> None:
        """What was queued on `stream` has been sent."""
        side = self._sides.get(stream)
        if side is None:
            return
        side.queued = 0  # as good as: the next check looks again
        if isinstance(side, Answering):
            side.taken(0)
        else:
            self._refill(side)

    # Time

    def next_timer(self) -> int | None:
        """The instant at which `on_timer` wants to be called; it may prove to be too early."""
        return self._timer

    def on_timer(self, now_us: int) -> list[LinkEvent]:
        """Deadlines that have passed, streams that have stalled."""
        events, self._events = self._events, []
        self._timer = None
        for side in list(self._sides.values()):
            try:
                if isinstance(side, Answering) and side.deaf:
                    if side.lingers(now_us, VERSION_WAIT_US):
                        self._mux.reset(side.stream)
                        self._forget(side)
                        continue
                else:
                    side.expire(now_us, events)
                    side.check(now_us)
            except Misbehaved as fault:
                self._settle(events)
                self._drop(side, fault, events)
                continue
            if isinstance(side, Answering) and side.done:  # its last question has just expired
                self._retire(side)
            elif side.busy:
                self._wake(now_us + LINK_TICK_US)
                earliest = side.earliest()
                if earliest is not None:
                    self._wake(earliest)
        self._settle(events)
        events += self._events
        self._events = []
        return events

    # Small parts

    def minor(self, protocol: str) -> int | None:
        """The minor agreed on for our questions in `protocol`, or None when not known yet."""
        side = self._asking.get(protocol)
        return None if side is None else side.minor

    def in_flight(self) -> int:
        """Our questions that have not ended."""
        return len(self._owners)

    def _ready_to_send(self, protocol: str, body: bytes, now_us: int) -> Asking | Failure:
        """The side to ask on, opened if need be; or why not."""
        if self._closed:
            return _CLOSED
        if len(body) > FRAME_BODY_BYTES_MAX:
            return _TOO_LARGE
        refusal = self._refusals.get(protocol) or self._refusals.get("")
        if refusal is not None:
            return refusal
        side = self._asking.get(protocol)
        if side is not None and not side.spent:
            return side
        if side is not None:
            del self._asking[protocol]  # it ends with its last answer
        try:
            return self._open(protocol, now_us)
        except Dms3Error as error:
            return Failure.of(error)

    def _open(self, protocol: str, now_us: int) -> Asking:
        stream = self._mux.open_stream([protocol])
        side = Asking(self._mux, stream, protocol, self._versions[protocol], now_us)
        self._asking[protocol] = side
        self._sides[stream] = side
        self._wake(now_us + LINK_TICK_US)
        return side

    def _wake(self, at_us: int) -> None:
        if self._timer is None or at_us < self._timer:
            self._timer = at_us

    def _settle(self, events: list[LinkEvent]) -> None:
        """Our questions that `events` answer have no owner any more."""
        for event in events:
            if type(event) is Given:
                self._owners.pop(event.handle, None)

    def _refill(self, side: Asking) -> None:
        try:
            side.refill()
        except Misbehaved as fault:
            self._drop_later(side, fault)

    def _retire(self, side: Asking | Answering) -> None:
        self._mux.finish(side.stream)
        self._forget(side)

    def _drop(self, side: Asking | Answering, fault: Misbehaved, out: list[LinkEvent]) -> None:
        """Reset a stream whose peer broke a rule."""
        self._mux.reset(side.stream)
        out.append(Misconduct(fault.code, side.protocol))
        failure = Failure("peer_misbehaved", f"The peer broke a rule: {fault.code}.")
        self._end(side, failure, out)

    def _drop_later(self, side: Asking | Answering, fault: Misbehaved) -> None:
        """As `_drop`, found while we send: what follows is given with the next timer, at once."""
        self._drop(side, fault, self._events)
        self._timer = 0

    def _part(
        self, side: Asking | Answering, failure: Failure, now_us: int, out: list[LinkEvent]
    ) -> None:
        """End a stream on which there is no agreement; the peer gets our version frame."""
        out.append(Refused(side.protocol, failure))
        every = failure.code == "network_mismatch"
        self._refusals["" if every else side.protocol] = failure
        if isinstance(side, Asking):
            self._mux.reset(side.stream)
            self._end(side, failure, out)
        else:
            side.deaf = True
            self._mux.finish(side.stream)
            self._wake(now_us + LINK_TICK_US)

    def _end(self, side: Asking | Answering, failure: Failure, out: list[LinkEvent]) -> None:
        """Forget `side`; whoever waits on it is told `failure`."""
        for handle in side.handles():
            if isinstance(side, Asking):
                self._owners.pop(handle, None)
                out.append(Given(handle, failure))
            else:
                out.append(Unasked(handle))
        self._forget(side)

    def _forget(self, side: Asking | Answering) -> None:
        if self._sides.pop(side.stream, None) is None:
            return
        if isinstance(side, Answering):
            self._inbound -= 1
            if self._answering.get(side.protocol) is side:
                del self._answering[side.protocol]
        elif self._asking.get(side.protocol) is side:
            del self._asking[side.protocol]


def _ended(what: str) -> Failure:
    return Failure("peer_unreachable", f"The peer did not answer. {what}", Retry.LATER)
