"""Envelopes: a message sealed to its receiver, with what a delivery service needs to pass it on.

Source: the dm3 reference (dm3-lib-messaging); its packages up to 1.7.1, whose envelopes name the
hash of the sealed message instead of the message's ("legacy"); docs/dm3.md, "Formats". Does not ask
who anybody is: keys are given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from dms3.core.errors import DecodeError
from dms3.core.limits import DM3_ENVELOPE_BYTES_MAX, DM3_NAME_CHARS_MAX, DM3_SMALL_BYTES_MAX
from dms3.core.machine import Entropy
from dms3.dm3.canonical import (
    canonical,
    check_hash,
    decode_base64,
    hash_text,
    members,
    parse,
    text_of,
)
from dms3.dm3.keys import ProfileKeys, verify_text
from dms3.dm3.message import SIGNATURE_BYTES, Message, decode_message
from dms3.dm3.profile import ServiceProfile, UserProfile
from dms3.dm3.sealing import SCHEME, open_text, seal_text

VERSION = "v1"
_SEALED = "sealedDeliveryInformation"
_PAYLOAD_CHARS_MAX = 2 * DM3_SMALL_BYTES_MAX  # base64 of it, with the key and the nonce


@dataclass(frozen=True, slots=True)
class DeliveryInformation:
    """What the sender tells the delivery service: names, and an instruction for a gateway."""

    sender: str
    receiver: str
    instruction: str | None = None

    def value(self) -> dict[str, Any]:
        """The JSON value."""
        value = {"from": self.sender, "to": self.receiver}
        if self.instruction is not None:
            value["deliveryInstruction"] = self.instruction
        return value


@dataclass(frozen=True, slots=True)
class Envelope:
    """A sealed message on its way.

    `message`: the payload for the receiver. `delivery`: the payload for the service, or what it
    said, once a service has opened it and put that there. `message_hash`: of the message, or when
    `legacy` of the sealed message. `signature`: of the metadata, by the sender. `postmark`: the
    payload for the receiver in which a service says when the envelope came; None before that.
    `sealed`: the payload for the service, which one of ours keeps beside what it said, for a
    receiver who asks: it is what the sender signed.
    """

    message: str
    delivery: str | DeliveryInformation
    message_hash: str
    signature: str
    legacy: bool = False
    postmark: str | None = None
    sealed: str | None = None

    def value(self) -> dict[str, Any]:
        """The JSON value."""
        metadata = {**self._metadata(self.delivery), "signature": self.signature}
        value: dict[str, Any] = {"message": self.message, "metadata": metadata}
        if self.postmark is not None:
            value["postmark"] = self.postmark
        if self.sealed is not None:
            value[_SEALED] = self.sealed
        return value

    def text(self) -> str:
        """The canonical JSON: what is submitted; its size is what services limit."""
        return canonical(self.value())

    def signed_text(self) -> str:
        """The canonical JSON of the metadata that the sender signs."""
        return canonical(self._metadata(self.delivery))

    def sealed_text(self) -> str:
        """As `signed_text`, with the delivery information that was signed, when it is at hand."""
        return canonical(self._metadata(self.delivery if self.sealed is None else self.sealed))

    def _metadata(self, delivery: str | DeliveryInformation) -> dict[str, Any]:
        return {
            "deliveryInformation": delivery if isinstance(delivery, str) else delivery.value(),
            "encryptedMessageHash" if self.legacy else "messageHash": self.message_hash,
            "encryptionScheme": SCHEME,
            "version": VERSION,
        }


def enclose(  # what is sent, by whom, to whom, through whom, and how
    message: Message,
    keys: ProfileKeys,
    to: UserProfile,
    service: ServiceProfile,
    entropy: Entropy,
    *,
    legacy: bool = False,
    instruction: str | None = None,
) -> Envelope:
    """`message` sealed to the profile `to`, for the delivery service `service` to pass on.

    `keys`: the sender's. `legacy`: the form of the packages up to 1.7.1, for services that
    refuse the other. Raises DecodeError when a profile's encryption key is none.
    """
    text = message.whole_text()
    sealed = seal_text(to.encryption, text, entropy)
    information = DeliveryInformation(message.sender, message.receiver, instruction)
    delivery = seal_text(service.encryption, canonical(information.value()), entropy)
    name = hash_text(canonical(sealed) if legacy else text)
    envelope = Envelope(sealed, delivery, name, "", legacy)
    return replace(envelope, signature=keys.sign(envelope.signed_text()))


def readdress(
    envelope: Envelope,
    message: Message,
    keys: ProfileKeys,
    service: ServiceProfile,
    entropy: Entropy,
) -> Envelope:
    """`envelope` of `message` for another delivery service; the message is not sealed again."""
    information = DeliveryInformation(message.sender, message.receiver)
    delivery = seal_text(service.encryption, canonical(information.value()), entropy)
    other = replace(envelope, delivery=delivery)
    return replace(other, signature=keys.sign(other.signed_text()))


def legacy_form(envelope: Envelope, keys: ProfileKeys) -> Envelope:
    """`envelope` as packages before 1.7.1 have it; nothing is sealed again."""
    other = replace(envelope, message_hash=hash_text(canonical(envelope.message)), legacy=True)
    return replace(other, signature=keys.sign(other.signed_text()))


def decode_envelope(value: Any) -> Envelope:
    """The envelope in `value`, a JSON value or the JSON text of one; raises DecodeError.

    Its signature is unchecked. Both ways of naming the hash are read, and both ways of having the
    delivery information.
    """
    if isinstance(value, str):
        value = parse(value, DM3_ENVELOPE_BYTES_MAX)
    return _decode(members(value, ("message", "metadata"), ("postmark",)))


def decode_delivered(value: Any) -> Envelope:
    """As `decode_envelope`, of what a service hands to its receiver, which may have `sealed`.

    Never of what a sender submits: what was signed would not be what is acted upon.
    """
    if isinstance(value, str):
        value = parse(value, DM3_ENVELOPE_BYTES_MAX)
    return _decode(members(value, ("message", "metadata"), ("postmark", _SEALED)))


def _decode(found: dict[str, Any]) -> Envelope:
    metadata = members(
        found["metadata"],
        ("deliveryInformation", "encryptionScheme", "signature", "version"),
        ("messageHash", "encryptedMessageHash"),
    )
    if metadata["version"] != VERSION:
        raise DecodeError(0, f"version: expected {VERSION!r}")
    if metadata["encryptionScheme"] != SCHEME:
        raise DecodeError(0, f"encryptionScheme: expected {SCHEME!r}")
    legacy = "encryptedMessageHash" in metadata
    if legacy == ("messageHash" in metadata):
        raise DecodeError(0, "expected one of messageHash and encryptedMessageHash")
    decode_base64(metadata["signature"], SIGNATURE_BYTES)
    return Envelope(
        message=text_of(found["message"], "message", DM3_ENVELOPE_BYTES_MAX),
        delivery=_decode_delivery(metadata["deliveryInformation"]),
        message_hash=check_hash(metadata["encryptedMessageHash" if legacy else "messageHash"]),
        signature=metadata["signature"],
        legacy=legacy,
        postmark=_payload(found, "postmark"),
        sealed=_payload(found, _SEALED),
    )


def open_delivery(
    service_secret: bytes, envelope: Envelope, public: bytes | None = None
) -> DeliveryInformation:
    """What the sender told the service whose X25519 secret is `service_secret`; DecodeError.

    `public`: of that secret, when it is at hand: faster.
    """
    if isinstance(envelope.delivery, DeliveryInformation):
        return envelope.delivery
    opened = open_text(service_secret, envelope.delivery, public)
    return _decode_information(parse(opened, DM3_SMALL_BYTES_MAX))


def is_envelope_by(envelope: Envelope, signing_public: bytes) -> bool:
    """Whether the metadata was signed by `signing_public`.

    False also when a service has put opened delivery information in its place: what was signed is
    not there any more. The message inside is signed by itself.
    """
    if not isinstance(envelope.delivery, str):
        return False
    return verify_text(signing_public, envelope.signed_text(), envelope.signature)


def is_delivered_by(envelope: Envelope, signing_public: bytes) -> bool:
    """As `is_envelope_by`, for a receiver: by `sealed` where the delivery information is opened."""
    if envelope.sealed is None:
        return is_envelope_by(envelope, signing_public)
    return verify_text(signing_public, envelope.sealed_text(), envelope.signature)


def open_envelope(
    encryption_secret: bytes, envelope: Envelope, public: bytes | None = None
) -> Message:
    """The message inside, whose hash is the one the envelope names; its signature is unchecked.

    `public`: of the X25519 secret `encryption_secret`, when it is at hand: faster.
    Raises DecodeError: sealed to somebody else, changed, no message, or another one than named.
    """
    if envelope.legacy and hash_text(canonical(envelope.message)) != envelope.message_hash:
        raise DecodeError(0, "the sealed message is not the one that the envelope names")
    opened = open_text(encryption_secret, envelope.message, public)
    message = decode_message(parse(opened, DM3_ENVELOPE_BYTES_MAX))
    if not envelope.legacy and message.hash != envelope.message_hash:
        raise DecodeError(0, "the message is not the one that the envelope names")
    return message


def with_postmark(
    envelope: Envelope, postmark: str, information: DeliveryInformation | None
) -> Envelope:
    """`envelope` as a service keeps it for its receiver: stamped, delivery information opened.

    `information`: None leaves the sealed one, which the receiver can check the signature of, and
    which the reference's client cannot use.
    """
    delivery = envelope.delivery if information is None else information
    return replace(envelope, postmark=postmark, delivery=delivery)


def _decode_delivery(value: Any) -> str | DeliveryInformation:
    if isinstance(value, str):
        return text_of(value, "deliveryInformation", _PAYLOAD_CHARS_MAX)
    return _decode_information(value)


def _payload(found: dict[str, Any], name: str) -> str | None:
    return text_of(found[name], name, _PAYLOAD_CHARS_MAX) if name in found else None


def _decode_information(value: Any) -> DeliveryInformation:
    found = members(value, ("from", "to"), ("deliveryInstruction",))
    instruction = found.get("deliveryInstruction")
    return DeliveryInformation(
        text_of(found["from"], "from", DM3_NAME_CHARS_MAX),
        text_of(found["to"], "to", DM3_NAME_CHARS_MAX),
        None
        if instruction is None
        else text_of(instruction, "deliveryInstruction", DM3_SMALL_BYTES_MAX),
    )
