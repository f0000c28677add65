"""Which kind of name a text is: a card's, a key's, a first-come name, an ENS name, an address.

Source: docs/names.md, "Which name means whom". Decides by form alone and asks nobody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import NAME_LABEL_CHARS_MAX, NAME_LABEL_CHARS_MIN
from dms3.core.multibase import decode_base32, encode_base32
from dms3.crypto.keys import checksum_address
from dms3.crypto.signing import PUBLIC_BYTES
from dms3.dm3.naming import normalise

ENDING = ".dms3"
TEXT_CHARS_MAX = 255  # a DNS name; no name in any of the systems is longer
_KEY_CHARS = len(encode_base32(bytes(PUBLIC_BYTES)))
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")  # nothing that looks like something else
_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}")


@dataclass(frozen=True, slots=True)
class CardName:
    """What a person calls somebody: the name on one of their cards, a root, a peer id."""

    text: str


@dataclass(frozen=True, slots=True)
class KeyName:
    """`name` is BASE32(`key`) + ".dms3": whoever has the key has the name."""

    name: str
    key: bytes


@dataclass(frozen=True, slots=True)
class FirstComeName:
    """`name`, such as "alice.dms3", is whose claim the overlay holds."""

    name: str


@dataclass(frozen=True, slots=True)
class EnsName:
    """`name` is of the Ethereum Name Service."""

    name: str


@dataclass(frozen=True, slots=True)
class AddressName:
    """`address`, checksummed: an Ethereum account."""

    address: str


Form = CardName | KeyName | FirstComeName | EnsName | AddressName


def form_of(text: str) -> Form:
    """What `text`, as typed or as a message names it, is; raises `argument_invalid`.

    A text with a dot is never the name on a card: whoever wrote the card chose that name, and
    would otherwise become bob.eth for whoever took the card.
    """
    typed = text.strip()
    if not 0 < len(typed) <= TEXT_CHARS_MAX or not typed.isprintable():
        why = f"A name is one line of 1 to {TEXT_CHARS_MAX} characters."
        raise Dms3Error("argument_invalid", why)
    if _ADDRESS.fullmatch(typed):
        return AddressName(_address(typed))
    if "." not in typed or " " in typed:
        return CardName(typed)
    if typed.lower().endswith(ENDING):
        return _dms3(typed.lower())
    try:
        return EnsName(normalise(typed))
    except DecodeError as error:
        why = f"{typed!r} cannot be a name ({error.reason.rstrip('.')})."
        raise Dms3Error("argument_invalid", why) from error


def key_name(key: bytes) -> str:
    """The self-certifying name of a root or node key."""
    return encode_base32(key) + ENDING


def label_fault(label: str) -> str:
    """Why nobody may claim `label`.dms3, one clause; "" when it may be claimed."""
    if "." in label:
        return "it has one part before .dms3"
    if not NAME_LABEL_CHARS_MIN <= len(label) <= NAME_LABEL_CHARS_MAX:
        return f"it has {NAME_LABEL_CHARS_MIN} to {NAME_LABEL_CHARS_MAX} characters before .dms3"
    if not _LABEL.fullmatch(label):
        return "it consists of the letters a to z, digits, and hyphens between them"
    return ""


def _dms3(name: str) -> Form:
    label = name[: -len(ENDING)]
    if len(label) == _KEY_CHARS:
        try:
            return KeyName(name, decode_base32(label))
        except DecodeError as error:
            why = f"{name} was mistyped: it is not the name of any key."
            raise Dms3Error("argument_invalid", why, hint="Copy the whole name.") from error
    fault = label_fault(label)
    if fault:
        raise Dms3Error("argument_invalid", f"{name} is no name: {fault}.")
    return FirstComeName(name)


def _address(typed: str) -> str:
    """The checksummed address; one in mixed case has to have the right checksum (EIP-55)."""
    digits = typed[2:]
    address = checksum_address(bytes.fromhex(digits))
    if digits not in (digits.lower(), digits.upper(), address[2:]):
        why = f"{typed} was mistyped: its checksum does not fit."
        raise Dms3Error("argument_invalid", why, hint="Copy the whole address.")
    return address
