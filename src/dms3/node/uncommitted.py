"""Committed state seen through a machine's own uncommitted writes.

Source: docs/architecture.md, "The machine" (the injected view). Tables are namespaced here: a
machine reads and writes "MACHINE/TABLE" and cannot name another's. Nothing is written to disk.
Rows that were read or written lately are remembered: nobody else writes the state of a machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from dms3.core.limits import VIEW_ROW_BYTES_KNOWN_MAX, VIEW_ROWS_KNOWN_MAX
from dms3.core.machine import View


class Uncommitted:
    """One machine's `View`: what it wrote in transactions not yet durable lies over `committed`.

    Arguments: `committed`, the store's state; `name`, the machine's name.
    """

    def __init__(self, committed: View, name: str) -> None:
        self._committed = committed
        self._prefix = name + "/"
        self._names: dict[str, str] = {}  # table -> stored table: as many as the machine names
        # stored table -> key -> (value or None for a deletion, number of its transaction)
        self._pending: dict[str, dict[bytes, tuple[bytes | None, int]]] = {}
        self._known: dict[tuple[str, bytes], bytes | None] = {}  # committed rows, oldest first

    def stored_name(self, table: str) -> str:
        """The name under which the store keeps `table` of this machine."""
        stored = self._names.get(table)
        if stored is None:
            stored = self._names[table] = self._prefix + table
        return stored

    def write(self, stored: str, key: bytes, value: bytes | None, group: int) -> None:
        """Note a write (None: a deletion) to stored table `stored` in transaction `group`."""
        self._pending.setdefault(stored, {})[key] = (value, group)

    def settle(self, stored: str, key: bytes, group: int) -> None:
        """The write of `key` in transaction `group` is durable: the store answers for it now."""
        rows = self._pending[stored]
        value, newest = rows[key]
        if newest == group:  # else a later transaction has written it again
            del rows[key]
            self._know((stored, key), value)

    def get(self, table: str, key: bytes) -> bytes | None:
        """The newest value under `key`, or None."""
        stored = self.stored_name(table)
        rows = self._pending.get(stored)
        if rows and key in rows:
            return rows[key][0]
        place = (stored, key)
        known = self._known
        if place in known:
            return known[place]
        value = self._committed.get(stored, key)
        self._know(place, value)
        return value

    def range(self, table: str, start: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """At most `limit` newest pairs with key >= `start`, in order of key bytes."""
        stored = self.stored_name(table)
        rows = self._pending.get(stored)
        if not rows:
            return self._committed.range(stored, start, limit)
        over = {key: value for key, (value, _) in rows.items() if key >= start}
        # Deletions may hide that many committed rows, so that many more are read.
        hidden = sum(value is None for value in over.values())
        merged = dict(self._committed.range(stored, start, limit + hidden))
        for key, value in over.items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = value
        return sorted(merged.items())[:limit]

    def _know(self, place: tuple[str, bytes], value: bytes | None) -> None:
        """Remember what the store holds at `place`; None: that it holds nothing there."""
        known = self._known
        known.pop(place, None)
        if value is None or len(value) <= VIEW_ROW_BYTES_KNOWN_MAX:
            if len(known) >= VIEW_ROWS_KNOWN_MAX:
                del known[next(iter(known))]
            known[place] = value
