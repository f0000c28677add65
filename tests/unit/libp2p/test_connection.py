import struct

import pytest

from dms3.core import limits
from dms3.core.errors import Dms3Error
from dms3.libp2p import identify, ping
from dms3.libp2p.events import (
    Closed,
    Identified,
    Secured,
    StreamData,
    StreamDrained,
    StreamFinished,
    StreamOpened,
    StreamReset,
)
from dms3.libp2p.identify import IdentifyInfo, decode_identify
from dms3.libp2p.multistream import HEADER, encode_message
from unit.libp2p.wire_kit import ECHO, Pair, closed, connection, describe, key, secured_pair

GREETING = encode_message(HEADER)


def _mux_frame(kind: int, flags: int, stream: int, value: int, body: bytes = b"") -> bytes:
    return struct.pack(">BBHII", 0, kind, flags, stream, value) + body


def _hostile(pair: Pair, plain: bytes) -> list:
    """The listener's events when the dialer sends `plain` through the secured channel."""
    wire = b"".join(pair.a._channel.seal(plain))
    return pair.b.receive_data(wire, pair.now_us)


class TestHandshake:
    @pytest.mark.parametrize("piece", [0, 1, 2, 7, 100])
    def test_both_sides_are_secured_however_the_bytes_are_cut(self, piece):
        pair = Pair(piece=piece, expected=key(2).peer_id)
        pair.run()
        assert pair.events_a[0] == Secured(key(2).peer_id)
        assert pair.events_b[0] == Secured(key(1).peer_id)
        for events, peer in ((pair.events_a, 2), (pair.events_b, 1)):
            (info,) = [event.info for event in events if isinstance(event, Identified)]
            assert info.agent == "kit"
            assert info.public_key == key(peer).public_bytes
        assert pair.a.peer == key(2).peer_id
        assert pair.a.secured
        assert pair.b.secured

    def test_another_peer_than_the_expected_one_is_named(self):
        pair = Pair(expected=key(3).peer_id)
        pair.run()
        found = closed(pair.events_a)
        assert found.code == "peer_unreachable"
        assert "answers at the address of" in found.reason
        assert not pair.b.secured

    def test_our_own_address_is_noticed(self):
        pair = Pair()
        pair.b = connection(1, dialer=False)
        pair.run()
        assert closed(pair.events_a).code == "peer_refused"

    @pytest.mark.parametrize("offer", ["/plaintext/2.0.0", "/tls/1.0.0", "/secio/1.0.0", "ls"])
    def test_anything_but_noise_is_refused(self, offer):
        listener = connection(2, dialer=False)
        listener.receive_data(GREETING + encode_message(offer), 0)
        assert listener.data_to_send() == GREETING + encode_message("na")

    def test_insisting_on_plain_text_closes_by_name(self):
        listener = connection(2, dialer=False)
        listener.receive_data(GREETING + encode_message("/plaintext/2.0.0"), 0)
        found = closed(listener.receive_data(b"\x00plain text", 0))
        assert found.code == "peer_misbehaved"

    def test_a_listener_with_plain_text_only_is_named(self):
        dialer = connection(1, dialer=True)
        found = closed(dialer.receive_data(GREETING + encode_message("na"), 0))
        assert found == Closed("protocol_unsupported", "the peer does not speak /noise")

    def test_plain_text_is_never_offered(self):
        offered = connection(1, dialer=True).data_to_send()
        assert b"plaintext" not in offered
        assert offered.startswith(GREETING + encode_message("/noise"))

    def test_an_http_client_is_refused_by_name(self):
        found = closed(connection(2, dialer=False).receive_data(b"GET / HTTP/1.1\r\n\r\n" * 9, 0))
        assert found.code == "peer_misbehaved"

    def test_a_handshake_that_stalls_times_out_and_not_earlier(self):
        listener = connection(2, dialer=False, now_us=5)
        due = listener.next_timer()
        assert due == 5 + limits.HANDSHAKE_US_MAX
        assert listener.on_timer(due - 1) == []
        assert closed(listener.on_timer(due)).code == "timed_out"
        assert listener.next_timer() is None
        assert listener.receive_data(b"late", due) == []

    def test_a_handshake_without_end_is_cut(self):
        pair = Pair()
        pair.b.receive_data(pair.a.data_to_send(), 0)
        pair.a.receive_data(pair.b.data_to_send(), 0)
        endless = b"\x00\x10" + bytes(16)
        found = closed(pair.b.receive_data(endless * 20_000, 0))
        assert found.code == "peer_misbehaved"
        assert "no end" in found.reason

    def test_hanging_up(self):
        listener = connection(2, dialer=False)
        assert closed(listener.receive_eof(0)).reason == "the peer hung up during the handshake"
        pair = secured_pair()
        assert closed(pair.b.receive_eof(0)).reason == "the peer hung up"

    @pytest.mark.parametrize("muxers", [(), ("/mplex/6.7.0",), ("/mplex/6.7.0", "/yamux/1.0.0")])
    def test_the_muxer_is_agreed_early_late_or_not_at_all(self, muxers):
        pair = Pair()
        pair.a._channel._securing.muxers = muxers
        pair.run()
        if muxers == ("/mplex/6.7.0",):
            assert closed(pair.events_b).code == "protocol_unsupported"
        else:
            assert pair.b.secured
            assert pair.events_b[0] == Secured(key(1).peer_id)

    def test_late_agreement_on_the_muxer_on_both_sides(self):
        pair = Pair(piece=3)
        for side in (pair.a, pair.b):
            side._channel._securing.muxers = ()
        pair.run()
        assert pair.a.secured
        assert pair.b.secured

    def test_streams_need_a_secured_connection(self):
        dialer = connection(1, dialer=True)
        with pytest.raises(Dms3Error) as error:
            dialer.open_stream([ECHO])
        assert error.value.code == "peer_unreachable"
        assert dialer.send(1, b"x") == 0


class TestStreams:
    def test_request_and_answer(self):
        pair = secured_pair()
        stream = pair.a.open_stream([ECHO])
        pair.a.send(stream, b"request")
        pair.run()
        assert pair.take_b() == [StreamOpened(stream, ECHO, True), StreamData(stream, b"request")]
        pair.b.send(stream, b"answer")
        pair.b.finish(stream)
        pair.a.finish(stream)
        pair.run()
        assert pair.take_a() == [
            StreamOpened(stream, ECHO, False),
            StreamData(stream, b"answer"),
            StreamFinished(stream),
        ]
        assert pair.take_b() == [StreamFinished(stream)]

    def test_an_end_before_the_agreement_comes_after_it(self):
        pair = secured_pair()
        stream = pair.a.open_stream([ECHO])
        pair.a.send(stream, b"all")
        pair.a.finish(stream)
        pair.run()
        assert pair.take_b() == [
            StreamOpened(stream, ECHO, True),
            StreamData(stream, b"all"),
            StreamFinished(stream),
        ]

    def test_an_unknown_protocol_is_named(self):
        pair = secured_pair()
        stream = pair.a.open_stream(["/unknown/1"])
        pair.a.send(stream, b"\x00garbage for multistream")
        pair.a.finish(stream)
        pair.run()
        assert pair.take_a() == [StreamReset(stream, "the peer does not speak /unknown/1")]
        assert pair.take_b() == []

    def test_data_waits_until_one_of_several_protocols_is_agreed(self):
        pair = secured_pair()
        stream = pair.a.open_stream(["/unknown/1", ECHO])
        assert pair.a.send(stream, b"held ") == 5
        assert pair.a.send(stream, b"back") == 9
        pair.a.finish(stream)
        pair.run()
        assert pair.take_a() == [StreamOpened(stream, ECHO, False)]
        assert pair.take_b() == [
            StreamOpened(stream, ECHO, True),
            StreamData(stream, b"held back"),
            StreamFinished(stream),
        ]

    def test_held_data_is_bounded(self):
        pair = secured_pair()
        stream = pair.a.open_stream(["/unknown/1", ECHO])
        pair.a.send(stream, bytes(limits.STREAM_QUEUE_BYTES_MAX // 2))
        with pytest.raises(Dms3Error, match="too much unsent"):
            pair.a.send(stream, b"x")

    def test_reset(self):
        pair = secured_pair()
        stream = pair.a.open_stream([ECHO])
        pair.run()
        pair.take_b()
        pair.a.reset(stream)
        pair.run()
        assert pair.take_b() == [StreamReset(stream, "the peer reset the stream")]
        assert pair.a.send(stream, b"x") == 0

    def test_back_pressure_and_drain(self):
        pair = secured_pair()
        stream = pair.a.open_stream([ECHO])
        body = bytes(range(256)) * 4096  # four windows
        assert pair.a.send(stream, body) > limits.STREAM_QUEUE_NOTICE_BYTES
        pair.run()
        got = b""
        for _ in range(20):
            parts = [event.data for event in pair.take_b() if isinstance(event, StreamData)]
            for part in parts:
                got += part
                pair.b.consume(stream, len(part))
            pair.run()
        assert got == body
        assert pair.take_a().count(StreamDrained(stream)) == 1

    def test_a_peer_that_does_not_consume_stops_the_sender_at_its_window(self):
        pair = secured_pair()
        stream = pair.a.open_stream([ECHO])
        pair.a.send(stream, bytes(1 << 20))
        pair.run()
        received = sum(len(e.data) for e in pair.take_b() if isinstance(e, StreamData))
        assert received < limits.YAMUX_WINDOW_BYTES
        assert StreamDrained(stream) not in pair.take_a()

    def test_a_thousand_streams_leave_nothing_behind(self):
        pair = secured_pair()
        for _ in range(1_000):
            stream = pair.a.open_stream([ECHO])
            pair.a.send(stream, b"x")
            pair.run()
            pair.b.send(stream, b"y")
            pair.b.finish(stream)
            pair.a.finish(stream)
            pair.run()
        for side in (pair.a, pair.b):
            assert not side._negotiating
            assert not side._deadlines
            assert not side._mux._streams

    def test_a_stream_without_agreement_is_reset_in_time(self):
        pair = secured_pair()
        stream = pair.a.open_stream([ECHO])
        pair.a.data_to_send()  # lost: the peer never hears of it
        due = limits.STREAM_NEGOTIATION_US_MAX
        assert pair.a.next_timer() == due
        assert pair.a.on_timer(due - 1) == []
        assert pair.a.on_timer(due) == [StreamReset(stream, "no protocol was agreed in time")]

    def test_a_stream_of_a_connection_that_was_quiet_has_all_its_time(self):
        pair = secured_pair()
        opened = limits.STREAM_NEGOTIATION_US_MAX + 1
        pair.a.pass_time(opened)
        stream = pair.a.open_stream([ECHO])
        pair.a.data_to_send()
        due = opened + limits.STREAM_NEGOTIATION_US_MAX
        assert pair.a.on_timer(opened) == []
        assert pair.a.on_timer(due - 1) == []
        assert pair.a.on_timer(due) == [StreamReset(stream, "no protocol was agreed in time")]


class TestHostilePeer:
    def test_damaged_frames_close_by_name(self):
        pair = secured_pair()
        found = closed(pair.b.receive_data(b"\x00\x20" + bytes(32), 0))
        assert found.code == "peer_misbehaved"
        assert "forged" in found.reason
        assert pair.b.data_to_send()  # the peer is told

    def test_replayed_bytes_close_by_name(self):
        pair = secured_pair()
        pair.a.open_stream([ECHO])
        wire = pair.a.data_to_send()
        assert closed(pair.b.receive_data(wire, 0)) is None
        assert closed(pair.b.receive_data(wire, 0)).code == "peer_misbehaved"

    def test_what_came_before_a_violation_has_happened(self):
        pair = secured_pair()
        good = _mux_frame(1, 1, 3, 0) + _mux_frame(0, 0, 3, 0)
        body = GREETING + encode_message(ECHO) + b"data"
        good += _mux_frame(0, 0, 3, len(body), body)
        events = _hostile(pair, good + b"\x09" * 12)
        assert events[:2] == [StreamOpened(3, ECHO, True), StreamData(3, b"data")]
        assert closed(events).code == "peer_misbehaved"

    def test_streams_that_never_negotiate_are_bounded_and_time_out(self):
        pair = secured_pair()
        count = limits.YAMUX_BACKLOG_STREAMS_MAX
        wire = b"".join(_mux_frame(1, 1, 3 + 2 * i, 0) for i in range(count + 5))
        assert closed(_hostile(pair, wire)) is None
        assert pair.b._arriving == count
        pair.b.on_timer(limits.STREAM_NEGOTIATION_US_MAX)
        assert pair.b._arriving == 0
        assert not pair.b._deadlines

    def test_streams_opened_without_end_close_by_name(self):
        pair = secured_pair()
        for start in range(0, 4_000, 100):
            wire = b"".join(_mux_frame(1, 1, 3 + 2 * i, 0) for i in range(start, start + 100))
            found = closed(_hostile(pair, wire))
            pair.b.data_to_send()
            if found:
                break
        assert found.code == "limit_reached"

    def test_rapid_reset_closes_by_name(self):
        pair = secured_pair()
        for i in range(2 * limits.YAMUX_REFUSED_STREAMS_MAX):
            identifier = 3 + 2 * i
            wire = _mux_frame(1, 1, identifier, 0) + _mux_frame(1, 8, identifier, 0)
            found = closed(_hostile(pair, wire))
            if found:
                break
        assert found.code == "limit_reached"

    def test_a_stream_id_used_again_is_a_new_stream(self):
        pair = secured_pair()
        body = GREETING + encode_message(ECHO)
        once = _mux_frame(1, 1, 3, 0) + _mux_frame(0, 0, 3, len(body), body)
        events = _hostile(pair, (once + _mux_frame(1, 8, 3, 0)) * 2)
        assert (
            events
            == [
                StreamOpened(3, ECHO, True),
                StreamReset(3, "the peer reset the stream"),
            ]
            * 2
        )

    def test_a_peer_that_floods_and_does_not_read_is_closed(self):
        pair = secured_pair()
        wire = _mux_frame(2, 1, 0, 1) * 5_000
        for _ in range(10):
            found = closed(_hostile(pair, wire))
            if found:
                break
        assert found == Closed("limit_reached", "the peer floods frames and reads no answers")

    def test_a_peer_that_answers_no_ping_is_closed(self):
        pair = Pair()
        pair.run()
        pair.a.data_to_send()
        now = pair.a.next_timer()
        assert now == limits.PING_INTERVAL_US
        pair.a.on_timer(now)
        pair.a.data_to_send()
        now = pair.a.next_timer()
        assert closed(pair.a.on_timer(now)) is None
        now += limits.PING_ANSWER_US_MAX
        assert closed(pair.a.on_timer(now)) == Closed("timed_out", "the peer answers no ping")

    def test_a_peer_that_answers_stays(self):
        pair = secured_pair()
        for _ in range(5):
            pair.now_us = pair.a.next_timer()
            pair.run()
        assert pair.a.secured
        assert pair.b.secured

    def test_the_end_of_the_counter_closes_by_name(self):
        pair = secured_pair()
        pair.a._channel._session._sending.nonce = limits.NOISE_NONCE_MAX + 1
        pair.a.open_stream([ECHO])
        pair.a.data_to_send()
        assert closed(pair.a.on_timer(0)).code == "limit_reached"


class TestClosing:
    def test_both_sides_learn_it(self):
        pair = secured_pair()
        pair.a.close("done")
        pair.run()
        assert pair.take_a() == [Closed("cancelled", "done")]
        assert pair.take_b() == [Closed("peer_refused", "the peer ended the session normally")]
        pair.a.close("again")
        assert pair.a.on_timer(0) == []
        with pytest.raises(Dms3Error):
            pair.a.open_stream([ECHO])


class TestServices:
    def test_ping_is_answered_and_not_surfaced(self):
        pair = secured_pair()
        stream = pair.a.open_stream([ping.PROTOCOL])
        pair.a.send(stream, bytes(range(32)) + b"half of the next")
        pair.run()
        opened, answer = pair.take_a()
        assert opened == StreamOpened(stream, ping.PROTOCOL, False)
        assert answer == StreamData(stream, bytes(range(32)))
        pair.a.finish(stream)
        pair.run()
        assert pair.take_a() == [StreamFinished(stream)]
        assert pair.take_b() == []

    def test_ping_streams_are_bounded(self):
        pair = secured_pair()
        streams = [pair.a.open_stream([ping.PROTOCOL]) for _ in range(limits.PING_STREAMS_MAX + 1)]
        pair.run()
        resets = [event.stream for event in pair.take_a() if isinstance(event, StreamReset)]
        assert resets == streams[-1:]

    def test_a_ping_flood_is_reset(self):
        pair = secured_pair()
        stream = pair.a.open_stream([ping.PROTOCOL])
        pair.run()
        pair.take_a()
        for _ in range(8):
            pair.a.send(stream, bytes(32_000))
            pair.b.receive_data(pair.a.data_to_send(), 0)  # and reads nothing
        pair.run()
        assert StreamReset(stream, "the peer reset the stream") in pair.take_a()

    def test_identify_on_request(self):
        pair = secured_pair()
        stream = pair.a.open_stream([identify.PROTOCOL])
        pair.run()
        _, answer, end = pair.take_a()
        assert end == StreamFinished(stream)
        info = decode_identify(answer.data[1:])
        assert info.agent == describe().agent

    def test_a_push_updates_what_is_known(self):
        pair = secured_pair()
        pair.a._describe = lambda: IdentifyInfo(agent="newer")
        pair.a._services._describe = pair.a._describe
        pair.a.push_identify()
        pair.run()
        (event,) = pair.take_b()
        assert event.info.agent == "newer"
        assert event.info.protocols == (ECHO,)

    def test_a_description_without_end_is_reset(self):
        pair = secured_pair()
        stream = pair.a.open_stream([identify.PUSH_PROTOCOL])
        pair.a.send(stream, b"\xff\xff\x03" + bytes(limits.IDENTIFY_BYTES_MAX))
        pair.run()
        assert isinstance(pair.take_a()[-1], StreamReset)
        assert pair.take_b() == []
        assert pair.b.secured


def test_nothing_happens_on_a_connection_after_its_end():
    pair = secured_pair()
    pair.a._mux.go_away(0)
    ended = pair.a.data_to_send()
    stream = pair.a.open_stream([ECHO])
    pair.a.send(stream, b"late")
    late = pair.a.data_to_send()
    events = pair.b.receive_data(ended + late, 0)  # both in one read of the socket
    assert closed(events) is not None
    assert [event for event in events if isinstance(event, StreamOpened)] == []
