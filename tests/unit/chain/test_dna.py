"""DNA and the manifest: one id, bounds, and words for whoever writes an app."""

import dataclasses

import pytest

from dms3.chain.dna import (
    HOLDERS_MAX,
    Dna,
    EntryKind,
    LinkKind,
    decode_dna,
    encode_dna,
    program_of,
)
from dms3.chain.dna import is_name as name_fits
from dms3.chain.manifest import Manifest, dna_of, parse_manifest
from dms3.chain.sandboxing import PYTHON, WASM
from dms3.core.codec import decode_plain, encode_plain
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    DAPP_MANIFEST_BYTES_MAX,
    DNA_BYTES_MAX,
    DNA_KINDS_MAX,
    FUEL_MAX,
    MEMORY_BYTES_MAX,
    PROPERTIES_BYTES_MAX,
    TITLE_CHARS_MAX,
)
from unit.chain.chain_kit import DNA

MANY = tuple(EntryKind(f"k{number:03}") for number in range(DNA_KINDS_MAX + 1))


def test_it_comes_back_and_has_one_id():
    again = decode_dna(encode_dna(DNA))
    assert again == DNA
    assert again.id == DNA.id
    assert len(DNA.id) == 32


@pytest.mark.parametrize(
    "change",
    [
        {"name": "guestbook2"},
        {"level": WASM},
        {"source": b"#"},
        {"entries": ()},
        {"links": ()},
        {"properties": {"longest": 501}},
        {"membrane": {"scheme": "work", "bits": 20}},
        {"r": 9},
        {"q_min": 9},
        {"q_max": 39},
        {"fuel": 1},
        {"memory": 1},
        {"same_rules": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_in_it_is_part_of_its_id(change):
    other = dataclasses.replace(DNA, **change)
    assert other.id != DNA.id
    assert decode_dna(encode_dna(other)) == other


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"name": ""},
        {"name": "Guestbook"},
        {"name": "n" * 65},
        {"level": "rust-1"},
        {"source": bytes(DNA_BYTES_MAX)},
        {"entries": MANY},
        {"entries": (EntryKind("b"), EntryKind("a"))},
        {"entries": (EntryKind("a"), EntryKind("a"))},
        {"links": (LinkKind("b"), LinkKind("a"))},
        {"properties": {"x": 1.5}},
        {"properties": []},
        {"properties": {"x": "x" * PROPERTIES_BYTES_MAX}},
        {"membrane": "x" * PROPERTIES_BYTES_MAX},
        {"r": 0},
        {"r": HOLDERS_MAX + 1},
        {"q_min": 0},
        {"q_min": 41},
        {"q_min": 20, "q_max": 19},
        {"fuel": 0},
        {"fuel": FUEL_MAX + 1},
        {"memory": 0},
        {"memory": MEMORY_BYTES_MAX + 1},
    ],
    ids=range(23),
)
def test_what_is_out_of_bounds_is_no_dna(change):
    with pytest.raises(ValueError):  # noqa: PT011  each has its own words
        dataclasses.replace(DNA, **change)


def test_bounds_from_inside():
    assert Dna("n" * 64, entries=MANY[:-1], r=HOLDERS_MAX, fuel=FUEL_MAX, memory=MEMORY_BYTES_MAX)
    room = DNA_BYTES_MAX - len(encode_dna(Dna("n"))) - 4
    full = Dna("n", source=bytes(room))
    assert len(encode_dna(full)) == DNA_BYTES_MAX
    assert decode_dna(encode_dna(full)) == full
    with pytest.raises(DecodeError, match="too long"):
        decode_dna(bytes(DNA_BYTES_MAX + 1))


def test_names_of_kinds():
    assert all(map(name_fits, ("a", "a-b_9", "n" * 64)))
    assert not any(map(name_fits, ("", "9a", "-a", "ä", "A", "a b", "a.b", "n" * 65)))
    with pytest.raises(ValueError, match="no name of an entry kind"):
        EntryKind("A")
    with pytest.raises(ValueError, match="no name of a link kind"):
        LinkKind("A")
    with pytest.raises(ValueError, match="alone"):
        EntryKind("a", private=True, by_anyone=True)


def test_the_bounds_of_judging_are_those_of_the_dna():
    program = program_of(dataclasses.replace(DNA, fuel=5, memory=6))
    assert (program.fuel, program.memory, program.part) == (5, 6, "rules")
    assert (program.source, program.level) == (DNA.source, DNA.level)
    assert program.properties == DNA.properties


def test_kinds_by_name():
    assert DNA.entry_kind("diary") == EntryKind("diary", private=True)
    assert DNA.link_kind("by") == LinkKind("by")
    assert DNA.entry_kind("by") is DNA.link_kind("diary") is None


def test_there_is_one_byte_form():
    raw = decode_plain(encode_dna(DNA))
    kinds = [{**each} for each in raw["entries"]]
    del kinds[0]["private"]
    for changed in ({**raw, "entries": kinds}, {**raw, "more": 1}):
        with pytest.raises(DecodeError):
            decode_dna(encode_plain(changed))
    with pytest.raises(DecodeError, match="properties are a map"):
        decode_dna(encode_plain({**raw, "properties": b"\0" + encode_plain([])}))
    with pytest.raises(DecodeError, match="fraction"):
        decode_dna(encode_plain({**raw, "properties": b"\0" + encode_plain({"a": 1.5})}))


# The manifest

WHOLE = """
name = "guestbook"
title = "Guest book"
description = '''
Who was here.
Two lines.'''
version = "1.0"
rules = "rules.py"
functions = "functions.py"
page = "page"
r = 8
fuel = 100_000_000
membrane = "open"

[entries.signature]
[entries.diary]
private = true

[links]
by = {}
topic = { by_anyone = true }

[properties]
longest = 500
words = ["a", "b"]
"""


def test_a_whole_manifest():
    found = parse_manifest(WHOLE)
    assert found.name == "guestbook"
    assert found.entries == (EntryKind("diary", private=True), EntryKind("signature"))
    assert found.links == (LinkKind("by"), LinkKind("topic", by_anyone=True))
    assert found.properties == {"longest": 500, "words": ["a", "b"]}
    assert (found.page, found.functions, found.version) == ("page", "functions.py", "1.0")
    dna = dna_of(found, b"source")
    assert (dna.name, dna.source, dna.fuel, dna.level) == (
        "guestbook", b"source", 100_000_000, PYTHON)  # fmt: skip


def test_the_shortest_manifest():
    assert parse_manifest('name = "a"') == Manifest("a")


def test_what_is_outside_the_dna_changes_no_id():
    one = parse_manifest(WHOLE)
    outside = {"title": "T", "description": "", "version": "2", "functions": "", "page": "p"}
    assert dna_of(dataclasses.replace(one, **outside), b"s").id == dna_of(one, b"s").id
    assert dna_of(dataclasses.replace(one, r=9), b"s").id != dna_of(one, b"s").id


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: name: it is missing; an app has a name"),
        ("name = 'A'", "line 1: name: it is lower-case letters"),
        ("name = 5", "line 1: name: it is lower-case letters"),
        ("name = 'a'\ntitel = 'x'", "line 2: titel: there is no such key; did you mean title?"),
        ("name = 'a'\nzzz = 'x'", "line 2: zzz: there is no such key; there are description,"),
        ("name = 'a'\n[entries.x]\npirvate = true", "line 3: entries.x.pirvate: there is no such"),
        ("name = 'a'\n[entries.x]\nprivate = 1", "line 3: entries.x.private: it is true or false"),
        (
            "name = 'a'\n[links]\nx = { private = true }",
            "line 3: links.x.private: there is no such",
        ),
        ("name = 'a'\n[entries.X]", "line 2: entries.X: 'X' is no name of an entry kind"),
        ("name = 'a'\nentries = ['x']", "line 2: entries: it is a table of tables: [entries.name]"),
        ("name = 'a'\n[entries]\nx = 1", "line 3: entries.x: it is a table: [entries.x], or x ="),
        ("name = 'a'\n[properties]\nx = 1.5", "line 3: properties.x: numbers with a fraction"),
        ("name = 'a'\nproperties = 5", "line 2: properties: it is a table"),
        (
            "name = 'a'\n[properties]\nx = 2026-11-21",
            "line 3: properties.x: date cannot be kept; use text",
        ),
        ("name = 'a'\nlevel = 'rust'", "line 2: level: it is one of python-1, wasm-1"),
        ("name = 'a'\nlevel = 'wasm-1'", "line 2: level: it needs the name of a file: rules ="),
        ("name = 'a'\nr = 0", "line 2: r: it is a whole number from 1 to 40"),
        ("name = 'a'\nfuel = true", "line 2: fuel: it is a whole number"),
        ("name = 'a'\nq_min = 41", "line 2: q_min: it is a whole number from 1 to 40"),
        ("name = 'a'\nq_min = 9\nq_max = 8", "line 2: q_min: it is more than q_max"),
        ("name = 'a'\nsame_rules = 'yes'", "line 2: same_rules: it is true or false"),
        ("name = 'a'\nrules = '../rules.py'", "line 2: rules: it is the name of something in the"),
        ("name = 'a'\npage = '/etc'", "line 2: page: it is the name of something in the app's"),
        ("name = 'a'\npage = 'a\\\\b'", "line 2: page: it is the name of something"),
        ("name = 'a'\ntitle = \"a\\nb\"", "line 2: title: it is one line of text"),
        (f"name = 'a'\ntitle = '{'x' * (TITLE_CHARS_MAX + 1)}'", "line 2: title: it is text of at"),
        ("name = 'a\n", "is not TOML: "),
        ("name = 'a'\nname = 'b'\n", "Cannot overwrite a value"),
        ("#" * (DAPP_MANIFEST_BYTES_MAX + 1), "it has more than 131072 bytes"),
    ],
    ids=range(29),
)
def test_what_is_wrong_is_said_with_its_line(text, says):
    with pytest.raises(Dms3Error) as refused:
        parse_manifest(text)
    assert refused.value.code == "content_invalid"
    assert says in refused.value.message
    assert refused.value.message.startswith("dapp.toml")


def test_too_many_kinds_are_said():
    text = "name = 'a'\n" + "".join(f"[entries.k{number}]\n" for number in range(DNA_KINDS_MAX + 1))
    with pytest.raises(Dms3Error, match="line 2: entries: there are more than 64"):
        parse_manifest(text)


def test_rules_that_are_too_long_are_said():
    with pytest.raises(Dms3Error, match="more than 1048576 bytes"):
        dna_of(Manifest("a"), bytes(DNA_BYTES_MAX))
