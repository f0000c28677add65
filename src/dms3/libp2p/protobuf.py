"""A small strict reader and writer of Protocol Buffers messages, for keys, Noise and Identify.

Source: Protocol Buffers encoding; libp2p peer-ids specification (minimal varints). Groups are
refused; a message is a flat list of numbered fields, nested messages are parsed by their owner.
"""

from __future__ import annotations

from dms3.core import limits
from dms3.core.errors import DecodeError
from dms3.core.varint import UINT64_MAX, decode_uint64, encode_uint64

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def uint_field(number: int, value: int) -> bytes:
    """Field `number` holding the unsigned integer `value` (below 2**64)."""
    assert 0 <= value <= UINT64_MAX, f"not a 64-bit unsigned integer: {value}"
    return encode_uint64(number << 3 | _VARINT) + encode_uint64(value)


def bytes_field(number: int, value: bytes) -> bytes:
    """Field `number` holding `value`: bytes, UTF-8 text or an encoded message."""
    return encode_uint64(number << 3 | _LENGTH) + encode_uint64(len(value)) + value


def text_field(number: int, value: str) -> bytes:
    """Field `number` holding text."""
    return bytes_field(number, value.encode())


class Message:
    """The fields of one parsed message; asking for a field with the wrong type is a DecodeError.

    `numbers` lists the field numbers in the order in which they came.
    """

    __slots__ = ("_fields", "numbers")

    def __init__(self, data: bytes) -> None:
        """Parse `data`; raises DecodeError when it is not a message or has too many fields."""
        self._fields: dict[int, list[int | bytes]] = {}
        self.numbers: list[int] = []
        offset = 0
        while offset < len(data):
            if len(self.numbers) == limits.PROTOBUF_FIELDS_MAX:
                raise DecodeError(offset, "too many protobuf fields")
            number, value, offset = _read_field(data, offset)
            self.numbers.append(number)
            self._fields.setdefault(number, []).append(value)

    def all_bytes(self, number: int) -> list[bytes]:
        """Every value of repeated field `number`, in order."""
        values = self._fields.get(number, [])
        found = [value for value in values if isinstance(value, bytes)]
        if len(found) != len(values):
            raise DecodeError(0, f"protobuf field {number} does not hold bytes")
        return found

    def bytes_of(self, number: int) -> bytes | None:
        """The last value of field `number`, or None when it is absent."""
        values = self.all_bytes(number)
        return values[-1] if values else None

    def all_texts(self, number: int) -> list[str]:
        """Every value of repeated text field `number`, in order."""
        return [_text(number, value) for value in self.all_bytes(number)]

    def text(self, number: int) -> str | None:
        """The last value of text field `number`, or None when it is absent."""
        value = self.bytes_of(number)
        return None if value is None else _text(number, value)

    def uint(self, number: int) -> int | None:
        """The last value of integer field `number`, or None when it is absent."""
        values = self._fields.get(number)
        if not values:
            return None
        value = values[-1]
        if not isinstance(value, int):
            raise DecodeError(0, f"protobuf field {number} does not hold an integer")
        return value


def _text(number: int, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as cause:
        raise DecodeError(cause.start, f"protobuf field {number} is not UTF-8") from cause


def _read_field(data: bytes, offset: int) -> tuple[int, int | bytes, int]:
    start = offset
    tag, offset = decode_uint64(data, offset)
    number, wire = tag >> 3, tag & 7
    if not 0 < number < 1 << 29:
        raise DecodeError(start, "protobuf field number is out of range")
    if wire == _VARINT:
        value, offset = decode_uint64(data, offset)
        return number, value, offset
    if wire == _LENGTH:
        length, offset = decode_uint64(data, offset)
        if length > len(data) - offset:
            raise DecodeError(offset, "protobuf field is cut off")
        return number, bytes(data[offset : offset + length]), offset + length
    if wire not in {_FIXED32, _FIXED64}:
        raise DecodeError(start, f"protobuf wire type {wire} is not supported")
    width = 4 if wire == _FIXED32 else 8
    if width > len(data) - offset:
        raise DecodeError(offset, "protobuf field is cut off")
    return number, int.from_bytes(data[offset : offset + width], "little"), offset + width
