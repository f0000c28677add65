"""A link against peers that break rules, stall, flood or do not read: named, bounded, alone."""

import pytest

from dms3.core.errors import Failure
from dms3.core.limits import (
    ANSWER_BYTES_QUEUED_MAX,
    CANCELS_BURST_MAX,
    CREDIT_HELD_BYTES_MIN,
    LATE_ANSWERS_KEPT_MAX,
    MIB,
    REQUEST_BYTES_HELD_MAX,
    REQUESTS_IN_FLIGHT_MAX,
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
    encode_failure,
    encode_frame,
    encode_version,
)
from dms3.p2p.stream import Given, Told
from dms3.testing.muxed import WINDOW_BYTES
from unit.link_kit import HELLO, LATER, NETWORK, Foe, P, Q

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
