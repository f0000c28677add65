"""Names of people and services: how they are written, when two are the same, and their ENS hash.

Source: ENSIP-1 (namehash), ENSIP-15 (normalisation), RFC 3491 (nameprep) as ethers 5 does it, which
is what the dm3 reference compares names with. Does not look anything up.
"""

from __future__ import annotations

import re
import stringprep
import unicodedata

from dms3.core.errors import DecodeError
from dms3.core.limits import DM3_NAME_CHARS_MAX
from dms3.crypto.keys import keccak256

# What ENSIP-15 leaves as it is, apart from upper case: most names, without a table of 2 MB.
_PLAIN = re.compile(r"(?!(?:.*\.)?..--)[a-z0-9-]+(?:\.[a-z0-9-]+)*")
_PLAIN_REFERENCE = re.compile(r"[a-z0-9-]{0,59}")
_ASCII = re.compile(r"[A-Za-z0-9._-]*")  # nothing in it is mapped but upper case
_VARIATION = range(0xFE00, 0xFE10)
_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def normalise(name: str) -> str:
    """`name` as ENSIP-15 writes it; raises DecodeError for what cannot be a name."""
    _check_length(name)
    lower = name.lower() if name.isascii() else name
    if _PLAIN.fullmatch(lower):
        return lower
    # Half a second and 2 MB of tables for names that are not plain letters and digits.
    from ens_normalize import DisallowedSequence, ens_normalize  # noqa: PLC0415

    try:
        normal: str = ens_normalize(name)
    except DisallowedSequence as cause:
        raise DecodeError(0, f"{name[:64]!r} is no name: {cause}") from cause
    if not normal:
        raise DecodeError(0, "a name is not empty")
    return normal


def reference_form(name: str) -> str:
    """`name` as the dm3 reference writes it; raises DecodeError for what it refuses (emoji).

    Compare and sign with it; look up with `normalise`.
    """
    _check_length(name)
    if _PLAIN_REFERENCE.fullmatch(name.lower()) and name.isascii():
        return name.lower()
    prepared = name.lower() if _ASCII.fullmatch(name) else _nameprep(name)
    if prepared[:1] == "-" or prepared[2:4] == "--" or prepared[-1:] == "-":
        raise DecodeError(0, f"{name[:64]!r} has a hyphen where none may be")
    if any("_" in label.lstrip("_") for label in prepared.split(".")):
        raise DecodeError(0, f"{name[:64]!r} has an underscore inside")
    return prepared


def same_name(one: str, other: str) -> bool:
    """Whether both texts are the same name; what is no name is the same as nothing.

    By ENSIP-15, so that `straße.eth` is not `strasse.eth`, which may belong to somebody else. Names
    that only the reference accepts are compared with each other, in the reference's form.
    """
    if one == other and one.isascii() and _PLAIN.fullmatch(one):
        return True
    try:
        return _identity(one) == _identity(other)
    except DecodeError:
        return False


def namehash(name: str) -> bytes:
    """The 32-byte node of ENS for `name`, already normalised (ENSIP-1)."""
    node = bytes(32)
    for label in reversed(name.split(".")) if name else ():
        node = keccak256(node + keccak256(label.encode()))
    return node


def conversation_id(address: str, sender: str) -> str:
    """How the reference's delivery service calls what `sender` (a name) wrote to `address`."""
    return f"{reference_form(address)},{reference_form(sender)}"


def _nameprep(name: str) -> str:
    mapped = "".join(
        stringprep.map_table_b2(char)
        for char in name
        if not stringprep.in_table_b1(char) and ord(char) not in _VARIATION
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    for char in prepared:
        if any(prohibited(char) for prohibited in _PROHIBITED):
            raise DecodeError(0, f"{char!r} is not allowed in a name")
        if stringprep.in_table_a1(char):
            raise DecodeError(0, f"{char!r} is newer than the names of the reference")
    return prepared


def _identity(name: str) -> tuple[bool, str]:
    """Whether `name` is one of ENS, and its form."""
    try:
        return True, normalise(name)
    except DecodeError:
        return False, reference_form(name)


def _check_length(name: str) -> None:
    if len(name) > DM3_NAME_CHARS_MAX:
        raise DecodeError(DM3_NAME_CHARS_MAX, f"a name has at most {DM3_NAME_CHARS_MAX} characters")
    if not name:
        raise DecodeError(0, "a name is not empty")
