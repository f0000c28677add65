"""Links: two of them over a pair in memory, and one against a peer that writes its own bytes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dms3.core.errors import Failure
from dms3.core.limits import (
    ANSWER_BYTES_QUEUED_MAX,
    ANSWER_WAIT_US,
    CANCELS_BURST_MAX,
    CREDIT_HELD_BYTES_MIN,
    FRAME_BODY_BYTES_MAX,
    LATE_ANSWERS_KEPT_MAX,
    MIB,
    REQUEST_BYTES_HELD_MAX,
    REQUEST_BYTES_WAITING_MAX,
    REQUESTS_IN_FLIGHT_MAX,
    REQUESTS_WAITING_MAX,
    SECOND_US,
    STREAM_STALL_US,
    STREAMS_INBOUND_MAX,
    VERSION_WAIT_US,
)
from dms3.core.varint import encode_varint
from dms3.p2p.conduct import CONDUCT
from dms3.p2p.frames import (
    ANSWER,
    CANCEL,
    FAILURE,
    FRAME_BYTES_MAX,
    MESSAGE,
    REQUEST,
    VERSION,
    Version,
    decode_failure,
    decode_frames,
    encode_failure,
    encode_frame,
    encode_version,
)
from dms3.p2p.link import Link
from dms3.p2p.stream import Asked, Given, Misconduct, Refused, Told, Unasked
from dms3.testing.muxed import WINDOW_BYTES, muxed_pair

NETWORK = bytes(range(32))
OTHER_NETWORK = bytes(32)
P = "/dms3/test/1"
Q = "/dms3/other/1"
BOTH = {P: (0,), Q: (0,)}
HELLO = encode_frame(VERSION, 0, encode_version(Version(NETWORK, (0,))))
LATER = 1000 * SECOND_US


def whole(size):
    return size


class World:
    """Two links joined in memory; `run` lets bytes travel until nothing moves."""

    def __init__(self, left=BOTH, right=BOTH, networks=(NETWORK, NETWORK), split=whole) -> None:
        self.ends = muxed_pair(left.__contains__, right.__contains__)
        self.links = [
            Link(end, protocols, network)
            for end, protocols, network in zip(self.ends, (left, right), networks, strict=True)
        ]
        self.events = ([], [])
        self.split = split
        self.now = 0
        self.take = True

    def deliver(self):
        """Hand what happened at each end to its link."""
        for end, link, log in zip(self.ends, self.links, self.events, strict=True):
            happened, end.happened = end.happened, []
            for what in happened:
                found = feed(link, what, self.now)
                log.extend(found)
                if self.take:
                    for event in found:
                        if isinstance(event, Asked | Told):
                            link.taken(event)

    def run(self, rounds=10_000):
        self.deliver()
        for _ in range(rounds):
            moved = [end.flow(self.split) for end in self.ends]
            self.deliver()
            if not any(moved):
                return

    def tick(self, now):
        """Move time and run the timers that are due."""
        self.now = now
        for link, log in zip(self.links, self.events, strict=True):
            due = link.next_timer()
            if due is not None and due <= now:
                log.extend(link.on_timer(now))
        self.run()

    def seen(self, side, kind):
        return [event for event in self.events[side] if isinstance(event, kind)]


def feed(link, what, now):
    if what.kind == "opened":
        return link.on_opened(what.stream, what.protocol, now)
    if what.kind == "data":
        return link.on_data(what.stream, what.data, now)
    if what.kind == "finished":
        return link.on_finished(what.stream)
    if what.kind == "reset":
        return link.on_reset(what.stream, what.protocol)
    link.on_drained(what.stream)
    return []


class Foe:
    """A link (`link`, at the left end) against a right end driven by hand."""

    def __init__(self) -> None:
        self.end, self.foe = muxed_pair()
        self.link = Link(self.end, BOTH, NETWORK)
        self.events = []
        self.got = bytearray()
        self.now = 0
        self.reads = True
        self.take = True

    def open(self, protocol=P, hello=HELLO):
        stream = self.foe.open_stream([protocol])
        self.foe.send(stream, hello)
        self.run()
        return stream

    def write(self, stream, *frames: bytes):
        for frame in frames:
            self.foe.send(stream, frame)
        self.run()

    def run(self):
        moved = True
        while moved:
            moved = self.foe.flow(whole)
            if self.reads:
                moved |= self.end.flow(whole)
            happened, self.end.happened = self.end.happened, []
            for what in happened:
                found = feed(self.link, what, self.now)
                self.events += found
                for event in found if self.take else []:
                    if isinstance(event, Asked | Told):
                        self.link.taken(event)
            for what in self.foe.happened:
                if what.kind == "data":
                    self.got += what.data
                    self.foe.consume(what.stream, len(what.data))
            self.foe.happened = []

    def tick(self, now):
        self.now = now
        self.events += self.link.on_timer(now)
        self.run()

    @property
    def codes(self):
        return [event.code for event in self.events if isinstance(event, Misconduct)]

    @property
    def asked(self):
        return [event for event in self.events if isinstance(event, Asked)]

    def frames(self):
        return decode_frames(bytes(self.got))


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


# Hostile peers


ask = encode_frame(REQUEST, 1, b"q")


@pytest.mark.parametrize(
    ("code", "frames"),
    [
        ("frame_too_large", [encode_varint(FRAME_BYTES_MAX + 1)]),
        ("frame_malformed", [b"\x02\x01\x01"]),
        ("frame_kind_unknown", [encode_frame(6, 1, b"")]),
        ("frame_kind_unknown", [encode_frame(255, 1, b"")]),
        ("frame_kind_misplaced", [encode_frame(ANSWER, 1, b"")]),
        ("frame_kind_misplaced", [encode_frame(FAILURE, 1, b"")]),
        ("version_repeated", [HELLO]),
        ("request_id_reused", [ask, ask]),
        ("request_id_reused", [encode_frame(REQUEST, 2, b""), ask]),
        ("request_id_reused", [encode_frame(REQUEST, 0, b"")]),
        ("cancel_unasked", [encode_frame(CANCEL, 1, b"")]),
        ("cancel_unasked", [ask, encode_frame(CANCEL, 2, b"")]),
        ("cancel_unasked", [ask, encode_frame(CANCEL, 1, b"body")]),
    ],
)
def test_an_asker_that_breaks_a_rule_loses_this_stream_only(code, frames):
    foe = Foe()
    good = foe.open(Q)
    stream = foe.open(P)
    foe.write(stream, *frames)
    assert foe.codes == [code]
    assert stream in foe.end.resets
    foe.write(good, encode_frame(REQUEST, 1, b"still here"))
    foe.link.reply(foe.asked[-1].request, b"yes", 0)
    foe.run()
    assert foe.got.endswith(encode_frame(ANSWER, 1, b"yes"))


@pytest.mark.parametrize(
    ("code", "hello"),
    [
        ("version_missing", ask),
        ("frame_kind_unknown", encode_frame(99, 0, b"")),
        ("version_malformed", encode_frame(VERSION, 0, b"junk")),
        ("version_malformed", encode_frame(VERSION, 1, encode_version(Version(NETWORK, (0,))))),
        ("version_malformed", encode_frame(VERSION, 0, bytes(100_000))),
    ],
)
def test_a_stream_begins_with_one_version_frame(code, hello):
    foe = Foe()
    foe.open(hello=hello)
    assert foe.codes == [code]
    assert foe.asked == []


def answering_foe():
    """A foe to whom the link has asked one question; its stream."""
    foe = Foe()
    foe.link.request(P, b"q", 1, LATER, 0)
    foe.run()
    return foe, next(iter(foe.end.streams))


@pytest.mark.parametrize(
    ("code", "frames"),
    [
        ("version_missing", [encode_frame(ANSWER, 1, b"")]),
        ("version_repeated", [HELLO, HELLO]),
        ("answer_unasked", [HELLO, encode_frame(ANSWER, 2, b"")]),
        ("answer_unasked", [HELLO, encode_frame(ANSWER, 0, b"")]),
        ("answer_unasked", [HELLO, encode_frame(ANSWER, 1, b"a"), encode_frame(ANSWER, 1, b"a")]),
        ("failure_malformed", [HELLO, encode_frame(FAILURE, 1, b"junk")]),
        ("frame_kind_misplaced", [HELLO, encode_frame(REQUEST, 1, b"")]),
        ("frame_kind_misplaced", [HELLO, encode_frame(MESSAGE, 0, b"")]),
        ("frame_kind_misplaced", [HELLO, encode_frame(CANCEL, 1, b"")]),
        ("frame_kind_unknown", [HELLO, encode_frame(77, 1, b"")]),
    ],
)
def test_an_answerer_that_breaks_a_rule_is_named_and_the_question_ends(code, frames):
    foe, stream = answering_foe()
    foe.write(stream, *frames)
    assert foe.codes == [code]
    (given_,) = [event for event in foe.events if isinstance(event, Given)]
    assert given_ == Given(1, b"a") or given_.body.code == "peer_misbehaved"
    assert foe.link.in_flight() == 0


def test_a_version_that_does_not_come_in_time_ends_the_stream():
    foe = Foe()
    stream = foe.open(hello=b"")
    foe.tick(VERSION_WAIT_US - 1)
    assert foe.codes == []
    foe.tick(VERSION_WAIT_US)
    assert foe.codes == ["version_late"]
    assert stream in foe.end.resets


def test_half_a_frame_may_not_rest():
    foe = Foe()
    stream = foe.open()
    foe.write(stream, encode_frame(REQUEST, 1, bytes(50))[:20])
    foe.tick(STREAM_STALL_US - 1)
    assert foe.codes == []
    foe.tick(STREAM_STALL_US)
    assert foe.codes == ["frame_stalled"]


def test_a_frame_that_trickles_in_is_slow_but_allowed():
    foe = Foe()
    stream = foe.open()
    for index, byte in enumerate(encode_frame(REQUEST, 1, b"slow")):
        foe.tick(index * (STREAM_STALL_US - 1))
        foe.write(stream, bytes([byte]))
    assert [event.body for event in foe.asked] == [b"slow"]


def test_more_questions_than_allowed_are_refused_and_cost_a_point_each():
    foe = Foe()
    stream = foe.open()
    for number in range(1, REQUESTS_IN_FLIGHT_MAX + 3):
        foe.write(stream, encode_frame(REQUEST, number, b""))
    assert len(foe.asked) == REQUESTS_IN_FLIGHT_MAX
    assert foe.codes == ["requests_excess"] * 2
    kind, number, body = foe.frames()[-1]
    assert (kind, number) == (FAILURE, REQUESTS_IN_FLIGHT_MAX + 2)
    assert decode_failure(body).code == "limit_reached"
    foe.link.reply(foe.asked[0].request, b"", 0)
    foe.write(stream, encode_frame(REQUEST, REQUESTS_IN_FLIGHT_MAX + 3, b""))
    assert len(foe.asked) == REQUESTS_IN_FLIGHT_MAX + 1


def test_bytes_of_open_questions_are_bounded():
    foe = Foe()
    stream = foe.open()
    fits = REQUEST_BYTES_HELD_MAX // (2 * MIB)
    for number in range(1, fits + 2):
        foe.write(stream, encode_frame(REQUEST, number, bytes(2 * MIB)))
    assert len(foe.asked) == fits
    assert decode_failure(foe.frames()[-1][2]).code == "limit_reached"


def test_a_storm_of_cancels_ends_the_stream():
    foe = Foe()
    stream = foe.open()
    for number in range(1, CANCELS_BURST_MAX + 1):
        foe.write(stream, encode_frame(REQUEST, number, b""), encode_frame(CANCEL, number, b""))
    assert foe.codes == []
    number = CANCELS_BURST_MAX + 1
    foe.write(stream, encode_frame(REQUEST, number, b""), encode_frame(CANCEL, number, b""))
    assert foe.codes == ["cancel_storm"]


def test_cancels_at_a_calm_pace_never_end_the_stream():
    foe = Foe()
    stream = foe.open()
    for number in range(1, 2 * CANCELS_BURST_MAX):
        foe.now += 20_000
        foe.write(stream, encode_frame(REQUEST, number, b""), encode_frame(CANCEL, number, b""))
    assert foe.codes == []


def test_a_second_stream_of_one_protocol_is_reset_and_the_first_goes_on():
    foe = Foe()
    first = foe.open()
    second = foe.open()
    assert foe.codes == ["stream_repeated"]
    assert second in foe.end.resets
    foe.write(first, ask)
    assert len(foe.asked) == 1


def test_streams_that_end_with_open_questions_are_bounded():
    foe = Foe()
    for _ in range(STREAMS_INBOUND_MAX):
        stream = foe.open()
        foe.write(stream, ask)
        foe.foe.finish(stream)
        foe.run()
    assert foe.codes == []
    foe.open()
    assert foe.codes == ["streams_excess"]
    foe.link.reply(foe.asked[0].request, b"a", 0)
    foe.open()
    assert foe.codes == ["streams_excess"]


def test_a_peer_that_finishes_still_gets_its_answers():
    foe = Foe()
    stream = foe.open()
    foe.write(stream, ask)
    foe.foe.finish(stream)
    foe.run()
    foe.link.reply(foe.asked[0].request, b"a", 0)
    foe.run()
    assert foe.frames()[-1] == (ANSWER, 1, b"a")


def test_a_peer_that_never_reads_is_refused_answers_then_loses_the_stream():
    foe = Foe()
    foe.reads = False
    stream = foe.open()
    fits = ANSWER_BYTES_QUEUED_MAX // MIB
    for number in range(1, fits + 4):
        foe.write(stream, encode_frame(REQUEST, number, b""))
        foe.link.reply(foe.asked[-1].request, bytes(MIB), 0)
    queued = len(foe.end.streams[stream].queue)
    assert queued <= ANSWER_BYTES_QUEUED_MAX + 4096
    foe.tick(SECOND_US)
    foe.tick(SECOND_US + STREAM_STALL_US - 1)
    assert foe.codes == []
    foe.tick(SECOND_US + STREAM_STALL_US)
    assert foe.codes == ["unread"]
    assert stream not in foe.end.streams


def test_a_slow_reader_is_not_taken_for_one_that_does_not_read():
    foe = Foe()
    stream = foe.open()
    foe.write(stream, ask)
    foe.reads = False
    foe.link.reply(foe.asked[0].request, bytes(MIB), 0)
    for turn in range(1, 11):
        foe.tick(turn * (STREAM_STALL_US - SECOND_US))
        foe.end.flow(lambda _: 1000)
    assert foe.codes == []


def test_a_peer_that_never_reads_our_questions_loses_the_stream():
    foe, stream = answering_foe()
    foe.write(stream, HELLO)
    foe.reads = False
    foe.link.request(P, bytes(MIB), 2, LATER, 0)
    foe.tick(SECOND_US)
    foe.tick(SECOND_US + STREAM_STALL_US)
    assert foe.codes == ["unread"]
    codes = {event.body.code for event in foe.events if isinstance(event, Given)}
    assert codes == {"peer_misbehaved"}


# Back-pressure


def window(foe, stream):
    return foe.foe.streams[stream].window


def test_credit_goes_back_only_when_an_inbox_has_taken_the_frame():
    foe = Foe()
    foe.take = False
    stream = foe.open()
    before = window(foe, stream)
    foe.write(stream, encode_frame(REQUEST, 1, bytes(1000)))
    assert window(foe, stream) == before - len(encode_frame(REQUEST, 1, bytes(1000)))
    foe.link.taken(foe.asked[0])
    assert window(foe, stream) == before == WINDOW_BYTES


def test_a_flood_that_nobody_takes_blocks_itself():
    foe = Foe()
    foe.take = False
    stream = foe.open()
    message = encode_frame(MESSAGE, 0, bytes(1000))
    foe.write(stream, *[message] * 1000)
    told = [event for event in foe.events if isinstance(event, Told)]
    assert WINDOW_BYTES // len(message) <= len(told) <= WINDOW_BYTES // len(message) + 1
    assert len(foe.foe.streams[stream].queue) > WINDOW_BYTES
    for event in told:
        foe.link.taken(event)
    foe.run()
    assert len([e for e in foe.events if isinstance(e, Told)]) > len(told)


def test_frames_sent_in_two_pieces_do_not_get_round_the_window():
    foe = Foe()
    foe.take = False
    stream = foe.open()
    message = encode_frame(MESSAGE, 0, bytes(1000))
    for _ in range(1000):
        foe.write(stream, message[:-1])
        foe.write(stream, message[-1:])
    told = [event for event in foe.events if isinstance(event, Told)]
    assert len(told) <= WINDOW_BYTES // len(message) + 1
    foe.tick(STREAM_STALL_US)
    assert foe.codes == [], "it waits for our credit"
    before = len(foe.events)
    for event in told:
        foe.link.taken(event)
    foe.run()
    assert len(foe.events) > before, "and goes on when it gets it"


def test_a_frame_larger_than_the_window_does_not_block_itself():
    foe = Foe()
    foe.take = False
    stream = foe.open()
    foe.write(stream, encode_frame(REQUEST, 1, bytes(2 * MIB)))
    assert len(foe.asked) == 1
    foe.link.taken(foe.asked[0])
    assert window(foe, stream) == WINDOW_BYTES


def test_no_credit_goes_back_while_our_answers_are_not_read():
    foe = Foe()
    stream = foe.open()
    foe.write(stream, ask)
    foe.reads = False
    foe.link.reply(foe.asked[0].request, bytes(CREDIT_HELD_BYTES_MIN + 1), 0)
    before = window(foe, stream)
    foe.write(stream, encode_frame(REQUEST, 2, b"next"))
    assert window(foe, stream) < before
    foe.reads = True
    foe.run()
    assert window(foe, stream) == WINDOW_BYTES


def test_a_flood_of_refused_questions_blocks_itself_when_refusals_are_not_read():
    foe = Foe()
    stream = foe.open()
    for number in range(1, REQUESTS_IN_FLIGHT_MAX + 1):
        foe.write(stream, encode_frame(REQUEST, number, b""))
    foe.reads = False
    flood = [
        encode_frame(REQUEST, REQUESTS_IN_FLIGHT_MAX + number, b"") for number in range(1, 100_000)
    ]
    foe.write(stream, *flood)
    assert len(foe.foe.streams[stream].queue) > 0, "the flood must be blocked by its window"
    queued = len(foe.end.streams[stream].queue)
    assert queued < CREDIT_HELD_BYTES_MIN + 100 * WINDOW_BYTES // 7


# Forgetting


def test_more_late_answers_than_are_remembered_are_still_no_fault():
    foe = Foe()
    count = LATE_ANSWERS_KEPT_MAX + 10
    for handle in range(count):
        foe.link.request(P, b"q", handle, LATER, 0)
        foe.link.cancel(handle)
    foe.run()
    stream = next(iter(foe.end.streams))
    answers = [encode_frame(ANSWER, number, b"late") for number in range(1, count + 1)]
    foe.write(stream, HELLO, *answers)
    assert foe.codes == []
    foe.write(stream, encode_frame(ANSWER, count, b"twice"))
    assert foe.codes == ["answer_unasked"]


def test_failures_of_a_newer_peer_are_passed_on():
    foe, stream = answering_foe()
    body = encode_failure(Failure("brand_new_code", "Something new."))
    foe.write(stream, HELLO, encode_frame(FAILURE, 1, body))
    (given_,) = [event for event in foe.events if isinstance(event, Given)]
    assert given_.body.code == "brand_new_code"
    assert given_.body.error().code == "peer_refused"


def test_every_code_costs_something():
    assert all(points > 0 and clause for points, clause in CONDUCT.values())
