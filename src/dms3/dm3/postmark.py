"""Postmarks: when a delivery service took an envelope in, signed by the service for the receiver.

Source: the dm3 reference (dm3-lib-delivery), which differs from the specification in what is hashed
and signed; docs/dm3.md, "Formats". The member `incommingTimestamp` is spelled so on the wire.
A stamped envelope lies at a service as text without delivery information, which lies beside it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from dms3.core.errors import DecodeError
from dms3.core.limits import DM3_SMALL_BYTES_MAX
from dms3.core.machine import Entropy
from dms3.dm3.canonical import canonical, check_hash, decode_base64, hash_text, members, parse
from dms3.dm3.envelope import Envelope
from dms3.dm3.keys import ProfileKeys, verify_text
from dms3.dm3.message import SIGNATURE_BYTES, instant_of
from dms3.dm3.sealing import open_text, seal_text
from dms3.dm3.wallet import personal_hash

_METADATA = '"metadata":{'  # how the metadata of a canonical envelope begins, and nothing in a text


@dataclass(frozen=True, slots=True)
class Postmark:
    """A service's word that the sealed message with `message_hash` came at `incoming_ms`.

    `incoming_ms`: the service's clock, milliseconds since the Unix epoch. `message_hash`: keccak of
    the sealed message (EIP-191), another hash than the envelope's. `signature`: base64.
    """

    incoming_ms: int
    message_hash: str
    signature: str

    def value(self) -> dict[str, Any]:
        """The JSON value."""
        return {
            "incommingTimestamp": self.incoming_ms,
            "messageHash": self.message_hash,
            "signature": self.signature,
        }


def stamp(
    service_keys: ProfileKeys,
    envelope: Envelope,
    receiver_encryption_public: bytes,
    wall_ms: int,
    entropy: Entropy,
) -> str:
    """The postmark of `envelope` at `wall_ms`, sealed to its receiver: for `with_postmark`."""
    sealed_hash = _hash_of(envelope)
    postmark = Postmark(wall_ms, sealed_hash, service_keys.sign(_signed_text(wall_ms, sealed_hash)))
    return seal_text(receiver_encryption_public, canonical(postmark.value()), entropy)


def open_postmark(
    encryption_secret: bytes, envelope: Envelope, public: bytes | None = None
) -> Postmark:
    """The postmark of `envelope`, its signature unchecked; raises DecodeError, also without one.

    `public`: of the X25519 secret `encryption_secret`, when it is at hand: faster.
    """
    if envelope.postmark is None:
        raise DecodeError(0, "the envelope has no postmark")
    opened = open_text(encryption_secret, envelope.postmark, public)
    found = members(
        parse(opened, DM3_SMALL_BYTES_MAX), ("incommingTimestamp", "messageHash", "signature")
    )
    decode_base64(found["signature"], SIGNATURE_BYTES)
    return Postmark(
        instant_of(found["incommingTimestamp"], "incommingTimestamp"),
        check_hash(found["messageHash"]),
        found["signature"],
    )


def is_postmark_by(postmark: Postmark, envelope: Envelope, service_signing_public: bytes) -> bool:
    """Whether the service with that Ed25519 key stamped exactly this envelope's sealed message."""
    if postmark.message_hash != _hash_of(envelope):
        return False
    text = _signed_text(postmark.incoming_ms, postmark.message_hash)
    return verify_text(service_signing_public, text, postmark.signature)


def stamped(text: str, envelope: Envelope, postmark: str) -> str:
    """`text`, the canonical JSON of `envelope`, without delivery information and with `postmark`.

    Written anew it would cost a third of what is done with an envelope.
    """
    opened = f'"deliveryInformation":{canonical(envelope.delivery)},'
    head, mark, tail = text.partition(_METADATA)
    assert tail.startswith(opened), "the first member of canonical metadata"
    end = "}" if envelope.postmark is None else f',"postmark":{canonical(envelope.postmark)}}}'
    assert tail.endswith(end), "the last member of a canonical envelope"
    rest = tail[len(opened) : -len(end)]
    return f'{head}{mark}{rest},"postmark":{canonical(postmark)}}}'


def delivered(envelope: str, information: str, sealed: str = "") -> str:
    """A stamped envelope as its receiver gets it, JSON text: with `information`, canonical JSON.

    `sealed`: beside it, so that the receiver can check what the sender signed; "" leaves it out.
    """
    head, mark, tail = envelope.partition(_METADATA)
    text = f'{head}{mark}"deliveryInformation":{information},{tail}'
    if not sealed:
        return text
    return f'{text[:-1]},"sealedDeliveryInformation":{json.dumps(sealed)}}}'


def _hash_of(envelope: Envelope) -> str:
    return "0x" + personal_hash(canonical(envelope.message)).hex()


def _signed_text(incoming_ms: int, message_hash: str) -> str:
    return hash_text(canonical({"incommingTimestamp": incoming_ms, "messageHash": message_hash}))
