"""Rows of database tables as bytes: what a backup keeps of them.

Source: docs/adr/0006-backups.md. A row is its values, one after the other: a tag byte, then for an
integer its varint, for text and bytes a varint length and the bytes. How many values a row has is
said elsewhere. `pieces` cuts a stream of rows where their own bytes say so, so that a row that
comes or goes changes the piece it lies in and not those behind it. There are no floats.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence

from dms3.core.errors import DecodeError
from dms3.core.limits import (
    BACKUP_ROWS_BYTES_MAX,
    BACKUP_ROWS_BYTES_MEAN,
    BACKUP_ROWS_BYTES_MIN,
)

Value = int | str | bytes | None

_NULL, _POSITIVE, _NEGATIVE, _TEXT, _BYTES = range(5)
_VARINT_BYTES_MAX = 10  # 64 bits


def encode_row(values: Sequence[Value]) -> bytes:
    """The bytes of one row."""
    out = bytearray()
    for value in values:
        if value is None:
            out.append(_NULL)
        elif isinstance(value, int):
            out.append(_NEGATIVE if value < 0 else _POSITIVE)
            _put_number(out, -1 - value if value < 0 else value)
        else:
            is_text = isinstance(value, str)
            assert is_text or isinstance(value, bytes), f"a {type(value).__name__} in a row"
            data = value.encode() if isinstance(value, str) else value
            out.append(_TEXT if is_text else _BYTES)
            _put_number(out, len(data))
            out += data
    return bytes(out)


def decode_rows(data: bytes, columns: int) -> list[tuple[Value, ...]]:
    """The rows of `columns` values each in `data`; raises DecodeError, and nothing else."""
    values: list[Value] = []
    place = 0
    while place < len(data):
        value, place = _value(data, place)
        values.append(value)
    if columns < 1 or len(values) % columns:
        raise DecodeError(len(data), f"{len(values)} values are no rows of {columns}")
    return [tuple(values[at : at + columns]) for at in range(0, len(values), columns)]


def pieces(rows: Iterable[Sequence[Value]]) -> Iterator[bytes]:
    """The encoded rows, cut into pieces of BACKUP_ROWS_BYTES_MEAN on average."""
    piece = bytearray()
    for row in rows:
        data = encode_row(row)
        if piece and len(piece) + len(data) > BACKUP_ROWS_BYTES_MAX:
            yield bytes(piece)
            piece.clear()
        piece += data
        ends = zlib.crc32(data) < len(data) * (1 << 32) // BACKUP_ROWS_BYTES_MEAN
        if ends and len(piece) >= BACKUP_ROWS_BYTES_MIN:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)


def _put_number(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _value(data: bytes, place: int) -> tuple[Value, int]:
    tag, place = data[place], place + 1
    if tag == _NULL:
        return None, place
    if tag > _BYTES:
        raise DecodeError(place - 1, f"no value begins with {tag}")
    number, place = _number(data, place)
    if tag == _POSITIVE:
        return number, place
    if tag == _NEGATIVE:
        return -1 - number, place
    end = place + number
    if end > len(data):
        raise DecodeError(place, f"{number} bytes are cut off")
    value = data[place:end]
    if tag == _BYTES:
        return value, end
    try:
        return value.decode(), end
    except UnicodeDecodeError:
        raise DecodeError(place, "text is not UTF-8") from None


def _number(data: bytes, place: int) -> tuple[int, int]:
    """The varint at `place`, at most 63 bits, in its shortest form, and the place behind it."""
    number = 0
    for index in range(_VARINT_BYTES_MAX):
        if place + index >= len(data):
            raise DecodeError(place, "a number is cut off")
        byte = data[place + index]
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if number >> 63 or (index and not byte):
                break
            return number, place + index + 1
    raise DecodeError(place, "a number is too large or not in its shortest form")
