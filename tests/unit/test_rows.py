"""Rows as bytes: what goes in comes out, in one form only, in pieces that stay what they are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from dms3.core.errors import DecodeError
from dms3.core.limits import (
    BACKUP_ROWS_BYTES_MAX,
    BACKUP_ROWS_BYTES_MEAN,
    BACKUP_ROWS_BYTES_MIN,
)
from dms3.core.rows import Value, decode_rows, encode_row, pieces

VALUES = some.one_of(
    some.none(),
    some.integers(-(1 << 63), (1 << 63) - 1),
    some.text(),
    some.binary(max_size=300),
)


@given(some.lists(some.tuples(VALUES, VALUES), max_size=5))
def test_rows_come_back(rows: list[tuple[Value, ...]]) -> None:
    assert decode_rows(b"".join(map(encode_row, rows)), 2) == rows


@pytest.mark.parametrize(
    "data",
    [
        b"\x05",  # no such tag
        b"\x01",  # a number without bytes
        b"\x01\x80",  # one that is cut off
        b"\x01\x80\x00",  # zero in two bytes
        b"\x01" + b"\xff" * 9 + b"\x01",  # 64 bits
        b"\x03\x01\xff",  # no UTF-8
        b"\x04\x02a",  # bytes that are cut off
        b"\x00",  # one value of two
    ],
)
def test_what_is_no_row_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_rows(data, 2)


def made(count: int, size: int) -> list[tuple[Value, ...]]:
    draw = random.Random(3)
    return [(number, draw.randbytes(draw.randrange(2 * size))) for number in range(count)]


@pytest.mark.parametrize(("count", "size"), [(60_000, 40), (3_000, 2_000), (40, 200_000)])
def test_a_row_that_comes_changes_the_piece_it_lies_in(count: int, size: int) -> None:
    rows = made(count, size)
    before = list(pieces(rows))
    assert b"".join(before) == b"".join(map(encode_row, rows))
    assert all(len(piece) >= BACKUP_ROWS_BYTES_MIN for piece in before[:-1])
    total = sum(map(len, before))
    if size < BACKUP_ROWS_BYTES_MEAN:
        assert total / len(before) < 2 * BACKUP_ROWS_BYTES_MEAN
    for place in (0, count // 2, count):
        after = list(pieces([*rows[:place], (-1, b"new"), *rows[place:]]))
        assert len(set(after) - set(before)) <= 3


def test_pieces_are_bounded_unless_one_row_is_larger() -> None:
    row = (1, bytes(BACKUP_ROWS_BYTES_MAX // 3))
    assert max(map(len, pieces([row] * 50))) <= BACKUP_ROWS_BYTES_MAX
    large = (1, bytes(2 * BACKUP_ROWS_BYTES_MAX))
    assert [len(piece) > BACKUP_ROWS_BYTES_MAX for piece in pieces([large, large])] == [True] * 2
    assert list(pieces([])) == []
