"""Unsigned LEB128 integers in minimal form: nine bytes in multiformats, ten in Protocol Buffers.

Source: multiformats unsigned-varint specification (below 2**63); Protocol Buffers encoding, varints
(below 2**64), of which libp2p and dag-pb accept the minimal form only.
"""

from __future__ import annotations

from dms3.core.errors import DecodeError

VARINT_BYTES_MAX = 9  # unsigned-varint: values below 2**63
UINT64_BYTES_MAX = 10
UINT64_MAX = (1 << 64) - 1
_SMALL = tuple(bytes([n]) for n in range(0x80))


def encode_varint(value: int) -> bytes:
    """The minimal varint of `value` (0 <= value < 2**63)."""
    assert 0 <= value < 1 << 63, f"varint out of range: {value}"
    if value < 0x80:
        return _SMALL[value]
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[int, int]:
    """The value at `offset` of `data` and the offset after it.

    Raises DecodeError when the input ends, is longer than nine bytes or is not minimal.
    """
    result = read_varint(data, offset)
    if result is None:
        raise DecodeError(len(data), "varint is cut off")
    return result


def read_varint(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[int, int] | None:
    """As `decode_varint`, but None when more bytes are needed (for streams)."""
    value = 0
    for index in range(VARINT_BYTES_MAX):
        if offset + index >= len(data):
            return None
        byte = data[offset + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if byte == 0 and index > 0:
                raise DecodeError(offset + index, "varint is not minimal")
            return value, offset + index + 1
    raise DecodeError(offset + VARINT_BYTES_MAX, "varint is longer than 9 bytes")


def encode_uint64(value: int) -> bytes:
    """The minimal varint of `value` (0 <= value < 2**64, Protocol Buffers)."""
    assert 0 <= value <= UINT64_MAX, f"not a 64-bit unsigned integer: {value}"
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_uint64(data: bytes, offset: int) -> tuple[int, int]:
    """The minimal 64-bit varint at `offset` and the offset after it; raises DecodeError."""
    value = 0
    for index in range(UINT64_BYTES_MAX):
        if offset + index >= len(data):
            raise DecodeError(len(data), "varint is cut off")
        byte = data[offset + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if (byte == 0 and index > 0) or value > UINT64_MAX:
                raise DecodeError(offset + index, "varint is not minimal or too large")
            return value, offset + index + 1
    raise DecodeError(offset + UINT64_BYTES_MAX, "varint is longer than 10 bytes")
