"""Canonical JSON as the dm3 reference writes it, its hash, and a bounded parser of others' JSON.

Source: safe-stable-stringify 2.4.3 and JSON.stringify (ECMA-262), as the reference uses them;
docs/dm3.md, "Formats". Member names are sorted by UTF-16 code units, numbers are printed as
JavaScript prints them. Does not validate what a document means.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
from json.encoder import encode_basestring
from typing import Any

from dms3.core.errors import DecodeError
from dms3.core.limits import DM3_JSON_DEPTH_MAX, DM3_JSON_ITEMS_MAX, DM3_NUMBER_CHARS_MAX

SAFE_INTEGER_MAX = (1 << 53) - 1  # ECMA-262 Number.MAX_SAFE_INTEGER
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# A string to its end (or to the end of the text, so that no input is looked at twice), or a mark.
_STRUCTURE = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{},:]', re.DOTALL)
_PLAINLY_FEW = DM3_JSON_ITEMS_MAX - 2 * DM3_JSON_DEPTH_MAX
_HASH = re.compile(r"0x[0-9a-f]{64}")


def canonical(value: Any) -> str:
    """The canonical JSON text of `value`: dict, list, str, int, float, bool or None, nested.

    `value` is at most `DM3_JSON_DEPTH_MAX` deep, which everything is that `parse` returned.
    """
    return _written(value, DM3_JSON_DEPTH_MAX)


def hash_text(text: str) -> str:
    """SHA-256 of the UTF-8 bytes of `text`, as "0x" and 64 lower-case hex digits."""
    return "0x" + hashlib.sha256(text.encode()).hexdigest()


def size_of(value: Any) -> int:
    """UTF-8 bytes of the canonical JSON of `value`: the size that delivery services limit."""
    return len(canonical(value).encode())


def parse(text: str | bytes, most: int) -> Any:
    """The JSON value of `text`, which has at most `most` UTF-8 bytes.

    Numbers without a fraction up to 2**53 are int, others float, as JavaScript rounds them. Refused
    with DecodeError: what is no JSON, too large, too deep, with too many items or digits, with a
    member twice (two readers would see two documents), or with half a surrogate pair.
    """
    given = _checked_text(text, most)
    _check_structure(given)
    try:
        value = _DECODER.decode(given)
    except json.JSONDecodeError as cause:
        raise DecodeError(cause.pos, f"not JSON: {cause.msg}") from cause
    if "\\u" in given and _ESCAPED_SURROGATE.search(given):
        _check_surrogates(value)
    return value


def decode_base64(text: Any, size: int | None = None) -> bytes:
    """The bytes of padded standard base64 `text`; with `size`, exactly so many.

    Only the one form that an encoder writes is accepted; raises DecodeError for any other.
    """
    if type(text) is not str:
        raise DecodeError(0, f"expected base64, found {type(text).__name__}")
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as cause:
        raise DecodeError(0, f"not base64: {cause}") from cause
    last = data[len(data) - (len(data) % 3 or 3) :] if data else b""
    if base64.b64encode(last).decode() != text[-4:]:
        raise DecodeError(len(text), "base64 is not canonical")
    if size is not None and len(data) != size:
        raise DecodeError(len(text), f"expected {size} bytes in base64, found {len(data)}")
    return data


def encode_base64(data: bytes) -> str:
    """Padded standard base64 of `data`."""
    return base64.b64encode(data).decode()


def check_hash(value: Any) -> str:
    """`value`, when it is a hash as `hash_text` writes it; raises DecodeError otherwise."""
    if type(value) is not str or not _HASH.fullmatch(value):
        raise DecodeError(0, "expected a hash: 0x and 64 lower-case hex digits")
    return value


def members(
    value: Any, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    """`value`, when it is an object with all of `required`, any of `optional` and nothing else."""
    if type(value) is not dict:
        raise DecodeError(0, f"expected an object, found {type(value).__name__}")
    for name in required:
        if name not in value:
            raise DecodeError(0, f"member {name!r} is missing")
    for name in value:
        if name not in required and name not in optional:
            raise DecodeError(0, f"member {name[:32]!r} is unknown")
    return value


def text_of(value: Any, name: str, most: int) -> str:
    """`value`, when it is text of at most `most` characters; `name` is for the error."""
    if type(value) is not str:
        raise DecodeError(0, f"{name}: expected text, found {type(value).__name__}")
    if len(value) > most:
        raise DecodeError(most, f"{name}: longer than {most} characters")
    return value


def list_of(value: Any, name: str, most: int) -> list[Any]:
    """`value`, when it is a list of at most `most` items; `name` is for the error."""
    if type(value) is not list:
        raise DecodeError(0, f"{name}: expected a list, found {type(value).__name__}")
    if len(value) > most:
        raise DecodeError(0, f"{name}: more than {most} items")
    return value


def _checked_text(text: str | bytes, most: int) -> str:
    if len(text) > most:
        raise DecodeError(most, f"longer than {most} bytes")
    try:
        if isinstance(text, bytes):
            return text.decode()
        if not text.isascii() and len(text.encode()) > most:
            raise DecodeError(most, f"longer than {most} bytes")
    except UnicodeError as cause:
        raise DecodeError(0, f"not Unicode: {cause}") from cause
    return text


def _check_structure(text: str) -> None:
    """Refuse what would cost more to build than to look at: depth and number of items."""
    few = len(text) <= DM3_JSON_ITEMS_MAX or text.count(",") + text.count(":") <= _PLAINLY_FEW
    if few and text.count("[") + text.count("{") <= DM3_JSON_DEPTH_MAX:
        return  # wherever they stand, also in strings: nearly every text of the protocol
    depth = items = 0
    for match in _STRUCTURE.finditer(text):
        mark = text[match.start()]
        if mark == '"':
            continue
        items += 1
        if items > DM3_JSON_ITEMS_MAX:
            raise DecodeError(match.start(), f"more than {DM3_JSON_ITEMS_MAX} items")
        if mark in "[{":
            depth += 1
            if depth > DM3_JSON_DEPTH_MAX:
                raise DecodeError(match.start(), f"deeper than {DM3_JSON_DEPTH_MAX} levels")
        elif mark in "]}":
            depth -= 1


def _check_surrogates(value: Any) -> None:
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise DecodeError(0, "not Unicode: half a surrogate pair")
    elif isinstance(value, list):
        for item in value:
            _check_surrogates(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_surrogates(name)
            _check_surrogates(item)


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DecodeError(0, "a member is there twice")
    return found


def _integer(digits: str) -> int | float:
    if len(digits) > DM3_NUMBER_CHARS_MAX:
        raise DecodeError(0, f"a number has more than {DM3_NUMBER_CHARS_MAX} characters")
    number = int(digits)
    return number if abs(number) <= SAFE_INTEGER_MAX else float(number)


def _number(digits: str) -> int | float:
    if len(digits) > DM3_NUMBER_CHARS_MAX:
        raise DecodeError(0, f"a number has more than {DM3_NUMBER_CHARS_MAX} characters")
    number = float(digits)
    if math.isinf(number):
        raise DecodeError(0, "a number is beyond what JavaScript can hold")
    return int(number) if number.is_integer() and abs(number) <= SAFE_INTEGER_MAX else number


def _constant(name: str) -> None:
    raise DecodeError(0, f"{name} is no JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members,
    parse_int=_integer,
    parse_float=_number,
    parse_constant=_constant,
)


_TOO_DEEP = f"canonical JSON is at most {DM3_JSON_DEPTH_MAX} levels deep"
_WORDS = {None: "null", True: "true", False: "false"}


def _written(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dict):
        assert depth > 0, _TOO_DEEP
        names = sorted(value) if "".join(value).isascii() else sorted(value, key=_utf16)
        return f"{{{','.join([_member(name, value[name], depth - 1) for name in names])}}}"
    if isinstance(value, list | tuple):
        assert depth > 0, _TOO_DEEP
        return f"[{','.join([_written(item, depth - 1) for item in value])}]"
    return _WORDS[value] if value is None or value is True or value is False else _digits(value)


def _digits(value: Any) -> str:
    if isinstance(value, int) and abs(value) <= SAFE_INTEGER_MAX:
        return str(value)
    assert isinstance(value, int | float), f"{type(value).__name__} is no JSON"
    return _number_text(float(value))


def _member(name: str, value: Any, depth: int) -> str:
    return f"{_quoted(name)}:{_written(value, depth)}"


def _quoted(text: str) -> str:
    if text.isascii() or not _SURROGATE.search(text):
        return encode_basestring(text)
    joined = _utf16(text).decode("utf-16-be", "surrogatepass")  # two halves make a character
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", encode_basestring(joined))


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-be", "surrogatepass")


def _number_text(number: float) -> str:
    """ECMA-262 Number::toString: the shortest digits that read back, which `repr` finds as well."""
    if not math.isfinite(number):
        return "null"  # as JSON.stringify
    if number == 0:
        return "0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if 0 < point <= 21:
        if len(digits) <= point:
            return sign + digits + "0" * (point - len(digits))
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"
