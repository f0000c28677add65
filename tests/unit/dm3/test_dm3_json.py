"""Canonical JSON: as JavaScript writes it; the parser is bounded and takes one reading only."""

import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dms3.core.errors import DecodeError
from dms3.core.limits import DM3_JSON_DEPTH_MAX, DM3_JSON_ITEMS_MAX, DM3_NUMBER_CHARS_MAX
from dms3.dm3.canonical import canonical, decode_base64, parse

MOST = 1 << 20
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALAR = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20
)


@settings(deadline=None, max_examples=300)
@given(VALUE)
def test_what_is_written_is_read(value):
    try:
        text = canonical(value)
    except AssertionError:
        return  # deeper than the protocol
    assert parse(text, MOST) == value
    assert canonical(parse(text, MOST)) == text
    assert parse(text.encode(), MOST) == value
    assert json.loads(text) == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"\ue000": 1, "😀": 2}, '{"😀":2,"\ue000":1}'),  # by UTF-16 units, not code points
        ("\ud800", '"\\ud800"'),
        ("\udc00x", '"\\udc00x"'),
        ("\ud83d\ude00", '"😀"'),
        ("\x7f\u2028", '"\x7f\u2028"'),
        (1e21, "1e+21"),
        (1.5e-7, "1.5e-7"),
        (1e-6, "0.000001"),
        (123456789012345678901, "123456789012345680000"),
        (2**53 + 1, "9007199254740992"),
        (-0.0, "0"),
        (-1.25, "-1.25"),
        (float("nan"), "null"),
        ([], "[]"),
        ({}, "{}"),
    ],
)
def test_as_javascript_writes_it(value, text):
    assert canonical(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.0", 1),
        ("-0", 0),
        ("1e3", 1_000),
        ("1.5", 1.5),
        ("9007199254740991", 2**53 - 1),
        ("9007199254740993", 9007199254740992.0),
        (' {"a" : [1 , null ] } ', {"a": [1, None]}),
        ('"\\ud83d\\ude00"', "😀"),
        ("1" + "0" * (DM3_NUMBER_CHARS_MAX - 1), 1e63),
    ],
)
def test_numbers_and_text_are_read_as_javascript_reads_them(text, value):
    found = parse(text, MOST)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[1,]", "not JSON"),
        ("{'a':1}", "not JSON"),
        ('"a\nb"', "not JSON"),
        ('"abc', "not JSON"),
        ('"abc\\', "not JSON"),
        ("1 2", "not JSON"),
        ("NaN", "no JSON"),
        ("-Infinity", "no JSON"),
        ("1e999", "beyond"),
        ("1" * (DM3_NUMBER_CHARS_MAX + 1), "characters"),
        ("1." + "1" * DM3_NUMBER_CHARS_MAX, "characters"),
        ('{"a":1,"a":1}', "twice"),
        ('{"b":{"a":1,"\\u0061":2}}', "twice"),
        ('"\\ud800"', "surrogate"),
        ('{"\\uDFFF":1}', "surrogate"),
        ('["\\uD83Dx"]', "surrogate"),
        ("\ud800", "Unicode"),
        (b'"\xff"', "Unicode"),
        (b"\xef\xbb\xbf1", "not JSON"),
    ],
)
def test_what_is_refused(text, says):
    with pytest.raises(DecodeError, match=says):
        parse(text, MOST)


@pytest.mark.parametrize("brackets", ["[]", '{"a":}'])
def test_depth_is_bounded(brackets):
    opening, closing = brackets[:-1], brackets[-1]
    for depth in range(1, DM3_JSON_DEPTH_MAX + 1):
        text = opening * depth + "1" + closing * depth
        assert canonical(parse(text, MOST)) == text
        with pytest.raises(DecodeError, match="not JSON"):
            parse(text[:-1], MOST)
    for depth in (DM3_JSON_DEPTH_MAX + 1, 100_000):
        with pytest.raises(DecodeError, match="deeper"):
            parse(opening * depth + "1" + closing * depth, MOST)


def test_items_and_bytes_are_bounded():
    most = "[" + ",".join("1" * (DM3_JSON_ITEMS_MAX - 1)) + "]"
    assert len(parse(most, MOST)) == DM3_JSON_ITEMS_MAX - 1
    with pytest.raises(DecodeError, match="items"):
        parse("[1," + most[1:], MOST)
    in_text = json.dumps("[]," * DM3_JSON_ITEMS_MAX)  # as text they are no items
    assert parse(in_text, MOST) == json.loads(in_text)
    assert parse('"ü"', 4) == "ü"
    for long in ('"ü"', '"ü"'.encode(), "1234"):
        with pytest.raises(DecodeError, match="longer"):
            parse(long, 3)


def test_no_text_takes_time_that_grows_faster_than_it():
    small, large = (cost('"' + '\\"' * count) for count in (1 << 14, 1 << 18))
    assert large < 64 * small + 0.01, (small, large)  # 16 times the text; quadratic would be 256


def cost(text):
    """Seconds that refusing `text` takes, the least of three."""
    found = []
    for _ in range(3):
        started = time.perf_counter()
        with pytest.raises(DecodeError):
            parse(text, MOST)
        found.append(time.perf_counter() - started)
    return min(found)


@pytest.mark.parametrize(
    "text", ["A", "AA", "AA=", "AB==", "AA==\n", " AA==", "A-==", "AA==AA==", "é", None, 1]
)
def test_base64_has_one_form(text):
    with pytest.raises(DecodeError):
        decode_base64(text)


def test_base64_of_a_size():
    assert decode_base64("AAA=", 2) == b"\0\0"
    with pytest.raises(DecodeError, match="2 bytes"):
        decode_base64("AA==", 2)


def test_random_json_text_is_read_as_the_standard_library_reads_it():
    chosen = random.Random(3)
    alphabet = ['"', "{", "}", "[", "]", ":", ",", "1", "a", "\\", "null", " ", "\\n", '"a"']
    agreed = 0
    for _ in range(20_000):
        text = "".join(chosen.choices(alphabet, k=chosen.randint(1, 9)))
        try:
            expected = json.loads(text)
        except ValueError:
            with pytest.raises(DecodeError):
                parse(text, MOST)
            continue
        agreed += 1
        if has_twice(text):
            with pytest.raises(DecodeError, match="twice"):
                parse(text, MOST)
        else:
            assert parse(text, MOST) == expected
    assert agreed > 500


def has_twice(text):
    """Whether an object in the JSON `text` has a member twice."""
    found = []

    def look(pairs):
        found.append(len(dict(pairs)) != len(pairs))
        return dict(pairs)

    json.loads(text, object_pairs_hook=look)
    return any(found)
