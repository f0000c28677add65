"""One own delivery service: log in, bring what waits there, acknowledge it when it is durable.

Source: docs/architecture.md, "Messages"; the dm3 reference's delivery API. A service is asked at
the start, when it pushes, and from time to time; one that does not answer is asked later each
time. Nothing it says is believed: `messaging/inbox.py` verifies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dms3.core.desk import Desk, words
from dms3.core.errors import DecodeError, Failure
from dms3.core.limits import (
    MAIL_ACKNOWLEDGE_MAX,
    MAIL_ACKNOWLEDGE_US,
    MAIL_AGAIN_US_MIN,
    MAIL_FETCH_AGAIN_US_MAX,
    MAIL_INCOMING_MAX,
    MAIL_POLL_PUSHED_US,
    MAIL_POLL_US,
    MAIL_STUCK_MAX,
)
from dms3.dm3.envelope import DeliveryInformation, Envelope, decode_delivered
from dms3.dm3.lookup import Resolve, Resolved
from dms3.dm3.profile import ServiceProfile
from dms3.messaging.inbox import Arrival, Inbox, Outcome, Verdict
from dms3.messaging.keyring import Keyring
from dms3.messaging.operations import (
    Acknowledge,
    CarrierState,
    Incoming,
    Listen,
    Login,
    Register,
)
from dms3.messaging.ports import DIRECT
from dms3.messaging.selfhood import Selfhood

Looked = Callable[[int | Failure], None]
"""Told how many new messages a look brought, or why none could be made."""


class Fetching:
    """The service called `name`; `is_left` says whether it is no longer in the profile."""

    def __init__(
        self,
        name: str,
        desk: Desk,
        keyring: Keyring,
        self_: Selfhood,
        inbox: Inbox,
        is_left: Callable[[], bool],
    ) -> None:
        self.name = name
        self._desk = desk
        self._keyring = keyring
        self._self = self_
        self._inbox = inbox
        self._is_left = is_left
        self._service: ServiceProfile | None = None
        self._token = ""
        self._registered = ""  # text of the profile that the service knows
        self._pushes = False
        self._busy = False
        self._again = False
        self._failures = 0
        self._problem = "It was not asked yet."
        self._reachable = False
        self._checked_us = 0
        self._waiting: list[Looked] = []
        self._acks: dict[str, str] = {}  # message hash -> sender's name
        self._acking = False
        self._open: set[str] = set()  # kept here, and not yet where all devices read them
        self._stuck = 0  # envelopes of the last answer that stay there
        self._ended = False

    @property
    def state(self) -> CarrierState:
        """What commands tell."""
        url = "" if self._service is None else self._service.url
        return CarrierState(self.name, url, self._reachable, self._problem, self._checked_us)

    @property
    def unfinished(self) -> int:
        """Messages that came from there and are not acknowledged there yet."""
        return len(self._acks) + len(self._open)

    def end(self) -> None:
        """Ask it no more."""
        self._ended = True
        self._desk.no_alarm(f"poll:{self.name}")

    def look(self, then: Looked | None = None) -> None:
        """Bring what waits there; `then` is told when all of it is settled."""
        if then is not None:
            self._waiting.append(then)
        if self._busy:
            self._again = True
            return
        self._busy = True
        self._desk.no_alarm(f"poll:{self.name}")
        self._self.when_named(lambda _: self._resolve())

    def refresh(self) -> None:
        """The profile has changed: the service has to know it, whoever logs in by it."""
        self._token = ""
        self.look()

    # Steps of one look

    def _resolve(self) -> None:
        def resolved(body: Resolved | Failure) -> None:
            if isinstance(body, Failure):
                self._fail(
                    Failure(body.code, f"Its record was not found: {words(body)}.", body.retry)
                )
            elif body.service is None or body.service.url.startswith(DIRECT):
                why = f"{self.name} is not the name of a delivery service."
                self._fail(Failure("argument_invalid", why))
            else:
                self._service = body.service
                self._register()

        self._desk.call("names.resolve", Resolve(self.name), resolved)

    def _register(self) -> None:
        """A service takes messages for whom it knows the profile of."""
        profile = self._self.profile(also="" if self._is_left() else self.name)
        if self._registered == profile.text() or self._is_left():
            self._login()
            return

        def registered(body: Any) -> None:
            if isinstance(body, Failure):
                self._fail(body)
                return
            self._registered = profile.text()
            self._login()

        register = Register(self._url, self._name, profile)
        self._desk.call("courier.register", register, registered)

    def _login(self) -> None:
        if self._token:
            self._incoming()
            return

        def logged_in(body: str | Failure) -> None:
            if isinstance(body, Failure):
                self._fail(body)
                return
            self._token = body
            self._listen()
            self._incoming()

        login = Login(self._url, self._name, self._keyring.current_seed)
        self._desk.call("courier.login", login, logged_in)

    def _listen(self) -> None:
        def listening(body: Any) -> None:
            self._pushes = not isinstance(body, Failure)

        listen = Listen(self._url, self.name, self._name, self._token)
        self._desk.call("courier.listen", listen, listening)

    def _incoming(self) -> None:
        token = self._token
        limit = MAIL_INCOMING_MAX + self._stuck

        def came(body: tuple[str, ...] | Failure) -> None:
            if isinstance(body, Failure):
                if body.code == "unauthorized" and self._token:
                    self._token = ""
                    self._failures += 1
                    if self._failures == 1:
                        self._login()
                        return
                self._fail(body)
                return
            self._answers()
            self._take(body[:limit], limit)

        incoming = Incoming(self._url, self._name, token, limit)
        self._desk.call("courier.incoming", incoming, came)

    # What came

    def _take(self, texts: tuple[str, ...], limit: int) -> None:
        """Hand every envelope to the inbox; the look is over when each is settled.

        What stays there must not hide what waits behind it: so much more is asked for.
        """
        assert self._service is not None
        new, open_, settled, stuck = 0, 1, 0, 0  # one is this function itself
        worst = ""

        def one(outcome: Outcome) -> None:
            nonlocal new, stuck, settled, worst
            new += outcome.verdict is Verdict.NEW
            if outcome.verdict in (Verdict.HELD, Verdict.SEALED):
                stuck += 1
                worst = worst or outcome.reason
            else:
                settled += 1
            closed(settled > 0)

        def closed(has_settled: bool) -> None:
            nonlocal open_
            open_ -= 1
            if open_:
                return
            before, self._stuck = self._stuck, min(stuck, MAIL_STUCK_MAX)
            has_more = has_settled or self._stuck > before
            self._over(new, more=len(texts) >= limit and has_more, left=worst)

        arrivals = []
        for text in texts:
            try:
                envelope = decode_delivered(text)
            except DecodeError as error:
                stuck += 1
                worst = worst or f"It gave an envelope that cannot be read ({error.reason})."
                continue
            arrivals.append(self._arrival(envelope, self._service, one))
        if len(texts) < limit:
            self._inbox.holding.lies(self.name, {each.digest for each in arrivals})
        open_ += len(arrivals)
        for arrival in arrivals:
            self._inbox.take(arrival)
        closed(False)  # what is known at once may be offered again without end

    def _arrival(
        self, envelope: Envelope, service: ServiceProfile, settled: Callable[[Outcome], None]
    ) -> Arrival:
        """A service files by the sender it was told, which may be another than who signed."""
        told = envelope.delivery
        claimed = told.sender if isinstance(told, DeliveryInformation) else ""

        def done(sender: str) -> None:
            self._open.discard(envelope.message_hash)
            self._acknowledge(envelope.message_hash, claimed or sender)

        def noted(outcome: Outcome) -> None:
            if outcome.verdict in (Verdict.NEW, Verdict.KNOWN):
                self._open.add(envelope.message_hash)
            settled(outcome)

        return Arrival(envelope, self.name, service.signing, False, noted, done)

    def _over(self, new: int, *, more: bool, left: str) -> None:
        self._problem = left
        self._busy = False
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(new)
        again, self._again = self._again or more, False
        if again:
            self.look()
            return
        self._poll(MAIL_POLL_PUSHED_US if self._pushes else MAIL_POLL_US)

    # Acknowledging

    def _acknowledge(self, message_hash: str, sender: str) -> None:
        self._acks[message_hash] = sender
        if not self._acking and not self._desk.has_alarm(f"ack:{self.name}"):
            self._desk.after(f"ack:{self.name}", MAIL_ACKNOWLEDGE_US, self._send_acks)

    def _send_acks(self) -> None:
        """All that are durable since the last time; those that fail are sent with the next."""
        if self._acking or not self._acks or not self._token:
            return
        self._acking = True
        some = list(self._acks.items())[:MAIL_ACKNOWLEDGE_MAX]

        def answered(body: Any) -> None:
            self._acking = False
            if isinstance(body, Failure):
                if body.code == "unauthorized":
                    self._token = ""
                wait_us = MAIL_AGAIN_US_MIN
            else:
                for message_hash, _ in some:
                    self._acks.pop(message_hash, None)
                wait_us = MAIL_ACKNOWLEDGE_US
            if self._acks and not self._ended:
                self._desk.after(f"ack:{self.name}", wait_us, self._send_acks)

        pairs = tuple((sender, message_hash) for message_hash, sender in some)
        acknowledge = Acknowledge(self._url, self._name, self._token, pairs)
        self._desk.call("courier.acknowledge", acknowledge, answered)

    # How it is

    def _answers(self) -> None:
        self._failures = 0
        self._checked_us = self._desk.now.wall_us
        self._problem = ""
        if not self._reachable:
            self._reachable = True
            self._desk.notify("message.service", name=self.name, reachable=True, problem="")

    def _fail(self, failure: Failure) -> None:
        self._busy = self._again = False
        self._failures += 1
        self._checked_us = self._desk.now.wall_us
        wait_us = min(MAIL_FETCH_AGAIN_US_MAX, MAIL_AGAIN_US_MIN << min(self._failures - 1, 16))
        seconds = wait_us // 1_000_000
        problem = f"{words(failure)}. It is asked again in {seconds} s."
        if self._reachable or self._problem != problem:
            self._desk.notify("message.service", name=self.name, reachable=False, problem=problem)
        self._reachable, self._problem = False, problem
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then(failure)
        self._poll(wait_us)

    def _poll(self, wait_us: int) -> None:
        if not self._ended:
            self._desk.after(f"poll:{self.name}", wait_us, self.look)

    @property
    def _url(self) -> str:
        assert self._service is not None
        return self._service.url

    @property
    def _name(self) -> str:
        assert self._self.names is not None
        return self._self.names.primary
