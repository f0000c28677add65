"""What a machine of a bare world does, counted: its messages, their bytes, and its events.

Source: docs/growth.md, "Work of a node". A scale stands before the production machine and changes
nothing. Counts only, so that they are the same on every computer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dms3.core.machine import (
    Answered,
    Effect,
    Event,
    Machine,
    Now,
    PeerUp,
    Reply,
    Request,
    Requested,
    View,
)
from dms3.sim.measures import mean, quantile


@dataclass(slots=True)
class Work:
    """Of one node: `messages` in and out, their `bytes`, connections opened, events handled."""

    messages: int = 0
    bytes: int = 0
    connections: int = 0
    events: int = 0


class Scale:
    """Stands before `machine`, and writes down its `work`."""

    def __init__(self, machine: Machine, work: Work) -> None:
        self._machine = machine
        self._work = work

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """As the machine."""
        return self._weigh(self._machine.on_start(view, now))

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """As the machine."""
        if isinstance(event, Requested) or (
            isinstance(event, Answered) and isinstance(event.body, bytes)
        ):
            self._work.messages += 1
            self._work.bytes += len(event.body)
        elif isinstance(event, PeerUp):
            self._work.connections += 1
        return self._weigh(self._machine.on_event(event, now))

    def on_timer(self, now: Now) -> list[Effect]:
        """As the machine."""
        return self._weigh(self._machine.on_timer(now))

    def next_timer(self) -> int | None:
        """As the machine."""
        return self._machine.next_timer()

    def _weigh(self, effects: list[Effect]) -> list[Effect]:
        self._work.events += 1
        for effect in effects:
            if isinstance(effect, Request | Reply) and isinstance(effect.body, bytes):
                self._work.messages += 1
                self._work.bytes += len(effect.body)
        return effects


def figures(works: Sequence[Work]) -> dict[str, float]:
    """Means of what nodes did, and what 99 of 100 did at most."""
    messages, sizes = [work.messages for work in works], [work.bytes for work in works]
    return {
        "work_messages_mean": round(mean(messages), 1),
        "work_messages_p99": quantile(messages, 0.99),
        "work_bytes_mean": round(mean(sizes)),
        "work_bytes_p99": quantile(sizes, 0.99),
        "work_connections_mean": round(mean([work.connections for work in works]), 1),
        "work_events_mean": round(mean([work.events for work in works]), 1),
    }
