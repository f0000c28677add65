"""`scan`, and the effects and events as values."""

import dataclasses

import pytest

from dms3.core import machine
from dms3.core.errors import Failure
from dms3.core.machine import Now, Persist, is_failure, scan


class Rows:
    """A View over a dictionary that counts its pages."""

    def __init__(self, rows: dict[bytes, bytes]) -> None:
        self.rows = sorted(rows.items())
        self.pages = 0

    def get(self, table: str, key: bytes) -> bytes | None:
        assert table == "t"
        return dict(self.rows).get(key)

    def range(self, table: str, start: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        assert table == "t"
        self.pages += 1
        return [row for row in self.rows if row[0] >= start][:limit]


def keys(count: int, prefix: bytes = b"k") -> dict[bytes, bytes]:
    return {prefix + bytes((number,)): b"v" for number in range(count)}


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 8, 9])
def test_scan_sees_every_row_once_whatever_the_page(count):
    view = Rows(keys(count))
    assert list(scan(view, "t", page=4)) == view.rows
    assert view.pages == count // 4 + 1


def test_scan_stops_at_its_prefix():
    view = Rows(keys(5, b"a") | keys(5, b"b") | keys(5, b"c"))
    assert [key for key, _ in scan(view, "t", b"b", page=2)] == sorted(keys(5, b"b"))
    assert list(scan(view, "t", b"d", page=2)) == []


def test_scan_meets_a_key_that_is_the_prefix_itself_and_its_extensions():
    view = Rows({b"k": b"1", b"k\0": b"2", b"k\xff": b"3", b"l": b"4"})
    assert [value for _, value in scan(view, "t", b"k", page=1)] == [b"1", b"2", b"3"]


def test_effects_and_events_are_frozen_values():
    members = [*machine.Effect.__args__, *machine.Event.__args__]
    assert len(set(members)) == 16
    for kind in members:
        assert kind.__dataclass_params__.frozen, kind
    effect = Persist("t", b"k", b"v")
    assert effect == Persist("t", b"k", b"v")
    with pytest.raises(dataclasses.FrozenInstanceError):
        effect.key = b"other"


def test_failure_as_an_answer_is_recognised():
    assert is_failure(Failure("timed_out", "x"))
    assert not is_failure(b"")
    assert not is_failure(None)


def test_now_keeps_its_two_clocks_apart():
    assert Now(1, 2) != Now(2, 1)
