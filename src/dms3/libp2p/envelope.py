"""Signed envelopes: a payload that a peer's identity key has signed for one purpose.

Source: libp2p RFC 0002 (signed envelopes). Does not read payloads.
"""

from __future__ import annotations

from dms3.core.errors import DecodeError
from dms3.core.varint import encode_varint
from dms3.libp2p.peer_id import NodeKey, PublicKey
from dms3.libp2p.protobuf import Message, bytes_field


class ForgedEnvelopeError(DecodeError):
    """An envelope in the right form whose signature does not hold: somebody lies."""


def seal_envelope(key: NodeKey, domain: bytes, kind: bytes, payload: bytes) -> bytes:
    """`payload` of payload type `kind`, signed with `key` for the purpose `domain`."""
    return (
        bytes_field(1, key.public_bytes)
        + bytes_field(2, kind)
        + bytes_field(3, payload)
        + bytes_field(5, key.sign(_signed(domain, kind, payload)))
    )


def open_envelope(envelope: bytes, domain: bytes, kind: bytes) -> tuple[PublicKey, bytes]:
    """Who signed `envelope`, and its payload; raises DecodeError unless it is of this kind.

    A signature that does not hold is a ForgedEnvelopeError.
    """
    message = Message(envelope)
    key_bytes, payload, signature = message.bytes_of(1), message.bytes_of(3), message.bytes_of(5)
    if key_bytes is None or payload is None or signature is None or message.bytes_of(2) != kind:
        raise DecodeError(0, "not a signed envelope of this kind")
    key = PublicKey.decode(key_bytes)
    if not key.verify(_signed(domain, kind, payload), signature):
        raise ForgedEnvelopeError(0, "the signature of the envelope is not valid")
    return key, payload


def _signed(domain: bytes, kind: bytes, payload: bytes) -> bytes:
    """RFC 0002: domain, payload type and payload, each preceded by its length."""
    return b"".join(encode_varint(len(part)) + part for part in (domain, kind, payload))
