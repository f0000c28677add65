"""Warrants written to the own chain, and agents that are answered no more."""

from dms3.chain.action import encode_signed
from dms3.chain.operations_validation import IssueWarrant, ShutOut
from dms3.chain.warrant import Evidence, encode_evidence
from dms3.core.errors import Failure
from dms3.core.verdict import Invalid
from unit.chain.chain_kit import BOB, BOB_ROOT, Chain
from unit.source.chain_kit import DNA, OTHER, Device
from unit.source.parties_kit import OVERLAY, World
from unit.source.test_sending import send

BOBS = Chain.begun(BOB, BOB_ROOT, DNA)
EVIDENCE = encode_evidence(Evidence(1, "rule", (encode_signed(BOBS.head),), "time"))


def warrant(device, overlay=DNA.id):
    return device.call("warrant", IssueWarrant(overlay, BOB.public, EVIDENCE))


def test_a_warrant_is_the_next_action_of_the_own_chain_and_is_published():
    device = Device()
    device.begin()
    answer = warrant(device)
    last = device.chain[-1]
    assert answer.actions == (last.hash,)
    assert (last.action.kind, last.action.to, last.action.proof) == (
        "warrant",
        BOB.public,
        EVIDENCE,
    )


def test_without_a_chain_there_is_nothing_to_write_it_to():
    device = Device()
    device.begin()
    assert warrant(device, OTHER.id).code == "not_found"


def test_what_the_own_judge_refuses_is_not_written():
    device = Device()
    device.begin()
    device.verdict = Invalid("warrant-false", "it breaks no rule")
    before = len(device.chain)
    answer = warrant(device)
    assert isinstance(answer, Failure)
    assert answer.code == "content_invalid"
    assert len(device.chain) == before


def test_who_is_shut_out_is_answered_no_more_until_it_is_taken_back():
    one, two = World("a", "b").parties
    assert send(one, two) == {"heard": "hello"}, "it is remembered as let in"
    two.call("shut_out", ShutOut(OVERLAY, (one.agent,)))
    assert send(one, two).code == "agent_blocked"
    assert send(two, one) == {"heard": "hello"}
    two.call("shut_out", ShutOut(OVERLAY, ()))
    assert send(one, two) == {"heard": "hello"}
