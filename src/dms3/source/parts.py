"""What a part of machine "source" is: operations, questions of peers, what it does at the start.

Source: docs/architecture.md, "The machine". Types only; `source.py` gives events to the parts. A
part writes its effects on the desk (`grounds.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dms3.core.desk import Operation
from dms3.core.ids import PeerId, RequestId
from dms3.core.machine import View

Question = Callable[[PeerId, Any, RequestId], None]
"""A peer's question: who, the field of AgentQuestion that it fills, where the answer goes. May
raise Dms3Error; a DecodeError is held against the peer."""


class Part:
    """Some operations and questions of the machine; each method may stay as it is here.

    Answers to a part's calls and its alarms come through the desk, `desk.call(..., then)` and
    `desk.after(...)`; an alarm's key begins with the part's name.
    """

    def operations(self) -> Mapping[str, Operation]:
        """Commands by the name behind "source."."""
        return {}

    def questions(self) -> Mapping[str, Question]:
        """Questions of peers by the name of their field in AgentQuestion."""
        return {}

    def load(self, view: View) -> None:
        """At start: read own tables, go on with what was under way."""

    def peer_up(self, peer: PeerId) -> None:
        """A connection to `peer` is open."""

    def peer_down(self, peer: PeerId) -> None:
        """The last connection to `peer` has closed."""

    def withdrawn(self, request: RequestId) -> None:
        """Whoever asked `request` no longer waits."""

    def clock_jumped(self) -> None:
        """The wall clock was set, or this machine slept."""
