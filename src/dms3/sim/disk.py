"""A node's disk in memory: what it has committed survives a crash, what it has not is gone.

Source: docs/architecture.md, "The driver" (torn writes). A transaction is applied wholly or not at
all, as the real store guarantees; the world decides when, and which of the two at a crash.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence

from dms3.core.database import StoredEvent
from dms3.core.limits import EVENTS_KEPT_MAX
from dms3.core.machine import Persist
from dms3.core.ports import Transaction


class Disk:
    """Committed tables and events of one node; a `View` by stored table name."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[bytes, bytes]] = {}
        self._sorted: dict[str, list[bytes]] = {}  # keys in order, of tables read in order
        self.events: deque[StoredEvent] = deque(maxlen=EVENTS_KEPT_MAX)
        self.commits = 0

    def copy(self) -> Disk:
        """What is committed now, to be put back later."""
        other = Disk()
        other._tables = {name: dict(rows) for name, rows in self._tables.items()}
        other.events.extend(self.events)
        other.commits = self.commits
        return other

    @property
    def last_event(self) -> int:
        """The id of the newest stored event, or 0."""
        return self.events[-1].id if self.events else 0

    def apply(self, transaction: Transaction) -> None:
        """Make a transaction durable."""
        self.commits += 1
        for write in transaction.writes:
            table = self._tables.setdefault(write.table, {})
            if isinstance(write, Persist):
                if write.key not in table and write.table in self._sorted:
                    insort(self._sorted[write.table], write.key)
                table[write.key] = write.value
            elif table.pop(write.key, None) is not None and write.table in self._sorted:
                keys = self._sorted[write.table]
                del keys[bisect_left(keys, write.key)]
        for event in transaction.events:
            assert event.id == self.last_event + 1, "event ids have a gap"
            self.events.append(event)

    def fill(self, table: str, rows: dict[bytes, bytes]) -> None:
        """Make `rows` all of stored table `table`: what a node finds at its first start."""
        self._tables[table] = rows
        self._sorted.pop(table, None)

    def get(self, table: str, key: bytes) -> bytes | None:
        """The committed value under `key`, or None."""
        rows = self._tables.get(table)
        return None if rows is None else rows.get(key)

    def range(self, table: str, start: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """At most `limit` committed pairs with key >= `start`, in order of key bytes."""
        rows = self._tables.get(table)
        if not rows:
            return []
        keys = self._sorted.get(table)
        if keys is None:
            keys = self._sorted[table] = sorted(rows)
        first = bisect_left(keys, start)
        return [(key, rows[key]) for key in keys[first : first + limit]]

    def tables_with(self, text: bytes) -> list[str]:
        """The tables that hold `text` in a key or a value, in order."""
        return sorted(
            name
            for name, rows in self._tables.items()
            if any(text in key or text in value for key, value in rows.items())
        )

    def table(self, name: str) -> dict[bytes, bytes]:
        """All of a stored table, for checkers; not to be changed."""
        return self._tables.get(name, {})
