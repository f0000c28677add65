"""How agreements behave between people: run it with pytest, docs/testing.md says more."""

import pytest

pytestmark = pytest.mark.dms3(nodes=3)

TEXT = {"title": "Rent", "text": "Bob rents Alice's boat for a week."}


def proposed(nodes):
    """The session that alice has proposed to bob, as bob sees it."""
    alice, bob = nodes["alice"], nodes["bob"]
    alice.call("propose", **TEXT, partner=bob.agent, hours=1)
    nodes.run(seconds=2)
    (session,) = bob.call("waiting")
    return session["session"]


def test_an_agreement_counts_when_both_have_signed(dms3_network):
    alice, bob, carol = dms3_network
    session = proposed(dms3_network)
    assert ["asked", session] in [list(each) for each in bob.signals]
    assert alice.call("agreements") == []

    bob.call("accept", session=session)
    dms3_network.settle()

    (mine,) = alice.call("agreements")
    (his,) = bob.call("agreements")
    assert mine["agreement"] == his["agreement"]
    seen = carol.call("verify", agreement=mine["agreement"])
    assert seen["valid"]
    assert set(seen["authors"]) == {alice.agent, bob.agent}


def test_what_is_declined_is_signed_by_nobody(dms3_network):
    alice, bob, _ = dms3_network
    bob.call("decline", session=proposed(dms3_network))
    dms3_network.settle()

    assert alice.call("agreements") == bob.call("agreements") == []
    assert alice.call("waiting") == []


def test_one_person_alone_makes_no_agreement(dms3_network):
    dms3_network.byzantine("carol", "skips_own_rules")
    dms3_network["carol"].put("agreement", TEXT)
    dms3_network.run(seconds=10)

    assert {(one.by, one.rule) for one in dms3_network.rejected()} == {
        ("alice", "an_agreement_is_signed_by_both"),
        ("bob", "an_agreement_is_signed_by_both"),
    }


def test_who_is_cut_off_while_signing_has_signed_when_the_network_is_back(dms3_network):
    alice, bob, carol = dms3_network
    session = proposed(dms3_network)
    dms3_network.partition(["alice", "carol"], ["bob"])
    bob.call("accept", session=session)
    dms3_network.run(seconds=120)
    assert [each["state"] for each in bob.call("waiting")] == ["locked"]
    assert alice.call("agreements") == bob.call("agreements") == []

    dms3_network.heal()
    dms3_network.run(seconds=120)

    (mine,), (his,) = alice.call("agreements"), bob.call("agreements")
    assert mine["agreement"] == his["agreement"]
    assert carol.call("verify", agreement=mine["agreement"])["valid"]
    assert alice.call("waiting") == bob.call("waiting") == []


def test_an_agreement_outlives_a_node(dms3_network):
    bob, carol = dms3_network["bob"], dms3_network["carol"]
    bob.call("accept", session=proposed(dms3_network))
    dms3_network.settle()
    (agreement,) = bob.call("agreements")
    dms3_network.crash("bob")

    assert carol.call("verify", agreement=agreement["agreement"])["valid"]
