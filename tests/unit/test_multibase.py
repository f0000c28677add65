"""Base32 and base58: published values, canonical form only, bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms3.core.errors import DecodeError
from dms3.core.multibase import (
    BASE58_CHARS_MAX,
    decode_base32,
    decode_base58,
    encode_base32,
    encode_base58,
)

# RFC 4648 section 10, lower case, without padding.
BASE32 = {b"": "", b"f": "my", b"fo": "mzxq", b"foo": "mzxw6", b"foob": "mzxw6yq"}
BASE32 |= {b"fooba": "mzxw6ytb", b"foobar": "mzxw6ytboi"}
# draft-msporny-base58 section 5.
BASE58 = {
    b"Hello World!": "2NEpo7TZRRrLZSi2U",
    b"The quick brown fox jumps over the lazy dog.": (
        "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z"
    ),
    bytes.fromhex("0000287fb4cd"): "11233QC4",
}


@pytest.mark.parametrize(("data", "text"), BASE32.items())
def test_base32_published(data, text):
    assert encode_base32(data) == text
    assert decode_base32(text) == data


@pytest.mark.parametrize(("data", "text"), BASE58.items())
def test_base58_published(data, text):
    assert encode_base58(data) == text
    assert decode_base58(text) == data


@given(st.binary(max_size=80))
def test_round_trip(data):
    assert decode_base32(encode_base32(data)) == data
    assert decode_base58(encode_base58(data)) == data


@pytest.mark.parametrize("text", ["MY", "my======", "mz", "m", "m1", "my ", "mý", "\u0131"])
def test_base32_other_forms_are_refused(text):
    with pytest.raises(DecodeError):
        decode_base32(text)


@pytest.mark.parametrize("text", ["0", "O", "I", "l", "2NEpo7TZRRrLZSi2U ", "é"])
def test_base58_other_characters_are_refused(text):
    with pytest.raises(DecodeError, match="not a base58 character"):
        decode_base58(text)


def test_base58_length_limit():
    assert decode_base58("1" * BASE58_CHARS_MAX) == bytes(BASE58_CHARS_MAX)
    with pytest.raises(DecodeError, match="too long"):
        decode_base58("1" * (BASE58_CHARS_MAX + 1))
