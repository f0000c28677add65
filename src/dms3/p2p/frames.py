"""Frames of one dms3 stream: the binary layout, the reader of a byte stream, and version frames.

Source: docs/wire.md, "Frames". A frame is `varint length | kind: 1 byte | id: 4 bytes | body`;
length counts kind, id and body. The layout is fixed and parsed by hand because it is the cost of
every message. What frames mean in which order is in `p2p/stream.py`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dms3.core.codec import decode, encode
from dms3.core.errors import DecodeError, Failure, Retry
from dms3.core.limits import (
    FAILURE_BODY_BYTES_MAX,
    FAILURE_MESSAGE_CHARS_MAX,
    FRAME_BODY_BYTES_MAX,
    FRAME_LENGTH_BYTES_MAX,
    MINORS_MAX,
    VERSION_BODY_BYTES_MAX,
)
from dms3.core.varint import encode_varint

VERSION = 0
REQUEST = 1
ANSWER = 2
FAILURE = 3
CANCEL = 4
MESSAGE = 5
KINDS = range(6)

HEAD_BYTES = 5  # kind and id
FRAME_BYTES_MAX = HEAD_BYTES + FRAME_BODY_BYTES_MAX
ID_MAX = (1 << 32) - 1
NETWORK_ID_BYTES = 32

Frame = tuple[int, int, bytes, int]
"""(kind, id, body, credit): credit is the flow-control bytes still owed for this frame."""

_HEAD = struct.Struct(">BI")
_HEAD_1 = struct.Struct(">BBI")  # with a one-byte length
_HEAD_2 = struct.Struct(">BBBI")  # with a two-byte length


def encode_frame(kind: int, number: int, body: bytes) -> bytes:
    """The bytes of one frame; `number` is its request id (0 where the kind has none)."""
    length = HEAD_BYTES + len(body)
    assert length <= FRAME_BYTES_MAX, f"a frame body of {len(body)} bytes is above the limit"
    if length < 0x80:
        return _HEAD_1.pack(length, kind, number) + body
    if length < 0x4000:
        return _HEAD_2.pack(length & 0x7F | 0x80, length >> 7, kind, number) + body
    return encode_varint(length) + _HEAD.pack(kind, number) + body


class FrameReader:
    """Cuts a byte stream into frames; holds at most one unfinished frame.

    `broken` becomes a code of CONDUCT at the first bytes that cannot be a frame; frames before
    them are still given out, so the result does not depend on how the bytes were split.
    """

    __slots__ = ("_buffer", "_early", "broken")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._early = 0  # bytes of the unfinished frame whose credit has been given back
        self.broken: str | None = None

    @property
    def unfinished(self) -> int:
        """Bytes of a frame that has begun and not ended."""
        return len(self._buffer)

    def feed(self, data: bytes) -> tuple[list[Frame], int]:
        """The frames that `data` completes, and the credit due at once.

        Due at once are the bytes of a frame that is still unfinished (a frame may be larger than
        the window); all others are owed until the frame is taken.
        """
        frames: list[Frame] = []
        if self.broken:
            return frames, len(data)
        buffer = self._buffer
        source: bytes | bytearray = data
        if buffer:
            buffer += data
            source = buffer
        end = len(source)
        position = 0
        early = self._early
        while position < end:
            length = source[position]
            head = position + 1
            if length >= 0x80:
                if head < end and 0 < source[head] < 0x80:  # two bytes: the usual case
                    length = length & 0x7F | source[head] << 7
                    head += 1
                else:
                    long = self._long_length(source, position)
                    if long is None:
                        break
                    length, head = long
            if not HEAD_BYTES <= length <= FRAME_BYTES_MAX:
                self.broken = "frame_too_large" if length > HEAD_BYTES else "frame_malformed"
                break
            stop = head + length
            if stop > end:
                break
            kind, number = _HEAD.unpack_from(source, head)
            if source is data:
                body = data[head + HEAD_BYTES : stop]
            else:  # a slice of a bytearray would be copied twice
                body = bytes(memoryview(source)[head + HEAD_BYTES : stop])
            frames.append((kind, number, body, stop - position - early))
            early = 0
            position = stop
        return frames, self._keep(data, position, end, early)

    def _long_length(self, source: bytes | bytearray, start: int) -> tuple[int, int] | None:
        """The length at `start` (three bytes and more) and its end; None when more is needed."""
        value = 0
        for index in range(FRAME_LENGTH_BYTES_MAX):
            if start + index >= len(source):
                return None
            byte = source[start + index]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                if byte == 0:  # not minimal
                    return 0, start
                return value, start + index + 1
        return FRAME_BYTES_MAX + 1, start

    def _keep(self, data: bytes, position: int, end: int, early: int) -> int:
        """Keep what follows `position` for the next call; the credit that is due at once."""
        rest = end - position
        due = rest - early
        if self.broken:
            self._buffer.clear()
            self._early = 0
            return due
        if self._buffer:
            del self._buffer[:position]
        elif rest:
            self._buffer += data[position:]
        self._early = rest
        return due


@dataclass(frozen=True, slots=True)
class Version:
    """Body of the first frame each way: the network id and the minors that are spoken."""

    network: bytes
    minors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _FailureBody:
    code: str
    message: str
    retry: str = "never"


def encode_version(version: Version) -> bytes:
    """The body of a version frame."""
    return encode(version)


def decode_version(body: bytes) -> Version:
    """The version in `body`; raises DecodeError. Unknown keys of a later minor are ignored."""
    if len(body) > VERSION_BODY_BYTES_MAX:
        raise DecodeError(VERSION_BODY_BYTES_MAX, "version frame is too long")
    version = decode(Version, body)
    if len(version.network) != NETWORK_ID_BYTES:
        raise DecodeError(0, f"a network id has {NETWORK_ID_BYTES} bytes")
    minors = version.minors
    if not 0 < len(minors) <= MINORS_MAX:
        raise DecodeError(0, f"a version frame names 1 to {MINORS_MAX} minors")
    if list(minors) != sorted(set(minors)) or minors[0] < 0:
        raise DecodeError(0, "minors rise from 0")
    return version


def common_minor(mine: Version, theirs: Version) -> int | None:
    """The highest minor that both sides speak, or None."""
    both = [minor for minor in mine.minors if minor in theirs.minors]
    return max(both, default=None)


def encode_failure(failure: Failure) -> bytes:
    """The body of a failure frame; a message above the limit is cut."""
    message = failure.message[:FAILURE_MESSAGE_CHARS_MAX]
    return encode(_FailureBody(failure.code, message, failure.retry.value))


def decode_failure(body: bytes) -> Failure:
    """The failure in `body`; raises DecodeError. An unknown retry counts as never."""
    if len(body) > FAILURE_BODY_BYTES_MAX:
        raise DecodeError(FAILURE_BODY_BYTES_MAX, "a failure is too long")
    raw = decode(_FailureBody, body)
    if len(raw.message) > FAILURE_MESSAGE_CHARS_MAX or not 0 < len(raw.code) <= 64:
        raise DecodeError(0, "the text of a failure is too long")
    if not (raw.code.isascii() and raw.code.replace("_", "").isalnum()):
        raise DecodeError(0, "a failure code is snake case")
    known = {retry.value: retry for retry in Retry}
    return Failure(raw.code, raw.message, known.get(raw.retry, Retry.NEVER))


def decode_frames(data: bytes) -> list[tuple[int, int, bytes]]:
    """All frames of `data`, which holds whole frames only; raises DecodeError otherwise."""
    reader = FrameReader()
    frames, _ = reader.feed(data)
    if reader.broken:
        raise DecodeError(0, reader.broken)
    if reader.unfinished:
        raise DecodeError(len(data), "the last frame is cut off")
    return [(kind, number, body) for kind, number, body, _ in frames]
