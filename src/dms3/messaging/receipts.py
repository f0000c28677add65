"""Receipts: what tells a sender that a message came and was read, both ways.

Source: dm3 reference (READ_RECEIVED, READ_OPENED). Strangers get none, and a setting turns them
off. A receipt of another counts for a message of mine to that very person, and for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from dms3.core.desk import Desk
from dms3.core.errors import Failure
from dms3.dm3.message import Message, MessageType
from dms3.messaging.operations import Kept, Mark, State
from dms3.messaging.people import CONTACT, People, Record
from dms3.messaging.sharing import Sharing

RECEIPTS = {
    MessageType.READ_RECEIVED: State.DELIVERED,
    MessageType.READ_OPENED: State.READ,
    MessageType.READ_RECEIPT: State.READ,
}
_TOLD = (MessageType.NEW, MessageType.EDIT, MessageType.REPLY)

Say = Callable[[Record, str, MessageType, str], None]
"""Sends a receipt: to whom, under which name, which kind, about which message."""


class Receipts:
    """`say` is set by the machine: it puts a receipt into the outbox."""

    def __init__(self, desk: Desk, people: People, sharing: Sharing) -> None:
        self._desk = desk
        self._people = people
        self._sharing = sharing
        self.say: Say = lambda *_: None
        self.on = True

    def received(self, kept: Kept, record: Record) -> None:
        """A message came: tell its sender."""
        if self.on and record.standing == CONTACT and kept.type in _TOLD and not kept.mine:
            self.say(record, kept.sender, MessageType.READ_RECEIVED, kept.hash)

    def opened(self, record: Record, then: Callable[[int | Failure], None]) -> None:
        """The messages of this person are on a screen: mark them read, tell the sender."""

        def unread(body: tuple[str, ...] | Failure) -> None:
            if isinstance(body, Failure):
                then(body)
                return
            waiting = set(body)

            def marked(message_hash: str, _answer: Any) -> None:
                waiting.discard(message_hash)
                if not waiting:
                    then(len(body))  # whoever asks again now finds them read

            for message_hash in body:
                mark = Mark(message_hash, State.READ)
                self._desk.call("messages.mark", mark, partial(marked, message_hash))
                self._sharing.state(message_hash, State.READ)
                if self.on and record.standing == CONTACT:
                    self._tell_opened(record, message_hash)
            if not body:
                then(0)

        self._desk.call("messages.unread", record.id, unread)

    def _tell_opened(self, record: Record, message_hash: str) -> None:
        def found(body: Kept | Failure | None) -> None:
            if isinstance(body, Kept):
                self.say(record, body.sender, MessageType.READ_OPENED, message_hash)

        self._desk.call("messages.body", message_hash, found)

    def take(
        self, message: Message, record: Record, then: Callable[[Failure | None], None]
    ) -> None:
        """A receipt of this person, verified; `then`: it is durable, or why it is not."""
        wanted = message.reference or ""
        state = RECEIPTS[message.type]

        def found(body: Kept | Failure | None) -> None:
            if isinstance(body, Failure):
                then(body)
            elif body is None or not body.mine or body.person != record.id:
                then(None)  # about nothing of mine: it has no effect
            else:
                self._desk.call("messages.mark", Mark(wanted, state), marked)

        def marked(body: Any) -> None:
            if isinstance(body, Failure):
                then(body)
                return
            self._sharing.state(wanted, state)
            self._desk.notify(
                "message.state", hash=wanted, person=record.id, state=state.value,
                problem="", retry_us=0,
            )  # fmt: skip
            then(None)

        self._desk.call("messages.body", wanted, found)
