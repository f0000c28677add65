"""What must hold in every run; a scenario adds what must hold in its own.

Source: docs/architecture.md, "Tests". Checkers look at nodes from outside: at what they have
committed and at what they have said. They change nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dms3.core.ids import PeerId
from dms3.core.limits import ASKS_OPEN_MAX, INBOX_EVENTS_MAX, QUESTIONS_OPEN_MAX
from dms3.core.ports import Action

if TYPE_CHECKING:
    from dms3.sim.world import SimNode, World


class ViolationError(Exception):
    """Something that must hold does not."""


class Checker:
    """Hears of what happens; a subclass overrides what it needs and raises ViolationError."""

    def touched(self, node: SimNode) -> None:
        """`node` has just handled an event."""

    def said(self, node: SimNode, action: Action) -> None:
        """`node` has just released `action` to the world."""

    def asked(self, node: SimNode, peer: PeerId, body: bytes, wire: int) -> None:
        """Question `wire` of `peer` has reached `node`."""

    def restarted(self, node: SimNode) -> None:
        """`node` is about to start again from its disk."""

    def sweep(self, world: World) -> None:
        """Look at all nodes: every so many events, and after each phase."""

    def quiet(self, world: World) -> None:
        """All faults are healed and all work is done."""


class QueuesBounded(Checker):
    """No inbox holds more than its refusable events and those owed to it."""

    def touched(self, node: SimNode) -> None:
        """Compare the node's inboxes with the bound."""
        if node.driver is None or not node.driver.waiting:
            return
        owed = ASKS_OPEN_MAX + QUESTIONS_OPEN_MAX + 2 * len(node.world.nodes)
        for name, count in node.driver.queued().items():
            if count > INBOX_EVENTS_MAX + owed:
                raise ViolationError(f"node {node.index}: {count} events in the inbox of {name}")


class EventsGapFree(Checker):
    """Ids of stored events rise by one, whatever crashed."""

    def sweep(self, world: World) -> None:
        """Look at the newest events of every disk."""
        for node in world.nodes:
            ids = [event.id for event in node.disk.events]
            if ids and ids != list(range(ids[0], ids[0] + len(ids))):
                raise ViolationError(f"node {node.index}: stored events have a gap")
