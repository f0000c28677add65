"""How many nodes are to hold a key: both sides of r, of the least and of the most."""

import pytest

from dms3.core.limits import HOLDERS_SLACK, NEIGHBOURS_MAX, NEIGHBOURS_MIN
from dms3.core.neighbourhood import USUAL, Duty, needed
from dms3.core.overlay import Rank


@pytest.mark.parametrize(
    ("shares", "count"),
    [
        ([], 40),
        ([1.0] * 7, 40),  # fewer than are needed: all of them, and whoever comes
        ([1.0] * 8, 8),
        ([1.0] * 100, 8),
        ([1.0] * 7 + [0.99] + [0.01] * 9, 9),
        ([0.5] * 100, 16),
        ([0.5] * 15, 40),
        ([0.2] * 100, 40),
        ([0.0] * 100, 40),
        ([0.0] * 8 + [1.0] * 100, 16),  # the nearest, whatever their uptimes
    ],
)
def test_the_least_number_whose_uptimes_are_enough(shares, count):
    assert USUAL.needed(iter(shares)) == count


@pytest.mark.parametrize(
    ("r", "least", "most", "count"), [(1, 1, 5, 2), (1, 3, 5, 3), (3, 1, 5, 5), (2.5, 1, 5, 5)]
)
def test_an_overlay_may_ask_for_less(r, least, most, count):
    assert needed([0.5] * 10, r, least, most) == count
    assert Duty(r, least, most).needed([0.5] * 10) == count


def test_sums_of_fractions_do_not_ask_for_one_more():
    assert needed([0.2] * 10, 1, 1, 40) == 5
    assert needed([0.1] * 20, 0.8, 1, 40) == 8


@pytest.mark.parametrize(
    ("r", "least", "most"), [(0, 1, 1), (1, 0, 1), (1, 2, 1), (1, 1, NEIGHBOURS_MAX + 1)]
)
def test_a_duty_that_nobody_can_keep_is_none(r, least, most):
    with pytest.raises(ValueError, match="no duty"):
        Duty(r, least, most)


def test_a_rank_holds_within_what_is_needed_and_keeps_a_little_beyond():
    assert Rank(NEIGHBOURS_MIN - 1, NEIGHBOURS_MIN).holds
    assert not Rank(NEIGHBOURS_MIN, NEIGHBOURS_MIN).holds
    assert Rank(NEIGHBOURS_MIN + HOLDERS_SLACK - 1, NEIGHBOURS_MIN).keeps
    assert not Rank(NEIGHBOURS_MIN + HOLDERS_SLACK, NEIGHBOURS_MIN).keeps
