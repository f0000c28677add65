"""From node to node: what a node takes, what it refuses, whom it dials."""

from dataclasses import replace

import pytest

from dms3.core.errors import Failure
from dms3.core.ids import RequestId
from dms3.core.limits import (
    MAIL_DIRECT_BURST_US,
    MAIL_DIRECT_BYTES_MAX,
    MAIL_DIRECT_COST_US,
    MAIL_DIRECT_PER_PEER_MAX,
)
from dms3.core.machine import Call, Requested, Withdrawn
from dms3.dm3.envelope import DeliveryInformation, enclose, with_postmark
from dms3.dm3.keys import ProfileKeys
from dms3.messaging.direct import PROTOCOL
from dms3.messaging.operations import State
from dms3.messaging.ports import Misconduct
from dms3.messaging.sending import again_us
from unit.messaging.kit import ALICE, BOB, EVE, SECOND, World, pair
from unit.messaging.test_verifying import said

ANSWER = RequestId(77)


def enclosed(world, bob, message, person=ALICE, service=None):
    signer = ProfileKeys.of_seed(person.seed(0))
    profile = bob.ask("profile").profile
    return enclose(message, signer, profile, service or bob.own.service, world.entropy)


def ask(world, bob, body, peer=None):
    """What Bob's node answers to a question of a peer."""
    body = body if isinstance(body, bytes) else body.text().encode()
    bob.answers.pop(ANSWER, None)
    bob.event(Requested(peer or world.nodes[0].peer, PROTOCOL, body, ANSWER))
    world.run()
    return bob.answers.get(ANSWER)


def misconduct(world):
    return [each.arguments for _, each in world.asked if each.port == "peers.conduct"]


def test_an_envelope_is_taken_stamped_and_kept():
    world, _, bob = pair()
    message = said()
    assert ask(world, bob, enclosed(world, bob, message)) == b""
    kept = bob.kept[message.hash]
    assert kept.order_ms == world.now.wall_us // 1_000
    assert kept.information == ""
    assert ask(world, bob, enclosed(world, bob, message)) == b""  # again: it is known
    assert len(bob.topics("message.request")) == 1


def test_who_is_not_connected_is_dialled_and_released():
    world, alice, bob = pair()
    alice.up.add(bob.peer)  # the dial will succeed
    bob.up.add(alice.peer)
    sent = alice.send("bob.dms3")
    assert sent.hash in bob.kept
    ports = [each.port for node, each in world.asked if node is alice and "peers" in each.port]
    assert ports == ["peers.connect", "peers.release"]


def test_who_is_away_gets_it_when_connected_again():
    world, alice, bob = pair()
    sent = alice.send("bob.dms3")
    assert alice.state(sent.hash) is State.QUEUED
    assert "bob-1.dms3 did not take it: its node bob-1 is not connected" in (
        alice.kept[sent.hash].problem
    )
    world.later(3_600 * SECOND)
    world.connect(alice, bob)
    world.later(2 * SECOND)
    assert alice.state(sent.hash) is State.SENT


def test_an_envelope_for_another_service_or_person_is_refused():
    world, alice, bob = pair()
    other = enclosed(world, bob, said(), service=alice.own.service)
    assert ask(world, bob, other).code == "body_malformed"
    eve = world.node(EVE).start()
    world.run()
    to_eve = enclosed(world, bob, said(to="eve.dms3"))
    answer = ask(world, bob, to_eve)
    assert answer.code == "content_invalid"
    assert answer.message == "It was written to eve.dms3, who is somebody else."
    assert bob.kept == eve.kept == {}


def test_a_forged_message_and_a_forged_envelope_are_refused():
    world, _, bob = pair()
    world.node(EVE).start()
    world.run()
    eve_keys = ProfileKeys.of_seed(EVE.seed(0))
    forged = replace(said(EVE), sender="alice.dms3")
    forged = replace(forged, signature=eve_keys.sign(forged.signed_text()))
    answer = ask(world, bob, enclosed(world, bob, forged, EVE))
    assert answer.code == "content_invalid"
    wrapped = enclosed(world, bob, said(), EVE)  # Alice's message in an envelope that Eve signed
    answer = ask(world, bob, wrapped)
    assert "not signed by who signed the message" in answer.message
    assert bob.kept == {}
    assert [each.service for each in bob.ask("refused")] == ["this node", "this node"]


def test_delivery_information_in_the_open_is_compared():
    world, _, bob = pair()
    open_ = with_postmark(
        enclosed(world, bob, said()), "x", DeliveryInformation("eve.dms3", "bob.dms3")
    )
    assert "says it is from eve.dms3" in ask(world, bob, replace(open_, postmark=None)).message


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"{", b'{"message":"x","metadata":{}}'])
def test_what_is_no_envelope_is_misconduct(body):
    world, alice, bob = pair()
    assert ask(world, bob, body).code == "body_malformed"
    assert misconduct(world) == [Misconduct(alice.peer, "body_malformed")]


def test_size_is_bounded():
    world, _, bob = pair()
    assert ask(world, bob, b"x" * MAIL_DIRECT_BYTES_MAX).code == "body_malformed"
    too_large = ask(world, bob, b"x" * (MAIL_DIRECT_BYTES_MAX + 1))
    assert too_large.code == "body_too_large"


def test_pace_of_one_peer_is_bounded_and_others_are_not_held_up():
    world, alice, bob = pair()
    eve = world.node(EVE).start()
    world.run()
    for _ in range(MAIL_DIRECT_BURST_US // MAIL_DIRECT_COST_US):
        assert ask(world, bob, b"", alice.peer).code == "body_malformed"
    assert ask(world, bob, b"", alice.peer).code == "limit_reached"
    assert ask(world, bob, b"", eve.peer).code == "body_malformed"
    world.later(MAIL_DIRECT_COST_US)
    assert ask(world, bob, b"", alice.peer).code == "body_malformed"


def test_envelopes_of_one_peer_under_way_are_bounded():
    world, alice, bob = pair()
    message = said()
    body = enclosed(world, bob, message).text().encode()
    for number in range(MAIL_DIRECT_PER_PEER_MAX + 1):
        bob.event(Requested(alice.peer, PROTOCOL, body, RequestId(100 + number)))
    assert bob.answers[100 + MAIL_DIRECT_PER_PEER_MAX].code == "limit_reached"
    bob.event(Withdrawn(RequestId(100)))
    world.run()
    assert 100 not in bob.answers
    assert bob.answers[101] == b""


def test_a_sender_that_cannot_be_looked_up_may_come_again():
    world, _, bob = pair()
    record = world.records.pop("alice.dms3")
    message = said()
    answer = ask(world, bob, enclosed(world, bob, message))
    assert (answer.code, answer.retry) == ("timed_out", "later")
    world.records["alice.dms3"] = record
    assert ask(world, bob, enclosed(world, bob, message)) == b""
    assert message.hash in bob.kept


def test_a_node_that_cannot_keep_it_says_so_and_nothing_is_lost():
    world, alice, bob = pair()
    world.connect(alice, bob)
    bob.keep_failure = Failure("disk_full", "The disk is full.")
    sent = alice.send("bob.dms3")
    assert "could not be kept: The disk is full" in alice.kept[sent.hash].problem
    bob.keep_failure = None
    world.later(again_us(1))
    assert alice.state(sent.hash) is State.SENT
    assert sent.hash in bob.kept


def test_a_message_is_shared_with_other_devices_though_storage_was_away():
    world, alice, bob = pair()
    world.connect(alice, bob)
    bob.durable = Failure("peer_unreachable", "The place does not answer.")
    sent = alice.send("bob.dms3")
    assert alice.state(sent.hash) is State.SENT  # it is durable on his node
    assert ("message", sent.hash) not in bob.shared
    bob.start()
    bob.durable = world.nodes[0].durable
    world.later(60 * SECOND)
    assert ("message", sent.hash) in bob.shared
    assert bob.tables["unshared"] == {}


def test_nothing_is_dialled_for_nobody():
    world = World()
    bob = world.node(BOB).start()
    world.run()
    assert not [each for _, each in world.asked if isinstance(each, Call) and "peers" in each.port]
    assert bob.ask("services") == ()
