import pytest

from dms3.core import limits
from dms3.core.errors import DecodeError
from dms3.core.varint import UINT64_MAX
from dms3.libp2p.protobuf import Message, bytes_field, text_field, uint_field


def test_fields_round_trip_and_the_last_value_wins():
    data = uint_field(1, UINT64_MAX) + bytes_field(2, b"a") + text_field(2, "b") + uint_field(1, 7)
    message = Message(data)
    assert message.uint(1) == 7
    assert message.all_bytes(2) == [b"a", b"b"]
    assert message.text(2) == "b"
    assert message.numbers == [1, 2, 2, 1]
    assert message.bytes_of(3) is None
    assert message.uint(3) is None
    assert Message(uint_field(9, UINT64_MAX)).uint(9) == UINT64_MAX


def test_fixed_width_fields_are_read():
    assert Message(b"\x0d\x01\x00\x00\x00").uint(1) == 1
    assert Message(b"\x09\x02" + bytes(7)).uint(1) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"\x08",  # no value
        b"\x08\x80",  # cut off
        b"\x08\x80\x00",  # not minimal
        b"\x08" + b"\xff" * 10,  # longer than ten bytes
        b"\x08" + b"\xff" * 9 + b"\x02",  # above 64 bits
        b"\x12\x05abc",  # cut off
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7fabc",  # a length beyond any memory
        b"\x0d\x01\x00\x00",
        b"\x09\x01",
        b"\x0b",  # a group
        b"\x00\x01",  # field zero
    ],
)
def test_broken_messages_are_refused(data):
    with pytest.raises(DecodeError):
        Message(data)


def test_wrong_types_are_refused():
    message = Message(uint_field(1, 1) + bytes_field(2, b"\xff"))
    for ask in (message.bytes_of, message.text):
        with pytest.raises(DecodeError):
            ask(1)
    with pytest.raises(DecodeError):
        message.uint(2)
    with pytest.raises(DecodeError):
        message.text(2)


def test_the_number_of_fields_is_bounded():
    Message(uint_field(1, 1) * limits.PROTOBUF_FIELDS_MAX)
    with pytest.raises(DecodeError, match="too many"):
        Message(uint_field(1, 1) * (limits.PROTOBUF_FIELDS_MAX + 1))
