"""What other devices of this person did: a set of messages, the furthest states, the newest words.

Source: docs/architecture.md, "Conversation storage". The result is the same whatever comes first:
messages are a union by hash, states a maximum, people and carriers are joined by when they changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from dms3.core.codec import decode, encode
from dms3.core.desk import Desk
from dms3.core.errors import DecodeError, Failure
from dms3.core.limits import MAIL_EARLY_MAX
from dms3.core.machine import View, scan
from dms3.messaging.carriers import Carrier, Carriers
from dms3.messaging.inbox import SHOWN
from dms3.messaging.items import (
    CARRIER,
    KEYS,
    MESSAGE,
    PERSON,
    STATE,
    StateItem,
    read_message_item,
    read_state_item,
)
from dms3.messaging.keyring import Keyring, Keys
from dms3.messaging.operations import Kept, Mark, State
from dms3.messaging.people import People, Record
from dms3.storage.operations import Item

TABLE = "early"


class Merging:
    """Takes items; `keys_changed` is told when another device made other keys current.

    A state whose message is not here yet waits in table "early".
    """

    def __init__(self, desk: Desk, people: People, carriers: Carriers, keyring: Keyring) -> None:
        self._desk = desk
        self._people = people
        self._carriers = carriers
        self._keyring = keyring
        self._early: dict[bytes, State] = {}  # the oldest first
        self.keys_changed: Callable[[], None] = lambda: None

    def load(self, view: View) -> None:
        """Read the table."""
        for key, data in scan(view, TABLE):
            self._early[key] = State(decode(StateItem, data).state)

    def merge(self, items: Sequence[Item], then: Callable[[Failure | None], None]) -> None:
        """Take `items`; `then` when they are kept.

        What cannot be read is passed over: newer programs may write what this one does not know.
        """
        for item in items:
            if item.kind == PERSON:
                self._about(item)
        messages, states = self._read(items)
        if not messages:
            self._mark(states, then)
            return

        def kept(body: tuple[bool, ...] | Failure) -> None:
            if isinstance(body, Failure):
                then(body)
                return
            for one, new in zip(messages, body, strict=True):
                if new:
                    self._tell(one)
            early = [(one.hash, self._take_early(one.hash)) for one in messages]
            known = [(key, state) for key, state in early if state is not None]
            self._mark([*known, *states], then)

        self._desk.call("messages.keep", tuple(messages), kept)

    def _read(self, items: Sequence[Item]) -> tuple[list[Kept], list[tuple[str, State]]]:
        """The messages and states among `items`."""
        messages: list[Kept] = []
        states: list[tuple[str, State]] = []
        for item in items:
            try:
                if item.kind == MESSAGE:
                    messages.append(self._local(read_message_item(item)))
                elif item.kind == STATE:
                    states.append(read_state_item(item))
            except DecodeError:
                continue
        return messages, states

    def _tell(self, one: Kept) -> None:
        """People and programs, of what another device received or wrote."""
        if one.type not in SHOWN:
            about = one.reference or one.hash
            self._desk.notify("message.changed", hash=about, person=one.person)
        elif one.mine:
            self._desk.notify("message.changed", hash=one.hash, person=one.person)
        else:
            record = self._people.get(one.person)
            name = record.names[0] if record is not None else one.sender
            self._desk.notify("message.new", hash=one.hash, person=one.person, name=name)

    def _local(self, kept: Kept) -> Kept:
        """The same person may have another id here: a device calls people as it met them first."""
        record = self._people.named(kept.person)
        if record is None and not kept.mine:
            record = self._people.named(kept.sender)
        return kept if record is None else replace(kept, person=record.id)

    def _mark(
        self, states: list[tuple[str, State]], then: Callable[[Failure | None], None]
    ) -> None:
        left = len(states)
        if not left:
            then(None)
            return
        failed: list[Failure] = []

        def one_over() -> None:
            nonlocal left
            left -= 1
            if not left:
                then(failed[0] if failed else None)

        for message_hash, state in states:
            self._mark_one(message_hash, state, failed, one_over)

    def _mark_one(
        self, message_hash: str, state: State, failed: list[Failure], over: Callable[[], None]
    ) -> None:
        def marked(body: Any) -> None:
            if isinstance(body, Failure):
                failed.append(body)
            over()

        def found(body: Kept | Failure | None) -> None:
            if isinstance(body, Kept):
                self._desk.call("messages.mark", Mark(message_hash, state), marked)
            elif body is None:
                self._keep_early(message_hash, state)
                over()
            else:
                failed.append(body)
                over()

        self._desk.call("messages.body", message_hash, found)

    def _keep_early(self, message_hash: str, state: State) -> None:
        """The furthest state counts; beyond the bound the oldest is forgotten."""
        key = message_hash.encode()
        before = self._early.get(key)
        if before is not None and _RANK[before] >= _RANK[state]:
            return
        if before is None and len(self._early) >= MAIL_EARLY_MAX:
            oldest = next(iter(self._early))
            del self._early[oldest]
            self._desk.delete(TABLE, oldest)
        self._early[key] = state
        self._desk.persist(TABLE, key, encode(StateItem(1, state.value)))

    def _take_early(self, message_hash: str) -> State | None:
        state = self._early.pop(message_hash.encode(), None)
        if state is not None:
            self._desk.delete(TABLE, message_hash.encode())
        return state

    def _about(self, item: Item) -> None:
        """People, and what is about me: carriers and keys."""
        try:
            if item.key == KEYS:
                if self._keyring.merge(decode(Keys, item.body)):
                    self.keys_changed()
            elif item.key.startswith(CARRIER):
                self._carriers.merge(decode(Carrier, item.body))
            else:
                self._people.merge(decode(Record, item.body))
        except DecodeError:
            return


_RANK = {state: rank for rank, state in enumerate(
    (State.HELD, State.HALTED, State.QUEUED, State.RECEIVED, State.FAILED, State.SENT,
     State.DELIVERED, State.READ)
)}  # fmt: skip
