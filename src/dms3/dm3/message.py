"""Messages: what one person says to another, signed by the sender.

Source: the dm3 reference (dm3-lib-messaging); docs/dm3.md, "Formats". A message knows nothing of
how it travels: see `envelope.py`. Does not check that a reference exists or belongs to the sender.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from dms3.core.errors import DecodeError
from dms3.core.limits import (
    DM3_ATTACHMENTS_MAX,
    DM3_ENVELOPE_BYTES_MAX,
    DM3_NAME_CHARS_MAX,
    DM3_SMALL_BYTES_MAX,
)
from dms3.dm3.canonical import (
    SAFE_INTEGER_MAX,
    canonical,
    decode_base64,
    hash_text,
    list_of,
    members,
    text_of,
)
from dms3.dm3.keys import ProfileKeys, verify_text
from dms3.dm3.naming import same_name

SIGNATURE_BYTES = 64


class MessageType(StrEnum):
    """What a message is; `READ_RECEIPT` is the specification's name for a receipt, never sent."""

    NEW = "NEW"
    DELETE_REQUEST = "DELETE_REQUEST"
    EDIT = "EDIT"
    REPLY = "REPLY"
    REACTION = "REACTION"
    READ_OPENED = "READ_OPENED"
    READ_RECEIVED = "READ_RECEIVED"
    RESEND_REQUEST = "RESEND_REQUEST"
    READ_RECEIPT = "READ_RECEIPT"


_RECEIPTS = (MessageType.READ_OPENED, MessageType.READ_RECEIVED)
_WITH_ATTACHMENTS = (*_RECEIPTS, MessageType.REACTION)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file in a message: `data` is a URI (`data:...` with the bytes, or where they lie).

    `bare`: it was sent as text alone, the specification's form; kept so that signatures hold.
    """

    name: str | None
    data: str
    bare: bool = False

    def value(self) -> Any:
        """The JSON value: an object, or text when `bare`."""
        if self.bare:
            return self.data
        return {"data": self.data} if self.name is None else {"data": self.data, "name": self.name}


@dataclass(frozen=True, slots=True)
class Message:
    """A message as signed. `sent_ms`: the sender's clock, milliseconds since the Unix epoch.

    `reference`: hash of the message this one is about. `reply_instruction`: how an answer should be
    delivered through a gateway. None means that the member is absent, which empty text is not.
    """

    text: str | None
    sender: str
    receiver: str
    sent_ms: int
    type: MessageType
    reference: str | None = None
    attachments: tuple[Attachment, ...] | None = None
    reply_instruction: str | None = None
    signature: str = ""

    def value(self) -> dict[str, Any]:
        """The JSON value, with the signature."""
        return {**self._signed_value(), "signature": self.signature}

    @property
    def hash(self) -> str:
        """The message's name everywhere: "0x" and 64 hex digits, over all of it."""
        return hash_text(self.whole_text())

    def whole_text(self) -> str:
        """The canonical JSON with the signature: what is sealed, hashed and kept."""
        signature = canonical(self.signature)
        return f'{self.signed_text()[:-1]},"signature":{signature}}}'  # the last name in order

    def signed_text(self) -> str:
        """The canonical JSON that the sender signs."""
        return canonical(self._signed_value())

    def _signed_value(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "from": self.sender,
            "timestamp": self.sent_ms,
            "to": self.receiver,
            "type": str(self.type),
        }
        if self.reference is not None:
            metadata["referenceMessageHash"] = self.reference
        if self.reply_instruction is not None:
            metadata["replyDeliveryInstruction"] = self.reply_instruction
        value: dict[str, Any] = {"metadata": metadata}
        if self.text is not None:
            value["message"] = self.text
        if self.attachments is not None:
            value["attachments"] = [item.value() for item in self.attachments]
        return value


def compose(  # noqa: PLR0913  # one argument for each member of a message, all by name
    keys: ProfileKeys,
    *,
    sender: str,
    receiver: str,
    sent_ms: int,
    type: MessageType = MessageType.NEW,  # noqa: A002  # the protocol's own word
    text: str | None = None,
    attachments: tuple[Attachment, ...] | None = None,
    reference: str | None = None,
    reply_instruction: str | None = None,
) -> Message:
    """The message, signed with `keys`. Names are those that profiles are found under.

    A receipt and a reaction have an empty list of attachments and a receipt has its type as text,
    as the reference writes them; other members are there when they are given.
    """
    if type in _WITH_ATTACHMENTS and attachments is None:
        attachments = ()
    if type in _RECEIPTS and text is None:
        text = str(type)
    message = Message(
        text, sender, receiver, sent_ms, type, reference, attachments, reply_instruction
    )
    return replace(message, signature=keys.sign(message.signed_text()))


def decode_message(value: Any) -> Message:
    """The message in the JSON `value`, its signature unchecked; raises DecodeError.

    What is decoded has the canonical JSON of `value`, so its signature and its hash hold.
    """
    found = members(value, ("metadata", "signature"), ("message", "attachments"))
    about = members(
        found["metadata"],
        ("from", "timestamp", "to", "type"),
        ("referenceMessageHash", "replyDeliveryInstruction"),
    )
    decode_base64(found["signature"], SIGNATURE_BYTES)
    return Message(
        text=_optional(found, "message", DM3_ENVELOPE_BYTES_MAX),
        sender=_name(about["from"], "from"),
        receiver=_name(about["to"], "to"),
        sent_ms=instant_of(about["timestamp"], "timestamp"),
        type=_type(about["type"]),
        reference=_optional(about, "referenceMessageHash", DM3_NAME_CHARS_MAX),
        attachments=_attachments(found["attachments"]) if "attachments" in found else None,
        reply_instruction=_optional(about, "replyDeliveryInstruction", DM3_SMALL_BYTES_MAX),
        signature=found["signature"],
    )


def is_message_by(message: Message, signing_public: bytes, name: str) -> bool:
    """Whether `message` says that it is from `name` and was signed by `signing_public`."""
    if not same_name(message.sender, name):
        return False
    return verify_text(signing_public, message.signed_text(), message.signature)


def instant_of(value: Any, name: str) -> int:
    """`value`, when it is a time or a count as JavaScript has it; `name` is for the error."""
    if type(value) is not int or not 0 <= value <= SAFE_INTEGER_MAX:
        raise DecodeError(0, f"{name}: expected a whole number, 0 or more")
    return value


def _type(value: Any) -> MessageType:
    try:
        return MessageType(value)
    except ValueError as cause:
        raise DecodeError(0, f"type: unknown kind of message {str(value)[:32]!r}") from cause


def _name(value: Any, name: str) -> str:
    if not text_of(value, name, DM3_NAME_CHARS_MAX):
        raise DecodeError(0, f"{name}: a name is not empty")
    return str(value)


def _optional(found: dict[str, Any], name: str, most: int) -> str | None:
    return text_of(found[name], name, most) if name in found else None


def _attachments(value: Any) -> tuple[Attachment, ...]:
    return tuple(_attachment(item) for item in list_of(value, "attachments", DM3_ATTACHMENTS_MAX))


def _attachment(value: Any) -> Attachment:
    if type(value) is str:
        return Attachment(None, value, bare=True)
    found = members(value, ("data",), ("name",))
    return Attachment(
        _optional(found, "name", DM3_SMALL_BYTES_MAX),
        text_of(found["data"], "data", DM3_ENVELOPE_BYTES_MAX),
    )
