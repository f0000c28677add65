"""Questions from app to app: who is found, what is let in, what is refused by which name."""

import dataclasses
from itertools import pairwise

import pytest

from dms3.chain.agent_messages import (
    AgentQuestion,
    decode_agent_question,
    decode_send_answer,
    sign_question,
)
from dms3.chain.operations import Close, SendTo
from dms3.chain.whereabouts import decode_whereabouts, whereabouts_key
from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.limits import (
    AGENT_BODY_BYTES_MAX,
    AGENT_PEER_BURST_US,
    AGENT_PEER_COST_US,
    AGENT_QUESTION_COST_US,
    AGENT_QUESTION_LIFE_US,
    AGENT_QUESTIONS_BURST_US,
    AGENT_QUESTIONS_OPEN_MAX,
    CLOCK_AHEAD_US_MAX,
    MEMBER_KEPT_US,
    WHEREABOUTS_LIFE_US,
)
from dms3.core.machine import Now, Requested, is_failure
from dms3.core.overlay import GetContent
from dms3.source.capabilities import Give
from dms3.source.sending import Sending, Shown
from dms3.source.whereabouts import Whereabouts
from unit.source.chain_kit import OTHER
from unit.source.parties_kit import GONE, OVERLAY, SECOND, Party, World


def send(asker, to, body="hello", *, function="receive", capability=b"", **more: int):
    """What the asker is told in the end."""
    agent = to if isinstance(to, bytes) else to.agent
    wanted = SendTo(OVERLAY, agent, function, body, capability, **more)
    request = asker.ask("send", wanted)
    asker.world.run()
    return asker.answers.get(request)


def overheard(asker, to, **more: object):
    """A question of asker on its way to the other."""
    asker.world.taken = []
    real = asker.world._deliver

    def deliver(*args: object):
        asker.world.taken.append(args[-1].body)
        real(*args)

    asker.world._deliver = deliver
    send(asker, to, **more)
    asker.world._deliver = real
    return decode_agent_question(asker.world.taken[-1]).send


def put(party, question, peer=b"any"):
    """The answer of the party's node to a question as it comes from the wire."""
    request = next(party.world.numbers)
    body = encode(AgentQuestion(send=question))
    party.tell(Requested(peer, "/dms3/agent/1", body, request))
    party.world.run()
    answer = party.answers.get(request)
    return decode_send_answer(answer) if isinstance(answer, bytes) else answer


def part_of(party, kind):
    (found,) = (each for each in party.machine._parts if isinstance(each, kind))
    return found


def key_of(party):
    return party.machine._grounds.chains.find(OVERLAY).signing


# Found and answered


def test_an_agent_is_asked_and_its_app_answers_who_asks_being_certain():
    world = World("a", "b")
    one, two = world.parties
    heard = []
    two.receives = lambda incoming: heard.append(incoming) or {"you said": incoming.body}
    assert send(one, two, ["x", 1], function="greet") == {"you said": ["x", 1]}
    (incoming,) = heard
    assert (incoming.sender, incoming.root) == (one.agent, one.tree.root_id())
    assert (incoming.function, incoming.overlay, incoming.granted) == ("greet", OVERLAY, False)


def test_myself_and_my_other_device_may_all():
    world = World("a", "b")
    one = world.parties[0]
    heard = []
    other = world.join(Party(world, "a", device=b"2" * 16))
    for party in (one, other):
        party.receives = lambda incoming: heard.append(incoming.granted)
    assert send(one, one) is None
    assert send(one, other) is None
    assert heard == [True, True]
    assert world.asks == 1  # oneself is no question to the network


def test_my_other_device_may_nothing_when_its_key_was_taken_back():
    world = World("a")
    one = world.parties[0]
    lost = world.join(Party(world, "a", device=b"2" * 16))
    real = one._activity
    one.ports["validation.activity"] = lambda asked: dataclasses.replace(real(asked), revoked=True)
    assert send(lost, one).code == "forbidden"
    one.ports["validation.activity"] = lambda _: Failure("limit_reached", "Too many reads.")
    assert send(lost, one).code == "limit_reached"
    one.ports["validation.activity"] = lambda _: Failure("timed_out", "Nobody answers.")
    assert send(lost, one) == {"heard": "hello"}


def test_a_node_that_asks_for_many_agents_does_not_shut_others_out():
    world = World("a", "b")
    one, two = world.parties
    question = overheard(one, two)
    count = AGENT_PEER_BURST_US // AGENT_PEER_COST_US
    for number in range(count):
        bad = dataclasses.replace(question, sender=number.to_bytes(32, "big"))
        assert put(two, bad, b"flood").code == "forbidden"
    assert put(two, bad, b"flood").code == "limit_reached"
    assert send(one, two) == {"heard": "hello"}


def test_what_the_app_refuses_is_told_by_name():
    world = World("a", "b")
    one, two = world.parties
    two.receives = lambda _: Failure("method_unknown", "The app has no function 'x'.")
    answer = send(one, two, function="x")
    assert (answer.code, answer.message) == ("method_unknown", "The app has no function 'x'.")


def test_an_agent_that_nobody_knows():
    world = World("a")
    answer = send(world.parties[0], b"x" * 32)
    assert answer.code == "peer_unreachable"
    assert b"x".hex() * 6 in answer.message


def test_who_has_moved_is_looked_up_once_more():
    world = World("a", "b")
    one, two = world.parties
    assert send(one, two) == {"heard": "hello"}
    assert world.asks == 1
    two.peer, before = two.peer[:-1] + b"!", two.peer
    part_of(two, Whereabouts)._peer = two.peer
    two.call("listening", ("/ip4/10.0.0.9/tcp/9",))
    world.wait(SECOND)
    assert send(one, two) == {"heard": "hello"}
    assert (world.asks, before != two.peer) == (3, True)


def test_a_dead_node_costs_the_patience_and_no_more():
    world = World("a", "b")
    one, two = world.parties
    send(one, two)
    two.die()
    assert send(one, two).code == "peer_unreachable"


def test_a_node_that_does_not_act_for_the_agent_says_so():
    world = World("a", "b", "c")
    one, two, three = world.parties
    question = overheard(one, two)
    assert put(three, question).code == "not_found"


# Whereabouts


def test_whereabouts_are_said_again_before_they_end_and_at_every_move():
    world = World("a")
    (one,) = world.parties
    key = whereabouts_key(OVERLAY, one.agent)
    first = decode_whereabouts(world.values[key])
    assert (first.peer, first.addresses) == (one.peer, ())
    one.call("listening", ("/ip4/10.0.0.1/tcp/1",))
    world.wait(SECOND)
    moved = decode_whereabouts(world.values[key])
    assert moved.addresses == ("/ip4/10.0.0.1/tcp/1",)
    world.wait(WHEREABOUTS_LIFE_US)
    now = decode_whereabouts(world.values[key])
    assert now.until_us - one.now.wall_us > WHEREABOUTS_LIFE_US // 2


def test_what_nobody_holds_is_put_again_with_pauses_that_grow():
    world = World("a")
    (one,) = world.parties
    puts = []
    one.ports["dht.put"] = lambda _: puts.append(one.now.mono_us) or GONE
    one.call("listening", ("/ip4/10.0.0.1/tcp/1",))
    world.wait(100 * SECOND)
    pauses = [later - earlier for earlier, later in pairwise(puts)]
    assert len(pauses) >= 3
    assert pauses == sorted(pauses)
    assert pauses[-1] > 2 * pauses[0]


def test_a_closed_chain_and_a_removed_app_are_announced_no_more():
    for ending in (("close", Close(OVERLAY, OTHER.id)), ("end", OVERLAY)):
        world = World("a")
        (one,) = world.parties
        one.call(*ending)
        world.values.clear()
        world.wait(2 * WHEREABOUTS_LIFE_US)
        assert whereabouts_key(OVERLAY, one.agent) not in world.values


def test_what_was_found_is_remembered_until_it_ends(monkeypatch):
    monkeypatch.setattr("dms3.source.whereabouts.WHEREABOUTS_KEPT_MAX", 1)
    world = World("a", "b", "c")
    one, two, three = world.parties
    gets = []
    one.ports["dht.get"] = lambda asked: gets.append(asked) or one._get_value(asked)
    for other in (two, two, three, three, two):
        assert send(one, other) == {"heard": "hello"}
    assert len(gets) == 3
    assert isinstance(gets[0], GetContent)


# Refused


def test_a_question_counts_once():
    world = World("a", "b")
    one, two = world.parties
    question = overheard(one, two)
    assert put(two, question).code == "already_exists"
    two.die()
    world.wait(SECOND)
    two.live()
    assert put(two, question).code == "question_expired"  # no nonce is remembered, nor needed


def test_a_question_counts_for_two_minutes():
    world = World("a", "b")
    one, two = world.parties
    question = overheard(one, two)
    world.wait(3 * AGENT_QUESTION_LIFE_US)
    now_us = two.now.wall_us

    def signed(time_us, nonce):
        fresh = dataclasses.replace(question, time_us=time_us, nonce=nonce * 16)
        return sign_question(key_of(one), fresh)

    answers = [
        put(two, signed(now_us - AGENT_QUESTION_LIFE_US - 1, b"1")),
        put(two, signed(now_us + CLOCK_AHEAD_US_MAX + 1, b"2")),
    ]
    assert [each.code for each in answers] == ["question_expired", "not_yet_valid"]
    for number, time_us in enumerate(
        (now_us - AGENT_QUESTION_LIFE_US, now_us + CLOCK_AHEAD_US_MAX)
    ):
        assert put(two, signed(time_us, bytes([number]))).body


@pytest.mark.parametrize("change", ["function", "body", "sender", "to", "overlay", "nonce"])
def test_a_changed_question(change):
    world = World("a", "b", "e")
    one, two, eve = world.parties
    question = overheard(one, two)
    value = {"function": "other", "sender": eve.agent, "body": b"\x61x", "nonce": b"n" * 16}
    value |= {"to": eve.agent, "overlay": b"o" * 32}
    forged = dataclasses.replace(question, **{change: value[change]})
    assert put(two, forged).code in ("forbidden", "not_found")


def test_a_certificate_of_somebody_else():
    world = World("a", "b", "e")
    one, two, eve = world.parties
    question = overheard(one, two)
    theirs = overheard(eve, two)
    for certificate in (theirs.certificate, b"", b"\xff", question.certificate[:-1]):
        forged = dataclasses.replace(question, certificate=certificate, nonce=b"c" * 16)
        assert put(two, sign_question(key_of(one), forged)).code in (
            "certificate_invalid",
            "already_exists",
        )


@pytest.mark.parametrize(
    ("reported", "code"),
    [
        ({"state": "empty"}, "not_yet_valid"),
        ({"state": "forked"}, "forbidden"),
        ({"state": "invalid"}, "forbidden"),
        ({"revoked": True}, "forbidden"),  # its root has taken the key back
    ],
)
def test_who_is_not_in_the_app_or_broke_a_rule(reported, code):
    world = World("a", "b")
    one, two = world.parties
    real = two._activity
    two.ports["validation.activity"] = lambda asked: dataclasses.replace(real(asked), **reported)
    assert send(one, two).code == code
    two.ports["validation.activity"] = real
    assert send(one, two) == {"heard": "hello"}


def test_a_chain_that_is_another_persons():
    world = World("a", "b", "e")
    one, two, eve = world.parties
    real = two._activity

    def activity(asked):
        return real(dataclasses.replace(asked, agent=eve.agent))

    two.ports["validation.activity"] = activity
    assert send(one, two).code == "certificate_invalid"


def test_who_was_let_in_is_looked_up_again_after_a_while():
    world = World("a", "b")
    one, two = world.parties
    looked = []
    real = two._activity
    two.ports["validation.activity"] = lambda asked: looked.append(1) or real(asked)
    for _ in range(3):
        send(one, two)
    assert len(looked) == 1
    world.wait(MEMBER_KEPT_US)
    send(one, two)
    assert len(looked) == 2


def test_one_that_asks_without_end_is_slowed_down_and_others_are_not():
    world = World("a", "b", "c")
    one, two, three = world.parties
    burst = AGENT_QUESTIONS_BURST_US // AGENT_QUESTION_COST_US
    answers = [send(one, two) for _ in range(burst + 5)]
    refused = [each for each in answers if is_failure(each)]
    assert {each.code for each in refused} == {"limit_reached"}
    assert len(refused) == 5
    assert send(three, two) == {"heard": "hello"}
    world.wait(SECOND)
    assert send(one, two) == {"heard": "hello"}


def test_so_many_questions_of_one_wait_for_the_app():
    world = World("a", "b")
    one, two = world.parties
    two.silent.add("dapps.receive")
    answers = [send(one, two) for _ in range(AGENT_QUESTIONS_OPEN_MAX + 1)]
    assert answers[:-1] == [None] * AGENT_QUESTIONS_OPEN_MAX
    assert answers[-1].code == "limit_reached"


def test_nonces_have_a_bound():
    world = World("a", "b")
    one, two = world.parties
    part_of(two, Sending)._nonces.kept_max = 2
    send(one, two)
    send(one, two)
    assert send(one, two).code == "limit_reached"
    world.wait(AGENT_QUESTION_LIFE_US)
    assert send(one, two) == {"heard": "hello"}


def test_bodies_have_a_bound_on_both_sides():
    world = World("a", "b")
    one, two = world.parties
    longest = "x" * (AGENT_BODY_BYTES_MAX - 5)
    assert send(one, two, longest).code == "body_too_large"  # the answer has a key more
    two.receives = lambda _: "ok"
    assert send(one, two, longest) == "ok"
    assert send(one, two, longest + "x").code == "body_too_large"
    assert send(one, two, 1.5).code == "argument_invalid"
    assert send(one, two, function="f" * 65).code == "argument_invalid"


def test_an_answer_that_cannot_be_read():
    world = World("a", "b")
    one, two = world.parties
    real = world._bring_back
    world._bring_back = lambda asker, boots, token, peer, _: real(asker, boots, token, peer, b"?")
    assert send(one, two).code == "peer_misbehaved"


# Capabilities


def give(party, *functions: str, **more: object):
    return party.call("grant", Give(OVERLAY, functions, **more))


def test_a_grant_is_shown_and_the_app_is_told():
    world = World("a", "b", "e")
    one, two, eve = world.parties
    two.receives = lambda incoming: incoming.granted
    mine = give(two, "read", reader=one.tree.root_id())
    anybodys = give(two, "read")
    assert send(one, two, function="read") is False
    assert send(one, two, function="read", capability=mine.data) is True
    assert send(eve, two, function="read", capability=mine.data).code == "grant_invalid"
    for party in (one, eve):
        assert send(party, two, function="read", capability=anybodys.data) is True
        assert send(party, two, function="erase", capability=anybodys.data).code == "grant_missing"
    two.call("revoke", mine.serial)
    assert send(one, two, function="read", capability=mine.data).code == "grant_missing"
    assert send(one, two, function="read", capability=b"?").code == "argument_invalid"


def test_the_secret_of_a_transferable_grant_never_travels():
    world = World("a", "b")
    one, two = world.parties
    capability = give(two, "read")
    question = overheard(one, two, function="read", capability=capability.data)
    secret = capability.data[-32:]
    assert secret not in encode(question)


def test_a_capability_that_was_overheard_is_worth_nothing():
    """The bearer signs for this question of this agent."""
    world = World("a", "b", "e")
    one, two, eve = world.parties
    capability = give(two, "read")
    question = overheard(one, two, function="read", capability=capability.data)
    theirs = overheard(eve, two, function="read")
    stolen = dataclasses.replace(theirs, capability=question.capability, nonce=b"s" * 16)
    assert put(two, sign_question(key_of(eve), stolen)).code == "grant_invalid"
    for data in (b"\xff", encode(Shown(b"\xff", b""))):
        bad = dataclasses.replace(theirs, capability=data, nonce=data[:1] * 15 + data[-1:])
        assert put(two, sign_question(key_of(eve), bad)).code == "grant_invalid"


def test_clocks_that_went_back_do_not_lock_anybody_out():
    world = World("a", "b")
    one, two = world.parties
    two.now = Now(two.now.mono_us, two.now.wall_us - 60 * SECOND)
    two.die()
    two.live()
    assert send(one, two) == {"heard": "hello"}
