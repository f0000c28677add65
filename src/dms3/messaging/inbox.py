"""The inbox: every envelope that comes is opened, verified, kept, shared, and then acknowledged.

Source: docs/architecture.md, "Messages". What cannot be verified now is held and stays at its
service; what is proven wrong is recorded and never shown. An envelope is named by what is in it,
not by the hash it claims, so that nobody can make a message look as if it had come already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from dms3.core.desk import words
from dms3.core.errors import Dms3Error, Failure
from dms3.core.limits import (
    MAIL_ARRIVALS_OPEN_MAX,
    MAIL_DONE_MAX,
    MAIL_REQUEST_MESSAGES_MAX,
    MAIL_UNSHARED_MAX,
)
from dms3.dm3.envelope import Envelope
from dms3.dm3.lookup import Resolve, Resolved
from dms3.dm3.message import MessageType
from dms3.messaging.grounds import Grounds
from dms3.messaging.holding import Held, Holding
from dms3.messaging.operations import Kept, Mark, State
from dms3.messaging.people import BLOCKED, CONTACT, REQUEST, Record
from dms3.messaging.receipts import RECEIPTS, Receipts
from dms3.messaging.refusals import Refusals
from dms3.messaging.verifying import (
    Opened,
    SealedError,
    WrongError,
    disagreement,
    is_by_sender,
    open_sealed,
    stamped,
)

_PROVEN = ("not_found", "content_invalid")  # who it is was asked, and the answer is no one
SHOWN = (MessageType.NEW, MessageType.REPLY)


class Verdict(StrEnum):
    """What became of an envelope."""

    NEW = "new"
    KNOWN = "known"  # it came another way before
    DROPPED = "dropped"  # of somebody whose messages are not wanted
    HELD = "held"  # cannot be verified now
    REFUSED = "refused"  # proven wrong
    SEALED = "sealed"  # to other keys: for another device, or lost


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict and, where it is no good one, the reason as a sentence."""

    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An envelope that came through `service`, whose postmarks are signed by `signing`.

    `settled`: told what it is, when that is durable. `done`: told when it may be acknowledged, with
    the name of who says to have sent it ("" when it cannot be opened).
    """

    envelope: Envelope
    service: str
    signing: bytes
    direct: bool
    settled: Callable[[Outcome], None]
    done: Callable[[str], None] = lambda _: None

    @property
    def digest(self) -> bytes:
        """Names these very bytes; what this node stamped itself, as it came."""
        came = replace(self.envelope, postmark=None) if self.direct else self.envelope
        return hashlib.sha256(came.text().encode()).digest()


class Inbox:
    """All arrivals under way, and what is remembered of those that are over."""

    def __init__(self, grounds: Grounds, receipts: Receipts, refusals: Refusals) -> None:
        self._desk = grounds.desk
        self._keyring = grounds.keyring
        self._self = grounds.self_
        self._people = grounds.people
        self._sharing = grounds.sharing
        self._receipts = receipts
        self._refusals = refusals
        self.holding = Holding(grounds.desk)
        self._done: dict[bytes, str] = {}  # digest -> sender, the oldest first
        self._open = 0
        self.requests = True  # whether strangers may write

    @property
    def held(self) -> int:
        """Envelopes that cannot be verified now."""
        return len(self.holding)

    def take(self, arrival: Arrival) -> None:
        """Look at an envelope; its two functions are told of the end."""
        sender = None if arrival.direct else self._done.get(arrival.digest)
        if sender is not None:
            arrival.settled(Outcome(Verdict.KNOWN))
            arrival.done(sender)
            return
        rests = "" if arrival.direct else self.holding.rests(arrival.digest)
        if rests:
            arrival.settled(Outcome(Verdict.HELD, rests))
            return
        if self._open >= MAIL_ARRIVALS_OPEN_MAX:
            arrival.settled(Outcome(Verdict.HELD, "Too many messages come at once; try again."))
            return
        if self._sharing.waiting >= MAIL_UNSHARED_MAX:
            why = f"Storage has not taken {self._sharing.waiting} earlier ones yet; try again."
            arrival.settled(Outcome(Verdict.HELD, why))
            return
        self._open += 1
        arrival = replace(arrival, settled=self._closing(arrival.settled))
        try:
            opened = open_sealed(arrival.envelope, self._keyring.newest_first())
        except SealedError as error:
            arrival.settled(Outcome(Verdict.SEALED, str(error)))
        except WrongError as error:
            self._refuse(arrival, "", str(error))
        else:
            self._receiver(arrival, opened)

    def _closing(self, settled: Callable[[Outcome], None]) -> Callable[[Outcome], None]:
        def closing(outcome: Outcome) -> None:
            self._open -= 1
            settled(outcome)

        return closing

    # Whom it is to, whom it is from

    def _receiver(self, arrival: Arrival, opened: Opened) -> None:
        name = opened.message.receiver
        if self._self.is_called(name):
            self._sender(arrival, opened, fresh=False)
            return

        def resolved(body: Resolved | Failure) -> None:
            if isinstance(body, Failure) and body.code not in _PROVEN:
                self._hold(arrival, opened, f"It is not known whose name {name} is", body)
            elif isinstance(body, Failure) or not self._self.is_me(body):
                self._disprove(arrival, opened, f"It was written to {name}, who is somebody else.")
            else:
                self._sender(arrival, opened, fresh=False)

        self._desk.call("names.resolve", Resolve(name), resolved)

    def _sender(self, arrival: Arrival, opened: Opened, *, fresh: bool) -> None:
        name = opened.message.sender

        def resolved(body: Resolved | Failure) -> None:
            if isinstance(body, Failure):
                self._hold(arrival, opened, f"{name} could not be looked up", body)
            elif body.profile is None:
                none = Failure("not_found", "there is no profile of that name")
                self._hold(arrival, opened, f"{name} could not be looked up", none)
            else:
                self._verify(arrival, opened, body, fresh=fresh)

        self._desk.call("names.resolve", Resolve(name, fresh=fresh), resolved)

    def _verify(self, arrival: Arrival, opened: Opened, sender: Resolved, *, fresh: bool) -> None:
        assert sender.profile is not None
        signing = sender.profile.profile.signing
        name = opened.message.sender
        when = stamped(opened, arrival.signing, self._desk.now_ms)
        record = self._people.named(name)
        if not is_by_sender(opened.message, signing, record, when):
            if not fresh:
                self._sender(arrival, opened, fresh=True)  # the keys may have become others
                return
            why = f"It says that it is from {name}, who did not sign it."
            self._disprove(arrival, opened, why)
            return
        information = disagreement(opened, signing, arrival.service, when)
        if arrival.direct and information:
            self._refuse(arrival, name, information)
            return
        self._admit(arrival, opened, sender, when, information)

    # Who may write

    def _admit(
        self,
        arrival: Arrival,
        opened: Opened,
        sender: Resolved,
        when: int | None,
        information: str,
    ) -> None:
        stranger = self._people.is_stranger(sender)
        if stranger and not self.requests:
            self._drop(arrival, opened, "Messages of strangers are not taken here.")
            return
        try:
            record = self._people.meet(sender, REQUEST)
        except Dms3Error as error:
            self._wait(arrival, opened, error.message)
            return
        self.holding.found(opened.message.sender)
        if record.standing == BLOCKED:
            self._drop(arrival, opened, "")
        elif stranger and record.taken >= MAIL_REQUEST_MESSAGES_MAX:
            why = f"{record.taken} messages of this stranger wait for an answer."
            self._drop(arrival, opened, why)
        elif opened.message.type in RECEIPTS:
            self._take_receipt(arrival, opened, record)
        else:
            self._keep(arrival, opened, record, when, information)

    def _take_receipt(self, arrival: Arrival, opened: Opened, record: Record) -> None:
        def taken(failure: Failure | None) -> None:
            if failure is not None:
                arrival.settled(Outcome(Verdict.HELD, failure.message))
                return
            arrival.settled(Outcome(Verdict.KNOWN))
            self._finish(arrival, opened.message.sender)

        self._receipts.take(opened.message, record, taken)

    def _keep(
        self,
        arrival: Arrival,
        opened: Opened,
        record: Record,
        when: int | None,
        information: str,
    ) -> None:
        message = opened.message
        kept = Kept(
            hash=opened.hash,
            person=record.id,
            mine=self._self.is_called(message.sender),
            sender=message.sender,
            sent_ms=message.sent_ms,
            order_ms=min(message.sent_ms, self._desk.now_ms) if when is None else when,
            type=message.type,
            reference=message.reference or "",
            state=State.RECEIVED,
            text=opened.text,
            information=information,
        )

        def answered(body: tuple[bool, ...] | Failure) -> None:
            if isinstance(body, Failure):
                arrival.settled(Outcome(Verdict.HELD, f"It could not be kept: {body.message}"))
                return
            if body[0]:
                self._arrived(kept, record)
            arrival.settled(Outcome(Verdict.NEW if body[0] else Verdict.KNOWN))
            if not body[0] and self._sharing.was_shared(kept.hash):
                self._finish(arrival, kept.sender)  # a replay is not written again
            else:
                self._sharing.message(kept, lambda: self._finish(arrival, kept.sender))

        self._desk.call("messages.keep", (kept,), answered)

    def _arrived(self, kept: Kept, record: Record) -> None:
        """A message is here for the first time."""
        record = self._people.get(record.id) or record
        name = record.names[0]
        if record.standing == REQUEST:
            if not record.taken:
                self._desk.notify("message.request", person=record.id, name=name)
            else:
                self._desk.notify("message.changed", hash=kept.hash, person=record.id)
            self._people.took(record)
        elif kept.type in SHOWN:
            self._desk.notify("message.new", hash=kept.hash, person=record.id, name=name)
        else:
            about = kept.reference or kept.hash
            self._desk.notify("message.changed", hash=about, person=record.id)
        self._receipts.received(kept, record)

    # Ends

    def _finish(self, arrival: Arrival, sender: str) -> None:
        """It may be acknowledged now."""
        self.holding.remove(arrival.digest)
        if not arrival.direct:
            if len(self._done) >= MAIL_DONE_MAX:
                del self._done[next(iter(self._done))]
            self._done[arrival.digest] = sender
        arrival.done(sender)

    def _drop(self, arrival: Arrival, opened: Opened, reason: str) -> None:
        def gone(_: Any) -> None:
            arrival.settled(Outcome(Verdict.DROPPED, reason))
            self._finish(arrival, opened.message.sender)

        self._unshow(opened, reason, gone)

    def _disprove(self, arrival: Arrival, opened: Opened, reason: str) -> None:
        """What it says is proven wrong."""
        self._unshow(opened, reason, lambda _: self._refuse(arrival, opened.message.sender, reason))

    def _unshow(self, opened: Opened, reason: str, then: Callable[[Any], None]) -> None:
        """If it was shown as held, before a restart perhaps, it is shown no longer."""
        self._desk.call("messages.mark", Mark(opened.hash, State.FAILED, reason), then)

    def _refuse(self, arrival: Arrival, sender: str, reason: str) -> None:
        """Proven wrong: recorded, told once, acknowledged, never shown."""
        self._refusals.add(arrival.digest, arrival.service, sender, reason)
        arrival.settled(Outcome(Verdict.REFUSED, reason))
        self._finish(arrival, sender)

    def _hold(self, arrival: Arrival, opened: Opened, what: str, failure: Failure) -> None:
        """It cannot be verified now: it stays where it is, and is tried again."""
        name = opened.message.sender
        record = self._people.named(name)
        reason = f"{what} ({words(failure)}). It is tried again."
        if arrival.direct:
            arrival.settled(Outcome(Verdict.HELD, reason))
            return
        if record is not None and record.standing == BLOCKED:
            self._drop(arrival, opened, "")
            return
        if arrival.digest in self._refusals:  # a crash came before it was acknowledged
            self._refuse(arrival, name, reason)
            return
        is_long = self.holding.failed(name, reason)
        if arrival.digest not in self.holding:
            held = self._as_held(arrival, opened, record)
            full = self.holding.room(held)
            if full and (failure.code in _PROVEN or is_long):
                self._disprove(arrival, opened, f"{what} ({words(failure)}), and {full}.")
                return
            if not full:
                self.holding.add(arrival.digest, held)
        elif self.holding.is_over(arrival.digest):
            self._disprove(arrival, opened, f"{what} for too long ({words(failure)}).")
            return
        if arrival.digest in self.holding:
            self._show_held(opened, reason)
        arrival.settled(Outcome(Verdict.HELD, reason))

    def _wait(self, arrival: Arrival, opened: Opened, why: str) -> None:
        """There is no room for one more stranger: it stays where it is until there is."""
        name = opened.message.sender
        if not arrival.direct:
            self.holding.failed(name, why)
        if not arrival.direct and arrival.digest not in self.holding:
            held = self._as_held(arrival, opened, None)
            full = self.holding.room(held)
            if full:
                self._disprove(arrival, opened, f"{why} Of those who come after them, {full}.")
                return
            self.holding.add(arrival.digest, held)
        arrival.settled(Outcome(Verdict.HELD, why))

    def _as_held(self, arrival: Arrival, opened: Opened, record: Record | None) -> Held:
        """Whoever can sign as a contact did so far is one, until the contrary is known."""
        trusted = (
            record is not None
            and record.standing == CONTACT
            and bool(record.signing)
            and is_by_sender(opened.message, record.signing, record, None)
        )
        size = len(arrival.envelope.message)
        now_us = self._desk.now.wall_us
        return Held(1, arrival.service, opened.message.sender, size, trusted, now_us)

    def _show_held(self, opened: Opened, reason: str) -> None:
        """Somebody who is known here wrote it, perhaps: it is told that something waits."""
        record = self._people.named(opened.message.sender)
        if record is None or record.standing == BLOCKED or opened.message.type not in SHOWN:
            return
        message = opened.message
        kept = Kept(
            opened.hash, record.id, False, message.sender, message.sent_ms, self._desk.now_ms,
            message.type, message.reference or "", State.HELD, opened.text, reason,
        )  # fmt: skip
        self._desk.call("messages.keep", (kept,), _ignored)


def _ignored(_: Any) -> None:
    return None
