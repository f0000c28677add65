"""What a delivery service looks at before it takes an envelope: form, size, addressee, sender.

Source: dm3 specification, "Delivery Service API"; docs/dm3.md, "Delivery service". Each check is a
function that raises what the sender is told. Whom the names belong to is asked elsewhere.
"""

from __future__ import annotations

from typing import Any

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import PUBLIC_BODY_BYTES_MAX
from dms3.dm3.canonical import canonical, hash_text, parse
from dms3.dm3.envelope import (
    DeliveryInformation,
    Envelope,
    decode_envelope,
    is_envelope_by,
    open_delivery,
)
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.naming import normalise, reference_form

SCHEMA = "invalid schema"
"""What the reference answers to JSON that is no envelope; clients look for exactly this text."""


def read_envelope(given: Any, envelope_bytes: int) -> tuple[Envelope, str]:
    """The envelope in `given`, a JSON value or the text of one, and its canonical JSON.

    Raises `body_malformed` (not JSON), `content_invalid` (not an envelope), `body_too_large`.
    """
    if isinstance(given, str):
        try:
            given = parse(given, PUBLIC_BODY_BYTES_MAX)
        except DecodeError as error:
            raise Dms3Error("body_malformed", f"The envelope is not JSON: {error}.") from error
    try:
        envelope = decode_envelope(given)
    except DecodeError as error:
        raise Dms3Error("content_invalid", SCHEMA, hint=f"{error.reason}.") from error
    text = envelope.text()
    if len(text.encode()) > envelope_bytes:
        raise Dms3Error(
            "body_too_large",
            f"The envelope has {len(text.encode())} bytes; this service takes {envelope_bytes}.",
            hint="Send large attachments as links.",
        )
    if envelope.legacy and hash_text(canonical(envelope.message)) != envelope.message_hash:
        raise Dms3Error("content_invalid", "The sealed message is not the one that is signed.")
    return envelope, text


def read_information(keys: ProfileKeys, envelope: Envelope) -> DeliveryInformation:
    """Who sends to whom, opened with the `keys` of the service; raises `content_invalid`."""
    if not isinstance(envelope.delivery, str):
        raise Dms3Error("content_invalid", "The delivery information is not sealed.")
    try:
        return open_delivery(keys.encryption_secret, envelope, keys.encryption_public)
    except DecodeError as error:
        raise Dms3Error(
            "content_invalid",
            f"The delivery information cannot be opened: {error.reason}.",
            hint="It has to be sealed to the key in the profile of this delivery service.",
        ) from error


def check_signature(envelope: Envelope, sender: str, signing_public: bytes) -> None:
    """Raise `content_invalid` unless the metadata was signed with `signing_public`."""
    if not is_envelope_by(envelope, signing_public):
        raise Dms3Error(
            "content_invalid",
            f"The envelope is not signed with the key in the profile of {sender[:64]}.",
            hint="Sign it with the key that is published, or publish the one that signs.",
        )


def named(name: Any) -> str:
    """The normal form of the name `name`, under which it is looked up; raises `argument_invalid`.

    ENSIP-15; a name that only the reference accepts has the reference's form.
    """
    if not isinstance(name, str):
        raise Dms3Error("argument_invalid", "A name is text.")
    try:
        return normalise(name)
    except DecodeError as error:
        try:
            return reference_form(name)
        except DecodeError:
            raise Dms3Error("argument_invalid", f"{error.reason}.") from error
