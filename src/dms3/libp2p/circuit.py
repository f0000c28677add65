"""Messages of Circuit Relay v2: reserving a place at a hop, connecting through it, vouchers.

Source: libp2p circuit relay v2 specification (/libp2p/circuit/relay/0.2.0/hop and /stop). A *hop*
is the node in the middle. Does not open streams, and passes nothing on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from dms3.core import limits
from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId
from dms3.core.varint import UINT64_MAX, encode_varint, read_varint
from dms3.libp2p.envelope import open_envelope, seal_envelope
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey, decode_peer_id
from dms3.libp2p.protobuf import Message, bytes_field, uint_field

HOP_PROTOCOL = "/libp2p/circuit/relay/0.2.0/hop"
STOP_PROTOCOL = "/libp2p/circuit/relay/0.2.0/stop"

_VOUCHER_DOMAIN = b"libp2p-relay-rsvp"
_VOUCHER_TYPE = b"\x03\x02"  # multicodec libp2p-relay-rsvp
_UINT32_MAX = (1 << 32) - 1


class Status(IntEnum):
    """How a question ended."""

    OK = 100
    RESERVATION_REFUSED = 200
    RESOURCE_LIMIT_EXCEEDED = 201
    PERMISSION_DENIED = 202
    CONNECTION_FAILED = 203
    NO_RESERVATION = 204
    MALFORMED_MESSAGE = 400
    UNEXPECTED_MESSAGE = 401


class Hop(IntEnum):
    """What a message to or from a hop is."""

    RESERVE = 0
    CONNECT = 1
    STATUS = 2


class Stop(IntEnum):
    """What a message between a hop and the far end is."""

    CONNECT = 0
    STATUS = 1


@dataclass(frozen=True, slots=True)
class Limit:
    """What a circuit may cost: seconds, and bytes in each direction; 0: no bound."""

    seconds: int = 0
    data: int = 0


@dataclass(frozen=True, slots=True)
class Reservation:
    """A place at a hop until `expire_s` (Unix time), where the hop says that it can be dialled."""

    expire_s: int
    addresses: tuple[Multiaddr, ...] = ()
    voucher: bytes = b""


@dataclass(frozen=True, slots=True)
class HopMessage:
    """A message of HOP_PROTOCOL; `status` may be a number that this version does not know."""

    kind: Hop
    peer: PeerId | None = None
    reservation: Reservation | None = None
    limit: Limit | None = None
    status: int = 0


@dataclass(frozen=True, slots=True)
class StopMessage:
    """A message of STOP_PROTOCOL; `peer`: who wants to connect."""

    kind: Stop
    peer: PeerId | None = None
    limit: Limit | None = None
    status: int = 0


@dataclass(frozen=True, slots=True)
class Voucher:
    """A hop's signed word that `peer` has a place at `hop` until `expire_s` (Unix time)."""

    hop: PeerId
    peer: PeerId
    expire_s: int


def encode_hop(message: HopMessage) -> bytes:
    """The message, without its length."""
    out = uint_field(1, message.kind)
    if message.peer is not None:
        out += bytes_field(2, bytes_field(1, message.peer))
    if message.reservation is not None:
        out += bytes_field(3, _encode_reservation(message.reservation))
    if message.limit is not None:
        out += bytes_field(4, _encode_limit(message.limit))
    if message.status:
        out += uint_field(5, message.status)
    return out


def decode_hop(data: bytes) -> HopMessage:
    """The message in `data`; raises DecodeError."""
    message = Message(data)
    kind = _kind(message, len(Hop))
    reservation = message.bytes_of(3)
    return HopMessage(
        Hop(kind),
        _peer(message.bytes_of(2)),
        None if reservation is None else _decode_reservation(reservation),
        _decode_limit(message.bytes_of(4)),
        _status(message.uint(5)),
    )


def encode_stop(message: StopMessage) -> bytes:
    """The message, without its length."""
    out = uint_field(1, message.kind)
    if message.peer is not None:
        out += bytes_field(2, bytes_field(1, message.peer))
    if message.limit is not None:
        out += bytes_field(3, _encode_limit(message.limit))
    if message.status:
        out += uint_field(4, message.status)
    return out


def decode_stop(data: bytes) -> StopMessage:
    """The message in `data`; raises DecodeError."""
    message = Message(data)
    kind = _kind(message, len(Stop))
    peer, limit = _peer(message.bytes_of(2)), _decode_limit(message.bytes_of(3))
    return StopMessage(Stop(kind), peer, limit, _status(message.uint(4)))


def frame(message: bytes) -> bytes:
    """The message as it goes over a stream: preceded by its length."""
    return encode_varint(len(message)) + message


class MessageReader:
    """Reads one message of a stream; what follows it belongs to the circuit."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def receive(self, data: bytes) -> tuple[bytes, bytes] | None:
        """The message and what came behind it, None until it is whole; raises DecodeError."""
        self._buffer += data
        head = read_varint(self._buffer, 0)
        if head is None:
            return None
        length, start = head
        if length > limits.CIRCUIT_MESSAGE_BYTES_MAX:
            raise DecodeError(0, "the message about a circuit is too long")
        end = start + length
        return None if len(self._buffer) < end else (self._buffer[start:end], self._buffer[end:])


def seal_voucher(key: NodeKey, peer: PeerId, expire_s: int) -> bytes:
    """The signed envelope of a voucher of this node for `peer`."""
    payload = bytes_field(1, key.peer_id) + bytes_field(2, peer) + uint_field(3, expire_s)
    return seal_envelope(key, _VOUCHER_DOMAIN, _VOUCHER_TYPE, payload)


def open_voucher(envelope: bytes) -> Voucher:
    """The voucher in `envelope`; raises DecodeError unless the hop that it names has signed it."""
    key, payload = open_envelope(envelope, _VOUCHER_DOMAIN, _VOUCHER_TYPE)
    message = Message(payload)
    hop, peer = message.bytes_of(1), message.bytes_of(2)
    if hop is None or peer is None or hop != key.peer_id:
        raise DecodeError(0, "the voucher is not of the hop that signed it")
    return Voucher(decode_peer_id(hop), decode_peer_id(peer), message.uint(3) or 0)


def _encode_reservation(reservation: Reservation) -> bytes:
    out = uint_field(1, reservation.expire_s)
    for address in reservation.addresses:
        out += bytes_field(2, address.encode())
    if reservation.voucher:
        out += bytes_field(3, reservation.voucher)
    return out


def _decode_reservation(data: bytes) -> Reservation:
    message = Message(data)
    known = _known(message.all_bytes(2))
    return Reservation(message.uint(1) or 0, known, message.bytes_of(3) or b"")


def _known(encoded: Sequence[bytes]) -> tuple[Multiaddr, ...]:
    found = []
    for one in encoded[: limits.IDENTIFY_ADDRESSES_MAX]:
        try:
            found.append(Multiaddr.decode(one))
        except DecodeError:
            continue  # a transport we do not know is not a fault of the hop
    return tuple(found)


def _encode_limit(limit: Limit) -> bytes:
    out = uint_field(1, limit.seconds) if limit.seconds else b""
    return out + (uint_field(2, limit.data) if limit.data else b"")


def _decode_limit(data: bytes | None) -> Limit | None:
    if data is None:
        return None
    message = Message(data)
    return Limit(min(message.uint(1) or 0, _UINT32_MAX), min(message.uint(2) or 0, UINT64_MAX))


def _kind(message: Message, kinds: int) -> int:
    kind = message.uint(1)
    if kind is None or kind >= kinds:
        raise DecodeError(0, "this is no kind of message about a circuit")
    return kind


def _peer(data: bytes | None) -> PeerId | None:
    if data is None:
        return None
    identifier = Message(data).bytes_of(1)
    if identifier is None:
        raise DecodeError(0, "the message names a peer without its id")
    return decode_peer_id(identifier)


def _status(number: int | None) -> int:
    if number is not None and number > _UINT32_MAX:
        raise DecodeError(0, "the status is out of range")
    return number or 0
