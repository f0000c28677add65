"""What an owner takes back or gives anew counts at once, for every grant it is about."""

import pytest

from dms3.core.codec import encode
from dms3.core.ids import Root
from dms3.core.machine import Answered, Call, Notify, Now, PeerUp, Request
from dms3.search.messages import (
    RECEIPT,
    SEARCH_PROTOCOL,
    SearchQuestion,
    decode_grant_message,
)
from dms3.search.operations import Unshare
from unit.test_sharing import (
    A2,
    ALICE,
    BOB,
    EVE,
    HOUR,
    OTHER,
    SPACE,
    START,
    A,
    B,
    E,
    Node,
    accept,
    proof_of,
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


@pytest.mark.parametrize("until_us", [START.wall_us + HOUR, None], ids=["earlier", "later"])
@pytest.mark.parametrize("withdrawal_first", [True, False])
def test_sharing_again_with_another_end_replaces_the_grant(alice, bob, until_us, withdrawal_first):
    old = alice.call("share", share(until_us=START.wall_us + 2 * HOUR))
    deliver(alice, bob, alice.of(Request))
    proof = proof_of(bob)
    alice.now = bob.now = Now(alice.now.mono_us + 1, alice.now.wall_us + 1)
    new = alice.call("share", share(until_us=until_us))
    assert new.fresh
    assert new.serial != old.serial
    offer, withdrawal = sorted(
        alice.of(Request), key=lambda each: decode_grant_message(each.body).grant is None
    )
    assert decode_grant_message(withdrawal.body).serial == old.serial
    assert [one.until_us for one in alice.call("grants").given] == [new.until_us]
    question = encode(SearchQuestion(SPACE, "query", 5, proof))
    assert alice.ask(B, SEARCH_PROTOCOL, question).code == "grant_missing"
    if withdrawal_first:
        deliver(alice, bob, [withdrawal, offer])
        assert bob.one(Notify).topic == "grant.received"
    else:
        deliver(alice, bob, [offer])
        assert [one.until_us for one in bob.call("grants").received] == [new.until_us]
        deliver(alice, bob, [withdrawal])
        assert bob.of(Notify) == [], "the space is shared still"
    assert [one.until_us for one in bob.call("grants").received] == [new.until_us]
    alice.ask(B, SEARCH_PROTOCOL, encode(SearchQuestion(SPACE, "query", 5, proof_of(bob))))
    assert alice.one(Call).port == "library.search"
    bob.call("grants")
    assert alice.call("share", share(until_us=until_us)).fresh is False
    alice.restart()
    assert len(alice.call("grants").given) == 1


def test_a_grant_that_replaces_another_goes_to_every_device_that_had_it(alice):
    alice.event(PeerUp(A2, "", True))
    alice.call("share", share(peers=(B, A2)))
    alice.call("share", share(until_us=START.wall_us + HOUR))
    told = [
        (each.peer, decode_grant_message(each.body).grant is None) for each in alice.of(Request)
    ]
    assert sorted(told) == sorted([(B, True), (A2, True), (B, False), (A2, False)])


def test_what_cannot_be_granted_leaves_the_grant_that_stands(alice):
    alice.call("share", share())
    assert alice.call("share", share(rights=("Write!",))).code == "argument_invalid"
    assert alice.call("share", share(until_us=START.wall_us)).code == "argument_invalid"
    assert len(alice.call("grants").given) == 1
