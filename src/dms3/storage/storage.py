"""Machine "storage": conversations of one person, in any place, shared by several devices.

Source: docs/architecture.md, "Conversation storage"; docs/adr/0008-conversation-storage.md. Works
(`storage/work.py`) append, read, move and tidy side by side; each goes on from what was committed.
It speaks to no peer and knows no kind of place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dms3.core.errors import Dms3Error, Failure
from dms3.core.machine import (
    Answered,
    Called,
    ClockJumped,
    Effect,
    Entropy,
    Event,
    Now,
    View,
)
from dms3.crypto.keys import KeyTree
from dms3.storage.appending import Appending
from dms3.storage.book import Book
from dms3.storage.devices import Devices
from dms3.storage.keeping import Keeping
from dms3.storage.leaving import Leaving
from dms3.storage.moving import Moving
from dms3.storage.operations import StorageState
from dms3.storage.reading import Reading

NAME = "storage"


class Storage:
    """The machine; `storage/operations.py` lists its operations.

    Arguments: `tree`, the person's keys; `device`, 16 random bytes of this home; `name`, of this
    device for people.
    """

    def __init__(self, tree: KeyTree, device: bytes, name: str, entropy: Entropy) -> None:
        self._book = Book(tree, device, name, entropy)
        self._works = self._book.works
        self._devices = Devices(self._book)
        self._appending = Appending(self._book, self._devices)
        self._reading = Reading(self._book, self._devices)
        self._leaving = Leaving(self._book, self._devices)
        parts = (self._appending, self._reading, self._leaving)
        self._moving = Moving(self._book, self._devices, *parts, self._state)
        self._keeping = Keeping(self._book, self._appending, self._leaving)

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Read the rows, and go on."""
        self._works.now = now
        self._book.load(view)
        self._devices.load()
        for name, part in (
            ("move", self._moving),
            ("append", self._appending),
            ("read", self._reading),
            ("keep", self._keeping),
        ):
            self._works.start(name, part.work())
        return self._works.run()

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Commands and answers."""
        self._works.now = now
        if isinstance(event, Called):
            self._called(event)
        elif isinstance(event, Answered):
            self._works.answered(event.token, event.body)
        elif isinstance(event, ClockJumped):
            self._reading.look_now()
        return self._works.run()

    def on_timer(self, now: Now) -> list[Effect]:
        """Pauses that are over."""
        self._works.now = now
        return self._works.run()

    def next_timer(self) -> int | None:
        """The end of the first pause."""
        return self._works.next_timer()

    # Commands

    def _called(self, event: Called) -> None:
        operations: dict[str, Callable[[Called], None]] = {
            "append": self._append,
            "chosen": self._chosen,
            "choose": lambda event: self._moving.choose(event.arguments, event.request),
            "leave": lambda event: self._moving.leave(event.arguments, event.request),
            "devices": lambda event: self._book.reply(event.request, self._devices.shown()),
            "remove_device": self._remove,
            "earlier": self._earlier,
            "look": self._look,
        }
        operation = operations.get(event.operation)
        if operation is None:
            message = f"storage has no operation {event.operation!r}."
            self._book.reply(event.request, Failure("method_unknown", message))
            return
        try:
            operation(event)
        except Dms3Error as error:
            self._book.reply(event.request, Failure.of(error))

    def _append(self, event: Called) -> None:
        self._appending.append(event)
        self._reading.hurry()

    def _chosen(self, event: Called) -> None:
        self._book.reply(event.request, self._state())

    def _remove(self, event: Called) -> None:
        text = event.arguments
        try:
            device = bytes.fromhex(text)
        except ValueError as error:
            message = f"{text[:64]!r} is not the id of a device."
            raise Dms3Error("argument_invalid", message) from error
        self._moving.remove(device, event.request)

    def _earlier(self, event: Called) -> None:
        problem = self._book.problem_text
        if not self._book.joined and problem:
            raise Dms3Error("content_unavailable", problem)
        self._reading.earlier(event.arguments, event.request)

    def _look(self, event: Called) -> None:
        self._reading.look_now()
        self._book.reply(event.request, None)

    def _state(self) -> Any:
        book = self._book
        heads = [book.head, *(each.head for each in self._devices.all() if each.head is not None)]
        return StorageState(
            place=book.state.place.place,
            items=sum(head.items for head in heads),
            bytes=sum(head.size for head in heads),
            pending=self._appending.pending,
            problem=book.problem_text,
            moving=book.moving,
        )
