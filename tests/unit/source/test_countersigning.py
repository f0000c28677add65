"""Countersigning step by step: all sign or nobody does, whoever fails, lies or comes late."""

import dataclasses

import pytest

from dms3.chain.action import decode_signed, encode_signed, sign_action
from dms3.chain.agent_messages import (
    AgentQuestion,
    SessionComplete,
    SessionReply,
    decode_agent_question,
    decode_session_reply,
    sign_decline,
)
from dms3.chain.entry import decode_entry, entry_hash, make_entry
from dms3.chain.operations import (
    AcceptSession,
    Change,
    Commit,
    GetActivity,
    GetRecord,
    Propose,
)
from dms3.chain.session import (
    accept_session,
    decode_acceptance,
    decode_agreed,
    decode_preflight,
    session_entry,
)
from dms3.core.codec import decode, encode
from dms3.core.errors import Failure
from dms3.core.limits import (
    COUNTERSIGNERS_MAX,
    SESSION_ENTRY_BYTES_MAX,
    SESSION_GRACE_US,
    SESSION_SETTLE_US,
    SESSION_WINDOW_US_MAX,
    SESSION_WINDOW_US_MIN,
    SESSIONS_OF_ONE_MAX,
)
from dms3.core.machine import Requested
from dms3.core.verdict import Invalid
from dms3.source.sessions import TABLE, SessionRow
from unit.source.chain_kit import check_chain
from unit.source.parties_kit import OVERLAY, SECOND, Party, World, propose

MINUTE = 60 * SECOND
TOO_MANY = tuple(bytes([number]) * 32 for number in range(COUNTERSIGNERS_MAX))


def ask(party, question, by=None):
    """What the party answers to a question that anybody may put."""
    request = next(party.world.numbers)
    peer = (by or party.world.parties[0]).peer
    party.tell(Requested(peer, "/dms3/agent/1", encode(question), request))
    party.world.run()
    body = party.answers.get(request)
    return body if isinstance(body, Failure) or body is None else decode_session_reply(body)


def check_all_or_nobody(world, *parties: Party):
    """Every chain is one; the action of the session is in all of them, or in none."""
    for party in parties:
        check_chain(party.chain)
    assert all(len(seen) == 1 for seen in world.overlay.seen.values())
    written = [len(party.written()) for party in parties]
    assert written in ([1] * len(parties), [0] * len(parties))
    return bool(written[0])


def lock_of(party):
    return party.machine._grounds.chains.find(OVERLAY).row.lock


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


def asked_world():
    world = World("a", "b")
    one, two = world.parties
    two.countersigns = lambda _session: None
    propose(one, two)
    assert (one.session.state, two.session.state) == ("proposed", "proposed")
    assert (two.session.content, two.session.proposer) == ({"text": "we agree"}, one.agent)
    return world, one, two


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


def accepted_world(window_us=MINUTE):
    """Two has accepted, and one, who proposed, is gone with it."""
    world = World("a", "b")
    one, two = world.parties
    two.countersigns = lambda _session: None
    propose(one, two, window_us=window_us)
    one.die()
    two.call("accept", AcceptSession(two.session.id))
    world.run()
    assert two.session.state == "locked"
    return world, one, two


def test_commits_wait_until_the_session_has_ended():
    world, _one, two = accepted_world()
    waiting = two.ask("commit", _note())
    proposal = two.call("propose", Propose(OVERLAY, "note", {}, (b"x" * 32,), MINUTE))
    assert proposal.code == "chain_locked"
    world.wait(MINUTE + SESSION_SETTLE_US - SECOND)
    assert waiting not in two.answers
    world.wait(SESSION_GRACE_US)
    assert waiting in two.answers
    assert two.session.state == "expired"
    check_chain(two.chain)


def test_a_restart_does_not_unlock():
    world, _one, two = accepted_world()
    two.die()
    two.live()
    assert lock_of(two) == two.session.id
    waiting = two.ask("commit", _note())
    world.wait(SECOND)
    assert waiting not in two.answers


def test_the_proposer_comes_back_and_all_sign():
    world, one, two = accepted_world()
    waiting = two.ask("commit", _note())
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
    for at in range(before + 1, after + 1):
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


# Lies


def tampered(change):
    """What becomes of the proposal of one when the acceptance of two is another."""
    world = World("a", "b")
    one, two = world.parties
    real = world._bring_back

    def bring_back(asker, boots, token, peer, body):
        if asker is one and isinstance(body, bytes):
            reply = decode_session_reply(body)
            if reply.acceptance:
                body = encode(SessionReply("accepted", change(reply, world)))
        real(asker, boots, token, peer, body)

    world._bring_back = bring_back
    propose(one, two)
    world.wait(SECOND)
    assert not one.written()
    return one.session


def _another_key(reply, world):
    """Accepted by somebody else."""
    acceptance = decode_acceptance(reply.acceptance)
    key = world.parties[0].machine._grounds.chains.find(OVERLAY).signing
    return accept_session(key, acceptance.session, acceptance.seq, acceptance.prev)


def _another_place(reply, _world):
    """Its place was changed on the way."""
    acceptance = decode_acceptance(reply.acceptance)
    return encode(dataclasses.replace(acceptance, seq=acceptance.seq + 1))


def _another_session(reply, world):
    """Signed for another session."""
    acceptance = decode_acceptance(reply.acceptance)
    key = world.parties[1].machine._grounds.chains.find(OVERLAY).signing
    return accept_session(key, b"s" * 32, acceptance.seq, acceptance.prev)


@pytest.mark.parametrize("change", [_another_key, _another_place, _another_session])
def test_a_forged_acceptance_ends_the_session(change):
    session = tampered(change)
    assert session.state == "declined"
    assert "acceptance" in session.why


class Liar(Party):
    """Its node answers by hand: it accepts two sessions for one place in its chain."""

    def tell(self, event):
        if not isinstance(event, Requested):
            return super().tell(event)
        question = decode_agent_question(event.body)
        if question.propose is not None:
            reply = SessionReply("accepted", self.accept(question.propose.preflight))
        elif question.complete is not None:
            reply = SessionReply("complete", action=encode_signed(self.sign(question.complete)))
        else:
            reply = SessionReply("waiting")
        asker, token, peer = self.asked_by.pop(event.request)
        self.world.back.append((asker, asker.boots, token, peer, encode(reply)))
        return None

    @property
    def key(self):
        return self.machine._grounds.chains.find(OVERLAY).signing

    def accept(self, preflight):
        head = self.chain[-1]
        session = decode_preflight(preflight).id
        return accept_session(self.key, session, head.action.seq + 1, head.hash)

    def sign(self, complete):
        head = self.chain[-1].action
        hash_ = entry_hash(complete.entry)
        action = dataclasses.replace(
            head,
            seq=head.seq + 1,
            prev=self.chain[-1].hash,
            time_us=self.now.wall_us,
            kind="countersign",
            certificate=b"",
            entry=hash_,
            entry_kind="note",
            session=complete.session,
        )
        return sign_action(self.key, action)


def test_who_signs_two_sessions_at_one_place_forks_himself_and_the_evidence_is_kept():
    world = World("a", "b")
    one, two = world.parties
    liar = world.join(Liar(world, "l"))
    propose(one, liar)
    propose(two, liar)
    world.wait(SECOND)
    for honest in (one, two):
        check_chain(honest.chain)
        (row,) = honest.rows.of(TABLE).values()
        kept = [decode_signed(each) for each in decode(SessionRow, row).actions]
        assert {each.action.author for each in kept} == {honest.agent, liar.agent}
    twice = [len(seen) for seen in world.overlay.seen.values() if len(seen) > 1]
    assert twice == [2]  # whoever holds his activity has both, signed by him
    assert one._activity(GetActivity(OVERLAY, liar.agent)).state == "forked"
    one.note("honest chains go on")


def test_a_set_that_comes_after_the_chain_has_gone_on_is_not_written():
    world, one, two = accepted_world()
    session = two.session.id
    entry = completed(one, two)
    world.wait(MINUTE + SESSION_SETTLE_US + SESSION_GRACE_US)
    assert two.session.state == "expired"
    two.note("gone on")
    reply = ask(two, AgentQuestion(complete=SessionComplete(two.agent, session, entry)))
    assert reply.step == "expired"
    assert not two.written()
    check_chain(two.chain)


def test_a_set_that_comes_late_is_written_when_the_chain_still_waits_there():
    world, one, two = accepted_world()
    session = two.session
    entry = completed(one, two)
    world.wait(MINUTE + SESSION_SETTLE_US + SESSION_GRACE_US)
    reply = ask(two, AgentQuestion(complete=SessionComplete(two.agent, session.id, entry)))
    assert reply.step == "complete"
    (signed,) = two.written()
    assert signed.action.time_us == session.until_us
    check_chain(two.chain)


def completed(one, two, *, content=None, key=None, acceptance=None):
    """The entry with the set of all acceptances, as a dead proposer might have made it."""
    row = decode(SessionRow, next(iter(two.rows.of(TABLE).values())))
    signing = key or one.machine._grounds.chains.find(OVERLAY).signing
    head = one.chain[-1]
    session = decode_preflight(row.preflight).id
    own = accept_session(signing, session, head.action.seq + 1, head.hash)
    content = content or decode_entry(row.plain).content
    return session_entry(content, row.preflight, (own, acceptance or row.accepted[0]))[1]


def test_a_set_that_does_not_hold_is_refused_and_the_chain_waits_on():
    world, one, two = accepted_world()
    eve = Party(world, "e")
    session = two.session.id
    key = two.machine._grounds.chains.find(OVERLAY).signing
    other_place = accept_session(key, session, 9, two.chain[-1].hash)
    bad = [
        completed(one, two, content={"text": "other"}),
        completed(one, two, key=eve.tree.root()),
        completed(one, two, acceptance=other_place),
        make_entry({"text": "we agree"})[1],
        b"\xff",
    ]
    for entry in bad:
        reply = ask(two, AgentQuestion(complete=SessionComplete(two.agent, session, entry)))
        assert reply.code == "content_invalid"
    assert two.session.state == "locked"
    assert not two.written()
    good = SessionComplete(two.agent, session, completed(one, two))
    assert ask(two, AgentQuestion(complete=good)).step == "complete"


def test_only_parties_decline():
    world, one, two = asked_world()
    eve = Party(world, "e")
    session = one.session.id
    for decline in (
        sign_decline(eve.tree.root(), session, "no"),
        dataclasses.replace(sign_decline(eve.tree.root(), session, "no"), agent=two.agent),
    ):
        assert ask(one, AgentQuestion(decline=decline)).code == "forbidden"
    assert one.session.state == "proposed"
    other = sign_decline(two.machine._grounds.chains.find(OVERLAY).signing, b"x" * 32, "no")
    assert ask(one, AgentQuestion(decline=other)).step == "declined"  # of nothing it knows


# Bounds


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kind": "secret"}, "argument_invalid"),
        ({"kind": "nothing"}, "argument_invalid"),
        ({"content": {"x": 1.5}}, "argument_invalid"),
        ({"content": {"x": "y" * SESSION_ENTRY_BYTES_MAX}}, "argument_invalid"),
        ({"parties": ()}, "argument_invalid"),
        ({"parties": (b"short",)}, "argument_invalid"),
        (
            {"parties": tuple(bytes([n]) * 32 for n in range(COUNTERSIGNERS_MAX))},
            "argument_invalid",
        ),
        ({"window_us": SESSION_WINDOW_US_MIN - 1}, "argument_invalid"),
        ({"window_us": SESSION_WINDOW_US_MAX + 1}, "argument_invalid"),
        ({"overlay": b"o" * 32}, "not_found"),
    ],
)
def test_what_cannot_be_proposed(change, code):
    world = World("a")
    good = Propose(OVERLAY, "note", {"text": "x"}, (b"x" * 32,), MINUTE)
    assert world.parties[0].call("propose", dataclasses.replace(good, **change)).code == code


def test_the_longest_entry_with_all_signatures_fits_in_a_row():
    world = World(*"abcdefgh")
    first, *others = world.parties
    text = "y" * (SESSION_ENTRY_BYTES_MAX - 100)
    propose(first, *others, text=text)
    world.wait(SECOND)
    assert {party.session.state for party in world.parties} == {"complete"}


def test_one_agent_proposes_so_much_at_once():
    world = World("a", "b")
    one, two = world.parties
    two.countersigns = lambda _session: None
    for number in range(SESSIONS_OF_ONE_MAX):
        propose(one, two, text=str(number))
    assert propose(one, two).code == "limit_reached"
    assert len(two.states()) == SESSIONS_OF_ONE_MAX


def test_ended_sessions_are_forgotten_in_the_end(monkeypatch):
    monkeypatch.setattr("dms3.source.sessions.SESSIONS_ENDED_MAX", 2)
    world = World("a", "b")
    one, two = world.parties
    for number in range(4):
        propose(one, two, text=str(number))
        world.wait(SECOND)
    assert len(one.states()) == len(one.rows.of(TABLE)) == 2
    assert len(one.written()) == 4


def _note():
    return Commit(OVERLAY, (Change("create", "note", {"text": "waits"}),))
