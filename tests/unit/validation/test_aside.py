"""Ops that were not taken: so many of each overlay, and a flood in one costs no other its place."""

from dms3.chain.operations_validation import Block, Pardon
from dms3.core.ids import OverlayId
from dms3.core.limits import BARRED_KEPT_US, FAR_KEPT_US, SECOND_US
from dms3.validation import aside
from dms3.validation.aside import Aside
from unit.validation.town_kit import Town, given, written
from unit.validation.validation_kit import PLAIN, ops

ONE, TWO, THREE = (OverlayId(bytes([number]) * 32) for number in range(3))


def name(number):
    return number.to_bytes(32, "little")


def test_a_flood_in_one_overlay_leaves_another_what_it_has(monkeypatch):
    monkeypatch.setattr(aside, "ASIDE_MAX", 4)
    monkeypatch.setattr(aside, "ASIDE_ALL_MAX", 6)
    kept = Aside()
    kept.put(ONE, name(0), 100)
    kept.put(ONE, name(1), 100)
    for number in range(50):
        kept.put(TWO, name(number), 100)
    assert [kept.has(ONE, name(number), 0) for number in range(3)] == [True, True, False]
    assert [number for number in range(50) if kept.has(TWO, name(number), 0)] == [46, 47, 48, 49]
    kept.put(THREE, name(0), 100)
    assert kept.has(THREE, name(0), 0)
    assert [number for number in range(50) if kept.has(TWO, name(number), 0)] == [47, 48, 49]
    kept.leave(TWO)
    assert not kept.has(TWO, name(49), 0)
    for number in range(3):
        kept.put(THREE, name(number), 100)
    assert [kept.has(ONE, name(number), 0) for number in range(2)] == [True, True]


def test_it_ends_and_says_where_a_far_one_lies():
    kept = Aside()
    kept.put_far(ONE, name(1), b"there", 0)
    assert (kept.has(ONE, name(1), FAR_KEPT_US - 1), kept.far(ONE, name(1))) == (True, b"there")
    assert not kept.has(ONE, name(1), FAR_KEPT_US)
    kept.near(ONE, name(1))
    assert kept.far(ONE, name(1)) == b""
    kept.bar(ONE, name(2), 0)
    assert kept.has(ONE, name(2), BARRED_KEPT_US - 1)
    assert not kept.has(ONE, name(2), BARRED_KEPT_US)
    kept.pardoned(ONE)
    assert not kept.has(ONE, name(2), 0)


def test_more_of_a_blocked_agent_than_are_put_aside_is_brought_once_and_after_a_pardon(monkeypatch):
    """A neighbour that holds thousands of its ops shows them at every comparison."""
    monkeypatch.setattr(aside, "ASIDE_MAX", 10)
    town = Town(2)
    one, two = town.houses
    bad = written(1, 30)
    one.call("block", Block(PLAIN.id, bad.signing.public))
    given(two, bad)
    town.go(2 * FAR_KEPT_US / SECOND_US)
    assert one.repair().barred == len(ops(*bad.records)), "each was brought once"
    one.call("pardon", Pardon(PLAIN.id, bad.signing.public))
    town.go(130)
    assert all(one.holds(record) for record in bad.records)
