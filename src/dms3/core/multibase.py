"""Text forms of bytes: lower-case base32 without padding, and base58 with the Bitcoin alphabet.

Source: multibase table (`b` and `z`), RFC 4648 section 6.
"""

from __future__ import annotations

import base64
import binascii

from dms3.core.errors import DecodeError

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_INDEX = {char: index for index, char in enumerate(_BASE58)}
BASE58_CHARS_MAX = 256  # conversion is quadratic; peer ids need 52


def encode_base32(data: bytes) -> str:
    """Lower-case RFC 4648 base32 of `data` without padding."""
    return base64.b32encode(data).decode().rstrip("=").lower()


def decode_base32(text: str) -> bytes:
    """The bytes of lower-case unpadded base32 `text`; only the canonical text is accepted."""
    try:
        data = base64.b32decode(text.upper() + "=" * (-len(text) % 8))
    except (binascii.Error, ValueError) as cause:
        raise DecodeError(0, "not base32") from cause
    if encode_base32(data) != text:
        raise DecodeError(0, "base32 is not canonical")
    return data


def encode_base58(data: bytes) -> str:
    """Base58 (Bitcoin alphabet) of `data`; each leading zero byte becomes a `1`."""
    number = int.from_bytes(data, "big")
    out: list[str] = []
    while number:
        number, digit = divmod(number, 58)
        out.append(_BASE58[digit])
    zeros = len(data) - len(data.lstrip(b"\0"))
    return "1" * zeros + "".join(reversed(out))


def decode_base58(text: str) -> bytes:
    """The bytes of base58 `text` (at most `BASE58_CHARS_MAX` characters)."""
    if len(text) > BASE58_CHARS_MAX:
        raise DecodeError(BASE58_CHARS_MAX, "base58 text is too long")
    number = 0
    for offset, char in enumerate(text):
        digit = _BASE58_INDEX.get(char)
        if digit is None:
            raise DecodeError(offset, f"{char!r} is not a base58 character")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    return b"\0" * zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")
