"""Killed at every effect: everything arrives once, in order, and no promise is broken."""

import pytest

from dms3.core.errors import Dms3Error
from dms3.messaging.operations import SendMessage, Sent, State
from unit.messaging.kit import SECOND, carried, pair

WAIT = 60 * SECOND


def promised(node):
    """Hashes of what was answered as durable."""
    return [body.hash for body in node.answers.values() if isinstance(body, Sent)]


def texts(node):
    ordered = sorted(node.kept.values(), key=lambda one: (one.sent_ms, one.hash))
    return [one.hash for one in ordered if not one.mine]


@pytest.mark.parametrize("way", ["direct", "services"])
def test_the_sender_is_killed_at_every_effect(way):
    for cut in range(200):
        world, alice, bob = pair() if way == "direct" else carried(["one", "two"])
        if way == "direct":
            world.connect(alice, bob)
        alice.cut = cut
        for number in range(3):
            alice.call("send", SendMessage("bob.dms3", f"number {number}"))
            world.run()
        killed, alice.cut = alice.killed, None
        before = promised(alice)
        alice.start()
        world.later(WAIT)
        assert set(before) <= set(bob.kept), cut
        mine = sorted((one for one in alice.kept.values()), key=lambda one: one.sent_ms)
        assert [one.hash for one in mine] == texts(bob), cut
        assert {one.state for one in mine} <= {State.SENT}, cut
        assert not alice.tables.get("outbox"), cut
        if not killed:
            assert cut > 10
            return
    pytest.fail("it never came to an end")


@pytest.mark.parametrize("way", ["direct", "services"])
def test_the_receiver_is_killed_at_every_effect(way):
    for cut in range(200):
        world, alice, bob = pair() if way == "direct" else carried(["one", "two"])
        if way == "direct":
            world.connect(alice, bob)
        bob.cut = cut
        sent = [alice.send("bob.dms3", f"number {number}").hash for number in range(3)]
        world.later(SECOND)
        killed, bob.cut = bob.killed, None
        bob.start()
        world.later(WAIT)
        assert texts(bob) == sent, cut
        assert {alice.state(each) for each in sent} == {State.SENT}, cut
        assert {("message", each) for each in sent} <= set(bob.shared), cut
        for service in world.services.values():
            assert not any(service.waiting.values()), cut
        if not killed:
            assert cut > 10
            return
    pytest.fail("it never came to an end")


def test_both_are_killed_again_and_again():
    world, alice, bob = carried(["one", "two"])
    sent = []
    for number in range(24):
        victim = (alice, bob)[number % 2]
        victim.cut = number
        request = alice.call("send", SendMessage("bob.dms3", f"number {number}"))
        world.later(SECOND)
        answer = alice.answers.get(request)
        if isinstance(answer, Sent):
            sent.append(answer.hash)
        victim.cut = None
        victim.start()
        world.services["one.bob.dms3"].down = number % 3 == 0
        world.services["two.bob.dms3"].down = number % 4 == 0
    for service in world.services.values():
        service.down = False
    world.later(20 * WAIT)
    assert set(sent) <= set(bob.kept)
    mine = sorted((one for one in alice.kept.values() if one.mine), key=lambda one: one.sent_ms)
    assert texts(bob) == [one.hash for one in mine]


def test_receipts_survive_kills():
    for cut in range(80):
        world, alice, bob = pair()
        world.connect(alice, bob)
        bob.send("alice.dms3", "hello Alice")
        sent = alice.send("bob.dms3", "news").hash
        bob.cut = cut
        bob.call("opened", "alice.dms3")
        world.run()
        killed, bob.cut = bob.killed, None
        bob.start()
        try:
            bob.ask("opened", "alice.dms3")
        except Dms3Error as error:
            pytest.fail(str(error))
        world.later(WAIT)
        assert bob.state(sent) is State.READ, cut
        assert alice.state(sent) in (State.DELIVERED, State.READ), cut
        if not killed:
            assert alice.state(sent) is State.READ
            return
    pytest.fail("it never came to an end")
