"""Countersigning with liars, and its bounds: nobody signs what he did not accept."""

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
from dms3.chain.operations import Propose
from dms3.chain.operations_validation import GetActivity
from dms3.chain.session import (
    accept_session,
    decode_acceptance,
    decode_preflight,
    session_entry,
)
from dms3.core.codec import decode, encode
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
from dms3.source.sessions import TABLE, SessionRow
from unit.source.chain_kit import check_chain
from unit.source.parties_kit import OVERLAY, SECOND, Party, World, propose
from unit.source.sessions_kit import (
    MINUTE,
    accepted_world,
    ask,
    asked_world,
)

TOO_MANY = tuple(bytes([number]) * 32 for number in range(COUNTERSIGNERS_MAX))


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
    world.wait(MINUTE)  # he publishes nothing himself: those he cheated show it
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
