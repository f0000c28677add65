"""Content identifiers: values that every IPFS program gives, all refused forms."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms3.core.cid import CID_TEXT_CHARS_MAX, CODECS, DAG_CBOR, DAG_PB, RAW, Cid
from dms3.core.errors import DecodeError

EMPTY_RAW = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
EMPTY_FOLDER = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
EMPTY_FOLDER_V0 = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"


def test_known_values():
    assert str(Cid.of(RAW, b"")) == EMPTY_RAW
    assert str(Cid.of(DAG_PB, b"\x0a\x02\x08\x01")) == EMPTY_FOLDER


def test_version_0_is_the_equal_version_1():
    cid = Cid.parse(EMPTY_FOLDER_V0)
    assert str(cid) == EMPTY_FOLDER
    assert Cid.decode(cid.binary[2:]) == cid


@given(st.binary(max_size=200), st.sampled_from(sorted(CODECS)))
def test_round_trips_and_matches(data, codec):
    cid = Cid.of(codec, data)
    assert Cid.decode(cid.binary) == cid == Cid.parse(str(cid))
    assert cid == Cid.of_digest(codec, hashlib.sha256(data).digest())
    assert (cid.codec, cid.digest) == (codec, hashlib.sha256(data).digest())
    assert cid.matches(data)
    assert not cid.matches(data + b"x")


def test_identifiers_can_be_sorted_and_hashed():
    one, two = sorted([Cid.of(RAW, b"1"), Cid.of(RAW, b"2")])
    assert one.binary < two.binary
    assert len({one, two, Cid.decode(one.binary)}) == 2


VALID = Cid.of(RAW, b"").binary


@pytest.mark.parametrize(
    "data",
    [
        b"",
        VALID[:-1],
        VALID + b"\0",
        b"\x02" + VALID[1:],  # version 2
        b"\x01\x70\x11\x14" + bytes(32),  # sha1
        bytes((1, 0x99)) + VALID[2:],  # a codec we do not know
        b"\x12\x21" + bytes(32),
    ],
)
def test_other_binary_forms_are_refused(data):
    with pytest.raises(DecodeError):
        Cid.decode(data)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "z" + EMPTY_RAW[1:],  # another base
        EMPTY_RAW.upper(),
        EMPTY_RAW[:-1],
        EMPTY_RAW + "a",
        EMPTY_RAW + " ",
        EMPTY_FOLDER_V0[:-1],
        "Qm0",
        "b" + "a" * CID_TEXT_CHARS_MAX,
        "Qm" + "1" * CID_TEXT_CHARS_MAX,
    ],
)
def test_other_texts_are_refused(text):
    with pytest.raises(DecodeError):
        Cid.parse(text)


def test_programming_errors_are_asserted():
    with pytest.raises(AssertionError, match="multicodec"):
        Cid.of(0x99, b"")
    with pytest.raises(AssertionError, match="32 bytes"):
        Cid.of_digest(DAG_CBOR, b"short")
