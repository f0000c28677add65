"""What a person says: durable first, every state with its reason, in order, tried again."""

import json
from dataclasses import replace

import pytest

from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.limits import (
    MAIL_AGAIN_US_MIN,
    MAIL_EXTRA_ROUNDS_MAX,
    MAIL_OUTBOX_MAX,
    MAIL_REFUSED_ROUNDS_MAX,
    MAIL_RESOLVE_US,
)
from dms3.core.machine import Now
from dms3.dm3.message import MessageType
from dms3.dm3.profile import sign_profile
from dms3.messaging.operations import SendMessage, State
from dms3.messaging.sending import again_us
from unit.messaging.kit import ALICE, BOB, EVE, SECOND, World, carried, pair

HOUR = 3_600 * SECOND


def without_node(resolved):
    """The record of somebody who uses other software."""
    profile = resolved.profile.profile
    services = tuple(name for name in profile.delivery_services if "-" not in name)
    return replace(
        resolved, profile=sign_profile(BOB.secret, replace(profile, delivery_services=services))
    )


def texts(node):
    """What others said, in the order in which it is kept."""
    return [json.loads(one.text)["message"] for one in node.kept.values() if not one.mine]


def test_a_receiver_without_a_profile_is_waited_for():
    world = World()
    alice = world.node(ALICE).start()
    sent = alice.send("bob.dms3")
    assert alice.state(sent.hash) is State.HALTED
    kept = alice.kept[sent.hash]
    assert kept.problem.startswith("bob.dms3 has no messaging profile yet")
    assert "tried again in 5 s" in kept.problem
    assert kept.retry_us == world.now.wall_us + MAIL_AGAIN_US_MIN
    bob = world.node(BOB).start()
    world.connect(alice, bob)
    world.later(MAIL_AGAIN_US_MIN)
    assert alice.state(sent.hash) is State.SENT
    assert sent.hash in bob.kept


def test_a_card_or_name_that_arrives_ends_the_wait_at_once():
    world = World()
    alice = world.node(ALICE).start()
    sent = alice.send("bob.dms3")
    world.later(10 * 60 * SECOND)
    assert alice.state(sent.hash) is State.HALTED
    bob = world.node(BOB).start()
    world.run()
    alice.up.add(bob.peer)  # connected, and nobody told the mailbox
    bob.up.add(alice.peer)
    alice.ask("met")
    assert alice.state(sent.hash) is State.SENT


def test_no_service_that_answers_keeps_the_message_and_names_service_and_next_try():
    world, alice, bob = carried(["one"])
    service = world.services["one.bob.dms3"]
    service.down = True
    sent = alice.send("bob.dms3")
    kept = alice.kept[sent.hash]
    assert kept.state is State.QUEUED
    assert kept.problem == (
        "bob.dms3's delivery service one.bob.dms3 did not take it: one.bob.dms3 did not answer "
        "(timed out after 5 s). The message is kept and tried again in 5 s."
    )
    world.later(24 * HOUR)
    assert alice.state(sent.hash) is State.QUEUED
    service.down = False
    world.later(again_us(99))
    world.later(HOUR)
    assert alice.state(sent.hash) is State.SENT
    assert list(bob.kept) == [sent.hash]


def test_waits_double_within_bounds():
    assert [again_us(n) // SECOND for n in range(1, 10)] == [5, 10, 20, 40, 80, 160, 320, 640, 900]
    assert again_us(1_000) == 900 * SECOND


def test_one_service_is_enough_and_the_other_gets_it_later():
    world, alice, bob = carried(["one", "two"])
    world.services["two.bob.dms3"].down = True
    sent = alice.send("bob.dms3")
    assert alice.state(sent.hash) is State.SENT
    world.services["two.bob.dms3"].down = False
    world.later(2 * MAIL_AGAIN_US_MIN)
    assert world.services["two.bob.dms3"].submitted == [sent.hash]
    world.later(60 * SECOND)
    assert world.services["one.bob.dms3"].submitted == [sent.hash]
    assert list(bob.kept) == [sent.hash]
    assert alice.tables["outbox"] == {}


def test_a_service_that_stays_away_is_given_up_with_a_note():
    world, alice, _ = carried(["one", "two"])
    world.services["two.bob.dms3"].down = True
    sent = alice.send("bob.dms3")
    world.later(sum(again_us(n) for n in range(1, MAIL_EXTRA_ROUNDS_MAX + 1)))
    kept = alice.kept[sent.hash]
    assert kept.state is State.SENT
    assert "two.bob.dms3" in kept.problem
    assert "never took it; one.bob.dms3 did" in kept.problem
    assert alice.tables["outbox"] == {}


def test_refused_by_all_for_good_fails_with_their_words():
    world, alice, _ = carried(["one", "two"])
    for name in ("one", "two"):
        world.services[f"{name}.bob.dms3"].refusing = f"Not {name}, your balance is too low."
    world.nodes[1].killed = True
    del world.records["bob-1.dms3"]  # a person without a node
    world.records["bob.dms3"] = without_node(world.records["bob.dms3"])
    sent = alice.send("bob.dms3")
    assert alice.state(sent.hash) is State.QUEUED  # a new account may not be known there yet
    for attempt in range(1, MAIL_REFUSED_ROUNDS_MAX):
        world.later(again_us(attempt))
    kept = alice.kept[sent.hash]
    assert kept.state is State.FAILED
    assert "one.bob.dms3 said: Not one, your balance is too low" in kept.problem
    assert "two.bob.dms3 said: Not two" in kept.problem
    assert alice.topics("message.state")[-1]["state"] == "failed"
    assert alice.tables["outbox"] == {}
    world.services["one.bob.dms3"].refusing = ""
    assert alice.state(alice.send("bob.dms3").hash) is State.SENT  # the next one is another matter


def test_messages_to_one_person_are_submitted_in_order():
    world, alice, bob = carried(["one"])
    world.services["one.bob.dms3"].down = True
    sent = [alice.send("bob.dms3", f"number {n}").hash for n in range(20)]
    assert world.services["one.bob.dms3"].submitted == []
    world.services["one.bob.dms3"].down = False
    world.later(60 * SECOND)
    assert world.services["one.bob.dms3"].submitted == sent
    assert texts(bob) == [f"number {n}" for n in range(20)]


def test_another_person_does_not_wait_for_an_unreachable_one():
    world, alice, bob, eve = carried(["one"], (ALICE, BOB, EVE))
    world.services["one.bob.dms3"].down = True
    alice.send("bob.dms3", "for Bob")
    alice.send("eve.dms3", "for Eve")
    assert (texts(bob), texts(eve)) == ([], ["for Eve"])


def test_timestamps_rise_though_the_clock_stands_or_goes_back():
    world, alice, _ = pair()
    first = [alice.kept[alice.send("bob.dms3").hash].sent_ms for _ in range(3)]
    world.now = Now(world.now.mono_us, world.now.wall_us - HOUR)
    second = alice.kept[alice.send("bob.dms3").hash].sent_ms
    alice.start()
    third = alice.kept[alice.send("bob.dms3").hash].sent_ms
    assert [*first, second, third] == list(range(first[0], first[0] + 5))


def test_a_nickname_is_sent_under_the_canonical_name():
    world, alice, bob = pair()
    world.connect(alice, bob)
    world.records["Bobby"] = world.records["bob.dms3"]
    sent = alice.send("Bobby")
    assert json.loads(bob.kept[sent.hash].text)["metadata"]["to"] == "bob.dms3"
    assert sent.person == "bob.dms3"


def test_nobody_of_that_name_is_said_at_once_and_keeps_nothing():
    _, alice, _ = pair()
    with pytest.raises(Dms3Error, match="Nobody has the name bobb"):
        alice.send("bobb")
    assert alice.kept == {}


def test_a_receiver_that_cannot_be_looked_up_now_is_written_to_all_the_same():
    world, alice, bob = pair()
    world.connect(alice, bob)
    world.lost["bob.dms3"] = Failure("timed_out", "The overlay did not answer.", Retry.LATER)
    sent = alice.send("bob.dms3")
    assert alice.state(sent.hash) is State.QUEUED
    assert "could not be looked up (The overlay did not answer)" in alice.kept[sent.hash].problem
    del world.lost["bob.dms3"]
    world.later(again_us(1))
    assert sent.hash in bob.kept


def test_a_lookup_that_takes_too_long_does_not_hold_up_who_sends():
    world, alice, _ = pair()
    request = alice.call("send", SendMessage("eve.dms3", "are you there"))
    lookup = [each for each in world.queue if each[2].port == "names.resolve"]
    world.queue = [each for each in world.queue if each not in lookup]
    world.later(MAIL_RESOLVE_US)
    assert alice.answers[request].state is State.QUEUED


def test_what_could_not_be_kept_was_never_said():
    world, alice, bob = pair()
    world.connect(alice, bob)
    alice.keep_failure = Failure("disk_full", "The disk is full.")
    with pytest.raises(Dms3Error, match="The disk is full"):
        alice.send("bob.dms3")
    assert (alice.kept, bob.kept, alice.tables["outbox"]) == ({}, {}, {})


def test_a_full_outbox_says_so():
    world, alice, _ = carried(["one"])
    world.services["one.bob.dms3"].down = True
    outbox = alice.machine._outbox
    alice.send("bob.dms3")
    row = outbox._entries[1]
    outbox._entries.update(dict.fromkeys(range(2, MAIL_OUTBOX_MAX + 1), row))
    with pytest.raises(Dms3Error, match=f"{MAIL_OUTBOX_MAX} messages wait"):
        alice.send("bob.dms3")


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (SendMessage("bob.dms3", "x", MessageType.EDIT), "needs the message"),
        (SendMessage(" ", "x"), "no receiver"),
        (SendMessage("bob..dms3", "x"), "Nobody has the name|is no name"),
    ],
)
def test_what_cannot_be_a_message_is_refused(wanted, why):
    world, alice, _ = pair()
    world.lost["bob..dms3"] = Failure("argument_invalid", "bob..dms3 is no name.")
    with pytest.raises(Dms3Error, match=why):
        alice.ask("send", wanted)


def test_keys_that_became_others_are_looked_up_afresh_when_a_service_refuses():
    world, alice, bob = pair()
    world.connect(alice, bob)
    alice.send("bob.dms3")
    world.stale["bob.dms3"] = world.records["bob.dms3"]  # what Alice's cache has
    bob.ask("rotate")
    bob.machine._grounds.keyring._rows = bob.machine._grounds.keyring._rows[1:]  # the old are lost
    sent = alice.send("bob.dms3", "again")
    assert sent.hash not in bob.kept
    world.later(again_us(1) + again_us(2))
    assert sent.hash in bob.kept
    assert alice.topics("person.changed") == [{"person": "bob.dms3", "name": "bob.dms3"}]
