"""The mailbox machine driven by hand: a message from one person to another, every way it can go."""

from dms3.messaging.operations import State
from unit.messaging.kit import carried, pair


def test_a_message_goes_from_node_to_node():
    world, alice, bob = pair()
    world.connect(alice, bob)
    sent = alice.send("bob.dms3", "hello Bob")
    assert sent.state is State.QUEUED
    assert alice.state(sent.hash) is State.SENT
    got = bob.kept[sent.hash]
    assert (got.sender, got.mine, got.state) == ("alice.dms3", False, State.RECEIVED)
    assert "hello Bob" in got.text
    assert bob.topics("message.request") == [{"person": "alice.dms3", "name": "alice.dms3"}]


def test_a_message_goes_through_a_service_and_is_acknowledged_there():
    world, alice, bob = carried(["one"])
    sent = alice.send("bob.dms3", "hello Bob")
    world.later(100_000)
    service = world.services["one.bob.dms3"]
    assert bob.kept[sent.hash].state is State.RECEIVED
    assert service.acknowledged == [("alice.dms3", sent.hash)]
    assert service.waiting["bob.dms3"] == []
    assert alice.state(sent.hash) is State.SENT
