"""Bounded queues of events, one per machine, and what happens to an event that finds one full.

Source: docs/architecture.md, "The machine" (every inbox is bounded). Answers, withdrawals and
connection changes are owed to the machine and always enter: their number is bounded by the open
questions and connections they belong to. Does not run machines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from dms3.core.machine import Event, Machine, Received


class Overflow(StrEnum):
    """What happens to a one-way message of a protocol when its machine's inbox is full."""

    DROP_OLDEST = "drop_oldest"  # gossip: newer news is better news
    HOLD = "hold"  # votes: never dropped; whoever offers it keeps it and offers it again


@dataclass(frozen=True, slots=True)
class Hosted:
    """A machine with its name (also its port name) and the protocols that it answers for.

    A question that finds the inbox full is refused (Failure `limit_reached`, retry later) in every
    protocol; `protocols` says what happens to one-way messages.
    """

    name: str
    machine: Machine
    protocols: Mapping[str, Overflow] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Arrived:
    """An answer in an inbox: it becomes `Answered` when it is still wanted at its turn."""

    handle: int
    body: Any


class Inbox:
    """A queue of at most `limit` refusable events, plus those that are owed."""

    def __init__(self, limit: int) -> None:
        assert limit > 0, "an inbox without room"
        self._limit = limit
        self._events: deque[Event | Arrived] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._events)

    def pop(self) -> Event | Arrived:
        """The oldest event."""
        return self._events.popleft()

    def push(self, event: Event | Arrived) -> None:
        """Queue an event that is owed to the machine."""
        self._events.append(event)

    @property
    def has_room(self) -> bool:
        """Whether a refusable event may enter."""
        return len(self._events) < self._limit

    def offer(self, event: Event) -> bool:
        """Queue `event` if there is room; False when there is none."""
        if not self.has_room:
            return False
        self._events.append(event)
        return True

    def offer_newest(self, event: Received, policies: Mapping[str, Overflow]) -> None:
        """Queue gossip; when full, the oldest gossip goes (or `event`, if there is no other)."""
        if not self.has_room:
            self.dropped += 1
            if not self._drop_oldest(policies):
                return
        self._events.append(event)

    def _drop_oldest(self, policies: Mapping[str, Overflow]) -> bool:
        for index, event in enumerate(self._events):
            if type(event) is Received and policies[event.protocol] is Overflow.DROP_OLDEST:
                del self._events[index]
                return True
        return False
