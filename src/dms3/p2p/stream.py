"""What both sides of a dms3 stream share: what they report, version frames, queues and stalls.

Source: docs/wire.md, "Streams". Who opened a stream asks (`p2p/asking.py`), who accepted it answers
(`p2p/answering.py`). Each side checks every frame against its own record and raises `Misbehaved` at
the first that does not belong; `p2p/link.py` then resets the stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from dms3.core.errors import DecodeError, Dms3Error, Failure
from dms3.core.limits import STREAM_STALL_US, VERSION_WAIT_US
from dms3.p2p.conduct import Misbehaved
from dms3.p2p.frames import (
    KINDS,
    VERSION,
    FrameReader,
    Version,
    common_minor,
    decode_version,
    encode_frame,
    encode_version,
)


class Muxed(Protocol):
    """What a link needs of a multiplexed connection; `libp2p.connection.Connection` has it."""

    def open_stream(self, protocols: Sequence[str]) -> int:
        """The id of a new stream on which one of `protocols` is proposed; data may follow."""
        ...

    def send(self, stream: int, data: bytes) -> int:
        """Queue `data`; the bytes now queued and unsent. Raises `limit_reached`."""
        ...

    def consume(self, stream: int, count: int) -> None:
        """Give `count` bytes of flow-control credit back to the sender."""
        ...

    def finish(self, stream: int) -> None:
        """Send no more on `stream`."""
        ...

    def reset(self, stream: int) -> None:
        """Abandon `stream` both ways."""
        ...


class Given(NamedTuple):
    """The answer to our question `handle`."""

    handle: int
    body: bytes | Failure


class Asked(NamedTuple):
    """A question of the peer: `Link.taken` when an inbox has it, `Link.reply` once, later."""

    request: int
    protocol: str
    body: bytes
    credit: int


class Told(NamedTuple):
    """A one-way message of the peer: `Link.taken` when an inbox has it."""

    stream: int
    protocol: str
    body: bytes
    credit: int


class Unasked(NamedTuple):
    """The peer (or its stream) no longer waits for an answer to `request`."""

    request: int


class Misconduct(NamedTuple):
    """The peer broke a rule of `protocol`: `code` is a key of CONDUCT."""

    code: str
    protocol: str


class Refused(NamedTuple):
    """Peer and node do not agree on network or protocol; nobody misbehaved."""

    protocol: str
    failure: Failure


LinkEvent = Given | Asked | Told | Unasked | Misconduct | Refused


class Disagreed(Exception):  # noqa: N818  # names what happened, not a fault
    """The two version frames have no network or no minor in common. Never leaves p2p."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def agree(mine: Version, theirs: Version, protocol: str) -> int:
    """The minor to speak; raises Disagreed with the failure that both sides show."""
    if mine.network != theirs.network:
        raise Disagreed(
            Failure(
                "network_mismatch",
                f"The peer belongs to network {theirs.network[:6].hex()}, "
                f"this node to {mine.network[:6].hex()}.",
            )
        )
    minor = common_minor(mine, theirs)
    if minor is None:
        raise Disagreed(
            Failure(
                "protocol_unsupported",
                f"The peer speaks {protocol} in minors {list(theirs.minors)}, "
                f"this node in {list(mine.minors)}.",
            )
        )
    return minor


class Side:
    """What both sides of a stream share: its reader, its send queue and its version frames."""

    def __init__(self, mux: Muxed, stream: int, protocol: str, mine: Version, now_us: int) -> None:
        self.stream = stream
        self.protocol = protocol
        self.minor: int | None = None
        self.queued = 0  # bytes of ours that wait to be sent, as far as known
        self._mux = mux
        self._mine = mine
        self._reader = FrameReader()
        self._opened_us = now_us
        self._fed_us = now_us
        self._sent = 0
        self._gone = 0  # bytes of ours that had left at `_moved_us`
        self._moved_us = now_us
        self._watched = False  # whether these two belong to what is queued now

    def send(self, frame: bytes) -> None:
        """Queue `frame`; raises Misbehaved when not even that fits, as nothing is read."""
        try:
            self.queued = self._mux.send(self.stream, frame)
        except Dms3Error:
            raise Misbehaved("unread") from None
        self._sent += len(frame)

    def send_version(self) -> None:
        """Our first frame."""
        self.send(encode_frame(VERSION, 0, encode_version(self._mine)))

    @property
    def unfinished(self) -> bool:
        """Whether the peer has begun something here and not ended it, or has yet to read."""
        return self.minor is None or bool(self.queued or self._reader.unfinished)

    def check(self, now_us: int) -> None:
        """Raises Misbehaved for a version, a frame or a reader that has stalled."""
        if self.minor is None and now_us - self._opened_us >= VERSION_WAIT_US:
            raise Misbehaved("version_late")
        rests = self._reader.unfinished and not self.holds_credit
        if rests and now_us - self._fed_us >= STREAM_STALL_US:
            raise Misbehaved("frame_stalled")
        if not self.queued:
            self._watched = False
            return
        self.queued = self._mux.send(self.stream, b"")
        gone = self._sent - self.queued
        if gone != self._gone or not self._watched:
            self._gone, self._moved_us, self._watched = gone, now_us, True
        elif self.queued and now_us - self._moved_us >= STREAM_STALL_US:
            raise Misbehaved("unread")

    @property
    def holds_credit(self) -> bool:
        """Whether the peer may be waiting for credit from us."""
        return False

    def on_data(self, data: bytes, now_us: int, out: list[LinkEvent]) -> None:
        """Append to `out` what `data` brings; raises Misbehaved or Disagreed after that."""
        raise NotImplementedError

    def expire(self, now_us: int, out: list[LinkEvent]) -> None:
        """Append to `out` what has timed out at `now_us`."""
        raise NotImplementedError

    def _after(self) -> None:
        """Raises Misbehaved when the bytes after the last frame were none."""
        if self._reader.broken:
            raise Misbehaved(self._reader.broken)

    def _on_version(self, kind: int, number: int, body: bytes) -> None:
        """Their first frame: raises Misbehaved or Disagreed."""
        if kind != VERSION:
            raise Misbehaved("version_missing" if kind in KINDS else "frame_kind_unknown")
        try:
            theirs = decode_version(body)
        except DecodeError:
            raise Misbehaved("version_malformed") from None
        if number:
            raise Misbehaved("version_malformed")
        self.minor = agree(self._mine, theirs, self.protocol)
