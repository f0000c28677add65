"""What is believed of an envelope: the message inside by its sender's signature, and the postmark.

Source: docs/architecture.md, "Messages"; dm3 specification (DM3MTP). Pure functions over what was
looked up already. What a service says besides that is compared, never believed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dms3.core.errors import DecodeError
from dms3.dm3.canonical import canonical
from dms3.dm3.envelope import DeliveryInformation, Envelope, is_delivered_by, open_envelope
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.message import Message, is_message_by
from dms3.dm3.naming import same_name
from dms3.dm3.postmark import is_postmark_by, open_postmark
from dms3.dm3.sealing import open_text
from dms3.messaging.people import Record


class SealedError(Exception):
    """The envelope is sealed to keys that this person does not have."""


class WrongError(Exception):
    """The envelope is proven wrong; its text says how, as a sentence for people."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A message out of its envelope, and the keys that opened it; nothing is verified yet."""

    envelope: Envelope
    message: Message
    keys: ProfileKeys
    hash: str

    @property
    def text(self) -> str:
        """What is kept."""
        return canonical(self.message.value())


def open_sealed(envelope: Envelope, keys: Sequence[ProfileKeys]) -> Opened:
    """The message in `envelope`, opened with one of `keys`; raises SealedError or WrongError."""
    for each in keys:
        try:
            message = open_envelope(each.encryption_secret, envelope)
        except DecodeError as error:
            if _opens(each, envelope):
                raise WrongError(f"The envelope holds no message: {error.reason}.") from error
            continue
        return Opened(envelope, message, each, message.hash)
    raise SealedError("The envelope is sealed to keys that this person does not have.")


def is_by_sender(
    message: Message, signing: bytes, record: Record | None, stamped_ms: int | None
) -> bool:
    """Whether the sender signed, whose profile has the key `signing`.

    Also with keys that it had when the message was stamped, if they are known from that time.
    """
    if is_message_by(message, signing, message.sender):
        return True
    if record is None or stamped_ms is None:
        return False
    return any(
        stamped_ms <= each.until_ms and is_message_by(message, each.signing, message.sender)
        for each in record.earlier
    )


def stamped(opened: Opened, service_signing: bytes, now_ms: int) -> int | None:
    """When the service took the envelope in, at the latest `now_ms`; None: it does not prove it."""
    try:
        postmark = open_postmark(opened.keys.encryption_secret, opened.envelope)
    except DecodeError:
        return None
    if not is_postmark_by(postmark, opened.envelope, service_signing):
        return None
    return min(postmark.incoming_ms, now_ms)


def disagreement(opened: Opened, signing: bytes, service: str, stamped_ms: int | None) -> str:
    """What the envelope or its service claims against the signed message, "" for nothing."""
    message, envelope = opened.message, opened.envelope
    said: list[str] = []
    if stamped_ms is None:
        said.append(f"{service} did not sign when it took the message.")
    if isinstance(envelope.delivery, DeliveryInformation):
        said += _differing(envelope.delivery, message, service)
    has_signed = isinstance(envelope.delivery, str) or envelope.sealed is not None
    if has_signed and not is_delivered_by(envelope, signing):
        said.append("The envelope was not signed by who signed the message.")
    return " ".join(said)


def _differing(claimed: DeliveryInformation, message: Message, service: str) -> list[str]:
    said = []
    if not same_name(claimed.sender, message.sender):
        said.append(f"{service} says it is from {claimed.sender}.")
    if not same_name(claimed.receiver, message.receiver):
        said.append(f"{service} says it is to {claimed.receiver}.")
    return said


def _opens(keys: ProfileKeys, envelope: Envelope) -> bool:
    try:
        open_text(keys.encryption_secret, envelope.message)
    except DecodeError:
        return False
    return True
