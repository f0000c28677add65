"""Who is compared with next: newcomers and those who share more at once, the others in turn."""

import random

from dms3.core.ids import PeerId
from dms3.core.limits import (
    GOSSIP_PERIOD_US,
    GOSSIP_REST_US,
    NEIGHBOUR_STALE_US,
    SECOND_US,
)
from dms3.core.neighbourhood import Duty
from dms3.core.overlay import Neighbours, NodeAt, distance
from dms3.core.reconcile import EVERYTHING, Tree
from dms3.validation.repairing import Repairing
from unit.validation.town_kit import Town, given, written

RNG = random.Random(11)
OWN = bytes(32)
PLACES = {PeerId(b"peer %d" % number): RNG.randbytes(32) for number in range(60)}
NAMES = sorted(PLACES, key=lambda peer: distance(PLACES[peer], OWN))
"""Nearest first."""


def near(names: list[PeerId], share: float = 1.0) -> Neighbours:
    found = [(NodeAt(peer, ()), PLACES[peer], share) for peer in names]
    return Neighbours(OWN, tuple(sorted(found, key=lambda each: distance(each[1], OWN))))


def seen(names: list[PeerId], share: float = 1.0) -> Repairing:
    repairing = Repairing(Duty())
    repairing.see(near(names, share))
    return repairing


def visit(repairing: Repairing, now_us: int = 0) -> tuple[PeerId, bool]:
    choice = repairing.next(now_us)
    assert choice is not None
    repairing.done(choice.node.peer, choice.ranges, now_us)
    return choice.node.peer, choice.due


def all_visited(repairing: Repairing, now_us: int = 0) -> list[PeerId]:
    """Those who are due, in the order of their visits."""
    found = []
    while (choice := repairing.next(now_us)) is not None and choice.due:
        found.append(choice.node.peer)
        repairing.done(choice.node.peer, choice.ranges, now_us)
    return found


def test_nobody_is_chosen_when_nobody_is_there():
    assert seen([]).next(0) is None


def test_at_the_start_everybody_is_due_nearest_first():
    assert all_visited(seen(NAMES[:7])) == NAMES[:7]


def test_then_they_are_visited_in_turn_each_within_a_bounded_time():
    repairing = seen(NAMES[:7])
    all_visited(repairing)
    order = [visit(repairing, now_us) for now_us in range(1, 22)]
    assert order == [(peer, False) for _ in range(3) for peer in NAMES[:7]]


def test_a_newcomer_is_due_at_once():
    repairing = seen(NAMES[:5])
    all_visited(repairing)
    repairing.see(near([*NAMES[:5], NAMES[30]]))
    assert all_visited(repairing, 1) == [NAMES[30]]
    assert not visit(repairing, 2)[1]


def test_who_was_gone_and_comes_back_is_due():
    repairing = seen(NAMES[:5])
    all_visited(repairing)
    repairing.see(near(NAMES[:4]))
    assert not visit(repairing, 1)[1]
    repairing.see(near(NAMES[:5]))
    assert all_visited(repairing, 2) == [NAMES[4]]


def test_a_death_makes_those_due_who_share_more_now():
    """Of twenty nodes everybody holds a part; when nine are left all hold everything."""
    repairing = seen(NAMES[:20])
    assert len(all_visited(repairing)) > 8
    assert all(choice.ranges != (EVERYTHING,) for choice in [repairing.next(1)] if choice)
    left = NAMES[:2] + NAMES[4:8]
    repairing.see(near(left))
    assert all_visited(repairing, 1) == left
    choice = repairing.next(2)
    assert choice is not None
    assert choice.ranges == (EVERYTHING,)


def test_who_shares_again_what_a_crowd_had_come_between_is_due_again():
    repairing = seen(NAMES[:12])
    before = [repairing.pick(peer).ranges for peer in all_visited(repairing)]
    repairing.see(near(NAMES[:40]))
    all_visited(repairing, 1)
    repairing.see(near(NAMES[:12]))
    repairing.next(2)
    after = [repairing.pick(peer).ranges for peer in NAMES[:12]]
    assert sorted(after) == sorted(before)
    assert len(all_visited(repairing, 2)) > 6
    assert all_visited(repairing, 3) == []


def test_uptimes_that_change_a_little_change_nothing():
    repairing = seen(NAMES[:12], 0.9)
    all_visited(repairing)
    repairing.see(near(NAMES[:12], 0.91))
    assert not visit(repairing, 1)[1]


def test_who_does_not_answer_is_left_alone_ever_longer_up_to_a_minute():
    repairing = seen(NAMES[:1])
    now_us, waits = 0, []
    for _ in range(8):
        assert repairing.next(now_us) is not None
        repairing.failed(NAMES[0], now_us)
        begun_us = now_us
        while repairing.next(now_us) is None:
            now_us += SECOND_US
        waits.append(now_us - begun_us)
    assert waits[0] == GOSSIP_PERIOD_US
    assert waits == sorted(waits)
    assert waits[-1] == GOSSIP_REST_US


def test_one_that_does_not_answer_holds_up_nobody():
    repairing = seen(NAMES[:3])
    repairing.next(0)
    repairing.failed(NAMES[0], 0)
    assert all_visited(repairing) == NAMES[1:3]


def test_after_sleep_everybody_is_due():
    repairing = seen(NAMES[:4])
    all_visited(repairing)
    repairing.forget()
    assert all_visited(repairing, 1) == NAMES[:4]


def test_a_connection_makes_due_who_was_not_compared_with_for_long():
    repairing = seen(NAMES[:2])
    all_visited(repairing)
    assert not repairing.came(NAMES[0], NEIGHBOUR_STALE_US - 1)
    assert not repairing.came(NAMES[50], NEIGHBOUR_STALE_US)
    assert repairing.came(NAMES[0], NEIGHBOUR_STALE_US)
    assert visit(repairing, NEIGHBOUR_STALE_US) == (NAMES[0], True)


def test_ops_are_short_of_holders_until_all_who_are_due_were_visited():
    tree = Tree()
    for _ in range(100):
        tree.add(RNG.randbytes(36))
    repairing = seen(NAMES[:3])
    repairing.next(0)
    assert repairing.short(tree) == 100
    all_visited(repairing)
    assert repairing.short(tree) == 0


def test_after_a_death_the_next_nearest_has_the_ops_within_three_periods():
    """Four nodes; the others learn of the newcomer when one of them has gone."""
    town = Town(5)
    *old, new = town.houses
    for house in old:
        house.around = [other.peer for other in old if other is not house]
    new.around = []
    given(old[0], written())
    town.go(20)
    assert all(house.holds(written().records[3]) for house in old)
    gone = old.pop()
    del town.of_peer[gone.peer]
    for house in (*old, new):
        house.around = [other.peer for other in (*old, new) if other is not house]
    town.houses.remove(gone)
    town.go(3 * GOSSIP_PERIOD_US / SECOND_US)
    assert all(new.holds(record) for record in written().records)
    assert all(house.repair().short == 0 for house in (*old, new))
