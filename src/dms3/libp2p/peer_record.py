"""A peer's own list of addresses, signed with its identity key, in a signed envelope.

Source: libp2p RFC 0002 (signed envelopes) and RFC 0003 (routing records). Does not decide which of
two records is newer: that is the sequence number's owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dms3.core import limits
from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId
from dms3.libp2p.envelope import ForgedEnvelopeError, open_envelope, seal_envelope
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey
from dms3.libp2p.protobuf import Message, bytes_field, uint_field

_DOMAIN = b"libp2p-peer-record"
_PAYLOAD_TYPE = b"\x03\x01"  # multicodec libp2p-peer-record


class ForgedRecordError(DecodeError):
    """A record in the right form that the peer it names has not signed: somebody lies."""


@dataclass(frozen=True, slots=True)
class PeerRecord:
    """Addresses of `peer`; a record with a higher `sequence` replaces it."""

    peer: PeerId
    sequence: int
    addresses: tuple[Multiaddr, ...]


def seal_record(key: NodeKey, sequence: int, addresses: Sequence[Multiaddr]) -> bytes:
    """The signed envelope of a record of this node's `addresses`."""
    record = bytes_field(1, key.peer_id) + uint_field(2, sequence)
    for address in addresses:
        record += bytes_field(3, bytes_field(1, address.encode()))
    return seal_envelope(key, _DOMAIN, _PAYLOAD_TYPE, record)


def open_record(envelope: bytes) -> PeerRecord:
    """The record in `envelope`; raises DecodeError unless its own peer has signed it.

    A signature that does not hold, or of another peer, is a ForgedRecordError.
    """
    try:
        key, payload = open_envelope(envelope, _DOMAIN, _PAYLOAD_TYPE)
    except ForgedEnvelopeError as forged:
        raise ForgedRecordError(forged.offset, forged.reason) from forged
    record = Message(payload)
    if record.bytes_of(1) != key.peer_id:
        raise ForgedRecordError(0, "the peer record is signed by another peer")
    encoded = record.all_bytes(3)[: limits.IDENTIFY_ADDRESSES_MAX]
    return PeerRecord(key.peer_id, record.uint(2) or 0, tuple(_addresses(encoded)))


def _addresses(encoded: Sequence[bytes]) -> list[Multiaddr]:
    found: list[Multiaddr] = []
    for entry in encoded:
        address = Message(entry).bytes_of(1)
        try:
            found.append(Multiaddr.decode(address or b""))
        except DecodeError:
            continue  # a transport we do not know is not a fault of the peer
    return found
