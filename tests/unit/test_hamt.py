from __future__ import annotations

import random

import pytest

from dms3.core import hamt
from dms3.core.errors import DecodeError


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        # First 64 bits of MurmurHash3_x64_128 with seed 0, as its reference program prints them.
        (b"", "0000000000000000"),
        (b"hello", "cbd8a7b341bd9b02"),
        (b"hello, world", "342fac623a5ebc8e"),
        (b"The quick brown fox jumps over the lazy dog.", "cd99481f9ee902c9"),
    ],
)
def test_the_hash_matches_published_values(data: bytes, digest: str) -> None:
    assert hamt.murmur3_64(data).hex() == digest


def names(count: int) -> list[str]:
    return [f"file-{number}" for number in range(count)]


def flat(tree: hamt.Tree[int], level: int = 0) -> dict[str, int]:
    found: dict[str, int] = {}
    for slot, item in tree.items():
        if isinstance(item, tuple):
            assert hamt.slots_of(item[0])[level] == slot
            found[item[0]] = item[1]
        else:
            inside = flat(item, level + 1)
            assert len(inside) > 1, "a shard below the top holds at least two names"
            found.update(inside)
    return found


def test_every_name_is_in_the_tree_once_under_its_slots() -> None:
    entries = [(name, number) for number, name in enumerate(names(3_000))]
    assert flat(hamt.build_tree(entries)) == dict(entries)


def test_the_tree_does_not_depend_on_the_order_of_names() -> None:
    entries = [(name, 0) for name in names(1_000)]
    shuffled = entries[:]
    random.Random(5).shuffle(shuffled)
    assert hamt.build_tree(entries) == hamt.build_tree(shuffled)


def test_names_with_one_hash_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hamt, "slots_of", lambda _name: bytes(8))
    assert hamt.build_tree([("a", 1)]) == {0: ("a", 1)}
    with pytest.raises(DecodeError, match="share one hash"):
        hamt.build_tree([("a", 1), ("b", 2)])


def test_the_bit_field_has_no_leading_zeros() -> None:
    assert hamt.bitfield_of([]) == b""
    assert hamt.bitfield_of([0]) == b"\x01"
    assert hamt.bitfield_of([8, 0]) == b"\x01\x01"
    assert len(hamt.bitfield_of([255])) == 32
