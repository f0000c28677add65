"""The typed codec: canonical bytes only, links only where declared, strict where signed."""

from dataclasses import dataclass, field
from typing import NewType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dms3.core.cid import RAW, Cid
from dms3.core.codec import (
    INTEGER_MAX,
    INTEGER_MIN,
    decode,
    decode_plain,
    encode,
    encode_plain,
    pick,
)
from dms3.core.errors import DecodeError

Name = NewType("Name", bytes)


@dataclass(frozen=True, slots=True)
class Leaf:
    count: int
    flag: bool = False


@dataclass(frozen=True, slots=True)
class Tree:
    name: Name
    text: str
    link: Cid
    leaf: Leaf
    leaves: tuple[Leaf, ...] = ()
    table: dict[str, bytes] = field(default_factory=dict)
    maybe: int | None = None


@dataclass(frozen=True, slots=True)
class Even:
    number: int

    def __post_init__(self) -> None:
        if self.number % 2:
            raise ValueError(f"{self.number} is odd")


LINK = Cid.of(RAW, b"content")
leaves = st.builds(Leaf, st.integers(INTEGER_MIN, INTEGER_MAX), st.booleans())
trees = st.builds(
    Tree,
    st.binary(max_size=80).map(Name),
    st.text(max_size=20),
    st.binary(max_size=8).map(lambda data: Cid.of(RAW, data)),
    leaves,
    st.lists(leaves, max_size=4).map(tuple),
    st.dictionaries(st.text(max_size=5), st.binary(max_size=40), max_size=4),
    st.none() | st.integers(0, 5),
)


@given(trees)
def test_round_trip(tree):
    data = encode(tree)
    assert decode(Tree, data) == tree == decode(Tree, data, strict=True)
    assert encode(decode(Tree, data)) == data


@given(trees)
def test_some_fields_are_picked_as_they_are(tree):
    assert pick(Tree, encode(tree), "link", "name") == (tree.link, tree.name)


@given(st.binary(max_size=40))
def test_what_has_no_such_fields_is_not_picked_from(data):
    with pytest.raises(DecodeError):
        pick(Tree, data, "link")
    with pytest.raises(DecodeError):
        pick(Tree, encode(Leaf(1)), "link")


@given(trees)
def test_one_value_has_one_encoding(tree):
    raw = decode_plain(encode(tree))
    shuffled = dict(sorted(raw.items(), reverse=True))
    assert encode_plain(shuffled) == encode(tree)


@given(st.binary(max_size=60))
def test_free_bytes_never_become_a_link(data):
    """libipld writes bytes that parse as a CID as a link; ours carry a prefix."""
    for free in (data, LINK.binary, LINK.binary + data):
        tree = Tree(Name(free), "", LINK, Leaf(1))
        assert decode(Tree, encode(tree)).name == free
        assert encode(tree).count(b"\xd8\x2a") >= 1  # the tag of the one declared link


def change(**fields: object) -> bytes:
    """The encoding of a Tree with raw fields replaced."""
    return encode_plain({**decode_plain(encode(Tree(Name(b"n"), "t", LINK, Leaf(1)))), **fields})


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"name": "text"}, "0x00 prefix"),
        ({"name": b"\1no prefix"}, "0x00 prefix"),
        ({"text": 1}, "expected str"),
        ({"text": None}, "expected str"),
        ({"link": "text"}, "expected a link"),
        ({"link": b"\0abc"}, "not a CIDv1"),
        ({"leaf": [1]}, "expected a map"),
        ({"leaf": {}}, "lacks field 'count'"),
        ({"leaf": {"count": True}}, "expected int"),
        ({"leaf": {"count": 1, "flag": 1}}, "expected bool"),
        ({"leaf": {"count": 1.5}}, "expected int"),
        ({"leaves": {}}, "expected a list"),
        ({"leaves": [{"count": "x"}]}, r"Tree\.leaves: Leaf\.count: expected int"),
        ({"table": []}, "expected a map"),
        ({"table": {"a": 1}}, "0x00 prefix"),
        ({"maybe": "x"}, "expected int"),
    ],
)
def test_a_wrong_field_is_refused_by_name(fields, reason):
    with pytest.raises(DecodeError, match=reason):
        decode(Tree, change(**fields))


def test_unknown_keys_are_ignored_unless_strict():
    data = change(later=1)
    assert decode(Tree, data).text == "t"
    with pytest.raises(DecodeError, match="no field 'later'"):
        decode(Tree, data, strict=True)
    nested = change(leaf={"count": 1, "later": 2})
    assert decode(Tree, nested).leaf == Leaf(1)
    with pytest.raises(DecodeError, match="no field 'later'"):
        decode(Tree, nested, strict=True)


def test_a_left_out_default_is_filled_in_and_a_required_field_is_not():
    raw = decode_plain(encode(Tree(Name(b"n"), "t", LINK, Leaf(1))))
    for name in ("leaves", "table", "maybe"):
        del raw[name]
    assert decode(Tree, encode_plain(raw)) == Tree(Name(b"n"), "t", LINK, Leaf(1))
    del raw["text"]
    with pytest.raises(DecodeError, match="lacks field 'text'"):
        decode(Tree, encode_plain(raw))


def test_a_value_that_its_class_refuses_is_a_decode_error():
    assert decode(Even, encode(Even(2))) == Even(2)
    with pytest.raises(DecodeError, match="3 is odd"):
        decode(Even, encode_plain({"number": 3}))


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "18",  # cut off
        "1800",  # 0 in two bytes
        "1b0000000000000001",  # 1 in nine bytes
        "5f4101ff",  # bytes of indefinite length
        "bf6161f6ff",  # map of indefinite length
        "a2616201616102",  # keys out of order
        "a2616101616101",  # the same key twice
        "f97e00",  # a NaN
        "fb7ff0000000000000",  # infinity
        "c100",  # a tag that is not 42
        "d82a420001",  # a link that is none
        "f7",  # undefined
        "a10101",  # a key that is not text
        "62c328",  # text that is not UTF-8
        "0000",  # two values
        "9bffffffffffffffff",  # a list longer than memory
        "81" * 5000 + "00",  # nesting without end
    ],
)
def test_other_cbor_is_refused(encoded):
    with pytest.raises(DecodeError):
        decode_plain(bytes.fromhex(encoded))


@pytest.mark.parametrize("number", [INTEGER_MIN, -1, 0, 23, 24, 255, 256, INTEGER_MAX])
def test_integers_of_64_bits(number):
    assert decode(Leaf, encode(Leaf(number))).count == number


@pytest.mark.parametrize("number", [INTEGER_MIN - 1, INTEGER_MAX + 1])
def test_larger_integers_are_a_programming_error(number):
    with pytest.raises(AssertionError, match="64 bits"):
        encode(Leaf(number))


def test_integers_below_the_range_are_refused():
    below = b"\xa1\x65count\x3b" + b"\xff" * 8  # -(2**64), legal CBOR
    with pytest.raises(DecodeError, match="beyond 64 bits"):
        decode(Leaf, below)


@dataclass(frozen=True, slots=True)
class Unsupported:
    number: float


@dataclass(frozen=True, slots=True)
class IntegerKeys:
    table: dict[int, str]


def test_types_without_a_form_are_a_programming_error():
    with pytest.raises(TypeError, match="no form"):
        encode(Unsupported(1.0))
    with pytest.raises(AssertionError, match="keys are text"):
        encode(IntegerKeys({}))
    with pytest.raises(AssertionError, match="not a dataclass"):
        encode(3)
