"""How agreements behave between people: run it with pytest, docs/testing.md says more."""

import pytest

TEXT = "Alice plants the garden, Bob waters it."


@pytest.mark.dms3(nodes=3)
def test_an_agreement_counts_when_both_have_signed(dms3_network):
    alice, bob, carol = dms3_network
    bob.call("introduce", name="Bob")
    dms3_network.settle()
    (found,) = alice.call("people")
    assert found == {"name": "Bob", "agent": bob.agent}

    alice.call("propose", title="The garden", text=TEXT, partner=found["agent"])
    dms3_network.run(seconds=5)
    (waiting,) = bob.call("waiting")
    assert waiting["content"] == {"title": "The garden", "text": TEXT}
    assert alice.call("agreements") == [], "one has not signed yet"

    bob.call("accept", session=waiting["session"])
    dms3_network.run(seconds=20)
    (mine,), (theirs,) = alice.call("agreements"), bob.call("agreements")
    assert mine["agreement"] == theirs["agreement"]
    shown = carol.call("verify", agreement=mine["agreement"])
    assert shown["valid"]
    assert sorted(shown["authors"]) == sorted([alice.agent, bob.agent])
    assert shown["text"] == TEXT


@pytest.mark.dms3(nodes=2)
def test_what_is_declined_is_signed_by_nobody(dms3_network):
    alice, bob = dms3_network
    alice.call("propose", title="The garden", text=TEXT, partner=bob.agent)
    dms3_network.run(seconds=5)
    (waiting,) = bob.call("waiting")
    bob.call("decline", session=waiting["session"])
    dms3_network.run(seconds=10)
    assert alice.call("waiting") == []
    assert alice.call("agreements") == bob.call("agreements") == []
    alice.call("introduce", name="Alice")  # her chain is free again


@pytest.mark.dms3(nodes=2)
def test_nobody_is_listed_under_no_name(dms3_network):
    assert dms3_network["alice"].refuses("introduce", name="") == "a_card_is_a_name"
