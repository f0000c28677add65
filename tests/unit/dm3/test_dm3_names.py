"""Names: ENSIP-15 says which are the same, the reference's form is the reference's."""

import pytest

from dms3.core.errors import DecodeError
from dms3.core.limits import DM3_NAME_CHARS_MAX
from dms3.dm3.naming import namehash, normalise, reference_form, same_name


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("Alice.ETH", "alice.eth"),
        ("bob", "bob"),
        ("a-b.c--d.eth", "a-b.c--d.eth"),
        ("_a.eth", "_a.eth"),
        ("ÄÖ.eth", "äö.eth"),
        ("😀.eth", "😀.eth"),
        ("straße.eth", "straße.eth"),
        ("1️⃣.eth", "1⃣.eth"),
        ("x" * DM3_NAME_CHARS_MAX, "x" * DM3_NAME_CHARS_MAX),
    ],
)
def test_normal_form(name, normal):
    assert normalise(name) == normal
    assert normalise(normal) == normal


NO_NAMES = [
    *("", ".", "a..b", ".eth", "eth.", "a b.eth", "a_b.eth", "xn--a.eth", "ab--c.eth", "a/b"),
    *("a\u200db.eth", "\u0430lice.eth", "x" * (DM3_NAME_CHARS_MAX + 1), "\ud800.eth"),
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name(name):
    with pytest.raises(DecodeError):
        normalise(name)
    assert not same_name(name, "alice.eth")


@pytest.mark.parametrize(
    ("name", "form"),
    [("Straße.eth", "strasse.eth"), ("a--b.eth", "a--b.eth"), ("ab--c", "ab--c"), ("-a", "-a"),
     ("_A.eth", "_a.eth"), ("a\u00ad\ufe0fb.eth", "ab.eth"), ("X" * 70, "x" * 70)],
)  # fmt: skip
def test_the_references_form(name, form):
    assert reference_form(name) == form


@pytest.mark.parametrize(
    "name",
    ["", "😀.eth", "a_b.eth", "ab--c.eth", "-a.eth", "a.eth-", "a\u2028"],
)
def test_what_the_reference_refuses(name):
    with pytest.raises(DecodeError):
        reference_form(name)


def test_names_that_only_nameprep_folds_are_two():
    assert reference_form("straße.eth") == reference_form("strasse.eth")
    assert not same_name("straße.eth", "strasse.eth")
    assert same_name("ÄÖ.eth", "äö.eth")
    assert same_name("Alice.eth", "alice.ETH")
    assert same_name("alice.eth", "alice.eth")
    assert not same_name("alice.eth", "alice.eth.evil.eth")
    assert not same_name("", "")


def test_names_that_only_the_reference_takes_are_compared_in_its_form():
    for name in ("İstanbul.eth", "i̇stanbul.eth"):
        with pytest.raises(DecodeError):
            normalise(name)
    assert same_name("İstanbul.eth", "i̇stanbul.eth")


def test_namehash():
    assert namehash("") == bytes(32)
    assert namehash("eth").hex().startswith("93cdeb708b7545dc668eb9280176169d")  # ENSIP-1
