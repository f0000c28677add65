"""Messages from node to node, without a delivery service: the protocol /dms3/message/1.

Source: docs/wire.md, "/dms3/message/1". A question is an envelope as a service gets it, the answer
is empty or a Failure. A node takes envelopes for its own person only, so far as size, pace and the
number under way allow, and stamps them with the key of its own service.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from dms3.core.desk import Desk, Then
from dms3.core.errors import DecodeError, Failure, Retry
from dms3.core.ids import PeerId, RequestId
from dms3.core.limits import (
    MAIL_DIRECT_BURST_US,
    MAIL_DIRECT_BYTES_MAX,
    MAIL_DIRECT_COST_US,
    MAIL_DIRECT_OPEN_MAX,
    MAIL_DIRECT_PER_PEER_MAX,
    MAIL_DIRECT_REFUSED_US,
    MAIL_DIRECT_TIMEOUT_US,
)
from dms3.core.machine import Entropy, Now, Requested
from dms3.dm3.envelope import decode_envelope, open_delivery, with_postmark
from dms3.dm3.postmark import stamp
from dms3.messaging.inbox import Arrival, Inbox, Outcome, Verdict
from dms3.messaging.keyring import Keyring
from dms3.messaging.ports import Own

PROTOCOL = "/dms3/message/1"
_TOO_OFTEN = Failure("limit_reached", "You send too often; wait a moment.", Retry.LATER)


@dataclass(slots=True)
class _Pace:
    """A line of time per peer that envelopes use up; it may run ahead by the burst."""

    lines: dict[PeerId, int] = field(default_factory=dict)

    def admits(self, peer: PeerId, now: Now) -> bool:
        ends = max(self.lines.get(peer, 0), now.mono_us) + MAIL_DIRECT_COST_US
        if ends - now.mono_us > MAIL_DIRECT_BURST_US:
            return False
        self.lines[peer] = ends
        return True

    def charge(self, peer: PeerId, now: Now) -> None:
        """What was proven wrong is written down and told of, so that it costs more."""
        if peer in self.lines:  # else it is gone
            self.lines[peer] = max(self.lines[peer], now.mono_us) + MAIL_DIRECT_REFUSED_US


class Direct:
    """Both ends. `release` is told of peers that were dialled and are not needed any more."""

    def __init__(
        self, desk: Desk, own: Own, keyring: Keyring, inbox: Inbox, entropy: Entropy
    ) -> None:
        self._desk = desk
        self._own = own
        self._keyring = keyring
        self._inbox = inbox
        self._entropy = entropy
        self._up: set[PeerId] = set()  # asked whether it is in, never iterated
        self._pace = _Pace()
        self._open: dict[RequestId, PeerId] = {}

    # Giving

    def submit(self, peer: PeerId, envelope: str, then: Then) -> None:
        """Give `envelope` to the node `peer`; `then` is told b"" or a Failure.

        A peer that is not connected is dialled, and released afterwards.
        """
        body = envelope.encode()
        if peer in self._up:
            self._desk.request(peer, PROTOCOL, body, MAIL_DIRECT_TIMEOUT_US, then)
            return

        def answered(answer: bytes | Failure) -> None:
            self._desk.call("peers.release", peer, lambda _: None)
            then(answer)

        def connected(dialed: object) -> None:
            if isinstance(dialed, Failure):
                why = f"its node {self._own.show(peer)} is not connected ({dialed.message})"
                then(Failure("peer_unreachable", why, Retry.LATER))
            else:
                self._desk.request(peer, PROTOCOL, body, MAIL_DIRECT_TIMEOUT_US, answered)

        self._desk.call("peers.connect", self._own.show(peer), connected)

    def peer_up(self, peer: PeerId) -> None:
        """It is connected."""
        self._up.add(peer)

    def peer_down(self, peer: PeerId) -> None:
        """It has gone; its questions are withdrawn by the driver."""
        self._up.discard(peer)
        self._pace.lines.pop(peer, None)

    # Taking

    def requested(self, event: Requested) -> str:
        """Take an envelope of a peer; the answer says what it did wrong, a key of conduct or ""."""
        peer, request = event.peer, event.request
        if not self._pace.admits(peer, self._desk.now):
            self._desk.reply(request, _TOO_OFTEN)
            return ""
        of_peer = sum(each == peer for each in self._open.values())
        if of_peer >= MAIL_DIRECT_PER_PEER_MAX or len(self._open) >= MAIL_DIRECT_OPEN_MAX:
            self._desk.reply(request, _TOO_OFTEN)
            return ""
        if len(event.body) > MAIL_DIRECT_BYTES_MAX:
            why = f"An envelope may have {MAIL_DIRECT_BYTES_MAX} bytes, not {len(event.body)}."
            self._desk.reply(request, Failure("body_too_large", why))
            return ""
        try:
            arrival = self._stamped(event.body, self._settle(request, peer))
        except DecodeError as error:
            why = f"This is no envelope for this node: {error.reason}."
            self._desk.reply(request, Failure("body_malformed", why))
            return "body_malformed"
        self._open[request] = peer
        self._inbox.take(arrival)
        return ""

    def withdrawn(self, request: RequestId) -> None:
        """The peer no longer waits; what it gave is looked at all the same."""
        self._open.pop(request, None)

    def _stamped(self, body: bytes, settled: Callable[[Outcome], None]) -> Arrival:
        """The envelope as a service keeps it for its receiver."""
        try:
            text = body.decode()
        except UnicodeDecodeError as cause:
            raise DecodeError(0, "not UTF-8") from cause
        envelope = decode_envelope(text)
        open_delivery(self._own.service_keys.encryption_secret, envelope)  # meant for this service
        keys = self._keyring.current
        postmark = stamp(
            self._own.service_keys,
            envelope,
            keys.encryption_public,
            self._desk.now_ms,
            self._entropy,
        )
        return Arrival(
            envelope=with_postmark(envelope, postmark, None),
            service="this node",
            signing=self._own.service_keys.signing_public,
            direct=True,
            settled=settled,
        )

    def _settle(self, request: RequestId, peer: PeerId) -> Callable[[Outcome], None]:
        def settled(outcome: Outcome) -> None:
            if outcome.verdict is Verdict.REFUSED:
                self._pace.charge(peer, self._desk.now)
            if self._open.pop(request, None) is None:
                return
            if outcome.verdict in (Verdict.NEW, Verdict.KNOWN, Verdict.DROPPED):
                self._desk.reply(request, b"")
            elif outcome.verdict is Verdict.HELD:
                self._desk.reply(request, Failure("timed_out", outcome.reason, Retry.LATER))
            else:
                self._desk.reply(request, Failure("content_invalid", outcome.reason))

        return settled
