"""What an owner takes back or gives anew counts at once, for every grant it is about."""

import pytest

from dms3.core.ids import Root
from dms3.core.machine import Answered, Notify, PeerUp, Request
from dms3.search.messages import RECEIPT
from dms3.search.operations import Unshare
from unit.test_sharing import (
    ALICE,
    BOB,
    EVE,
    OTHER,
    A,
    B,
    E,
    Node,
    accept,
    share,
)


@pytest.fixture
def alice():
    node = Node(ALICE, A)
    node.event(PeerUp(B, "", True))
    return node


@pytest.fixture
def bob():
    node = Node(BOB, B)
    node.event(PeerUp(A, "", False))
    return node


def deliver(alice, bob, requests):
    """Bob takes what alice's node tells; her machine hears that he did."""
    for request in requests:
        assert accept(bob, request) == RECEIPT
        alice.event(Answered(request.token, RECEIPT))


def test_all_grants_of_a_reader_are_taken_back_together(alice, bob):
    alice.call("share", share())
    alice.call("share", share(space=OTHER, name="letters"))
    alice.call("share", share(reader=EVE, peers=(E,)))
    deliver(alice, bob, alice.of(Request))
    assert alice.call("unshare", Unshare(None, Root(BOB.public))).count == 2
    told = [(one.topic, one.data["name"]) for one in alice.of(Notify)]
    assert told == [("space.unshared", "papers"), ("space.unshared", "letters")]
    assert [one.reader for one in alice.call("grants").given] == [EVE.public]
    alice.restart()
    assert [one.reader for one in alice.call("grants").given] == [EVE.public]
    assert alice.call("unshare", Unshare(None, Root(BOB.public))).count == 0
    assert alice.of(Notify) == []
