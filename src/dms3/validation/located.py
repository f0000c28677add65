"""Where the ops that are held lie: a tree of counts and sums per overlay, for comparing.

Source: `core/reconcile.py`. It follows from the rows and is kept in memory alone: after the start
it is made from them in slices, so nobody waits for it, and what comes or goes meanwhile is in it.
Only ops with a verdict that others are told are in it: what is pending here is judged first. Which
actions have one is read before, in the order of their keys: to look one up for each op costs most.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.codec import pick
from dms3.core.ids import OverlayId
from dms3.core.limits import LOCATED_KNOWN_MAX, LOCATED_SLICE_ROWS
from dms3.core.overlay import location
from dms3.core.reconcile import Tree, place_of
from dms3.validation.rows import ACTIONS, OPS, ActionRow, OpRow, Rows

SHOWN = ("integrated", "rejected")
"""States of actions whose ops are told to others, the rejected as evidence."""


@dataclass(slots=True, eq=False)
class _Reading:
    """How far the rows are read: `shown`, actions with such a verdict, then all ops."""

    next: bytes
    shown: set[bytes] = field(default_factory=set)  # none is taken back before the tree is whole
    has_actions: bool = False


class Located:
    """The trees of all overlays that are open; `rows` is what is held."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._trees: dict[OverlayId, Tree] = {}
        self._readings: dict[OverlayId, _Reading] = {}  # of trees that are not whole

    def open(self, overlay: OverlayId) -> None:
        """Begin the tree of an overlay; `step` makes it."""
        self._trees[overlay] = Tree()
        self._readings[overlay] = _Reading(overlay)

    def shut(self, overlay: OverlayId) -> None:
        """Nothing of this overlay is compared any more."""
        self._trees.pop(overlay, None)
        self._readings.pop(overlay, None)

    def tree(self, overlay: OverlayId) -> Tree | None:
        """Its tree, None as long as it is not whole."""
        return None if overlay in self._readings else self._trees.get(overlay)

    def step(self, overlay: OverlayId) -> bool:
        """Read one slice of rows; whether the tree is whole now."""
        reading = self._readings.get(overlay)
        if reading is None:
            return overlay in self._trees
        table = OPS if reading.has_actions else ACTIONS
        rows = self._rows.range(table, reading.next, LOCATED_SLICE_ROWS)
        for key, data in rows:
            if not key.startswith(overlay):
                break
            self._read(overlay, reading, key[len(overlay) :], data)
        else:
            if len(rows) == LOCATED_SLICE_ROWS:
                reading.next = rows[-1][0] + b"\0"
                return False
        if reading.has_actions:
            del self._readings[overlay]
            return True
        reading.next, reading.has_actions = overlay, True
        return False

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

    def _read(self, overlay: OverlayId, reading: _Reading, name: bytes, data: bytes) -> None:
        """One row of an action, then of an op."""
        if reading.has_actions:
            basis, action = pick(OpRow, data, "basis", "action")
            if action in reading.shown or self._is_shown(overlay, action):
                self.add(overlay, name, basis)
        elif len(reading.shown) < LOCATED_KNOWN_MAX and _has_verdict(data):
            reading.shown.add(name)

    def _is_shown(self, overlay: OverlayId, action: bytes) -> bool:
        data = self._rows.get(ACTIONS, overlay + action)
        return data is not None and _has_verdict(data)


def _has_verdict(data: bytes) -> bool:
    """Whether the row of an action says that others are told of it."""
    return pick(ActionRow, data, "state")[0] in SHOWN
