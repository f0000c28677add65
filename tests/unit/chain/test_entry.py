"""Entries: what can be kept, one byte form, salt, and the sealed copy of a private one."""

import pytest

from dms3.chain.entry import (
    Entry,
    decode_entry,
    entry_hash,
    make_entry,
    open_private,
    seal_private,
)
from dms3.chain.values import WHOLE_MAX, WHOLE_MIN, decode_values, encode_values
from dms3.core.cid import DAG_CBOR, RAW, Cid
from dms3.core.codec import decode_plain, encode_plain
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    ENTRY_BYTES_MAX,
    ENTRY_DEPTH_MAX,
    ENTRY_ITEMS_MAX,
    SEALED_BYTES_MAX,
    SESSION_BYTES_MAX,
)

SALT = bytes(range(16))
KEY = b"k" * 32


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "content",
    [
        None,
        True,
        "",
        "Grüße \u0000 \U0001f600",
        WHOLE_MIN,
        WHOLE_MAX,
        [],
        {"a": [1, {"b": None}], "": False},
        nested(ENTRY_DEPTH_MAX),
    ],
    ids=lambda content: type(content).__name__,
)
def test_what_is_kept_comes_back(content):
    cid, data = make_entry(content, SALT)
    assert decode_entry(data) == Entry(content, SALT)
    assert cid == entry_hash(data) == Cid.of(DAG_CBOR, data)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"price": 1.5}, "content.price: numbers with a fraction cannot be kept; use text"),
        ({"a": [0, {"b": 2.0}]}, "content.a[1].b: numbers with a fraction"),
        (WHOLE_MAX + 1, "content: a whole number has 64 bits with its sign; use text"),
        (WHOLE_MIN - 1, "content: a whole number has 64 bits"),
        ([10**4000], "content[0]: a whole number has 64 bits"),
        ({"picture": b"bytes"}, "content.picture: bytes cannot be kept; use text"),
        ((1, 2), "content: tuple cannot be kept"),
        ({1: 2}, "content: a key is text of whole characters, not int"),
        ({"\ud800": 2}, "content: a key is text"),
        ({"text": "\ud800"}, "content.text: the text has half of a character"),
        (nested(ENTRY_DEPTH_MAX + 1), "more than 32 lists and maps"),
        ([None] * ENTRY_ITEMS_MAX, "more than 65536 values"),
        ("x" * ENTRY_BYTES_MAX, "keep it as a document and name its content identifier"),
    ],
    ids=range(13),
)  # fmt: skip
def test_what_cannot_be_kept_is_refused_with_its_place(content, says):
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the words are compared below
        make_entry(content)
    assert says in str(refused.value)


def test_a_value_in_itself_is_refused():
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="lists and maps in one another"):
        make_entry(endless)


def test_the_greatest_entry():
    room = (
        ENTRY_BYTES_MAX - len(make_entry("")[1]) - 4
    )  # the length of a long text takes five bytes
    cid, data = make_entry("x" * room)
    assert len(data) == ENTRY_BYTES_MAX
    assert decode_entry(data).content == "x" * room
    with pytest.raises(ValueError, match="more than 1048576"):
        make_entry("x" * (room + 1))
    with pytest.raises(DecodeError, match="too long"):
        decode_entry(data + b"x")
    # its sealed copy fits as well
    _, sealed = seal_private(KEY, cid, data)
    assert len(sealed) <= SEALED_BYTES_MAX
    assert open_private(KEY, cid, sealed) == data


def test_equal_public_content_is_one_entry_and_salt_makes_another():
    assert make_entry({"b": 1, "a": 2}) == make_entry({"a": 2, "b": 1})
    assert make_entry("x")[0] != make_entry("x", SALT)[0] != make_entry("x", SALT[::-1])[0]


@pytest.mark.parametrize("salt", [b"1", bytes(15), bytes(17)])
def test_a_salt_has_its_length(salt):
    with pytest.raises(ValueError, match="16 bytes"):
        make_entry("x", salt)
    raw = decode_plain(make_entry("x")[1])
    with pytest.raises(DecodeError, match="16 bytes"):
        decode_entry(encode_plain({**raw, "salt": b"\0" + salt}))


def test_a_session_has_its_length():
    assert decode_entry(make_entry("x", session=bytes(SESSION_BYTES_MAX))[1]).session
    with pytest.raises(ValueError, match="session is too long"):
        make_entry("x", session=bytes(SESSION_BYTES_MAX + 1))
    raw = decode_plain(make_entry("x")[1])
    with pytest.raises(DecodeError, match="session is too long"):
        decode_entry(encode_plain({**raw, "session": bytes(SESSION_BYTES_MAX + 2)}))


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"v": True},
        {"salt": b"no prefix"},
        {"salt": "text"},
        {"session": None},
        {"content": 1.5},
        {"content": b"bytes"},
        {"content": {"link": make_entry("x")[0].binary}},
        {"content": 1 << 63},
        {"more": 1},
    ],
    ids=range(10),
)
def test_another_form_is_no_entry(change):
    raw = decode_plain(make_entry("x")[1])
    with pytest.raises(DecodeError):
        decode_entry(encode_plain({**raw, **change}))


def test_a_missing_field_is_no_entry():
    raw = decode_plain(make_entry("x")[1])
    for name in raw:
        with pytest.raises(DecodeError):
            decode_entry(encode_plain({key: raw[key] for key in raw if key != name}))


def test_deep_and_wide_bytes_are_refused_before_they_cost():
    with pytest.raises(DecodeError):
        decode_values(b"\x81" * 60_000 + b"\x01", "content")
    with pytest.raises(DecodeError, match="more than 65536 items"):
        decode_values(b"\x80" * 70_000, "content")
    with pytest.raises(DecodeError, match="lists and maps"):
        decode_values(b"\x81" * (ENTRY_DEPTH_MAX + 1) + b"\x01", "content")


def test_values_come_back():
    assert decode_values(encode_values({"b": [1, "x"]}, "properties"), "properties") == {
        "b": [1, "x"]
    }
    with pytest.raises(ValueError, match=r"properties\.b"):
        encode_values({"b": 0.5}, "properties")


# The sealed copy of a private entry


def test_what_was_sealed_opens_under_its_key_and_hash_alone():
    cid, data = make_entry({"text": "dear diary"}, SALT)
    sealed_cid, sealed = seal_private(KEY, cid, data)
    assert sealed_cid == Cid.of(RAW, sealed)
    assert seal_private(KEY, cid, data) == (sealed_cid, sealed)
    assert open_private(KEY, cid, sealed) == data
    assert b"diary" not in sealed
    other, _ = make_entry({"text": "dear diary"}, SALT[::-1])
    for key, named, given in (
        (b"K" * 32, cid, sealed),
        (KEY, other, sealed),
        (KEY, cid, sealed[:-1]),
        (KEY, cid, b""),
        (KEY, cid, bytes(SEALED_BYTES_MAX + 1)),
    ):
        with pytest.raises(DecodeError):
            open_private(key, named, given)
    for place in (0, len(sealed) // 2, len(sealed) - 1):
        spoilt = bytearray(sealed)
        spoilt[place] ^= 1
        with pytest.raises(DecodeError):
            open_private(KEY, cid, bytes(spoilt))


def test_sealed_entries_of_about_the_same_length_have_the_same():
    sizes = {len(seal_private(KEY, *make_entry("x" * size, SALT))[1]) for size in (1, 80, 170)}
    assert len(sizes) == 1
    data_sizes = {len(make_entry("x" * size, SALT)[1]) for size in (1, 80, 170)}
    assert len(data_sizes) == 3


def test_entries_are_not_printed():
    assert "diary" not in repr(Entry({"text": "dear diary"}))
