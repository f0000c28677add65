"""Telling storage everything again, when what lay there is lost or left behind, or was imported.

Source: docs/architecture.md, "Conversation storage". A row remembers how far it is, so that it goes
on after a restart; what is appended twice is one thing.
"""

from __future__ import annotations

from typing import Any

from dms3.core.errors import Failure
from dms3.core.limits import MAIL_REPEAT_REST_US, MAIL_REPEAT_WAITING_MAX, MAIL_SHARE_AGAIN_US
from dms3.core.machine import View
from dms3.messaging.grounds import Grounds

TABLE = "repeat"
_ROW = b"after"
_NUMBER_BYTES = 8
_ALARM = "repeat"


class Repeating:
    """Goes through all messages in the order of their numbers."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._desk = grounds.desk
        self._after: int | None = None
        self._has_more = False

    def load(self, view: View) -> None:
        """Go on where it was."""
        data = view.get(TABLE, _ROW)
        if data is not None:
            self._after = int.from_bytes(data, "big")
            self._go_on()

    def begin(self) -> None:
        """From the first message on; what is about people and about me at once."""
        self._grounds.share_all()
        self._move(0)
        self._go_on()

    def after(self, number: int) -> None:
        """The messages that came after `number`, too: an import keeps them without telling."""
        if self._after is None:
            self._move(number)
            self._go_on()
        else:
            self._has_more = True  # what is asked for just now may not have them yet

    def _go_on(self) -> None:
        if self._after is None:
            return
        if self._grounds.sharing.waiting > MAIL_REPEAT_WAITING_MAX:
            self._desk.after(_ALARM, MAIL_REPEAT_REST_US, self._go_on)
            return

        def found(body: Any) -> None:
            if isinstance(body, Failure):
                self._desk.after(_ALARM, MAIL_SHARE_AGAIN_US, self._go_on)
                return
            for number, kept in body:
                self._grounds.sharing.message(kept, lambda: None)
                self._move(number)
            if body or self._has_more:
                self._has_more = False
                self._desk.after(_ALARM, MAIL_REPEAT_REST_US, self._go_on)
            else:
                self._after = None
                self._desk.delete(TABLE, _ROW)

        self._desk.call("messages.everything", self._after, found)

    def _move(self, after: int) -> None:
        self._after = after
        self._desk.persist(TABLE, _ROW, after.to_bytes(_NUMBER_BYTES, "big"))
