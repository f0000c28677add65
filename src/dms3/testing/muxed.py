"""A pair of multiplexed connections in memory, with flow control and any splitting of the bytes.

For tests of `p2p/link.py` and of whatever stands on it. It keeps the promises of
`p2p.stream.Muxed` and none of Yamux's bytes: no handshake, no encryption, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dms3.core.errors import Dms3Error
from dms3.core.limits import STREAM_QUEUE_BYTES_MAX

WINDOW_BYTES = 256 * 1024  # as Yamux begins

Split = Callable[[int], int]
"""Given the bytes that could travel now, how many do (at least 1)."""


@dataclass(slots=True)
class _Stream:
    protocol: str
    queue: bytearray = field(default_factory=bytearray)
    window: int = WINDOW_BYTES  # what the other end still takes
    finished: bool = False  # by this end
    finish_told: bool = False


@dataclass(slots=True)
class Happened:
    """What one end is told: `kind` is opened, data, finished, reset or drained."""

    kind: str
    stream: int
    protocol: str = ""
    data: bytes = b""


class MuxedEnd:
    """One end of a pair; `happened` collects what it is told until somebody takes it."""

    def __init__(self, first: int, speaks: Callable[[str], bool]) -> None:
        self.happened: list[Happened] = []
        self.streams: dict[int, _Stream] = {}
        self.resets: list[int] = []
        self.other: MuxedEnd = self
        self._next = first
        self.speaks = speaks

    def open_stream(self, protocols: Sequence[str]) -> int:
        """A stream for the first of `protocols`; reset at once when the other end speaks none."""
        stream = self._next
        self._next += 2
        self.streams[stream] = _Stream(protocols[0])
        if not self.other.speaks(protocols[0]):
            self.happened.append(Happened("reset", stream, "protocol_unsupported"))
            del self.streams[stream]
            return stream
        self.other.streams[stream] = _Stream(protocols[0])
        self.other.happened.append(Happened("opened", stream, protocols[0]))
        return stream

    def send(self, stream: int, data: bytes) -> int:
        """Queue `data`; the bytes unsent on this stream."""
        state = self.streams.get(stream)
        if state is None or state.finished:
            return 0
        if len(state.queue) + len(data) > STREAM_QUEUE_BYTES_MAX:
            raise Dms3Error("limit_reached", "Too much is queued.")
        state.queue += data
        return len(state.queue)

    def consume(self, stream: int, count: int) -> None:
        """Give credit back to the other end."""
        state = self.other.streams.get(stream)
        if state is not None:
            state.window += count
            assert state.window <= WINDOW_BYTES, "more credit given back than was used"

    def finish(self, stream: int) -> None:
        """Send no more once the queue is empty."""
        if stream in self.streams:
            self.streams[stream].finished = True

    def reset(self, stream: int) -> None:
        """Abandon the stream at both ends."""
        if self.streams.pop(stream, None) is not None:
            self.resets.append(stream)
            if self.other.streams.pop(stream, None) is not None:
                self.other.happened.append(Happened("reset", stream, "stream_reset"))

    def flow(self, split: Split) -> bool:
        """Let one piece of every stream travel; whether anything did."""
        moved = False
        for stream, state in list(self.streams.items()):
            size = min(len(state.queue), state.window)
            if size:
                size = max(1, min(size, split(size)))
                piece = bytes(state.queue[:size])
                del state.queue[:size]
                state.window -= size
                self.other.happened.append(Happened("data", stream, data=piece))
                if not state.queue:
                    self.happened.append(Happened("drained", stream))
                moved = True
            elif state.finished and not state.queue and not state.finish_told:
                state.finish_told = True
                self.other.happened.append(Happened("finished", stream))
                moved = True
        return moved


def muxed_pair(
    speaks: Callable[[str], bool] = lambda _: True,
    other_speaks: Callable[[str], bool] = lambda _: True,
) -> tuple[MuxedEnd, MuxedEnd]:
    """Two ends joined to each other; `speaks` says which protocols the first one takes."""
    left, right = MuxedEnd(1, speaks), MuxedEnd(2, other_speaks)
    left.other, right.other = right, left
    return left, right
