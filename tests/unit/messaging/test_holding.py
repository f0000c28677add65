"""What cannot be verified is bounded, looked up ever more seldom, and hides nothing behind it."""

from dataclasses import replace

import pytest

from dms3.core.desk import Desk
from dms3.core.errors import Failure, Retry
from dms3.core.limits import (
    MAIL_HELD_AGAIN_US_MAX,
    MAIL_HELD_PER_SENDER_MAX,
    MAIL_HELD_PER_SERVICE_MAX,
    MAIL_HELD_US_MAX,
    MAIL_HELD_WOKE_US,
    MAIL_INCOMING_MAX,
    MAIL_LEAVING_US,
    MAIL_POLL_PUSHED_US,
)
from dms3.core.machine import ClockJumped
from dms3.dm3.envelope import open_delivery
from dms3.dm3.keys import ProfileKeys
from dms3.messaging.holding import Held, Holding
from dms3.messaging.operations import Decide, State
from unit.messaging.kit import ALICE, EVE, SECOND, Person, carried
from unit.messaging.test_direct import ask, enclosed
from unit.messaging.test_verifying import left, refused, said, sealed

NOBODY = Failure("not_found", "Nobody has the name eve.dms3.")
SILENT = Failure("timed_out", "Nobody answers.", Retry.LATER)
HOUR = 3_600 * SECOND


@pytest.fixture
def mail():
    world, alice, bob = carried(["one"])
    world.node(EVE).start()
    world.run()
    return world, alice, bob


@pytest.fixture
def few(monkeypatch):
    """An answer of a service is of eight envelopes, four of a sender are held."""
    monkeypatch.setattr("dms3.messaging.fetching.MAIL_INCOMING_MAX", 8)
    monkeypatch.setattr("dms3.messaging.holding.MAIL_HELD_PER_SENDER_MAX", 4)
    monkeypatch.setattr("dms3.messaging.holding.MAIL_HELD_PER_SERVICE_MAX", 6)
    monkeypatch.setattr("dms3.messaging.holding.MAIL_HELD_PATIENCE_US", HOUR)


def store(world, messages, person=EVE):
    """They wait at the service of Bob, in order; it does not push."""
    at = world.services["one.bob.dms3"]
    for node in world.nodes:
        node.listening.clear()
    for message in messages:
        envelope = sealed(world, message, person)
        at.store(open_delivery(at.keys.encryption_secret, envelope), envelope)


def many(count, person=EVE):
    return [said(person, text=f"{number}") for number in range(count)]


def looked_up(world, bob, name):
    return sum(
        node is bob and call.port == "names.resolve" and call.arguments.name == name
        for node, call in world.asked
    )


def held(bob):
    return bob.machine._receiving.inbox.held


@pytest.mark.usefixtures("few")
def test_a_name_that_was_withdrawn_holds_no_more_than_a_stranger_may_write(mail):
    world, _, bob = mail
    world.lost["eve.dms3"] = NOBODY
    store(world, many(10))
    message = said()
    store(world, [message], person=ALICE)
    world.later(3 * MAIL_POLL_PUSHED_US)
    assert bob.kept[message.hash].state is State.RECEIVED
    assert (held(bob), left(world), len(refused(bob))) == (4, 4, 6)
    assert refused(bob)[0] == (
        "eve.dms3 could not be looked up (Nobody has the name eve.dms3), "
        "and 4 of eve.dms3 wait already."
    )


@pytest.mark.usefixtures("few")
def test_a_name_that_does_not_answer_hides_nothing_and_is_refused_in_the_end(mail):
    world, _, bob = mail
    world.lost["eve.dms3"] = SILENT
    store(world, many(10))
    message = said()
    store(world, [message], person=ALICE)
    world.later(3 * MAIL_POLL_PUSHED_US)
    assert bob.kept[message.hash].state is State.RECEIVED
    assert (held(bob), left(world), refused(bob)) == (4, 10, [])
    world.later(2 * HOUR)
    assert (held(bob), left(world), len(refused(bob))) == (4, 4, 6)
    del world.lost["eve.dms3"]
    world.later(2 * MAIL_HELD_AGAIN_US_MAX)
    assert (held(bob), left(world), len(bob.kept)) == (0, 0, 5)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("junk", ["", "sealed"])
def test_what_can_never_be_opened_hides_nothing(mail, junk):
    world, _, bob = mail
    at = world.services["one.bob.dms3"]
    other = sealed(world, said(EVE), EVE, to=EVE).text()
    at.waiting["bob.dms3"] = [other if junk else ""] * 20
    message = said()
    store(world, [message], person=ALICE)
    world.later(3 * MAIL_POLL_PUSHED_US)
    assert bob.kept[message.hash].state is State.RECEIVED


@pytest.mark.usefixtures("few")
def test_many_names_hold_no_more_than_half_an_answer(mail):
    world, _, bob = mail
    for number in range(4):
        person = Person(f"s{number}")
        world.lost[f"s{number}.dms3"] = NOBODY
        store(world, many(2, person), person=person)
    world.later(MAIL_POLL_PUSHED_US + SECOND)
    assert (held(bob), left(world), len(refused(bob))) == (6, 6, 2)
    assert "6 of strangers wait at one.bob.dms3 already" in refused(bob)[0]


def test_bytes_of_strangers_are_bounded(mail, monkeypatch):
    world, _, bob = mail
    world.lost["eve.dms3"] = NOBODY
    first, second = many(2)
    monkeypatch.setattr(
        "dms3.messaging.holding.MAIL_HELD_BYTES_MAX", len(sealed(world, first, EVE).message)
    )
    store(world, [first, second])
    world.later(MAIL_POLL_PUSHED_US + SECOND)
    assert (held(bob), len(refused(bob))) == (1, 1)
    assert "bytes of strangers wait" in refused(bob)[0]


@pytest.mark.usefixtures("few")
def test_a_contact_is_never_refused_for_being_one_too_many_and_who_forges_one_is(mail):
    world, _, bob = mail
    bob.send("alice.dms3", "hello Alice")
    world.lost["alice.dms3"] = NOBODY
    mine = [said(text=f"{number}") for number in range(10)]
    store(world, mine, person=ALICE)
    eve = ProfileKeys.of_seed(EVE.seed(0))
    forged = [replace(each, sender="alice.dms3") for each in many(10)]
    forged = [replace(each, signature=eve.sign(each.signed_text())) for each in forged]
    store(world, forged)
    world.later(3 * MAIL_POLL_PUSHED_US)
    assert (held(bob), left(world), len(refused(bob))) == (14, 14, 6)
    del world.lost["alice.dms3"]
    world.later(HOUR)
    assert [bob.state(each.hash) for each in mine] == [State.RECEIVED] * 10
    assert (held(bob), left(world), len(refused(bob))) == (0, 0, 10)


def test_who_is_blocked_holds_nothing(mail):
    world, _, bob = mail
    bob.send("eve.dms3")
    bob.ask("decide", Decide("eve.dms3", "block"))
    world.lost["eve.dms3"] = SILENT
    store(world, many(3))
    world.later(2 * MAIL_POLL_PUSHED_US)
    assert (held(bob), left(world), refused(bob)) == (0, 0, [])


def test_a_sender_is_looked_up_ever_more_seldom_and_at_once_when_somebody_fetches(mail):
    world, _, bob = mail
    world.lost["eve.dms3"] = SILENT
    store(world, many(3))
    world.later(4 * HOUR)
    before = looked_up(world, bob, "eve.dms3")
    assert before <= 3 * 12  # each of the three; a poll each minute makes it 240
    bob.ask("fetch")
    assert looked_up(world, bob, "eve.dms3") == before + 3
    del world.lost["eve.dms3"]
    assert bob.ask("fetch") == 3
    assert held(bob) == 0


def test_the_bounds_of_what_is_held():
    desk = Desk()
    holding = Holding(desk)
    for number in range(MAIL_HELD_PER_SENDER_MAX):
        row = Held(1, "one", "eve.dms3", 1, False, 0)
        assert holding.room(row) == ""
        holding.add(b"%d" % number, row)
    assert holding.room(row)
    for number in range(MAIL_HELD_PER_SENDER_MAX, MAIL_HELD_PER_SERVICE_MAX):
        row = Held(1, "one", f"{number}.dms3", 1, False, 0)
        assert holding.room(row) == ""
        holding.add(b"%d" % number, row)
    assert holding.room(Held(1, "one", "other.dms3", 1, False, 0))
    assert not holding.room(Held(1, "two", "other.dms3", 1, False, 0))
    assert not holding.room(Held(1, "one", "other.dms3", 1, True, 0))
    assert MAIL_HELD_PER_SERVICE_MAX <= MAIL_INCOMING_MAX // 2


# For how long


def leap(world, us):
    """Nobody is on meanwhile."""
    for node in world.nodes:
        node.killed = True
    world.leap(us)


def test_the_week_of_what_is_held_runs_over_restarts(mail):
    world, _, bob = mail
    world.lost["eve.dms3"] = SILENT
    store(world, many(2))
    for _ in range(2):
        leap(world, MAIL_HELD_US_MAX // 2)
        bob.start()
        world.later(2 * MAIL_HELD_WOKE_US)
        assert (held(bob), refused(bob)) == (2, [])
    leap(world, MAIL_HELD_US_MAX // 2)
    bob.start()
    world.later(MAIL_HELD_WOKE_US - MAIL_POLL_PUSHED_US)
    assert (held(bob), refused(bob)) == (2, [])  # names may not be reached yet
    world.later(HOUR)
    assert (held(bob), left(world), len(refused(bob))) == (0, 0, 2)
    assert bob.tables["held"] == {}
    assert len(bob.topics("message.refused")) == 2


def test_after_a_sleep_names_have_time_too(mail):
    world, _, bob = mail
    world.lost["eve.dms3"] = SILENT
    store(world, many(1))
    world.later(MAIL_POLL_PUSHED_US)
    for node in world.nodes:
        node.killed = True
    world.leap(2 * MAIL_HELD_US_MAX)
    bob.killed = False
    bob.event(ClockJumped(2 * MAIL_HELD_US_MAX))
    world.later(2 * MAIL_POLL_PUSHED_US)
    assert (held(bob), refused(bob)) == (1, [])
    del world.lost["eve.dms3"]
    world.later(HOUR)
    assert (held(bob), len(bob.kept)) == (0, 1)


def test_what_was_refused_for_its_age_is_refused_once_though_a_crash_comes(mail):
    world, _, bob = mail
    world.lost["eve.dms3"] = SILENT
    store(world, many(1))
    world.later(MAIL_POLL_PUSHED_US)
    before = world.services["one.bob.dms3"].waiting["bob.dms3"]
    world.leap(MAIL_HELD_US_MAX)
    world.later(2 * MAIL_POLL_PUSHED_US)
    assert len(refused(bob)) == 1
    world.services["one.bob.dms3"].waiting["bob.dms3"] = before  # as if nothing was acknowledged
    bob.start()
    world.later(2 * SECOND)
    assert (held(bob), left(world), len(refused(bob))) == (0, 0, 1)
    assert len(bob.topics("message.refused")) == 1


@pytest.mark.parametrize("restarts", [False, True])
def test_what_vanished_at_the_service_is_held_no_longer(mail, restarts):
    world, _, bob = mail
    world.lost["eve.dms3"] = SILENT
    store(world, many(3))
    world.later(MAIL_POLL_PUSHED_US)
    assert held(bob) == 3
    del world.services["one.bob.dms3"].waiting["bob.dms3"][1:]
    if restarts:
        bob.start()
    world.later(2 * MAIL_POLL_PUSHED_US)
    assert (held(bob), len(bob.tables["held"])) == (1, 1)


def test_what_lay_at_a_service_that_was_left_is_held_no_longer(mail):
    world, _, bob = mail
    world.lost["eve.dms3"] = SILENT
    store(world, many(3))
    world.later(MAIL_POLL_PUSHED_US)
    assert held(bob) == 3
    bob.machine._grounds.carriers.remove("one.bob.dms3")
    bob.ask("services")
    leap(world, MAIL_LEAVING_US)
    bob.start()
    assert (held(bob), bob.tables["held"]) == (0, {})


# More strangers than one decides about


@pytest.fixture
def crowd(mail, monkeypatch):
    """Two strangers wait for a decision, that is how many may."""
    world, alice, bob = mail
    monkeypatch.setattr("dms3.messaging.people.MAIL_REQUESTS_MAX", 2)
    for number in range(2):
        person = Person(f"s{number}")
        world.node(person).start()
        world.run()
        store(world, many(1, person), person=person)
    world.later(2 * MAIL_POLL_PUSHED_US)
    assert len(bob.kept) == 2
    return world, alice, bob


@pytest.mark.parametrize("what", ["accept", "block", "forget"])
def test_a_stranger_who_comes_after_too_many_waits_and_comes_after_a_decision(crowd, what):
    world, _, bob = crowd
    messages = many(2)
    store(world, messages)
    world.later(HOUR)
    bob.start()
    world.later(HOUR)
    assert (left(world), refused(bob), len(bob.kept)) == (2, [], 2)
    assert "2 strangers wait for a decision" in bob.ask("services")[0].problem
    bob.ask("decide", Decide("s0.dms3", what))
    world.later(2 * MAIL_POLL_PUSHED_US)
    assert all(bob.state(each.hash) is State.RECEIVED for each in messages)
    assert (left(world), held(bob)) == (0, 0)


def test_who_comes_from_node_to_node_after_too_many_strangers_is_told_to_come_later(crowd):
    world, _, bob = crowd
    eve = next(node for node in world.nodes if node.names.primary == "eve.dms3")
    world.connect(eve, bob)
    answer = ask(world, bob, enclosed(world, bob, said(EVE), EVE), eve.peer)
    assert answer.retry is Retry.LATER
    assert "2 strangers wait for a decision" in answer.message
    assert held(bob) == 0


@pytest.mark.usefixtures("few")
def test_those_who_wait_behind_too_many_strangers_are_bounded_and_told_of(crowd):
    world, _, bob = crowd
    store(world, many(5))
    world.later(2 * MAIL_POLL_PUSHED_US)
    assert (held(bob), left(world), len(bob.topics("message.refused"))) == (4, 4, 1)
    assert "4 of eve.dms3 wait already" in refused(bob)[0]


def test_whom_a_card_vouches_for_never_waits_behind_strangers(crowd):
    world, _, bob = crowd
    world.records["eve.dms3"] = replace(world.records["eve.dms3"], vouched="card")
    store(world, many(1))
    world.later(2 * MAIL_POLL_PUSHED_US)
    assert (left(world), len(bob.topics("message.new"))) == (0, 1)
