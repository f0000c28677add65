"""What peers tell each other about themselves: Identify and Identify push, encode and decode.

Source: libp2p identify specification (/ipfs/id/1.0.0, /ipfs/id/push/1.0.0). Addresses of unknown
kinds are left out, as are addresses and names beyond the bounds. Does not open streams.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from dms3.core import limits
from dms3.core.errors import DecodeError
from dms3.core.varint import encode_varint, read_varint
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import PublicKey
from dms3.libp2p.protobuf import Message, bytes_field, text_field

PROTOCOL = "/ipfs/id/1.0.0"
PUSH_PROTOCOL = "/ipfs/id/push/1.0.0"


@dataclass(frozen=True, slots=True)
class IdentifyInfo:
    """A peer's own description. Everything but a verified `signed_record` is only its word.

    `protocol_version` and `agent` are free text, `addresses` where it listens, `observed` the
    address under which it sees the receiver, `protocols` what it answers, `signed_record` a sealed
    peer record (libp2p/peer_record.py) or empty. `public_key` is empty when it was not sent.
    """

    protocol_version: str = ""
    agent: str = ""
    addresses: tuple[Multiaddr, ...] = ()
    protocols: tuple[str, ...] = ()
    observed: Multiaddr | None = None
    public_key: bytes = b""
    signed_record: bytes = b""


def encode_identify(info: IdentifyInfo) -> bytes:
    """The Identify message of `info`, without its length."""
    out = bytearray()
    if info.public_key:
        out += bytes_field(1, info.public_key)
    for address in info.addresses:
        out += bytes_field(2, address.encode())
    for protocol in info.protocols:
        out += text_field(3, protocol)
    if info.observed is not None:
        out += bytes_field(4, info.observed.encode())
    out += text_field(5, info.protocol_version)
    out += text_field(6, info.agent)
    if info.signed_record:
        out += bytes_field(8, info.signed_record)
    return bytes(out)


def frame_identify(info: IdentifyInfo) -> bytes:
    """The message as it goes over the stream, preceded by its length.

    Of a description larger than a message may be, the last protocols and addresses are left out.
    """
    protocols, addresses = info.protocols, info.addresses
    body = encode_identify(info)
    while len(body) > limits.IDENTIFY_MESSAGE_BYTES_MAX and (protocols or addresses):
        protocols, addresses = protocols[: len(protocols) // 2], addresses[: len(addresses) // 2]
        info = replace(info, addresses=addresses, protocols=protocols, signed_record=b"")
        body = encode_identify(info)
    return encode_varint(len(body)) + body


def decode_identify(data: bytes) -> IdentifyInfo:
    """The description in an Identify message (or several joined ones); raises DecodeError."""
    message = Message(data)
    key = message.bytes_of(1) or b""
    if key:
        PublicKey.decode(key)
    observed = message.bytes_of(4)
    return IdentifyInfo(
        protocol_version=(message.text(5) or "")[: limits.IDENTIFY_TEXT_CHARS_MAX],
        agent=(message.text(6) or "")[: limits.IDENTIFY_TEXT_CHARS_MAX],
        addresses=_known_addresses(message.all_bytes(2)),
        protocols=_usable_protocols(message.all_texts(3)),
        observed=next(iter(_known_addresses([observed])), None) if observed else None,
        public_key=key,
        signed_record=message.bytes_of(8) or b"",
    )


def merge_identify(old: IdentifyInfo, new: IdentifyInfo) -> IdentifyInfo:
    """`old` with every field that a push has filled in `new`."""
    return IdentifyInfo(
        protocol_version=new.protocol_version or old.protocol_version,
        agent=new.agent or old.agent,
        addresses=new.addresses or old.addresses,
        protocols=new.protocols or old.protocols,
        observed=new.observed or old.observed,
        public_key=new.public_key or old.public_key,
        signed_record=new.signed_record or old.signed_record,
    )


def _known_addresses(encoded: list[bytes]) -> tuple[Multiaddr, ...]:
    found: list[Multiaddr] = []
    for data in encoded[: limits.IDENTIFY_ADDRESSES_MAX]:
        try:
            found.append(Multiaddr.decode(data))
        except DecodeError:
            continue  # a transport we do not know is not a fault of the peer
    return tuple(found)


def _usable_protocols(names: list[str]) -> tuple[str, ...]:
    usable = [name for name in names if 0 < len(name) <= limits.PROTOCOL_ID_BYTES_MAX]
    return tuple(usable[: limits.IDENTIFY_PROTOCOLS_MAX])


class IdentifyReader:
    """Collects the length-prefixed messages of one stream; several are merged (go-libp2p)."""

    __slots__ = ("_buffer", "_messages", "_received")

    def __init__(self) -> None:
        self._buffer = b""
        self._messages: list[bytes] = []
        self._received = 0

    def receive(self, data: bytes) -> None:
        """Take `data`; raises DecodeError when it is too much or not a message."""
        self._received += len(data)
        if self._received > limits.IDENTIFY_BYTES_MAX:
            raise DecodeError(self._received, "the peer describes itself without end")
        self._buffer += data
        offset = 0  # cut once at the end: messages may be as small as one byte
        while (head := read_varint(self._buffer, offset)) is not None:
            length, start = head
            if length > limits.IDENTIFY_BYTES_MAX:
                raise DecodeError(0, "Identify message is too long")
            if len(self._buffer) - start < length:
                break
            self._messages.append(self._buffer[start : start + length])
            offset = start + length
        self._buffer = self._buffer[offset:]

    def finish(self) -> IdentifyInfo:
        """The description, once the stream has ended; raises DecodeError."""
        if self._buffer or not self._messages:
            raise DecodeError(self._received, "Identify message is cut off")
        return decode_identify(b"".join(self._messages))
