"""Agreement on the protocol of a byte stream: multistream-select 1.0, both roles, sans-I/O.

Source: multistream-select specification and libp2p connections specification. A dialer that knows
one protocol sends it without waiting (lazy). `ls` is refused like an unknown protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dms3.core import limits
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.varint import encode_varint, read_varint

HEADER = "/multistream/1.0.0"
_REFUSED = "na"


def encode_message(text: str) -> bytes:
    """One multistream message: a varint length, the text, a newline."""
    line = text.encode() + b"\n"
    assert len(line) <= limits.MULTISTREAM_MESSAGE_BYTES_MAX, "multistream message is too long"
    return encode_varint(len(line)) + line


_HEADER_MESSAGE = encode_message(HEADER)
_REFUSED_MESSAGE = encode_message(_REFUSED)


def read_message(data: bytes | bytearray, offset: int = 0) -> tuple[str, int] | None:
    """The message at `offset` and the offset after it; None when more bytes are needed.

    Raises DecodeError when it is too long, does not end in a newline or is not UTF-8.
    """
    head = read_varint(data, offset)
    if head is None:
        return None
    length, start = head
    if not 0 < length <= limits.MULTISTREAM_MESSAGE_BYTES_MAX:
        raise DecodeError(offset, f"multistream message of {length} bytes")
    if len(data) - start < length:
        return None
    line = bytes(data[start : start + length])
    if line[-1:] != b"\n":
        raise DecodeError(start + length - 1, "multistream message does not end in a newline")
    try:
        return line[:-1].decode(), start + length
    except UnicodeDecodeError as cause:
        raise DecodeError(start + cause.start, "multistream message is not UTF-8") from cause


class Dialer:
    """Proposes `protocols` in order until the listener takes one.

    `protocol` is the agreed name once known. `first_flight` is what to send at once: the header
    and the first proposal. With one protocol, application data may follow it immediately.
    """

    __slots__ = ("_buffer", "_greeted", "_proposals", "protocol")

    def __init__(self, protocols: Sequence[str]) -> None:
        assert 0 < len(protocols) <= limits.MULTISTREAM_PROPOSALS_MAX, "nothing to propose"
        self._proposals = list(protocols)
        self._buffer = b""
        self._greeted = False
        self.protocol: str | None = None

    @property
    def lazy(self) -> bool:
        """Whether application data may be sent before the answer."""
        return len(self._proposals) == 1

    @property
    def first_flight(self) -> bytes:
        """The header and the first proposal."""
        return _HEADER_MESSAGE + encode_message(self._proposals[0])

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """What to send in answer to `data`, and the application bytes after the agreement.

        Raises DecodeError, or `protocol_unsupported` when every proposal is refused.
        """
        self._buffer = data = self._buffer + data if self._buffer else data
        offset = 0
        reply = b""
        while self.protocol is None:
            message = read_message(data, offset)
            if message is None:
                self._buffer = data[offset:]
                return reply, b""
            text, offset = message
            reply += self._on_message(text)
        self._buffer = b""
        return reply, data[offset:]

    def _on_message(self, text: str) -> bytes:
        if not self._greeted:
            if text != HEADER:
                raise DecodeError(0, "the peer does not speak multistream 1.0")
            self._greeted = True
            return b""
        proposal = self._proposals[0]
        if text == proposal:
            self.protocol = proposal
            return b""
        if text != _REFUSED:
            raise DecodeError(0, "the peer answered with a protocol nobody proposed")
        if len(self._proposals) == 1:
            raise Dms3Error("protocol_unsupported", f"the peer does not speak {proposal}")
        self._proposals.pop(0)
        return encode_message(self._proposals[0])


class Listener:
    """Answers proposals with the first one that `supported` takes; `protocol` once agreed.

    A lazy dialer sends application data behind a proposal: with `skip`, what makes no sense after
    a refusal is skipped, so that the refusal still reaches the dialer of a stream.
    """

    __slots__ = ("_buffer", "_greeted", "_refused", "_skip", "_skipping", "_supported", "protocol")

    def __init__(self, supported: Callable[[str], bool], *, skip: bool = True) -> None:
        self._skip = skip
        self._supported = supported
        self._buffer = b""
        self._greeted = False
        self._refused = 0
        self._skipping = False
        self.protocol: str | None = None

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """What to send in answer to `data`, and the application bytes after the agreement.

        Raises DecodeError, or `protocol_unsupported` after too many proposals.
        """
        if self._skipping:
            return b"", b""
        self._buffer = data = self._buffer + data if self._buffer else data
        offset = 0
        reply = b""
        while self.protocol is None:
            try:
                message = read_message(data, offset)
            except DecodeError:
                if not (self._skip and self._refused):
                    raise
                self._skipping = True
                message = None
            if message is None:
                self._buffer = data[offset:]
                return reply, b""
            text, offset = message
            reply += self._on_message(text)
        self._buffer = b""
        return reply, data[offset:]

    def _on_message(self, text: str) -> bytes:
        if not self._greeted:
            if text != HEADER:
                raise DecodeError(0, "the peer does not speak multistream 1.0")
            self._greeted = True
            return _HEADER_MESSAGE
        size = len(text.encode())
        known = text.startswith("/") and size <= limits.PROTOCOL_ID_BYTES_MAX
        if known and self._supported(text):
            self.protocol = text
            return encode_message(text)
        self._refused += 1
        if self._refused == limits.MULTISTREAM_PROPOSALS_MAX:
            raise Dms3Error("protocol_unsupported", "the peer proposed too many protocols")
        return _REFUSED_MESSAGE
