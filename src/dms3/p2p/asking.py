"""Our side of a stream that we opened: questions and messages go out, answers come in.

Source: docs/wire.md, "Streams". At most `REQUESTS_IN_FLIGHT_MAX` questions are in flight, more wait
here in order; each ends exactly once, by its answer, its deadline, a cancel or the stream's end.
"""

from __future__ import annotations

from dms3.core.errors import DecodeError, Failure, Retry
from dms3.core.limits import (
    LATE_ANSWERS_KEPT_MAX,
    REQUEST_BYTES_WAITING_MAX,
    REQUESTS_IN_FLIGHT_MAX,
    REQUESTS_WAITING_MAX,
)
from dms3.p2p.conduct import Misbehaved
from dms3.p2p.frames import (
    ANSWER,
    CANCEL,
    FAILURE,
    ID_MAX,
    KINDS,
    MESSAGE,
    REQUEST,
    VERSION,
    Version,
    decode_failure,
    encode_frame,
)
from dms3.p2p.stream import Given, LinkEvent, Muxed, Side

_REFUSAL = Failure("limit_reached", "Too many questions wait for this peer.", Retry.LATER)


class Asking(Side):
    """The asker's record of one stream; `handle` is whatever number the caller knows it by."""

    def __init__(self, mux: Muxed, stream: int, protocol: str, mine: Version, now_us: int) -> None:
        super().__init__(mux, stream, protocol, mine, now_us)
        self._last = 0
        self._flying: dict[int, tuple[int, int]] = {}  # id -> (handle, deadline)
        self._numbers: dict[int, int] = {}  # handle -> id
        self._waiting: dict[int, tuple[bytes, int]] = {}  # handle -> (body, deadline)
        self._waiting_bytes = 0
        self._late: dict[int, None] = {}  # ids given up, whose answer may still come
        self._late_floor = 0  # ids up to here may have been forgotten by `_late`
        self.send_version()

    @property
    def busy(self) -> bool:
        """Whether anything here can still stall or time out."""
        return bool(self._flying or self._waiting) or self.unfinished

    @property
    def spent(self) -> bool:
        """Whether the request ids are used up, so that a fresh stream is needed."""
        return self._last >= ID_MAX

    def handles(self) -> list[int]:
        """The questions not yet answered, oldest first."""
        return [handle for handle, _ in self._flying.values()] + list(self._waiting)

    def earliest(self) -> int | None:
        """The earliest deadline of a question here."""
        deadlines = [deadline for _, deadline in self._flying.values()]
        deadlines += [deadline for _, deadline in self._waiting.values()]
        return min(deadlines, default=None)

    def request(self, handle: int, body: bytes, deadline_us: int) -> Failure | None:
        """Ask now, or once one in flight has ended; a Failure when too much waits already."""
        if not self._waiting and self._has_room(len(body)):
            self._ask(handle, body, deadline_us)
            return None
        if (
            len(self._waiting) >= REQUESTS_WAITING_MAX
            or self._waiting_bytes + len(body) > REQUEST_BYTES_WAITING_MAX
        ):
            return _REFUSAL
        self._waiting[handle] = (body, deadline_us)
        self._waiting_bytes += len(body)
        return None

    def tell(self, body: bytes) -> bool:
        """Send a message; False, and nothing sent, when too much waits already."""
        if self.queued + len(body) > REQUEST_BYTES_WAITING_MAX:
            return False
        self.send(encode_frame(MESSAGE, 0, body))
        return True

    def cancel(self, handle: int) -> None:
        """Forget the question `handle`; the peer is told when it has been asked."""
        if not self._unqueue(handle):
            number = self._numbers.pop(handle, None)
            if number is not None:
                self._give_up(number)
                self.refill()

    def on_data(self, data: bytes, now_us: int, out: list[LinkEvent]) -> None:
        """Append the answers in `data` to `out`; credit goes back at once, for we asked."""
        self._fed_us = now_us
        frames, owed = self._reader.feed(data)
        for kind, number, body, credit in frames:
            owed += credit
            if self.minor is None:
                self._on_version(kind, number, body)
                continue
            answer = _failure_of(body) if kind == FAILURE else body
            handle = self._settle(kind, number)
            if handle is not None:
                out.append(Given(handle, answer))
        self._after()
        if owed:
            self._mux.consume(self.stream, owed)
        if self._waiting:
            self.refill()

    def expire(self, now_us: int, out: list[LinkEvent]) -> None:
        """Answer `timed_out` to every question whose deadline is `now_us` or before."""
        waited = [handle for handle, (_, at) in self._waiting.items() if at <= now_us]
        for handle in waited:
            self._unqueue(handle)
        flown = [number for number, (_, at) in self._flying.items() if at <= now_us]
        for number in flown:
            handle = self._flying[number][0]
            del self._numbers[handle]
            waited.append(handle)
            self._give_up(number)
        late = Failure("timed_out", "The peer did not answer in time.", Retry.LATER)
        out.extend(Given(handle, late) for handle in waited)
        self.refill()

    def refill(self) -> None:
        """Ask what waits, as far as there is room."""
        while self._waiting:
            handle = next(iter(self._waiting))
            body, deadline_us = self._waiting[handle]
            if not self._has_room(len(body)):
                return
            self._unqueue(handle)
            self._ask(handle, body, deadline_us)

    def _has_room(self, size: int) -> bool:
        if len(self._flying) >= REQUESTS_IN_FLIGHT_MAX or self.spent:
            return False
        return not self.queued or self.queued + size <= REQUEST_BYTES_WAITING_MAX

    def _ask(self, handle: int, body: bytes, deadline_us: int) -> None:
        number = self._last = self._last + 1
        self._flying[number] = (handle, deadline_us)
        self._numbers[handle] = number
        self.send(encode_frame(REQUEST, number, body))

    def _unqueue(self, handle: int) -> bool:
        found = self._waiting.pop(handle, None)
        if found is None:
            return False
        self._waiting_bytes -= len(found[0])
        return True

    def _give_up(self, number: int) -> None:
        """Tell the peer that nobody waits for `number`, and tolerate one late answer to it."""
        del self._flying[number]
        self._late[number] = None
        if len(self._late) > LATE_ANSWERS_KEPT_MAX:
            oldest = next(iter(self._late))
            del self._late[oldest]
            self._late_floor = max(self._late_floor, oldest)
        self.send(encode_frame(CANCEL, number, b""))

    def _settle(self, kind: int, number: int) -> int | None:
        """The handle that a frame answers; None when nobody waits any more. Raises Misbehaved."""
        if kind not in (ANSWER, FAILURE):
            if kind == VERSION:
                raise Misbehaved("version_repeated")
            raise Misbehaved("frame_kind_misplaced" if kind in KINDS else "frame_kind_unknown")
        found = self._flying.pop(number, None)
        if found is not None:
            del self._numbers[found[0]]
            return found[0]
        if number in self._late:
            del self._late[number]
        elif not 0 < number <= self._late_floor:
            raise Misbehaved("answer_unasked")
        return None


def _failure_of(body: bytes) -> Failure:
    try:
        return decode_failure(body)
    except DecodeError:
        raise Misbehaved("failure_malformed") from None
