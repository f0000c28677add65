"""Our side of a stream that the peer opened: its questions and messages come in, answers go out.

Source: docs/wire.md, "Streams" and "Back-pressure". Credit for a frame goes back when an inbox has
taken it or when it has been refused; for an unfinished frame (it may be larger than the window) at
once, unless an earlier frame is untaken; for nothing while more than `CREDIT_HELD_BYTES_MIN` of our
answers wait to be read. So a peer that floods or does not read is blocked by its own window, and
holds at most a window and one frame here.
"""

from __future__ import annotations

from dms3.core.errors import Failure, Retry
from dms3.core.limits import (
    ANSWER_BYTES_QUEUED_MAX,
    ANSWER_WAIT_US,
    CANCEL_LEAK_US,
    CANCELS_BURST_MAX,
    CREDIT_GATHER_BYTES_MAX,
    CREDIT_HELD_BYTES_MIN,
    FRAME_BODY_BYTES_MAX,
    REQUEST_BYTES_HELD_MAX,
    REQUESTS_IN_FLIGHT_MAX,
)
from dms3.p2p.conduct import Bucket, Misbehaved
from dms3.p2p.frames import (
    ANSWER,
    CANCEL,
    FAILURE,
    KINDS,
    MESSAGE,
    REQUEST,
    VERSION,
    Version,
    encode_failure,
    encode_frame,
)
from dms3.p2p.stream import Asked, LinkEvent, Misconduct, Muxed, Side, Told, Unasked

NUMBER_BITS = 32  # a question is known to the caller as `stream << NUMBER_BITS | id`
_NUMBER_MASK = (1 << NUMBER_BITS) - 1


class Answering(Side):
    """The answerer's record of one stream."""

    def __init__(self, mux: Muxed, stream: int, protocol: str, mine: Version, now_us: int) -> None:
        super().__init__(mux, stream, protocol, mine, now_us)
        self._last = 0
        self._open: dict[int, tuple[int, int]] = {}  # id -> (bytes of its body, since)
        self._held = 0  # bytes of bodies of open questions
        self._untaken = 0  # credit of frames that no inbox has taken yet
        self._early = 0  # credit of an unfinished frame, held back until they are taken
        self._owed = 0  # credit held back because our answers are not read
        self._cancels = Bucket(CANCELS_BURST_MAX, CANCEL_LEAK_US)
        self.finishing = False  # the peer asks no more; the stream ends with the last answer
        self.deaf = False  # there was no agreement: what still comes is dropped

    @property
    def busy(self) -> bool:
        """Whether anything here can still stall or time out."""
        return bool(self._open or self._owed or self.deaf) or self.unfinished

    @property
    def holds_credit(self) -> bool:
        """Whether the peer may be waiting for credit from us."""
        return bool(self._untaken or self._early or self._owed)

    @property
    def done(self) -> bool:
        """Whether the peer has finished and every question has been answered."""
        return self.finishing and not self._open

    def handles(self) -> list[int]:
        """The questions not yet answered, oldest first."""
        return [self._handle(number) for number in self._open]

    def earliest(self) -> int | None:
        """When the oldest unanswered question is given up."""
        if not self._open:
            return None
        return next(iter(self._open.values()))[1] + ANSWER_WAIT_US

    def on_data(self, data: bytes, now_us: int, out: list[LinkEvent]) -> None:
        """Append the questions, messages and cancels in `data` to `out`."""
        if self.deaf:
            self._mux.consume(self.stream, len(data))
            return
        self._fed_us = now_us
        frames, early = self._reader.feed(data)
        for kind, number, body, credit in frames:
            self._untaken += credit
            if kind == REQUEST and self.minor is not None:
                self._on_request(number, body, credit, now_us, out)
            elif self.minor is None:
                self.taken(credit)
                self._greet(kind, number, body)
            elif kind == MESSAGE:
                out.append(Told(self.stream, self.protocol, body, credit))
            elif kind == CANCEL:
                self._on_cancel(number, body, now_us, out)
                self.taken(credit)
            elif kind == VERSION:
                raise Misbehaved("version_repeated")
            else:
                raise Misbehaved("frame_kind_misplaced" if kind in KINDS else "frame_kind_unknown")
        self._after()
        self._early += early
        self.taken(0)

    def lingers(self, now_us: int, wait_us: int) -> bool:
        """Whether a stream without agreement has been open for `wait_us`."""
        return now_us - self._opened_us >= wait_us

    def reply(self, number: int, body: bytes | Failure) -> None:
        """Answer question `number`; nothing happens when it has ended. Raises Misbehaved."""
        found = self._open.pop(number, None)
        if found is None:
            return
        self._held -= found[0]
        if isinstance(body, Failure):
            self._refuse(number, body)
        elif len(body) > FRAME_BODY_BYTES_MAX:
            self._refuse(number, Failure("body_too_large", "The answer is above the limit."))
        elif self.queued and self.queued + len(body) > ANSWER_BYTES_QUEUED_MAX:
            why = "Too many answers wait to be read."
            self._refuse(number, Failure("limit_reached", why, Retry.LATER))
        else:
            self.send(encode_frame(ANSWER, number, body))

    def taken(self, credit: int) -> None:
        """An inbox has taken a frame that was worth `credit` bytes."""
        self._untaken -= credit
        self._owed += credit
        if not self._untaken:
            self._owed += self._early
            self._early = 0
        if self._untaken and self._owed < CREDIT_GATHER_BYTES_MAX:
            return  # more is about to be taken: one window update serves for all
        if self._owed and self.queued <= CREDIT_HELD_BYTES_MIN:
            self._mux.consume(self.stream, self._owed)
            self._owed = 0

    def expire(self, now_us: int, out: list[LinkEvent]) -> None:
        """Answer `timed_out` to what no machine has answered for `ANSWER_WAIT_US`."""
        self.taken(0)
        before = now_us - ANSWER_WAIT_US
        for number in [number for number, (_, since) in self._open.items() if since <= before]:
            out.append(Unasked(self._handle(number)))
            why = "The node did not answer in time."
            self.reply(number, Failure("timed_out", why, Retry.LATER))

    def _handle(self, number: int) -> int:
        return self.stream << NUMBER_BITS | number

    def _greet(self, kind: int, number: int, body: bytes) -> None:
        """Answer their version frame with ours, also when there is no agreement."""
        try:
            self._on_version(kind, number, body)
        finally:
            if kind == VERSION:
                self.send_version()

    def _on_request(
        self, number: int, body: bytes, credit: int, now_us: int, out: list[LinkEvent]
    ) -> None:
        if number <= self._last:
            raise Misbehaved("request_id_reused")
        self._last = number
        size = len(body)
        if len(self._open) >= REQUESTS_IN_FLIGHT_MAX or self._held + size > REQUEST_BYTES_HELD_MAX:
            why = "Too many questions at once."
            self._refuse(number, Failure("limit_reached", why, Retry.LATER))
            self.taken(credit)
            if len(self._open) >= REQUESTS_IN_FLIGHT_MAX:
                out.append(Misconduct("requests_excess", self.protocol))
            return
        self._open[number] = (size, now_us)
        self._held += size
        out.append(Asked(self._handle(number), self.protocol, body, credit))

    def _on_cancel(self, number: int, body: bytes, now_us: int, out: list[LinkEvent]) -> None:
        if body or not 0 < number <= self._last:
            raise Misbehaved("cancel_unasked")
        if not self._cancels.admit(now_us):
            raise Misbehaved("cancel_storm")
        found = self._open.pop(number, None)
        if found is not None:  # otherwise it crossed its answer
            self._held -= found[0]
            out.append(Unasked(self._handle(number)))

    def _refuse(self, number: int, failure: Failure) -> None:
        self.send(encode_frame(FAILURE, number, encode_failure(failure)))


def split_handle(request: int) -> tuple[int, int]:
    """The stream and the id of a question known to the caller as `request`."""
    return request >> NUMBER_BITS, request & _NUMBER_MASK
