"""Two honest links: questions, deadlines, limits, agreement, and how things end."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from dms3.core.errors import Failure
from dms3.core.limits import (
    ANSWER_WAIT_US,
    FRAME_BODY_BYTES_MAX,
    MIB,
    REQUEST_BYTES_WAITING_MAX,
    REQUESTS_IN_FLIGHT_MAX,
    REQUESTS_WAITING_MAX,
    SECOND_US,
)
from dms3.p2p.stream import Asked, Given, Misconduct, Refused, Unasked
from unit.link_kit import LATER, NETWORK, OTHER_NETWORK, P, Q, World

# Two honest links


def test_a_question_is_answered_over_one_stream_for_many():
    world = World()
    for handle in range(5):
        assert world.links[0].request(P, b"q%d" % handle, handle, LATER, 0) is None
    world.run()
    asked = world.seen(1, Asked)
    assert [event.body for event in asked] == [b"q0", b"q1", b"q2", b"q3", b"q4"]
    for event in reversed(asked):
        world.links[1].reply(event.request, b"a" + event.body, 0)
    world.run()
    assert world.events[0] == [Given(h, b"aq%d" % h) for h in (4, 3, 2, 1, 0)]
    assert len(world.ends[0].streams) == 1
    assert world.links[0].in_flight() == 0


def test_both_ends_ask_each_other_at_the_same_time():
    world = World()
    world.links[0].request(P, b"left", 1, LATER, 0)
    world.links[1].request(P, b"right", 1, LATER, 0)
    world.run()
    for side in (0, 1):
        (asked,) = world.seen(side, Asked)
        world.links[side].reply(asked.request, asked.body.upper(), 0)
    world.run()
    assert world.seen(0, Given) == [Given(1, b"LEFT")]
    assert world.seen(1, Given) == [Given(1, b"RIGHT")]


def test_a_failure_travels_as_a_failure():
    world = World()
    world.links[0].request(P, b"q", 1, LATER, 0)
    world.run()
    failure = Failure("grant_missing", "You have no grant for this space.")
    world.links[1].reply(world.seen(1, Asked)[0].request, failure, 0)
    world.run()
    assert world.events[0] == [Given(1, failure)]


def test_messages_arrive_in_order_with_questions():
    world = World()
    assert world.links[0].send(P, b"one", 0)
    world.links[0].request(P, b"two", 1, LATER, 0)
    assert world.links[0].send(P, b"three", 0)
    world.run()
    assert [event.body for event in world.events[1]] == [b"one", b"two", b"three"]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    work=st.lists(st.tuples(st.sampled_from([P, Q]), st.integers(0, 3000)), max_size=60),
)
def test_any_interleaving_gives_every_question_its_own_answer(seed, work):
    rng = random.Random(seed)
    world = World(split=lambda size: rng.randint(1, min(size, 700)))
    left, right = world.links
    sent, open_questions, cancelled = {}, [], set()
    for handle, (protocol, size) in enumerate(work):
        body = b"%d:" % handle + bytes(size)
        assert left.request(protocol, body, handle, LATER, 0) is None
        sent[handle] = (protocol, body)
        if rng.random() < 0.1:
            left.cancel(handle)
            cancelled.add(handle)
        world.run(rounds=rng.randint(0, 6))
        open_questions += world.events[1]
        world.events[1].clear()
        rng.shuffle(open_questions)
        for event in open_questions[: rng.randint(0, 4)]:
            if isinstance(event, Asked):
                right.reply(event.request, event.protocol.encode() + event.body, 0)
            open_questions.remove(event)
    world.run()
    for event in open_questions + world.events[1]:
        if isinstance(event, Asked):
            right.reply(event.request, event.protocol.encode() + event.body, 0)
    world.run()
    given_ = {event.handle: event.body for event in world.seen(0, Given)}
    assert len(given_) == len(world.seen(0, Given))
    early = cancelled & set(given_)
    assert not early, "a cancelled question was answered"
    assert given_ == {
        handle: protocol.encode() + body
        for handle, (protocol, body) in sent.items()
        if handle not in cancelled
    }
    assert not world.seen(0, Misconduct)
    assert not world.seen(1, Misconduct)


def test_a_large_answer_does_not_starve_another_protocol():
    world = World(split=lambda size: min(size, 4096))
    world.links[0].request(P, b"big", 1, LATER, 0)
    world.links[0].request(Q, b"small", 2, LATER, 0)
    world.run()
    big, small = sorted(world.seen(1, Asked), key=lambda event: event.body)
    world.links[1].reply(big.request, bytes(2 * MIB), 0)
    world.links[1].reply(small.request, b"ok", 0)
    world.run(rounds=4)
    assert world.events[0] == [Given(2, b"ok")]
    world.run()
    assert world.seen(0, Given)[1] == Given(1, bytes(2 * MIB))


# Deadlines and cancelling


def test_a_deadline_ends_a_question_and_withdraws_it_at_the_peer():
    world = World()
    world.links[0].request(P, b"q", 7, 3 * SECOND_US, 0)
    world.run()
    world.tick(3 * SECOND_US - 1)
    assert world.seen(0, Given) == []
    world.tick(3 * SECOND_US)
    (given_,) = world.seen(0, Given)
    assert (given_.handle, given_.body.code) == (7, "timed_out")
    (asked,) = world.seen(1, Asked)
    assert world.seen(1, Unasked) == [Unasked(asked.request)]
    world.links[1].reply(asked.request, b"too late", world.now)
    world.run()
    assert len(world.seen(0, Given)) == 1


def test_an_answer_that_crosses_the_cancel_is_dropped_without_blame():
    world = World()
    world.links[0].request(P, b"q", 7, LATER, 0)
    world.run()
    world.links[1].reply(world.seen(1, Asked)[0].request, b"a", 0)
    world.links[0].cancel(7)
    world.links[0].cancel(7)
    world.run()
    assert world.events[0] == []
    assert not world.seen(1, Misconduct)


def test_beyond_the_limit_in_flight_questions_wait_in_order_and_then_are_refused():
    world = World()
    left, right = world.links
    total = REQUESTS_IN_FLIGHT_MAX + REQUESTS_WAITING_MAX
    for handle in range(total):
        assert left.request(P, b"%d" % handle, handle, LATER, 0) is None
    refusal = left.request(P, b"more", total, LATER, 0)
    assert refusal.code == "limit_reached"
    world.run()
    assert len(world.seen(1, Asked)) == REQUESTS_IN_FLIGHT_MAX
    done = 0
    while done < total:
        asked = world.seen(1, Asked)[done:]
        assert asked
        for event in asked:
            right.reply(event.request, event.body, 0)
        done += len(asked)
        world.run()
    assert world.seen(0, Given) == [Given(h, b"%d" % h) for h in range(total)]
    assert not world.seen(1, Misconduct)


def test_bytes_of_waiting_questions_are_bounded():
    world = World()
    body = bytes(MIB)
    handles = iter(range(1000))
    world.take = False
    accepted = 0
    while world.links[0].request(P, body, next(handles), LATER, 0) is None:
        accepted += 1
    assert accepted == 2 * REQUEST_BYTES_WAITING_MAX // MIB - 1  # sent but unread, and waiting
    assert not world.links[0].send(P, bytes(MIB), 0)


def test_a_body_at_the_limit_passes_and_one_byte_more_is_refused():
    world = World()
    body = bytes(FRAME_BODY_BYTES_MAX)
    assert world.links[0].request(P, body, 1, LATER, 0) is None
    assert world.links[0].request(P, body + b"x", 2, LATER, 0).code == "body_too_large"
    assert not world.links[0].send(P, body + b"x", 0)
    world.run()
    (asked,) = world.seen(1, Asked)
    assert asked.body == body
    world.links[1].reply(asked.request, body + b"x", 0)
    world.run()
    assert world.seen(0, Given)[0].body.code == "body_too_large"


def test_a_question_that_no_machine_answers_ends_at_the_answerer_too():
    world = World()
    world.links[0].request(P, b"q", 1, LATER, 0)
    world.run()
    world.tick(ANSWER_WAIT_US - 1)
    assert world.seen(1, Unasked) == []
    world.tick(ANSWER_WAIT_US + SECOND_US)
    assert len(world.seen(1, Unasked)) == 1
    assert world.seen(0, Given)[0].body.code == "timed_out"


# Agreement


def test_networks_that_differ_are_refused_by_name_at_both_ends():
    world = World(networks=(NETWORK, OTHER_NETWORK))
    world.links[0].request(P, b"q", 1, LATER, 0)
    world.run()
    assert world.seen(0, Given)[0].body.code == "network_mismatch"
    for side, mine in ((0, NETWORK), (1, OTHER_NETWORK)):
        (refused,) = world.seen(side, Refused)
        assert refused.failure.code == "network_mismatch"
        assert mine[:6].hex() in refused.failure.message
        answer = world.links[side].request(Q, b"q", 2, LATER, 0)
        assert answer.code == "network_mismatch"
        assert not world.seen(side, Misconduct)
    assert world.seen(1, Asked) == []


def test_minors_without_a_common_one_are_refused_and_other_protocols_go_on():
    world = World(left={P: (0, 1), Q: (0,)}, right={P: (2,), Q: (0,)})
    world.links[0].request(P, b"q", 1, LATER, 0)
    world.links[0].request(Q, b"q", 2, LATER, 0)
    world.run()
    world.links[1].reply(world.seen(1, Asked)[0].request, b"fine", 0)
    world.run()
    given_ = {event.handle: event.body for event in world.seen(0, Given)}
    assert given_[1].code == "protocol_unsupported"
    assert given_[2] == b"fine"


def test_the_highest_common_minor_is_agreed():
    world = World(left={P: (0, 1, 2)}, right={P: (1, 2, 3)})
    world.links[0].request(P, b"q", 1, LATER, 0)
    assert world.links[0].minor(P) is None
    world.run()
    assert world.links[0].minor(P) == 2


def test_a_protocol_that_the_peer_does_not_speak_is_refused_and_remembered():
    world = World(left={P: (0,)}, right={})
    world.links[0].request(P, b"q", 1, LATER, 0)
    world.run()
    assert world.seen(0, Given)[0].body.code == "protocol_unsupported"
    assert world.links[0].request(P, b"q", 2, LATER, 0).code == "protocol_unsupported"


# Ends


def test_loss_of_the_connection_ends_everything_once():
    world = World()
    world.links[0].request(P, b"q", 1, LATER, 0)
    world.run()
    (given_,) = world.links[0].close()
    assert (given_.handle, given_.body.code) == (1, "peer_unreachable")
    (asked,) = world.seen(1, Asked)
    assert world.links[1].close() == [Unasked(asked.request)]
    assert world.links[0].close() == []
    assert world.links[0].next_timer() is None
    assert world.links[0].request(P, b"q", 2, LATER, 0).code == "peer_unreachable"
    assert not world.links[0].send(P, b"m", 0)
    world.links[1].reply(asked.request, b"a", 0)


def test_a_stream_that_was_reset_is_opened_anew_by_the_next_question():
    world = World()
    world.links[0].request(P, b"q", 1, LATER, 0)
    world.run()
    stream = next(iter(world.ends[1].streams))
    world.links[1].on_reset(stream, "")
    world.ends[1].reset(stream)
    world.run()
    assert world.seen(0, Given)[0].body.code == "peer_unreachable"
    world.links[0].request(P, b"again", 2, LATER, 0)
    world.run()
    assert world.seen(1, Asked)[1].body == b"again"


def test_an_idle_link_wants_no_timer():
    world = World()
    world.links[0].request(P, b"q", 1, LATER, 0)
    world.run()
    world.links[1].reply(world.seen(1, Asked)[0].request, b"a", 0)
    world.run()
    for second in range(1, 4):
        world.tick(second * SECOND_US)
    assert [link.next_timer() for link in world.links] == [None, None]


def test_a_stream_whose_last_question_ran_out_of_time_ends_at_the_answerer():
    world = World()
    world.links[0].request(P, b"q", 1, LATER, 0)
    world.run()
    (stream,) = world.links[1]._sides
    world.events[1].extend(world.links[1].on_finished(stream))  # the asker has closed its half
    world.tick(ANSWER_WAIT_US + SECOND_US)
    assert world.links[1]._sides == {}, "else 64 of these, and the peer may open no more"
