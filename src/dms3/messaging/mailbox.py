"""Machine "mailbox": a person's messages, from what is said to what was read, whoever carries them.

Source: docs/architecture.md, "Messages"; `operations.py` lists what it is asked and what it asks.
It joins the parts: each is plain state that writes its effects on one desk (`desk.py`). Nothing
leaves before it is durable, nothing is acknowledged before all devices have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dms3.core.codec import decode, encode
from dms3.core.desk import Operation
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import RequestId
from dms3.core.limits import SECOND_US
from dms3.core.machine import (
    Answered,
    Called,
    ClockJumped,
    Effect,
    Entropy,
    Event,
    Now,
    PeerDown,
    PeerUp,
    Requested,
    View,
    Withdrawn,
)
from dms3.messaging.direct import PROTOCOL
from dms3.messaging.grounds import Grounds
from dms3.messaging.operations import AdoptSeed, Decide, MailSettings
from dms3.messaging.outbox import Outbox
from dms3.messaging.people import Record
from dms3.messaging.ports import Misconduct, Own
from dms3.messaging.receiving import Receiving
from dms3.messaging.repeating import Repeating
from dms3.messaging.round import Carrying
from dms3.messaging.sending import Sending
from dms3.storage.operations import Item

__all__ = ["NAME", "PROTOCOL", "Mailbox"]

NAME = "mailbox"
_SETTINGS, _ROW = "settings", b"settings"


@dataclass(frozen=True, slots=True)
class _Settings:
    v: int
    receipts: bool
    requests: bool


class Mailbox:
    """The machine of the person and node that `own` describes."""

    def __init__(self, own: Own, entropy: Entropy) -> None:
        grounds = self._grounds = Grounds(own)
        self._desk = grounds.desk
        self._receiving = Receiving(grounds, entropy)
        self._outbox = Outbox(grounds.desk)
        carrying = Carrying(grounds.desk, own, self._receiving.direct, entropy)
        self._repeating = Repeating(grounds)
        self._sending = Sending(grounds, self._outbox, carrying)
        self._receiving.receipts.say = self._sending.say_receipt
        self._settings = MailSettings()
        self._operations: dict[str, Operation] = {
            "send": self._sending.send,
            "fetch": self._fetch,
            "opened": self._opened,
            "arrived": self._arrived,
            "services": self._services,
            "carry": self._carry,
            "uncarry": self._uncarry,
            "decide": self._decide,
            "people": self._people,
            "settings": self._change_settings,
            "profile": self._profile,
            "met": self._met,
            "rotate": self._rotate,
            "adopt": self._adopt,
            "refused": self._refused,
            "repeat": self._repeat,
            "merge": self._merge,
            "brought": self._brought,
            "introduce": self._introduce,
        }

    # The machine

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Read the tables, go on with what was under way, ask own services what waits."""
        self._desk.now = now
        data = view.get(_SETTINGS, _ROW)
        if data is not None:
            row = decode(_Settings, data)
            self._apply(MailSettings(row.receipts, row.requests))
        for part in (self._grounds, self._receiving, self._outbox, self._repeating):
            part.load(view)
        self._grounds.self_.start()
        self._receiving.carriage.follow()
        self._sending.start()
        return self._end()

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Commands, answers, envelopes of peers, connections."""
        self._desk.now = now
        match event:
            case Answered(token, body):
                self._desk.answered(token, body)
            case Called():
                self._desk.carry_out(NAME, self._operations, event)
            case Requested():
                self._requested(event)
            case Withdrawn(request):
                self._receiving.direct.withdrawn(request)
            case PeerUp(peer):
                self._receiving.direct.peer_up(peer)
                self._soon()
            case PeerDown(peer):
                self._receiving.direct.peer_down(peer)
            case ClockJumped():
                self._sending.hurry()
                self._receiving.carriage.hurry()
        return self._end()

    def on_timer(self, now: Now) -> list[Effect]:
        """Pauses that are over."""
        self._desk.now = now
        self._desk.ring()
        return self._end()

    def next_timer(self) -> int | None:
        """The earliest alarm."""
        return self._desk.next_alarm()

    def _end(self) -> list[Effect]:
        self._grounds.sharing.flush()
        return self._desk.take()

    def _soon(self) -> None:
        """A peer came: whoever waits for a node, or for the overlay, may be lucky now."""
        if len(self._outbox) and not self._desk.has_alarm("soon"):
            self._desk.after("soon", SECOND_US, self._sending.hurry)

    def _requested(self, event: Requested) -> None:
        code = self._receiving.direct.requested(event)
        if code:
            self._desk.call("peers.conduct", Misconduct(event.peer, code), lambda _: None)

    # Commands

    def _fetch(self, _: None, request: RequestId) -> None:
        self._receiving.carriage.fetch(lambda body: self._desk.reply(request, body))

    def _arrived(self, service: str, request: RequestId) -> None:
        self._receiving.carriage.arrived(service)
        self._desk.reply(request, None)

    def _services(self, _: None, request: RequestId) -> None:
        self._desk.reply(request, self._receiving.carriage.states())

    def _carry(self, name: str, request: RequestId) -> None:
        self._receiving.carriage.carry(name, lambda body: self._desk.reply(request, body))

    def _uncarry(self, name: str, request: RequestId) -> None:
        self._receiving.carriage.uncarry(name, lambda body: self._desk.reply(request, body))

    def _opened(self, name: str, request: RequestId) -> None:
        def found(record: Record | Failure) -> None:
            if isinstance(record, Failure):
                self._desk.reply(request, record)
            else:
                self._receiving.receipts.opened(
                    record, lambda body: self._desk.reply(request, body)
                )

        self._grounds.people.find(name, found)

    def _decide(self, decided: Decide, request: RequestId) -> None:
        def found(record: Record | Failure) -> None:
            if isinstance(record, Failure):
                self._desk.reply(request, record)
                return
            try:
                after = self._grounds.people.decide(record, decided)
            except Dms3Error as error:
                self._desk.reply(request, Failure.of(error))
            else:
                self._receiving.inbox.holding.hurry()  # there may be room for one more stranger
                self._desk.reply(request, after.shown)

        people = self._grounds.people
        find = people.find_or_meet if decided.what == "verified" else people.find
        find(decided.name, found)

    def _people(self, _: None, request: RequestId) -> None:
        people = tuple(record.shown for record in self._grounds.people.all())
        self._desk.reply(request, people)

    def _change_settings(self, wanted: MailSettings | None, request: RequestId) -> None:
        if wanted is not None:
            self._apply(wanted)
            row = _Settings(1, wanted.receipts, wanted.requests)
            self._desk.persist(_SETTINGS, _ROW, encode(row))
        self._desk.reply(request, self._settings)

    def _apply(self, settings: MailSettings) -> None:
        self._settings = settings
        self._receiving.receipts.on = settings.receipts
        self._receiving.inbox.requests = settings.requests

    def _profile(self, _: None, request: RequestId) -> None:
        self._grounds.self_.when_named(
            lambda _: self._desk.reply(request, self._grounds.self_.profile())
        )

    def _met(self, _: None, request: RequestId) -> None:
        self._grounds.self_.start()
        self._sending.hurry()
        self._receiving.inbox.holding.hurry()
        self._desk.reply(request, None)

    def _rotate(self, generation: int | None, request: RequestId) -> None:
        self._grounds.keyring.rotate(generation)
        self._new_keys(request)

    def _adopt(self, wanted: AdoptSeed, request: RequestId) -> None:
        self._grounds.keyring.adopt(wanted.seed)
        self._new_keys(request)

    def _new_keys(self, request: RequestId) -> None:
        """Own services and everybody else have to know the keys; so have my other devices."""
        self._grounds.share_keys()
        self._receiving.profile_changed()
        self._desk.reply(request, self._grounds.self_.profile())

    def _refused(self, _: None, request: RequestId) -> None:
        self._desk.reply(request, self._receiving.refusals.all())

    def _repeat(self, _: None, request: RequestId) -> None:
        self._repeating.begin()
        self._desk.reply(request, None)

    def _brought(self, after: int, request: RequestId) -> None:
        self._repeating.after(after)
        self._desk.reply(request, None)

    def _introduce(self, items: tuple[Item, ...], request: RequestId) -> None:
        def merged(body: Any) -> None:
            self._grounds.share_all()  # other devices did not see the import
            self._desk.reply(request, body)

        self._receiving.merging.merge(items, merged)

    def _merge(self, items: tuple[Item, ...], request: RequestId) -> None:
        self._receiving.merging.merge(items, lambda body: self._desk.reply(request, body))
