"""Receipts: delivered and read, both ways, for whom, and what a false one can do."""

from dataclasses import replace

import pytest

from dms3.core.errors import Dms3Error, Failure
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.message import MessageType
from dms3.messaging.operations import MailSettings, State
from unit.messaging.kit import BOB, EVE, carried, pair
from unit.messaging.test_direct import ask, enclosed
from unit.messaging.test_verifying import said


@pytest.fixture
def friends():
    """Two who know each other."""
    world, alice, bob = pair()
    world.connect(alice, bob)
    bob.send("alice.dms3", "hello Alice")
    alice.send("bob.dms3", "hello Bob")
    return world, alice, bob


def test_a_message_becomes_delivered_and_then_read(friends):
    _, alice, bob = friends
    sent = alice.send("bob.dms3", "news").hash
    assert alice.state(sent) is State.DELIVERED
    assert bob.ask("opened", "alice.dms3") == 2
    assert alice.state(sent) is State.READ
    assert bob.state(sent) is State.READ
    assert bob.ask("opened", "alice.dms3") == 0
    states = [each["state"] for each in alice.topics("message.state") if each["hash"] == sent]
    assert states == ["sent", "delivered", "read"]


def test_receipts_are_no_messages_of_their_own(friends):
    _, alice, bob = friends
    before = (len(alice.kept), len(bob.kept))
    alice.send("bob.dms3", "news")
    bob.ask("opened", "alice.dms3")
    assert (len(alice.kept), len(bob.kept)) == (before[0] + 1, before[1] + 1)
    assert alice.tables["outbox"] == bob.tables["outbox"] == {}


def test_no_receipts_when_they_are_off(friends):
    _, alice, bob = friends
    bob.ask("settings", MailSettings(receipts=False))
    sent = alice.send("bob.dms3", "news").hash
    bob.ask("opened", "alice.dms3")
    assert alice.state(sent) is State.SENT
    assert bob.state(sent) is State.READ


def test_only_messages_and_their_edits_are_told_of(friends):
    _, alice, bob = friends
    first = alice.send("bob.dms3", "news").hash
    for kind in (MessageType.REACTION, MessageType.DELETE_REQUEST):
        sent = alice.send("bob.dms3", "+", {"type": kind, "reference": first})
        assert alice.state(sent.hash) is State.SENT
    edit = alice.send("bob.dms3", "news!", {"type": MessageType.EDIT, "reference": first})
    assert alice.state(edit.hash) is State.DELIVERED
    assert len(bob.kept) == 6


def test_a_receipt_of_somebody_else_says_nothing(friends):
    world, alice, bob = friends
    eve = world.node(EVE).start()
    world.run()
    world.connect(eve, alice)
    bob.ask("settings", MailSettings(receipts=False))
    sent = alice.send("bob.dms3", "news").hash
    eve.send("alice.dms3", "hello", None)
    forged = replace(said(EVE, "alice.dms3", "READ_OPENED"), reference=sent)
    forged = replace(forged, type=MessageType.READ_OPENED)
    keys = ProfileKeys.of_seed(EVE.seed(0))
    forged = replace(forged, signature=keys.sign(forged.signed_text()))
    assert ask(world, alice, enclosed(world, alice, forged, EVE), eve.peer) == b""
    assert alice.state(sent) is State.SENT


def test_a_late_receipt_takes_nothing_back(friends):
    world, alice, bob = friends
    sent = alice.send("bob.dms3", "news").hash
    bob.ask("opened", "alice.dms3")
    late = replace(said(BOB, "alice.dms3", "READ_RECEIVED"), reference=sent)
    late = replace(late, type=MessageType.READ_RECEIVED)
    keys = ProfileKeys.of_seed(BOB.seed(0))
    late = replace(late, signature=keys.sign(late.signed_text()))
    assert ask(world, alice, enclosed(world, alice, late, BOB), bob.peer) == b""
    assert alice.state(sent) is State.READ


def test_a_receipt_waits_at_the_service_like_any_message():
    world, alice, bob = carried(["one"])
    bob.send("alice.dms3", "hello Alice")
    alice.killed = True
    alice.start()
    sent = alice.send("bob.dms3", "hello Bob").hash
    alice.killed = True
    bob.ask("opened", "alice.dms3")
    assert len(world.services["one.alice.dms3"].waiting["alice.dms3"]) >= 1
    alice.start()
    world.later(1_000_000)
    assert alice.state(sent) is State.READ
    assert world.services["one.alice.dms3"].waiting["alice.dms3"] == []


def test_a_receipt_that_cannot_be_marked_now_is_not_acknowledged():
    world, alice, bob = carried(["one"])
    bob.send("alice.dms3", "hello Alice")
    real, service = alice.messages, world.services["one.alice.dms3"]
    alice.messages = lambda operation, asked: (
        Failure("disk_full", "The disk is full.") if operation == "mark" else real(operation, asked)
    )
    sent = alice.send("bob.dms3", "hello Bob").hash
    world.later(1_000_000)
    assert len(service.waiting["alice.dms3"]) == 1
    alice.messages = real
    world.later(120_000_000)
    assert alice.state(sent) is State.DELIVERED
    assert service.waiting["alice.dms3"] == []


def test_opened_needs_somebody_known():
    _, alice, _ = pair()
    with pytest.raises(Dms3Error, match=r"No message was ever exchanged with 'bob\.dms3'"):
        alice.ask("opened", "bob.dms3")
