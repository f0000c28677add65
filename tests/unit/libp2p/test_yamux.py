import struct

import pytest

from dms3.core import limits
from dms3.core.errors import Dms3Error
from dms3.libp2p.events import StreamData, StreamDrained, StreamFinished, StreamReset
from dms3.libp2p.yamux import NORMAL, StreamArrived, Yamux

DATA, WINDOW, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
BUDGET = 1 << 30


def frame(kind: int, flags: int, stream: int, value: int, body: bytes = b"") -> bytes:
    return struct.pack(">BBHII", 0, kind, flags, stream, value) + body


def data(stream: int, body: bytes, flags: int = 0) -> bytes:
    return frame(DATA, flags, stream, len(body), body)


def frames(wire: bytes) -> list[tuple[int, int, int, int]]:
    found, offset = [], 0
    while offset < len(wire):
        _, kind, flags, stream, value = struct.unpack_from(">BBHII", wire, offset)
        found.append((kind, flags, stream, value))
        offset += 12 + (value if kind == DATA else 0)
    assert offset == len(wire)
    return found


def listener() -> Yamux:
    return Yamux(dialer=False, now_us=0)


def dialer() -> Yamux:
    return Yamux(dialer=True, now_us=0)


def sent(mux: Yamux, budget: int = BUDGET) -> bytes:
    return b"".join(mux.take(budget))


def told(mux: Yamux, wire: bytes, now_us: int = 0) -> list:
    mux.receive(wire, now_us)
    return mux.take_events()


class TestStreams:
    def test_a_stream_from_opening_to_the_end(self):
        a, b = dialer(), listener()
        stream = a.open()
        assert stream == 1
        a.send(stream, b"request")
        wire = sent(a)
        assert frames(wire) == [(WINDOW, SYN, 1, 0), (DATA, 0, 1, 7)]
        assert told(b, wire) == [StreamArrived(1), StreamData(1, b"request")]
        b.send(1, b"answer")
        b.finish(1)
        wire = sent(b)
        assert frames(wire) == [(DATA, ACK, 1, 6), (WINDOW, FIN, 1, 0)]
        assert told(a, wire) == [StreamData(1, b"answer"), StreamFinished(1)]
        a.finish(1)
        assert told(b, sent(a)) == [StreamFinished(1)]
        assert not a.is_open(1)
        assert not b.is_open(1)
        assert b.open() == 2

    def test_an_unanswered_stream_is_acknowledged(self):
        mux = listener()
        told(mux, frame(WINDOW, SYN, 1, 0))
        assert frames(sent(mux)) == [(WINDOW, ACK, 1, 0)]
        assert sent(mux) == b""

    def test_data_with_syn_and_fin_in_one_frame(self):
        mux = listener()
        wire = data(1, b"x", SYN | FIN)
        assert told(mux, wire) == [StreamArrived(1), StreamData(1, b"x"), StreamFinished(1)]

    @pytest.mark.parametrize("piece", range(1, 15))
    def test_any_cut_gives_the_same_bytes(self, piece):
        mux = listener()
        wire = frame(WINDOW, SYN, 1, 0) + data(1, b"hello world") + frame(WINDOW, FIN, 1, 0)
        events = []
        for start in range(0, len(wire), piece):
            events += told(mux, wire[start : start + piece])
        body = b"".join(e.data for e in events if isinstance(e, StreamData))
        assert body == b"hello world"
        assert events[0] == StreamArrived(1)
        assert events[-1] == StreamFinished(1)

    def test_reset_ends_both_directions_and_skips_what_is_on_the_way(self):
        mux = listener()
        told(mux, frame(WINDOW, SYN, 1, 0))
        mux.send(1, b"never sent")
        mux.reset(1)
        assert frames(sent(mux)) == [(WINDOW, RST, 1, 0)]
        assert mux.send(1, b"x") == 0
        assert told(mux, data(1, b"late") + frame(WINDOW, FIN, 1, 0)) == []
        assert told(mux, data(3, b"next", SYN))[1:] == [StreamData(3, b"next")]

    def test_reset_by_the_peer(self):
        mux = dialer()
        stream = mux.open()
        (event,) = told(mux, frame(WINDOW, RST, stream, 0))
        assert isinstance(event, StreamReset)
        assert not mux.is_open(stream)

    def test_reset_in_the_middle_of_a_body_skips_the_rest(self):
        mux = listener()
        assert told(mux, frame(DATA, SYN, 1, 10, b"01234"))[1:] == [StreamData(1, b"01234")]
        mux.reset(1)
        assert told(mux, b"56789" + data(3, b"x", SYN))[1:] == [StreamData(3, b"x")]

    def test_the_end_waits_for_queued_data(self):
        mux = dialer()
        stream = mux.open()
        mux.send(stream, bytes(limits.YAMUX_WINDOW_BYTES + 1))
        mux.finish(stream)
        assert all(flags != FIN for _, flags, _, _ in frames(sent(mux)))
        told(mux, frame(WINDOW, ACK, stream, 1))
        assert frames(sent(mux)) == [(DATA, 0, stream, 1), (WINDOW, FIN, stream, 0)]
        assert mux.send(stream, b"after the end") == 0


class TestFlowControl:
    def test_the_peer_may_use_its_window_and_not_a_byte_more(self):
        mux = listener()
        told(mux, data(1, bytes(limits.YAMUX_WINDOW_BYTES), SYN))
        with pytest.raises(Dms3Error, match="more than the window"):
            told(mux, data(1, b"x"))

    def test_consuming_half_a_window_gives_it_back(self):
        mux = listener()
        half = limits.YAMUX_WINDOW_BYTES // 2
        told(mux, data(1, bytes(half), SYN), now_us=1)
        sent(mux)
        mux.consume(1, half - 1)
        assert sent(mux) == b""
        told(mux, b"", now_us=10_000_000)  # slowly: the window does not grow
        mux.consume(1, 1)
        assert frames(sent(mux)) == [(WINDOW, 0, 1, half)]

    def test_a_window_used_up_quickly_grows_up_to_its_bound(self):
        mux = listener()
        told(mux, frame(WINDOW, SYN, 1, 0))
        window, now = limits.YAMUX_WINDOW_BYTES, 0
        while window < limits.YAMUX_WINDOW_BYTES_MAX:
            now += 1
            told(mux, data(1, bytes(window)), now)
            mux.consume(1, window)
            granted = frames(sent(mux))[-1][3]
            assert granted == min(2 * window, limits.YAMUX_WINDOW_BYTES_MAX)
            window = granted
        told(mux, data(1, bytes(window)), now)
        mux.consume(1, window)
        assert frames(sent(mux))[-1][3] == window

    def test_growth_of_all_windows_is_bounded_and_returned(self):
        mux = listener()
        grown = 0
        for stream in range(1, 41, 2):
            told(mux, frame(WINDOW, SYN, stream, 0))
            window = limits.YAMUX_WINDOW_BYTES
            while True:
                told(mux, data(stream, bytes(window)))
                mux.consume(stream, window)
                granted = frames(sent(mux))[-1][3]
                if granted == window:
                    break
                grown += granted - window
                window = granted
        assert grown == limits.YAMUX_GROWTH_BYTES_MAX
        for stream in range(1, 41, 2):
            told(mux, frame(WINDOW, RST, stream, 0))
        assert mux._growth == 0

    def test_consuming_more_than_was_received_grants_no_more(self):
        mux = listener()
        told(mux, data(1, b"abc", SYN), now_us=10_000_000)
        mux.consume(1, 10_000_000)
        assert all(kind != WINDOW or not value for kind, _, _, value in frames(sent(mux)))

    def test_sending_stops_at_the_window_of_the_peer(self):
        mux = dialer()
        stream = mux.open()
        size = limits.YAMUX_WINDOW_BYTES + 10
        assert mux.send(stream, bytes(size)) == size
        total = sum(value for kind, _, _, value in frames(sent(mux)) if kind == DATA)
        assert total == limits.YAMUX_WINDOW_BYTES
        assert mux.send(stream, b"") == 10
        told(mux, frame(WINDOW, 0, stream, 4))
        assert frames(sent(mux)) == [(DATA, 0, stream, 4)]

    def test_a_long_queue_reports_when_it_is_short_again(self):
        mux = dialer()
        stream = mux.open()
        mux.send(stream, bytes(limits.STREAM_QUEUE_NOTICE_BYTES))
        sent(mux)
        assert mux.take_events() == []
        mux.send(stream, bytes(limits.STREAM_QUEUE_NOTICE_BYTES + 1))
        sent(mux)
        assert mux.take_events() == [StreamDrained(stream)]

    def test_a_queue_is_bounded(self):
        mux = dialer()
        stream = mux.open()
        mux.send(stream, bytes(limits.STREAM_QUEUE_BYTES_MAX))
        with pytest.raises(Dms3Error) as error:
            mux.send(stream, b"x")
        assert error.value.code == "limit_reached"

    def test_a_window_beyond_32_bits_is_refused(self):
        mux = dialer()
        stream = mux.open()
        rest = (1 << 32) - 1 - limits.YAMUX_WINDOW_BYTES
        told(mux, frame(WINDOW, 0, stream, rest))
        with pytest.raises(Dms3Error, match="32 bits"):
            told(mux, frame(WINDOW, 0, stream, 1))

    def test_streams_take_turns(self):
        mux = dialer()
        first, second = mux.open(), mux.open()
        for stream in (first, second):
            mux.send(stream, bytes(200_000))
        order = [stream for kind, _, stream, _ in frames(sent(mux)) if kind == DATA]
        assert order[:4] == [first, second, first, second]

    def test_one_hand_over_is_bounded(self):
        mux = dialer()
        stream = mux.open()
        mux.send(stream, bytes(200_000))
        assert len(sent(mux, 1_000)) < 1_000 + limits.YAMUX_FRAME_BYTES + 100


class TestHostilePeer:
    @pytest.mark.parametrize(
        "wire",
        [
            b"\x01" + bytes(11),  # version 1
            frame(4, 0, 1, 0),  # an unknown type
            frame(WINDOW, SYN, 0, 0),  # the session as a stream
            frame(WINDOW, SYN, 2, 0),  # ours to open
            frame(DATA, 0, 2, 1),  # of ours, never opened
            frame(WINDOW, 0, 0, 1),
            frame(WINDOW, SYN, 1, 0) * 2,
            frame(DATA, SYN, 1, limits.YAMUX_WINDOW_BYTES + 1),
            frame(DATA, 0, 1, limits.YAMUX_WINDOW_BYTES_MAX + 1),  # nobody's, and huge
            data(1, b"", SYN | FIN) + data(1, b"x"),  # after the end
        ],
    )
    def test_violations_end_the_session_by_name(self, wire):
        with pytest.raises(Dms3Error) as error:
            listener().receive(wire, 0)
        assert error.value.code == "peer_misbehaved"

    def test_too_many_streams_are_reset_and_endless_ones_end_the_session(self):
        mux = listener()
        count = limits.YAMUX_INBOUND_STREAMS_MAX
        wire = b"".join(frame(WINDOW, SYN, 2 * i + 1, 0) for i in range(count))
        assert len(told(mux, wire)) == count
        sent(mux)
        extra = 2 * count + 1
        assert told(mux, data(extra, b"refused", SYN)) == []
        assert frames(sent(mux)) == [(WINDOW, RST, extra, 0)]
        for i in range(1, limits.YAMUX_REFUSED_STREAMS_MAX):
            mux.receive(frame(WINDOW, SYN, extra + 2 * i, 0), 0)
            sent(mux)
        with pytest.raises(Dms3Error, match="without end") as error:
            mux.receive(frame(WINDOW, SYN, 99_999, 0), 0)
        assert error.value.code == "limit_reached"

    def test_a_flood_of_pings_without_reading_ends_the_session(self):
        mux = listener()
        count = limits.YAMUX_CONTROL_BYTES_MAX // 12
        mux.receive(frame(PING, SYN, 0, 7) * count, 0)
        with pytest.raises(Dms3Error, match="floods") as error:
            mux.receive(frame(PING, SYN, 0, 7), 0)
        assert error.value.code == "limit_reached"

    def test_rapid_resets_leave_nothing_behind(self):
        mux = listener()
        for i in range(5_000):
            mux.receive(frame(WINDOW, SYN, 2 * i + 1, 0) + frame(WINDOW, RST, 2 * i + 1, 0), 0)
            mux.take_events()
        assert not mux._unanswered
        assert not mux._streams
        assert sent(mux) == b""

    def test_our_own_streams_are_bounded_until_acknowledged(self):
        mux = dialer()
        opened = [mux.open() for _ in range(limits.YAMUX_BACKLOG_STREAMS_MAX)]
        with pytest.raises(Dms3Error) as error:
            mux.open()
        assert error.value.code == "limit_reached"
        told(mux, frame(WINDOW, ACK, opened[0], 0))
        mux.open()

    def test_our_own_open_streams_are_bounded(self):
        mux = dialer()
        for _ in range(limits.YAMUX_OUTBOUND_STREAMS_MAX):
            told(mux, frame(WINDOW, ACK, mux.open(), 0))
        with pytest.raises(Dms3Error):
            mux.open()


class TestSession:
    def test_ping_is_answered_and_measured(self):
        a, b = dialer(), listener()
        a.ping(1_000)
        b.receive(sent(a), 0)
        a.receive(sent(b), 31_000)
        assert a.rtt_us == 30_000
        assert a.ping_sent_us is None

    def test_a_wrong_answer_is_no_sign_of_life(self):
        mux = dialer()
        mux.ping(0)
        mux.receive(frame(PING, ACK, 0, 12345), 5)
        assert mux.ping_sent_us == 0

    def test_going_away(self):
        a, b = dialer(), listener()
        a.go_away(NORMAL)
        b.receive(sent(a), 0)
        assert b.remote_closed == "the peer ended the session normally"
        with pytest.raises(Dms3Error) as error:
            b.open()
        assert error.value.code == "peer_refused"
