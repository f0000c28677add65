"""The books of a hop: places, circuits, pace, on both sides of each bound."""

import pytest

from dms3.core.limits import (
    CIRCUIT_BURST_US,
    CIRCUIT_BYTES_MAX,
    CIRCUIT_RATE_BYTES_MAX,
    CIRCUITS_OF_ONE_MAX,
    CIRCUITS_PASSED_MAX,
    HOP_QUESTIONS_BURST_MAX,
    HOP_QUESTIONS_LEAK_US,
    RESERVATION_US,
    RESERVATIONS_MAX,
    RESERVATIONS_PER_HOST_MAX,
    SECOND_US,
)
from dms3.core.machine import Now
from dms3.libp2p.circuit import Status
from dms3.p2p.circuits_hop import HopBooks
from unit.libp2p.wire_kit import key

WALL_US = 1_800_000_000 * SECOND_US


def at(mono_us: int = 0) -> Now:
    return Now(mono_us, WALL_US + mono_us)


def peer(number: int):
    return key(number).peer_id


@pytest.fixture
def books() -> HopBooks:
    found = HopBooks()
    found.offered = True
    return found


def test_who_is_no_hop_gives_no_place():
    assert HopBooks().reserve(peer(1), "", at()) is Status.RESERVATION_REFUSED


def test_a_place_is_had_for_an_hour_and_renewed(books):
    until_s = books.reserve(peer(1), "192.0.2.1", at())
    assert until_s == (WALL_US + RESERVATION_US) // SECOND_US
    assert books.has_place(peer(1), RESERVATION_US - 1)
    assert not books.has_place(peer(1), RESERVATION_US)
    books.reserve(peer(1), "192.0.2.1", at(RESERVATION_US - 1))
    assert books.has_place(peer(1), 2 * RESERVATION_US - 2)
    assert books.places(0) == 1


def test_places_are_bounded_and_free_again(books):
    for number in range(RESERVATIONS_MAX):
        assert not isinstance(books.reserve(peer(number), "", at()), Status)
    late = peer(RESERVATIONS_MAX)
    assert books.reserve(late, "", at()) is Status.RESERVATION_REFUSED
    assert not isinstance(books.reserve(peer(0), "", at()), Status)  # a renewal needs no room
    books.gone(peer(3))
    assert not isinstance(books.reserve(late, "", at()), Status)
    assert books.reserve(peer(3), "", at()) is Status.RESERVATION_REFUSED
    assert not isinstance(books.reserve(peer(3), "", at(RESERVATION_US)), Status)


def test_one_address_gets_few_places(books):
    for number in range(RESERVATIONS_PER_HOST_MAX):
        assert not isinstance(books.reserve(peer(number), "192.0.2.1", at()), Status)
    assert books.reserve(peer(90), "192.0.2.1", at()) is Status.RESERVATION_REFUSED
    assert not isinstance(books.reserve(peer(90), "192.0.2.2", at()), Status)


def test_a_circuit_leads_to_who_has_a_place(books):
    assert books.connect(peer(1), peer(2), 0) is Status.NO_RESERVATION
    books.reserve(peer(2), "", at())
    assert books.connect(peer(2), peer(2), 0) is Status.PERMISSION_DENIED
    assert books.connect(peer(1), peer(2), RESERVATION_US) is Status.NO_RESERVATION
    number = books.connect(peer(1), peer(2), 0)
    assert not isinstance(number, Status)
    assert books.is_used_by(peer(1), 0)
    books.ended(number, "closed")
    books.ended(number, "closed")
    assert (books.circuits, books.figures.ended) == (0, {"closed": 1})
    assert not books.is_used_by(peer(1), 0)


def test_circuits_of_one_and_of_all_are_bounded(books):
    ends = CIRCUITS_PASSED_MAX // CIRCUITS_OF_ONE_MAX
    for number in range(ends + 2):
        books.reserve(peer(number), "", at())
    for number in range(CIRCUITS_OF_ONE_MAX):
        assert not isinstance(books.connect(peer(100 + number), peer(0), 0), Status)
    assert books.connect(peer(99), peer(0), 0) is Status.RESOURCE_LIMIT_EXCEEDED
    for target in range(1, ends):
        for number in range(CIRCUITS_OF_ONE_MAX):
            assert not isinstance(books.connect(peer(100 + number), peer(target), 0), Status) or (
                target >= CIRCUITS_OF_ONE_MAX
            )
    assert books.circuits <= CIRCUITS_PASSED_MAX
    while books.circuits < CIRCUITS_PASSED_MAX:
        books.connect(peer(200 + books.circuits), peer(ends), 0)
    assert books.connect(peer(300), peer(ends + 1), 0) is Status.RESOURCE_LIMIT_EXCEEDED


def test_too_many_bytes_one_way_end_a_circuit(books):
    books.reserve(peer(2), "", at())
    number = books.connect(peer(1), peer(2), 0)
    assert books.passes(number, CIRCUIT_BYTES_MAX, 0, back=False) is not None
    assert books.passes(number, CIRCUIT_BYTES_MAX, 0, back=True) is not None
    assert books.passes(number, 1, 0, back=True) is None
    books.ended(number, "bytes")
    assert books.passes(number, 1, 0, back=False) is None


def test_all_circuits_together_keep_the_pace(books):
    books.reserve(peer(2), "", at())
    books.reserve(peer(3), "", at())
    one = books.connect(peer(1), peer(2), SECOND_US)
    two = books.connect(peer(1), peer(3), SECOND_US)
    burst = CIRCUIT_RATE_BYTES_MAX * CIRCUIT_BURST_US // SECOND_US
    assert books.passes(one, burst, SECOND_US, back=False) == 0
    wait_us = books.passes(two, CIRCUIT_RATE_BYTES_MAX, SECOND_US, back=True)
    assert wait_us == SECOND_US
    assert books.passes(one, 0, 2 * SECOND_US, back=False) == 0


def test_questions_are_paced(books):
    for _ in range(HOP_QUESTIONS_BURST_MAX):
        assert books.is_paced(peer(1), SECOND_US)
    assert not books.is_paced(peer(1), SECOND_US)
    assert books.is_paced(peer(2), SECOND_US)
    assert books.is_paced(peer(1), SECOND_US + HOP_QUESTIONS_LEAK_US)
