"""Bounds of convictions and blocks: who gives way, and what is remembered of a pardon."""

from dms3.chain.operations_validation import Block, OpenApp, Pardon
from dms3.core.errors import Failure
from dms3.core.limits import WARRANT_RETRY_US, WARRANT_TRIES_MAX
from unit.validation.test_warranting import BAD, WAIT, convicted, forked, lawless, member
from unit.validation.validation_kit import OTHERS, PLAIN, Rig, begun, ops


def convict(rig, number):
    chain, one, _ = forked(number)
    rig.codes(*ops(*chain.records, one), peer=OTHERS[number % 8])
    rig.go(1)
    return chain.signing.public


def test_when_there_is_no_room_the_oldest_conviction_goes_that_the_person_said_nothing_to(
    monkeypatch,
):
    monkeypatch.setattr("dms3.validation.convicting.CONVICTIONS_MAX", 3)
    rig = Rig()
    mine = begun(PLAIN, 30).signing.public
    rig.call("block", Block(PLAIN.id, mine))
    first, second = convict(rig, 10), convict(rig, 11)
    assert set(convicted(rig)) == {mine, first, second}
    third = convict(rig, 12)
    assert set(convicted(rig)) == {mine, second, third}
    assert first not in rig.shut_out


def test_as_many_pardons_are_remembered_as_have_room(monkeypatch):
    monkeypatch.setattr("dms3.validation.convicting.PARDONS_KEPT_MAX", 2)
    rig, (chain, _) = member(), lawless()
    pardon = Pardon(PLAIN.id, chain.signing.public)
    rig.codes(*ops(*chain.records), peer=OTHERS[0])
    for number in range(2):
        rig.call("pardon", pardon)
        chain.records.pop()
        other = chain.add("link", tag=b"%d" % number, **BAD)
        rig.codes(*ops(other), peer=OTHERS[1 + number])
        assert convicted(rig)[chain.signing.public].actions == (other.signed.hash,)
    rig.call("pardon", pardon)
    row = rig.machine._parts.court.convicting.row(PLAIN.id, chain.signing.public)
    assert len(row.pardoned) == 2


def test_so_many_nodes_are_shunned_and_then_the_first_is_let_go(monkeypatch):
    monkeypatch.setattr("dms3.validation.blocking.SHUNNED_MAX", 2)
    rig = Rig()
    for number in range(3):
        chain, _ = lawless(10 + number)
        rig.codes(*ops(*chain.records), peer=OTHERS[number])
    assert rig.shunned == tuple(sorted(OTHERS[1:3]))


def test_a_chain_that_cannot_be_written_now_is_tried_again_so_often():
    rig, (chain, _) = member(), lawless()
    rig.own = None
    rig._warrant = lambda asked: rig.warrants.append(asked) or Failure("chain_restoring", "Wait.")
    rig.codes(*ops(*chain.records), peer=OTHERS[0])
    rig.go(WAIT + (WARRANT_TRIES_MAX + 3) * WARRANT_RETRY_US / 1_000_000)
    assert len(rig.warrants) == WARRANT_TRIES_MAX


def test_an_earlier_offence_moves_the_place_from_which_on_nothing_is_taken():
    rig, chain = Rig(), begun()
    early = chain.add("link", **BAD)
    chain.records.pop()
    chain.create({"text": "good"}, "note")
    late = chain.add("link", **BAD)
    rig.codes(*ops(*chain.records), peer=OTHERS[0])
    assert convicted(rig)[chain.signing.public].seq == late.signed.action.seq == 4
    rig.codes(*ops(early), peer=OTHERS[1])
    assert convicted(rig)[chain.signing.public].seq == 3


def test_an_app_that_is_shut_says_nothing_and_goes_on_when_it_is_opened_again():
    rig, (chain, _) = member(), lawless()
    rig.codes(*ops(*chain.records), peer=OTHERS[0])
    rig.call("shut", PLAIN.id)
    rig.go(60)
    assert rig.warrants == []
    assert set(convicted(rig)) == {chain.signing.public}, "it can be looked at all the same"
    rig.call("open", OpenApp(PLAIN))
    rig.go(WAIT)
    assert len(rig.warrants) == 1
