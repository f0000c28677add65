"""A restored node is another node: it offers the grants it has given again."""

from __future__ import annotations

from dms3.core.machine import Answered, PeerUp, Request
from dms3.search.messages import RECEIPT
from dms3.search.operations import Sources
from unit.test_sharing import A2, ALICE, BOB, SPACE, A, B, Node, accept, share


def test_a_node_that_was_restored_offers_its_grants_again() -> None:
    """The reader asks where it was offered a grant; the node it knows is gone."""
    alice, bob = Node(ALICE, A), Node(BOB, B)
    alice.event(PeerUp(B, "", True))
    bob.event(PeerUp(A, "", False))
    alice.call("share", share())
    offer = alice.one(Request)
    assert accept(bob, offer) == RECEIPT
    alice.event(Answered(offer.token, RECEIPT))
    alice.restart()
    alice.event(PeerUp(B, "", True))
    assert alice.of(Request) == [], "the same node: it has said so"
    alice.peer = A2
    for _ in range(2):  # also when it is killed before the reader connects
        alice.restart()
    assert alice.call("grants").given[0].delivered == ()
    alice.event(PeerUp(B, "", True))
    bob.event(PeerUp(A2, "", False))
    offer = alice.one(Request)
    assert accept(bob, offer, sender=A2) == RECEIPT
    alice.event(Answered(offer.token, RECEIPT))
    assert alice.call("grants").given[0].delivered == (B,)
    assert [source.peer for source in bob.call("sources", Sources(SPACE))] == [A2, A]
