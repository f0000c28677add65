"""Everything that all devices shall have, on its way into the storage they share.

Source: docs/architecture.md, "Conversation storage". What has no answer yet is remembered by a
small row, so that a restart asks again; asking twice is harmless. Whoever waits is told when the
item lies where all devices read it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from dms3.core.codec import decode, encode
from dms3.core.desk import Desk
from dms3.core.errors import Failure
from dms3.core.limits import (
    MAIL_DONE_MAX,
    MAIL_SHARE_AGAIN_US,
    MAIL_SHARE_ITEMS_MAX,
    MAIL_SHARES_OPEN_MAX,
    SECOND_US,
)
from dms3.core.machine import View, scan
from dms3.messaging.items import MESSAGE, Unshared, message_item, state_item
from dms3.messaging.operations import Kept, State
from dms3.storage.operations import Durable, Item

TABLE = "unshared"

Done = Callable[[], None]


class Sharing:
    """Items on their way, and who waits for each."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._rows: dict[bytes, list[Done]] = {}  # key of the row -> who waits
        self._ready: list[tuple[bytes, Item]] = []
        self._open = 0
        self._is_alone = False  # whether each item is handed over by itself
        self._again: dict[bytes, None] = {}
        self._lately: dict[bytes, None] = {}  # messages that all devices read, the oldest first

    def load(self, view: View) -> None:
        """What had no answer before the restart is asked again."""
        for key, _ in scan(view, TABLE):
            self._rows[key] = []
            self._again[key] = None
        self._view = view
        if self._again:
            self._desk.after("share", SECOND_US, self._ask_again)

    @property
    def waiting(self) -> int:
        """Items that do not lie where all devices read them."""
        return len(self._rows)

    def message(self, kept: Kept, done: Done) -> None:
        """Share a message that was kept."""
        self.item(message_item(kept), done)

    def state(self, message_hash: str, state: State) -> None:
        """Share how far a message is."""
        self.item(state_item(message_hash, state, self._desk.now_ms))

    def item(self, item: Item, done: Done | None = None) -> None:
        """Share `item`; `done` when all devices read it."""
        key = f"{item.kind}/{item.key}".encode()
        waiting = self._rows.get(key)
        if waiting is None or item.kind != MESSAGE:
            body = b"" if item.kind == MESSAGE else item.body
            self._desk.persist(TABLE, key, encode(Unshared(1, item.order_ms, body)))
        if waiting is None:
            waiting = self._rows[key] = []
            self._ready.append((key, item))
        elif item.kind != MESSAGE:
            self._ready.append((key, item))  # a newer word
        if done is not None:
            waiting.append(done)

    def was_shared(self, message_hash: str) -> bool:
        """Whether the message was written where all devices read it, lately."""
        return f"{MESSAGE}/{message_hash}".encode() in self._lately

    def flush(self) -> None:
        """Hand over what has come together; called at the end of each event."""
        while self._ready and self._open < MAIL_SHARES_OPEN_MAX:
            count = 1 if self._is_alone else MAIL_SHARE_ITEMS_MAX
            some, self._ready = self._ready[:count], self._ready[count:]
            self._append(some)
        if not self._ready and not self._again:
            self._is_alone = False

    def _append(self, some: list[tuple[bytes, Item]]) -> None:
        self._open += 1

        def answered(body: Durable | Failure) -> None:
            self._open -= 1
            if isinstance(body, Durable) and body.shared:
                for key, item in some:
                    self._shared(key, item)
                return
            if isinstance(body, Failure) and body.code == "argument_invalid":
                self._is_alone = True  # one that is wrong must not hold up the others
            if not self._again:
                self._desk.after("share", MAIL_SHARE_AGAIN_US, self._ask_again)
            self._again.update((key, None) for key, _ in some)

        self._desk.call("storage.append", tuple(item for _, item in some), answered)

    def _shared(self, key: bytes, item: Item) -> None:
        if any(other == key and each is not item for other, each in self._ready):
            return  # a newer word of it is on its way
        self._desk.delete(TABLE, key)
        if item.kind == MESSAGE:
            if len(self._lately) >= MAIL_DONE_MAX:
                del self._lately[next(iter(self._lately))]
            self._lately[key] = None
        for done in self._rows.pop(key, ()):
            done()

    def _ask_again(self) -> None:
        keys, self._again = list(self._again), {}
        for key in keys:
            data = self._view.get(TABLE, key)
            if data is None:
                self._rows.pop(key, None)
                continue
            kind, _, name = key.decode().partition("/")
            row = decode(Unshared, data)
            if kind != MESSAGE:
                self._ready.append((key, Item(kind, name, row.body, row.order_ms)))
            else:
                self._desk.call("messages.body", name, partial(self._found, key))

    def _found(self, key: bytes, body: Any) -> None:
        if isinstance(body, Kept):
            self._ready.append((key, message_item(body)))
        elif isinstance(body, Failure):
            if not self._again:
                self._desk.after("share", MAIL_SHARE_AGAIN_US, self._ask_again)
            self._again[key] = None
        else:  # it was never kept: a crash came first, and nobody was told that it is here
            self._desk.delete(TABLE, key)
            self._rows.pop(key, None)
