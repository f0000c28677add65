"""An app with a membrane: who has shown no proof on its connection is told nothing of it."""

import dataclasses

from dms3.core.errors import Failure
from dms3.core.limits import SECOND_US
from unit.validation.validation_kit import ALICE_PEER, MALLORY_PEER, PLAIN, Rig, begun, ops


def publish(rig, record, peer):
    """The answer as it came."""
    return rig.replies.get(rig.begin_publish(*ops(record), peer=peer))


def test_who_is_not_admitted_reads_and_publishes_nothing():
    rig, chain = Rig(), begun()
    first = chain.records[0]
    admission = rig.machine._admission
    admission.close(PLAIN.id)
    refused = publish(rig, first, MALLORY_PEER)
    assert isinstance(refused, Failure)
    assert refused.code == "not_admitted"
    assert rig.trace(first) == ()
    admission.admit(PLAIN.id, ALICE_PEER, rig.now.wall_us + SECOND_US)
    assert not isinstance(publish(rig, first, ALICE_PEER), Failure)
    assert rig.trace(first) != ()
    admission.on_down(ALICE_PEER)
    assert isinstance(publish(rig, first, ALICE_PEER), Failure)


def test_actions_that_ask_for_stake_are_judged_by_what_the_ledger_of_the_node_says():
    dna = dataclasses.replace(PLAIN, membrane={"scheme": "stake", "amount": 5})
    chain = begun(dna)
    poor, rich = Rig(None, dna), Rig(None, dna)
    rich.machine._admission.stake = lambda *_: 5
    for rig, state in ((poor, "rejected"), (rich, "integrated")):
        for record in chain.records:
            rig.publish(*ops(record), dna=dna)
        assert {op.state for op in rig.trace(chain.records[1])} == {state}
