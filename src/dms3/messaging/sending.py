"""Sending: composes what a person says, keeps it, and brings it to the receiver's services.

Source: docs/architecture.md, "Messages". A message is answered for when it is durable here; it is
sent when one service has it. Who has no profile yet is waited for. Messages to one person go one
after another, and what no service takes is tried again, later each time.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from dms3.core.desk import words
from dms3.core.errors import DecodeError, Dms3Error, Failure, Retry
from dms3.core.ids import RequestId
from dms3.core.limits import (
    DM3_ENVELOPE_BYTES_MAX,
    MAIL_AGAIN_US_MAX,
    MAIL_AGAIN_US_MIN,
    MAIL_EXTRA_ROUNDS_MAX,
    MAIL_REFUSED_ROUNDS_MAX,
    MAIL_RESOLVE_US,
    MAIL_SENDING_MAX,
)
from dms3.dm3.canonical import canonical, parse
from dms3.dm3.lookup import OwnNames, Resolve, Resolved
from dms3.dm3.message import Message, MessageType, compose, decode_message
from dms3.dm3.naming import normalise
from dms3.messaging.grounds import Grounds
from dms3.messaging.operations import Kept, SendMessage, Sent, State
from dms3.messaging.outbox import Entry, Letter, Outbox
from dms3.messaging.people import CONTACT, Record, unproven
from dms3.messaging.round import Carrying, Parcel, Round

_ALARM = "send:"
_FRESH_EVERY = 4  # rounds: somebody who does not answer may have moved to other services
_TEXTLESS = (MessageType.DELETE_REQUEST,)
_REFERRING = (
    MessageType.EDIT,
    MessageType.REPLY,
    MessageType.REACTION,
    MessageType.DELETE_REQUEST,
)


class Sending:
    """The sending half of the machine."""

    def __init__(self, grounds: Grounds, outbox: Outbox, carrying: Carrying) -> None:
        self._desk = grounds.desk
        self._keyring = grounds.keyring
        self._self = grounds.self_
        self._people = grounds.people
        self._outbox = outbox
        self._sharing = grounds.sharing
        self._carrying = carrying
        self._busy = 0

    # Saying something

    def send(self, wanted: SendMessage, request: RequestId) -> None:
        """Compose and keep a message of the person; raises Dms3Error when it cannot be one."""
        _check(wanted)
        self._outbox.check_room()
        self._self.when_named(lambda names: self._address(wanted, names, request))

    def _address(self, wanted: SendMessage, names: OwnNames, request: RequestId) -> None:
        """Find the canonical name that is signed for; a nickname is only known to "names"."""
        known = self._people.named(wanted.to) if "." in wanted.to else None
        if known is not None:
            typed = _canonical(wanted.to)
            name = typed if typed in known.names else known.names[0]
            self._compose(wanted, names, self._people.accept(known), name, request)
            return
        answered = [False]

        def resolved(body: Resolved | Failure) -> None:
            if answered[0]:
                return
            answered[0] = True
            self._desk.no_alarm(alarm)
            try:
                if isinstance(body, Resolved):
                    record = self._people.accept(self._people.meet(unproven(body), CONTACT))
                    self._compose(wanted, names, record, body.name, request)
                else:
                    self._unresolved(wanted, names, body, request)
            except Dms3Error as error:
                self._desk.reply(request, Failure.of(error))

        token = self._desk.call("names.resolve", Resolve(wanted.to), resolved)
        alarm = f"resolve:{token}"
        late = Failure("timed_out", f"{wanted.to} could not be looked up in time", Retry.LATER)
        self._desk.after(alarm, MAIL_RESOLVE_US, lambda: resolved(late))

    def _unresolved(
        self, wanted: SendMessage, names: OwnNames, failure: Failure, request: RequestId
    ) -> None:
        """A full name may get its profile later; a nickname that nobody has means nobody."""
        if "." not in wanted.to or failure.code == "argument_invalid":
            self._desk.reply(request, failure)
            return
        record = self._people.accept(self._people.expect(wanted.to))
        self._compose(wanted, names, record, _canonical(wanted.to), request)

    def _compose(
        self, wanted: SendMessage, names: OwnNames, record: Record, to: str, request: RequestId
    ) -> None:
        message = compose(
            self._keyring.current,
            sender=names.primary,
            receiver=to,
            sent_ms=self._outbox.next_ms(),
            type=wanted.type,
            text=None if wanted.type in _TEXTLESS else (wanted.text or ""),
            attachments=None if wanted.type in _TEXTLESS else wanted.attachments,
            reference=wanted.reference,
        )
        text = canonical(message.value())
        letter = Letter(1, message.hash, record.id, to, message.sent_ms, message.type.value, "")
        entry = self._outbox.add(letter, message)
        kept = Kept(
            message.hash, record.id, True, message.sender, message.sent_ms, message.sent_ms,
            message.type, message.reference or "", State.QUEUED, text,
        )  # fmt: skip

        def answered(body: Any) -> None:
            if isinstance(body, Failure):
                self._outbox.done(entry)
                self._desk.reply(request, body)
                return
            entry.kept = True
            self._desk.reply(request, Sent(message.hash, record.id, State.QUEUED))
            self._sharing.message(kept, lambda: None)
            self.go_on()

        self._desk.call("messages.keep", (kept,), answered)

    def say_receipt(self, record: Record, to: str, kind: MessageType, reference: str) -> None:
        """Queue a receipt; when the outbox is full the sender is not told."""
        names = self._self.names
        try:
            self._outbox.check_room()
        except Dms3Error:
            return
        if names is None:
            return
        message = compose(
            self._keyring.current,
            sender=names.primary,
            receiver=to,
            sent_ms=self._outbox.next_ms(),
            type=kind,
            text=kind.value,
            attachments=(),
            reference=reference,
        )
        text = canonical(message.value())
        letter = Letter(1, message.hash, record.id, to, message.sent_ms, kind.value, text)
        self._outbox.add(letter, message).kept = True
        self.go_on()

    # Going

    def start(self) -> None:
        """After a restart: what was not kept was promised to nobody; the rest goes on."""
        for entry in self._outbox.all():
            if entry.letter.over or entry.letter.had:
                self._outbox.mark_again(entry)
            if entry.letter.over:
                continue
            if entry.is_receipt:
                entry.message = _read(entry.letter.text)
                if entry.message is None:
                    self._outbox.done(entry)
            else:
                entry.kept = False
                self._load(entry)
        self._resume()

    def _load(self, entry: Entry) -> None:
        def found(body: Kept | Failure | None) -> None:
            if isinstance(body, Failure):
                self._desk.after(
                    f"load:{entry.number}", MAIL_AGAIN_US_MIN, lambda: self._load(entry)
                )
                return
            entry.message = None if body is None else _read(body.text)
            if entry.message is None:
                self._outbox.done(entry)
            elif isinstance(body, Kept):
                entry.kept = True
                self._sharing.message(body, lambda: None)
            self._resume()

        self._desk.call("messages.body", entry.letter.hash, found)

    def _resume(self) -> None:
        for entry in self._outbox.lagging():
            if entry.kept and not entry.busy:
                self._desk.after(_alarm(entry), MAIL_AGAIN_US_MIN, partial(self._try, entry))
        self.go_on()

    def go_on(self) -> None:
        """Begin a round for the first of each line that rests for no alarm."""
        for entry in self._outbox.heads():
            if self._busy >= MAIL_SENDING_MAX:
                return
            if entry.kept and not entry.busy and not self._desk.has_alarm(_alarm(entry)):
                self._try(entry)

    def hurry(self) -> None:
        """Something has changed, a name, a card, a connection: every pause is over."""
        self._desk.hurry(_ALARM)

    def _try(self, entry: Entry) -> None:
        if entry.busy or entry.message is None or self._outbox.get(entry.number) is None:
            return
        entry.busy = True
        self._busy += 1

        def resolved(body: Resolved | Failure) -> None:
            if isinstance(body, Failure):
                if body.code == "not_found":
                    self._halt(entry)
                else:
                    self._pause(entry, f"{entry.letter.to} could not be looked up ({words(body)})")
            elif body.profile is None or not body.profile.profile.delivery_services:
                self._halt(entry)
            else:
                self._carry(entry, body)

        resolve = Resolve(entry.letter.to, fresh=entry.fresh)
        self._desk.call("names.resolve", resolve, resolved)

    def _carry(self, entry: Entry, resolved: Resolved) -> None:
        assert resolved.profile is not None
        assert entry.message is not None
        try:
            record = self._people.meet(unproven(resolved), CONTACT)
        except Dms3Error as error:
            self._pause(entry, str(error))
            return
        if record.id != entry.letter.person:
            self._outbox.change(entry, replace(entry.letter, person=record.id))
        profile = resolved.profile.profile
        letter = entry.letter
        wanted = [
            name
            for name in dict.fromkeys(profile.delivery_services)
            if name not in letter.had and name not in letter.refused
        ]
        parcel = Parcel(entry.message, self._keyring.current, profile)
        self._carrying.carry(
            parcel,
            wanted,
            lambda name: self._taken(entry, name),
            lambda turn: self._ended(entry, turn, record),
        )

    def _taken(self, entry: Entry, name: str) -> None:
        """A service has it."""
        first = not entry.letter.had
        self._outbox.change(entry, replace(entry.letter, had=(*entry.letter.had, name)))
        if first:
            self._outbox.told(entry, State.SENT, "", 0)
            self._share_state(entry, State.SENT)

    def _ended(self, entry: Entry, turn: Round, record: Record) -> None:
        """All services of this round have answered."""
        letter = entry.letter
        entry.fresh = bool(turn.refused) or letter.attempts % _FRESH_EVERY == _FRESH_EVERY - 1
        if letter.had:
            turn.without_nodes()
        if letter.attempts + 1 < MAIL_REFUSED_ROUNDS_MAX:  # it may not know its new customer yet
            turn.failed |= {name: f"it said: {why}" for name, why in turn.refused.items()}
            turn.refused.clear()
        refused = (*letter.refused, *(name for name in turn.refused if name not in letter.refused))
        self._outbox.change(entry, replace(letter, refused=refused))
        who = record.names[0]
        if entry.letter.had:
            self._rest(entry, turn, who)
        elif turn.failed:
            name, why = turn.first(turn.failed)
            self._pause(entry, f"{who}'s delivery service {name} did not take it: {why}")
        else:
            said = "; ".join(f"{name} said: {why}" for name, why in turn.refused.items())
            problem = f"Every delivery service of {who} refused it. {said}. Nothing is tried again."
            self._free(entry)
            self._outbox.told(entry, State.FAILED, problem, 0)
            self._share_state(entry, State.FAILED)
            self._outbox.done(entry)
            self.go_on()

    def _rest(self, entry: Entry, turn: Round, who: str) -> None:
        """It is sent; services that do not have it are offered it some more times."""
        self._free(entry)
        rounds = entry.letter.attempts + 1
        if not turn.failed or rounds >= MAIL_EXTRA_ROUNDS_MAX or entry.is_receipt:
            if turn.failed or turn.refused:
                lacking = ", ".join((*turn.failed, *turn.refused))
                problem = f"{lacking} of {who} never took it; {', '.join(entry.letter.had)} did."
                self._outbox.told(entry, State.SENT, problem, 0)
            self._outbox.done(entry)
        else:
            self._outbox.change(entry, replace(entry.letter, attempts=rounds))
            self._outbox.sent(entry)
            self._desk.after(_alarm(entry), again_us(rounds), lambda: self._try(entry))
        self.go_on()

    def _halt(self, entry: Entry) -> None:
        """The receiver has no profile: wait for one."""
        to = entry.letter.to
        entry.fresh = True
        self._pause(
            entry,
            f"{to} has no messaging profile yet, so it is not known who delivers to them",
            State.HALTED,
        )

    def _pause(self, entry: Entry, why: str, state: State = State.QUEUED) -> None:
        """Try again later; the messages behind it wait."""
        self._free(entry)
        attempts = entry.letter.attempts + 1
        self._outbox.change(entry, replace(entry.letter, attempts=attempts))
        wait_us = again_us(attempts)
        if not entry.letter.had:
            problem = f"{why}. The message is kept and tried again in {wait_us // 1_000_000} s."
            self._outbox.told(entry, state, problem, self._desk.now.wall_us + wait_us)
        elif attempts >= MAIL_EXTRA_ROUNDS_MAX:
            self._outbox.done(entry)
            return
        self._desk.after(_alarm(entry), wait_us, lambda: self._try(entry))
        self.go_on()

    def _free(self, entry: Entry) -> None:
        entry.busy = False
        self._busy -= 1

    def _share_state(self, entry: Entry, state: State) -> None:
        if not entry.is_receipt:
            self._sharing.state(entry.letter.hash, state)


def again_us(attempts: int) -> int:
    """How long to wait after so many rounds: twice as long each time, within bounds."""
    return min(MAIL_AGAIN_US_MAX, MAIL_AGAIN_US_MIN << min(attempts - 1, 16))


def _alarm(entry: Entry) -> str:
    return f"{_ALARM}{entry.number}"


def _canonical(name: str) -> str:
    try:
        return normalise(name)
    except DecodeError as error:
        raise Dms3Error("argument_invalid", f"{name!r} is no name: {error.reason}.") from error


def _read(text: str) -> Message | None:
    try:
        return decode_message(parse(text, DM3_ENVELOPE_BYTES_MAX))
    except DecodeError:
        return None


def _check(wanted: SendMessage) -> None:
    if wanted.type in _REFERRING and not wanted.reference:
        raise Dms3Error("argument_invalid", f"{wanted.type} needs the message that it is about.")
    if not wanted.to.strip():
        raise Dms3Error("argument_invalid", "The message has no receiver.")
