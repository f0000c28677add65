"""A mailbox that only keeps: what scenario "devices" has in place of messages.

Source: docs/simulator.md, "The scenario devices". It does what machine "storage" asks of machine
"mailbox", with rows that a checker can read. It knows nothing of people or delivery services.
"""

# ruff: noqa: ARG002 - it needs no time at a start; the shape is that of core/machine.py
from __future__ import annotations

from dms3.core.errors import Failure
from dms3.core.ids import Token
from dms3.core.limits import SECOND_US
from dms3.core.machine import Answered, Call, Called, Effect, Event, Now, Persist, Reply, View, scan
from dms3.storage.operations import Durable, Item

ITEMS = "items"
OPEN, SETTLED = b"open", b"settled"
_AT_ONCE_MAX = 64
_KIND = "message"


class SimMailbox:
    """Operations: `write` (a key): an item of this device; and those that "storage" asks for.

    A row says whether its item is to be appended still (OPEN) or is known to lie where all devices
    read (SETTLED).
    """

    def __init__(self) -> None:
        self._open: dict[str, None] = {}
        self._all: dict[str, None] = {}
        self._asked: dict[Token, tuple[str, ...]] = {}
        self._count = 0
        self._due_us: int | None = None

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Append again what is not settled."""
        for key, state in scan(view, ITEMS):
            self._all[key.decode()] = None
            if state == OPEN:
                self._open[key.decode()] = None
        return self._append()

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """A command, a wish of "storage", or its answer."""
        if isinstance(event, Answered):
            return self._answered(event, now)
        if not isinstance(event, Called):
            return []
        effects: list[Effect] = []
        if event.operation == "write":
            self._open[event.arguments] = self._all[event.arguments] = None
            effects = [Persist(ITEMS, event.arguments.encode(), OPEN)]
        elif event.operation == "merge":
            items: tuple[Item, ...] = event.arguments
            fresh = [item.key for item in items if item.key not in self._all]
            self._all |= dict.fromkeys(fresh)
            effects = [Persist(ITEMS, key.encode(), SETTLED) for key in fresh]
        elif event.operation == "repeat":
            self._open |= self._all
            effects = [Persist(ITEMS, key.encode(), OPEN) for key in self._all]
        return [*effects, Reply(event.request, None), *self._append()]

    def on_timer(self, now: Now) -> list[Effect]:
        """Try again."""
        self._due_us = None
        return self._append()

    def next_timer(self) -> int | None:
        """When to try again."""
        return self._due_us

    def _append(self) -> list[Effect]:
        """Ask for what is open, a few items at once."""
        if self._asked or not self._open:
            return []
        keys = tuple(self._open)[:_AT_ONCE_MAX]
        self._count += 1
        token = Token(f"append:{self._count}")
        self._asked[token] = keys
        items = tuple(Item(_KIND, key, key.encode(), int(key)) for key in keys)
        return [Call("storage.append", items, token)]

    def _answered(self, event: Answered, now: Now) -> list[Effect]:
        keys = self._asked.pop(event.token)
        if isinstance(event.body, Failure) or not event.body.shared:
            self._due_us = now.mono_us + SECOND_US
            return []
        assert isinstance(event.body, Durable), "storage.append answers Durable"
        for key in keys:
            self._open.pop(key, None)
        return [*(Persist(ITEMS, key.encode(), SETTLED) for key in keys), *self._append()]
