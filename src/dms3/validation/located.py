"""Where the ops that are held lie: a tree of counts and sums per overlay, for comparing.

Source: `core/reconcile.py`. It follows from the rows and is kept in memory alone: after the start
it is made from them in slices, so nobody waits for it, and what comes or goes meanwhile is in it.
Only ops with a verdict that others are told are in it: what is pending here is judged first.
"""

from __future__ import annotations

from dms3.core.codec import decode
from dms3.core.ids import OverlayId
from dms3.core.limits import LOCATED_SLICE_ROWS
from dms3.core.overlay import location
from dms3.core.reconcile import Tree, place_of
from dms3.validation.rows import ACTIONS, OPS, ActionRow, OpRow, Rows

SHOWN = ("integrated", "rejected")
"""States of actions whose ops are told to others, the rejected as evidence."""


class Located:
    """The trees of all overlays that are open; `rows` is what is held."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._trees: dict[OverlayId, Tree] = {}
        self._next: dict[OverlayId, bytes] = {}  # where the next slice of rows begins

    def open(self, overlay: OverlayId) -> None:
        """Begin the tree of an overlay; `step` makes it."""
        self._trees[overlay] = Tree()
        self._next[overlay] = overlay

    def shut(self, overlay: OverlayId) -> None:
        """Nothing of this overlay is compared any more."""
        self._trees.pop(overlay, None)
        self._next.pop(overlay, None)

    def tree(self, overlay: OverlayId) -> Tree | None:
        """Its tree, None as long as it is not whole."""
        return None if overlay in self._next else self._trees.get(overlay)

    def step(self, overlay: OverlayId) -> bool:
        """Read one slice of rows; whether the tree is whole now."""
        start = self._next.get(overlay)
        if start is None:
            return overlay in self._trees
        rows = self._rows.range(OPS, start, LOCATED_SLICE_ROWS)
        for key, data in rows:
            if not key.startswith(overlay):
                break
            row = decode(OpRow, data)
            if self._state(overlay, row.action) in SHOWN:
                self.add(overlay, key[len(overlay) :], row.basis)
        else:
            if len(rows) == LOCATED_SLICE_ROWS:
                self._next[overlay] = rows[-1][0] + b"\0"
                return False
        del self._next[overlay]
        return True

    def add(self, overlay: OverlayId, op_id: bytes, basis: bytes) -> None:
        """An op is held, and its action has a verdict that others are told."""
        tree = self._trees.get(overlay)
        if tree is not None:
            tree.add(place_of(location(basis), op_id))

    def drop(self, overlay: OverlayId, op_id: bytes, basis: bytes) -> None:
        """An op is held no longer."""
        tree = self._trees.get(overlay)
        if tree is not None:
            tree.remove(place_of(location(basis), op_id))

    def _state(self, overlay: OverlayId, action: bytes) -> str:
        data = self._rows.get(ACTIONS, overlay + action)
        return "" if data is None else decode(ActionRow, data).state
