"""Varints: published values, both sides of every limit, streams."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms3.core.errors import DecodeError
from dms3.core.varint import decode_varint, encode_varint, read_varint

# multiformats unsigned-varint specification, examples.
PUBLISHED = {1: "01", 127: "7f", 128: "8001", 255: "ff01", 300: "ac02", 16384: "808001"}


@pytest.mark.parametrize(("value", "encoded"), PUBLISHED.items())
def test_published_values(value, encoded):
    assert encode_varint(value).hex() == encoded
    assert decode_varint(bytes.fromhex(encoded)) == (value, len(encoded) // 2)


@given(st.integers(0, (1 << 63) - 1), st.binary(max_size=4), st.binary(max_size=4))
def test_round_trip_at_any_offset(value, before, after):
    data = before + encode_varint(value) + after
    assert decode_varint(data, len(before)) == (value, len(data) - len(after))


def test_largest_value_and_one_more():
    largest = (1 << 63) - 1
    assert encode_varint(largest) == b"\xff" * 8 + b"\x7f"
    assert decode_varint(b"\xff" * 8 + b"\x7f") == (largest, 9)
    with pytest.raises(DecodeError, match="longer than 9"):
        decode_varint(b"\x80" * 9 + b"\x01")
    with pytest.raises(AssertionError):
        encode_varint(largest + 1)
    with pytest.raises(AssertionError):
        encode_varint(-1)


@pytest.mark.parametrize("data", [b"\x80\x00", b"\x81\x00", b"\xff\x80\x00"])
def test_not_minimal_is_refused(data):
    with pytest.raises(DecodeError, match="minimal"):
        decode_varint(data)


@given(st.integers(0, (1 << 63) - 1))
def test_every_proper_prefix_asks_for_more(value):
    encoded = encode_varint(value)
    for cut in range(len(encoded)):
        assert read_varint(encoded[:cut]) is None
        with pytest.raises(DecodeError) as caught:
            decode_varint(encoded[:cut])
        assert caught.value.offset == cut


def test_reads_every_kind_of_buffer():
    for data in (b"\xac\x02", bytearray(b"\xac\x02"), memoryview(b"\xac\x02")):
        assert decode_varint(data) == (300, 2)
