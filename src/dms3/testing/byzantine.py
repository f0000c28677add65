"""Nodes that do not keep to the rules: what they say is changed on its way out of their machines.

Source: docs/testing.md, "Nodes that lie"; docs/attacks.md. The machines are those of honest nodes;
a mask before each says otherwise.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

from dms3.core.errors import Dms3Error
from dms3.core.ids import RequestId
from dms3.core.machine import (
    Called,
    Effect,
    Event,
    Machine,
    Now,
    Reply,
    Requested,
    View,
    Withdrawn,
)
from dms3.core.verdict import Valid

Way = Literal["", "skips_own_rules", "forks", "alters_answers", "silent"]
WAYS: tuple[str, ...] = get_args(Way)[1:]

MASKED = ("source", "validation")
"""Machines whose answers are changed."""


def way_of(text: str) -> Way:
    """`text` when nodes can lie so; raises `argument_invalid`."""
    if text not in WAYS:
        hint = ", ".join(WAYS) + "."
        raise Dms3Error("argument_invalid", f"No node lies so: {text!r}.", hint=hint)
    return cast("Way", text)


class Conduct:
    """How one node behaves now; "" is honest. It outlives crashes."""

    def __init__(self) -> None:
        self.way: Way = ""


class Mask:
    """Implements Machine: `machine`, as `conduct` makes it look to others."""

    def __init__(self, machine: Machine, conduct: Conduct) -> None:
        self._machine = machine
        self._conduct = conduct
        self._asked: dict[RequestId, None] = {}  # questions of peers

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """As the machine."""
        return self._machine.on_start(view, now)

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """As the machine, but for what is changed."""
        if isinstance(event, Requested):
            self._asked[event.request] = None
        elif isinstance(event, Withdrawn):
            self._asked.pop(event.request, None)
        if (
            self._conduct.way == "skips_own_rules"
            and isinstance(event, Called)
            and event.operation == "judge"
        ):
            return [Reply(event.request, Valid())]
        return self._changed(self._machine.on_event(event, now))

    def on_timer(self, now: Now) -> list[Effect]:
        """As the machine, but for what is changed."""
        return self._changed(self._machine.on_timer(now))

    def next_timer(self) -> int | None:
        """As the machine."""
        return self._machine.next_timer()

    def _changed(self, effects: list[Effect]) -> list[Effect]:
        said: list[Effect] = []
        for effect in effects:
            if not isinstance(effect, Reply) or effect.request not in self._asked:
                said.append(effect)
                continue
            del self._asked[effect.request]
            if self._conduct.way == "alters_answers" and isinstance(effect.body, bytes):
                said.append(Reply(effect.request, _altered(effect.body)))
            elif self._conduct.way != "silent":
                said.append(effect)
        return said


def _altered(body: bytes) -> bytes:
    """One bit of the middle is another."""
    middle = len(body) // 2
    return body[:middle] + bytes((body[middle] ^ 1,)) + body[middle + 1 :] if body else body
