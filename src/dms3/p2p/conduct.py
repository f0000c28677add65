"""What a peer can do wrong on a link: a code for each, what it costs, how it is forgotten.

Source: docs/wire.md, "Conduct". A code ends the stream it happened on and nothing else; only the
sum of costs (`Score`) makes a peer refused for a while. Does not close or refuse anything itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.limits import SCORE_LEAK_US, SCORE_REFUSE_MIN

# code -> (points, what happened as one clause for people). Points of SCORE_REFUSE_MIN refuse.
CONDUCT: dict[str, tuple[int, str]] = {
    "frame_too_large": (50, "it announced a frame above the limit"),
    "frame_malformed": (50, "it sent bytes that are not a frame"),
    "frame_kind_unknown": (25, "it sent a frame of an unknown kind"),
    "frame_kind_misplaced": (25, "it sent a frame that only the other side may send"),
    "frame_stalled": (10, "it began a frame and did not finish it"),
    "version_missing": (25, "its first frame was not a version frame"),
    "version_malformed": (25, "its version frame cannot be read"),
    "version_repeated": (25, "it sent a second version frame"),
    "version_late": (10, "it did not send its version frame in time"),
    "request_id_reused": (25, "it used a request id twice or out of order"),
    "answer_unasked": (50, "it answered a question that was never asked"),
    "failure_malformed": (25, "it sent a failure that cannot be read"),
    "cancel_unasked": (25, "it cancelled a question that it never asked"),
    "cancel_storm": (25, "it cancelled too many questions in a short time"),
    "requests_excess": (1, "it asked more at once than the protocol allows"),
    "unread": (25, "it did not read what was sent to it"),
    "stream_repeated": (10, "it opened a second stream of one protocol"),
    "streams_excess": (25, "it opened more streams than there are protocols"),
    "connection_broken": (50, "it broke the rules of Noise or Yamux"),
    "content_invalid": (50, "it sent content that is not what was asked for"),
    "body_malformed": (25, "it sent a message that cannot be read"),
    "record_forged": (50, "it sent a peer record that its peer has not signed"),
    "presence_forged": (
        50,
        "it named nodes of an overlay by presences that do not hold, or one twice",
    ),
    "receipt_forged": (50, "it sent a receipt for what it holds that it has not signed"),
    "proof_invalid": (10, "it showed a grant or certificate that does not hold"),
}


class Misbehaved(Exception):  # noqa: N818  # names what happened, as the codes do
    """A peer broke the rules of a stream; `code` is a key of CONDUCT. Never leaves p2p."""

    def __init__(self, code: str) -> None:
        assert code in CONDUCT, f"conduct {code!r} is not in the table"
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class Score:
    """Points of misconduct of one peer; one point is forgotten every `SCORE_LEAK_US`."""

    points: int = 0
    at_us: int = 0

    def at(self, now_us: int) -> int:
        """The points left at monotonic `now_us` (never below 0)."""
        return max(0, self.points - max(0, now_us - self.at_us) // SCORE_LEAK_US)

    def add(self, code: str, now_us: int) -> bool:
        """Add the cost of `code`; whether the peer is to be refused from now on."""
        self.points = self.at(now_us) + CONDUCT[code][0]
        self.at_us = now_us
        return self.points >= SCORE_REFUSE_MIN


@dataclass(slots=True)
class Bucket:
    """Allows `burst` happenings at once and one more every `leak_us`."""

    burst: int
    leak_us: int
    level: int = 0
    at_us: int = 0

    def admit(self, now_us: int) -> bool:
        """Whether one more may happen at monotonic `now_us`; counts it when it may."""
        leaked = (now_us - self.at_us) // self.leak_us
        if leaked >= self.level:
            self.level, self.at_us = 0, now_us
        elif leaked > 0:
            self.level -= leaked
            self.at_us += leaked * self.leak_us
        if self.level >= self.burst:
            return False
        self.level += 1
        return True
