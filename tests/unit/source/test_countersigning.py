"""Countersigning step by step: all sign or nobody does, whoever fails or comes late."""

import pytest

from dms3.chain.entry import decode_entry
from dms3.chain.operations import AcceptSession, Propose
from dms3.chain.operations_validation import GetRecord
from dms3.chain.session import (
    decode_agreed,
)
from dms3.core.limits import (
    COUNTERSIGNERS_MAX,
    SESSION_GRACE_US,
    SESSION_SETTLE_US,
)
from dms3.core.verdict import Invalid
from unit.source.chain_kit import check_chain
from unit.source.parties_kit import OVERLAY, SECOND, Party, World, propose
from unit.source.sessions_kit import (
    MINUTE,
    accepted_world,
    asked_world,
    check_all_or_nobody,
    lock_of,
    note_of,
)

# Agreement


@pytest.mark.parametrize("count", [2, 3, COUNTERSIGNERS_MAX])
def test_all_sign_and_the_network_has_it(count):
    world = World(*"abcdefgh"[:count])
    first, *others = world.parties
    assert propose(first, *others).state == "proposed"
    world.wait(SECOND)
    hashes = set()
    for party in world.parties:
        assert party.session.state == "complete"
        (signed,) = party.written()
        assert party.session.action == signed.hash
        assert not lock_of(party)
        hashes.add(signed.action.entry)
    (hash_,) = hashes
    found = first._get(GetRecord(OVERLAY, hash_))
    assert len(found.records) == count
    preflight, accepted = decode_agreed(decode_entry(found.records[0].entry).session)
    assert tuple(each.agent for each in accepted) == preflight.parties
    assert check_all_or_nobody(world, *world.parties)


def test_people_and_pages_are_told_each_step():
    world = World("a", "b")
    propose(world.parties[0], world.parties[1])
    world.wait(SECOND)
    told = [
        [d["state"] for topic, d in party.notices if topic == "chain.session"]
        for party in world.parties
    ]
    assert told == [["proposed", "locked", "complete"], ["locked", "locked", "complete"]]


def test_chains_go_on_behind_what_was_signed():
    world = World("a", "b")
    one, two = world.parties
    one.note()
    propose(one, two)
    for party in world.parties:
        party.note("after")
    assert one.chain[-2].action.kind == two.chain[-2].action.kind == "countersign"
    assert check_all_or_nobody(world, one, two)


def test_a_second_device_of_the_same_person_is_a_party_of_its_own():
    world = World("a", "b")
    one, two = world.parties
    other = world.join(Party(world, "a", device=b"2" * 16))
    assert other.agent != one.agent
    propose(one, two, other)
    world.wait(SECOND)
    assert {party.session.state for party in world.parties} == {"complete"}
    assert check_all_or_nobody(world, one, two, other)


def test_the_same_content_twice_is_two_agreements():
    world = World("a", "b")
    one, two = world.parties
    propose(one, two)
    world.wait(SECOND)
    propose(one, two)
    world.wait(SECOND)
    assert one.states() == two.states() == ["complete", "complete"]
    assert len({signed.action.entry for signed in one.written()}) == 2


# The person decides


def test_the_person_accepts():
    world, one, two = asked_world()
    two.note("not locked yet")
    answer = two.call("accept", AcceptSession(two.session.id))
    assert answer.state == "locked"
    world.wait(SECOND)
    assert (one.session.state, two.session.state) == ("complete", "complete")
    again = two.call("accept", AcceptSession(two.session.id))
    assert (again.code, "complete" in again.message) == ("argument_invalid", True)


def test_the_person_declines():
    world, one, two = asked_world()
    assert two.call("decline", two.session.id).state == "declined"
    world.wait(SECOND)
    assert one.session.state == "declined"
    assert two.agent.hex()[:12] in one.session.why
    assert not check_all_or_nobody(world, one, two)


def test_the_proposer_takes_it_back():
    world, one, two = asked_world()
    one.call("decline", one.session.id)
    world.wait(SECOND)
    assert two.session.state == "declined"
    assert two.call("accept", AcceptSession(two.session.id)).code == "argument_invalid"


def test_after_accepting_one_does_not_decline():
    world, one, two = asked_world()
    one.on = False
    two.call("accept", AcceptSession(two.session.id))
    assert two.call("decline", two.session.id).code == "argument_invalid"
    assert world.parties[1].session.state == "locked"


def test_the_app_says_no():
    world = World("a", "b", "c")
    one, two, three = world.parties
    three.countersigns = lambda session: session.kind != "note"
    propose(one, two, three)
    world.wait(SECOND)
    assert one.session.state == "declined"
    assert "does not accept" in one.session.why
    assert two.session.state == "declined"  # told: its chain goes on at once
    assert not lock_of(two)
    assert not check_all_or_nobody(world, one, two, three)


def test_a_rule_of_the_app_refuses_it_before_anybody_has_written():
    world = World("a", "b")
    one, two = world.parties
    one.verdict = Invalid("fair", "the price is negative", 4)
    propose(one, two)
    world.wait(SECOND)
    assert one.session.state == "declined"
    assert "fair" in one.session.why
    assert two.session.state == "declined"
    assert not check_all_or_nobody(world, one, two)


# Locked


def test_commits_wait_until_the_session_has_ended():
    world, _one, two = accepted_world()
    waiting = two.ask("commit", note_of())
    proposal = two.call("propose", Propose(OVERLAY, "note", {}, (b"x" * 32,), MINUTE))
    assert proposal.code == "chain_locked"
    world.wait(MINUTE + SESSION_SETTLE_US - SECOND)
    assert waiting not in two.answers
    world.wait(SESSION_GRACE_US)
    assert waiting in two.answers
    assert two.session.state == "expired"
    check_chain(two.chain)


def test_who_accepts_while_a_commit_is_judged_signs_behind_it():
    world, one, two = asked_world()
    real, session = two.ports["validation.judge"], two.session.id

    def judge(asked):
        two.ports["validation.judge"] = real
        two.ask("accept", AcceptSession(session))
        return real(asked)

    two.ports["validation.judge"] = judge
    two.ask("commit", note_of())
    two.ask("commit", note_of())
    world.wait(SECOND)
    assert (one.session.state, two.session.state) == ("complete", "complete")
    assert [each.action.kind for each in two.chain[3:]] == ["create", "countersign", "create"]
    assert check_all_or_nobody(world, one, two)


def test_a_restart_does_not_unlock():
    world, _one, two = accepted_world()
    two.die()
    two.live()
    assert lock_of(two) == two.session.id
    waiting = two.ask("commit", note_of())
    world.wait(SECOND)
    assert waiting not in two.answers


def test_the_proposer_comes_back_and_all_sign():
    world, one, two = accepted_world()
    waiting = two.ask("commit", note_of())
    one.live()
    world.wait(30 * SECOND)
    assert (one.session.state, two.session.state) == ("complete", "complete")
    assert waiting in two.answers
    assert check_all_or_nobody(world, one, two)


def test_the_proposer_comes_back_too_late_and_nobody_signs():
    world, one, two = accepted_world()
    world.wait(MINUTE + SESSION_GRACE_US + SESSION_SETTLE_US)
    one.live()
    world.wait(MINUTE)
    assert (one.session.state, two.session.state) == ("expired", "expired")
    assert not check_all_or_nobody(world, one, two)


def test_who_cannot_be_reached_in_time_costs_the_others_nothing():
    world = World("a", "b", "c")
    one, two, three = world.parties
    three.die()
    propose(one, two, three)
    world.wait(MINUTE - SECOND)
    assert (one.session.state, two.session.state) == ("proposed", "locked")
    assert not lock_of(one)  # the proposer signs last
    world.wait(2 * SECOND)
    assert (one.session.state, two.session.state) == ("expired", "declined")  # it was told at once
    for party in (one, two):
        assert three.agent.hex()[:12] in party.session.why
    assert not lock_of(two)
    assert not check_all_or_nobody(world, one, two)


# Two at once


def test_two_that_propose_to_each_other_at_once_do_not_wait_for_each_other():
    world = World("a", "b")
    one, two = world.parties
    one.ask("propose", Propose(OVERLAY, "note", {"text": "mine"}, (two.agent,), MINUTE))
    two.ask("propose", Propose(OVERLAY, "note", {"text": "yours"}, (one.agent,), MINUTE))
    world.run()
    world.wait(SECOND)
    assert sorted(one.states()) == ["complete", "declined"] or one.states() == ["complete"]
    assert sum(state == "complete" for state in two.states()) == 1
    assert check_all_or_nobody(world, one, two)


def test_a_second_proposal_while_the_chain_waits_is_declined_by_name():
    world = World("a", "b", "c")
    one, two, three = world.parties
    three.countersigns = lambda _session: None
    propose(one, two, three)
    other = world.join(Party(world, "d"))
    propose(other, two)
    world.wait(SECOND)
    assert other.session.state == "declined"
    assert "another countersigning" in other.session.why
    three.call("accept", AcceptSession(three.session.id))
    world.wait(SECOND)
    assert one.session.state == "complete"
    propose(other, two)
    world.wait(SECOND)
    assert other.states() == ["declined", "complete"]


# Deaths


def _life(world, one, two):
    propose(one, two)
    world.wait(2 * SECOND)


def _steps(which):
    world = World("a", "b", holders=1)
    before = world.parties[which].steps
    _life(world, *world.parties)
    return before, world.parties[which].steps


@pytest.mark.parametrize("which", [0, 1], ids=["proposer", "party"])
def test_killed_at_any_point_and_started_again_all_sign(which):
    before, after = _steps(which)
    assert after - before > 10
    for at in range(before + 1, after + 1, 2):
        world = World("a", "b", holders=1)
        one, two = world.parties
        dead = world.parties[which]
        dead.crash_at = at
        _life(world, one, two)
        assert not dead.on
        dead.live()
        world.wait(40 * SECOND)
        if not check_all_or_nobody(world, one, two):
            assert not one.states()  # killed before the proposal was durable
            continue
        assert (one.states(), two.states()) == (["complete"], ["complete"]), at


def test_what_a_dead_party_wrote_is_brought_to_the_network_in_all_its_parts():
    world = World("a", "b")
    one, two = world.parties
    two.silent.add("dht.ask_near")  # it signs, and publishes nothing
    propose(one, two)
    world.wait(SECOND)
    assert one.session.state == "complete"
    two.die()
    world.wait(MINUTE)
    (signed,) = two.written()
    held = {op.kind for op in world.overlay.holders[0].ops.values() if op.signed == signed}
    assert held == {"record", "entry", "activity"}


@pytest.mark.parametrize("which", [0, 1], ids=["proposer", "party"])
def test_killed_at_any_point_for_good_the_other_ends_in_time(which):
    """He is not locked for ever; when all had accepted he has it, with both signatures or one."""
    before, after = _steps(which)
    ends = set()
    for at in range(before + 1, after + 1, 3):
        world = World("a", "b", holders=1)
        dead, left = world.parties[which], world.parties[1 - which]
        dead.crash_at = at
        _life(world, *world.parties)
        world.wait(MINUTE + SESSION_GRACE_US + SESSION_SETTLE_US)
        assert not lock_of(left)
        check_chain(left.chain)
        if left.states() == ["complete"]:
            assert len(left.session.signed) == 2
        ends |= set(left.states())
        assert left.note("goes on").actions
    assert ends >= {"complete", "expired"}


def test_the_set_is_found_in_the_chain_of_a_dead_proposer():
    world = World("a", "b")
    one, two = world.parties
    two.countersigns = lambda _session: None
    propose(one, two)
    one.lost.add(two.peer)  # it hears that two accepts, and cannot tell it that all have
    two.call("accept", AcceptSession(two.session.id))
    world.run()
    assert (len(one.written()), len(two.written())) == (1, 0)
    one.die()
    world.wait(30 * SECOND)
    assert two.session.action == two.written()[0].hash
    assert check_all_or_nobody(world, one, two)
    assert two.session.state == "locked"  # the other action is in the network, but not shown to two
    one.live()
    world.wait(MINUTE)
    assert (one.session.state, two.session.state) == ("complete", "complete")


def test_a_chain_waits_while_the_set_is_known_to_be_somewhere():
    """The other's action shows that all have accepted; its entry cannot be had for a while."""
    world = World("a", "b")
    one, two = world.parties
    two.countersigns = lambda _session: None
    propose(one, two)
    one.lost.add(two.peer)
    two.call("accept", AcceptSession(two.session.id))
    world.run()
    assert one.written()
    real, two.ports["validation.get"] = two.ports["validation.get"], lambda _: None
    one.die()
    world.wait(MINUTE + SESSION_SETTLE_US + SECOND)
    assert two.session.state == "locked"
    two.ports["validation.get"] = real
    world.wait(SESSION_GRACE_US)
    assert two.written()
