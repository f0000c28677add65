"""Frames: layout, limits on both sides, splitting, credit, version and failure bodies."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms3.core.codec import encode_plain
from dms3.core.errors import DecodeError, Failure, Retry
from dms3.core.limits import FAILURE_MESSAGE_CHARS_MAX, FRAME_BODY_BYTES_MAX, MINORS_MAX
from dms3.core.varint import encode_varint
from dms3.p2p.conduct import CONDUCT
from dms3.p2p.frames import (
    ANSWER,
    FRAME_BYTES_MAX,
    ID_MAX,
    REQUEST,
    FrameReader,
    Version,
    common_minor,
    decode_failure,
    decode_frames,
    decode_version,
    encode_failure,
    encode_frame,
    encode_version,
)

NETWORK = hashlib.sha256(b"network").digest()
frames = st.lists(st.tuples(st.integers(0, 255), st.integers(0, ID_MAX), st.binary(max_size=300)))


def test_the_layout_is_the_documented_one():
    assert encode_frame(REQUEST, 7, b"hi") == bytes.fromhex("07 01 00000007 6869")
    assert encode_frame(ANSWER, 1, bytes(200))[:7] == bytes.fromhex("cd01 02 00000001")


@pytest.mark.parametrize("size", [0, 122, 123, 16_378, 16_379, 70_000, FRAME_BODY_BYTES_MAX])
def test_a_body_of_any_allowed_size_comes_back(size):
    body = bytes(size)
    assert decode_frames(encode_frame(REQUEST, ID_MAX, body)) == [(REQUEST, ID_MAX, body)]


@given(frames, st.lists(st.integers(1, 64), min_size=1))
def test_any_splitting_gives_the_same_frames_and_the_whole_credit(items, sizes):
    data = b"".join(encode_frame(*item) for item in items)
    reader = FrameReader()
    got, credit, position, turn = [], 0, 0, 0
    while position < len(data):
        size = sizes[turn % len(sizes)]
        found, due = reader.feed(data[position : position + size])
        credit += due + sum(frame[3] for frame in found)
        got += [frame[:3] for frame in found]
        position, turn = position + size, turn + 1
    assert got == items
    assert credit == len(data)
    assert reader.broken is None
    assert reader.unfinished == 0


def test_credit_of_an_unfinished_frame_is_due_at_once_and_of_a_whole_one_later():
    data = encode_frame(REQUEST, 1, bytes(100))
    reader = FrameReader()
    assert reader.feed(data[:40]) == ([], 40)
    assert reader.feed(data[40:60]) == ([], 20)
    found, due = reader.feed(data[60:] + data[:10])
    assert [frame[3] for frame in found] == [len(data) - 60]
    assert due == 10


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (encode_varint(FRAME_BYTES_MAX + 1), "frame_too_large"),
        (b"\xff\xff\xff\xff\x01", "frame_too_large"),
        (b"\xff" * 9, "frame_too_large"),
        (b"\x04\x01\0\0\0", "frame_malformed"),
        (b"\0", "frame_malformed"),
        (b"\x87\x00\x01\0\0\0\x07", "frame_malformed"),
        (b"\x80\x80\x00", "frame_malformed"),
    ],
)
@pytest.mark.parametrize("split", [1, 2, 100])
def test_what_is_no_frame_breaks_the_reader_after_the_frames_before_it(data, code, split):
    whole = encode_frame(REQUEST, 1, b"good")
    data = whole + data
    reader = FrameReader()
    got = []
    for position in range(0, len(data), split):
        got += reader.feed(data[position : position + split])[0]
    assert [frame[:3] for frame in got] == [(REQUEST, 1, b"good")]
    assert reader.broken == code
    assert reader.feed(whole) == ([], len(whole))


def test_the_largest_frame_does_not_break_the_reader():
    reader = FrameReader()
    reader.feed(encode_varint(FRAME_BYTES_MAX))
    assert reader.broken is None


def test_a_cut_frame_is_a_decode_error():
    with pytest.raises(DecodeError, match="cut off"):
        decode_frames(encode_frame(REQUEST, 1, b"abc")[:-1])


def test_a_version_comes_back_and_tolerates_keys_of_a_later_minor():
    version = Version(NETWORK, (0, 1, 4))
    assert decode_version(encode_version(version)) == version
    later = encode_plain({"network": b"\0" + NETWORK, "minors": [0], "more": "x"})
    assert decode_version(later) == Version(NETWORK, (0,))


@pytest.mark.parametrize(
    ("network", "minors"),
    [
        (NETWORK[:31], (0,)),
        (NETWORK + b"x", (0,)),
        (NETWORK, ()),
        (NETWORK, (1, 0)),
        (NETWORK, (1, 1)),
        (NETWORK, (-1, 0)),
        (NETWORK, tuple(range(MINORS_MAX + 1))),
    ],
)
def test_a_version_out_of_bounds_is_refused(network, minors):
    with pytest.raises(DecodeError):
        decode_version(encode_version(Version(network, minors)))


def test_the_most_minors_are_accepted_and_an_overlong_version_is_not():
    full = Version(NETWORK, tuple(range(MINORS_MAX)))
    assert decode_version(encode_version(full)) == full
    with pytest.raises(DecodeError):
        decode_version(bytes(100_000))


def test_the_highest_common_minor_is_used():
    assert common_minor(Version(NETWORK, (0, 1, 2)), Version(NETWORK, (1, 2, 3))) == 2
    assert common_minor(Version(NETWORK, (0,)), Version(NETWORK, (1,))) is None


def test_a_failure_comes_back_and_a_long_message_is_cut():
    failure = Failure("not_found", "No such thing.", Retry.OTHER_PEER)
    assert decode_failure(encode_failure(failure)) == failure
    long = Failure("not_found", "x" * (FAILURE_MESSAGE_CHARS_MAX + 1))
    assert len(decode_failure(encode_failure(long)).message) == FAILURE_MESSAGE_CHARS_MAX


@pytest.mark.parametrize(
    "body",
    [
        {"code": "", "message": "m"},
        {"code": "x" * 65, "message": "m"},
        {"code": "has space", "message": "m"},
        {"code": "not_found", "message": "m" * (FAILURE_MESSAGE_CHARS_MAX + 1)},
        {"code": "not_found"},
        {"code": 5, "message": "m"},
    ],
)
def test_a_failure_out_of_bounds_is_refused(body):
    with pytest.raises(DecodeError):
        decode_failure(encode_plain(body))


def test_an_unknown_retry_of_a_later_minor_counts_as_never():
    body = encode_plain({"code": "not_found", "message": "m", "retry": "tomorrow"})
    assert decode_failure(body).retry is Retry.NEVER


def test_the_documented_table_of_conduct_is_the_real_one():
    text = (Path(__file__).parents[2] / "docs" / "wire.md").read_text("utf-8")
    for code, (points, clause) in CONDUCT.items():
        assert f"| `{code}` | {points} | {clause.removeprefix('it ')} |" in text


def test_the_documented_limits_of_frames_are_the_real_ones():
    text = (Path(__file__).parents[2] / "docs" / "wire.md").read_text("utf-8")
    assert f"5 to {FRAME_BYTES_MAX:,} |" in text
    assert f"at most {FRAME_BODY_BYTES_MAX:,} bytes" in text
