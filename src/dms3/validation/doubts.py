"""Doubts: actions whose verdict rests on what other nodes say of another action.

Source: docs/chains.md, "Convicted". They are held and shown like others; only nobody is convicted
by them, since who judged may have been deceived.
"""

from __future__ import annotations

from dms3.core.cid import Cid
from dms3.core.ids import OverlayId
from dms3.validation.rows import Rows, action_key

DOUBTS = "doubts"


class Doubts:
    """The table; a row only says that there is one."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def add(self, overlay: OverlayId, hash_: Cid) -> None:
        """The verdict on this action is not all this node's own."""
        self._rows.put(DOUBTS, action_key(overlay, hash_), b"\1")

    def has(self, overlay: OverlayId, hash_: Cid) -> bool:
        """Whether that is so."""
        return self._rows.get(DOUBTS, action_key(overlay, hash_)) is not None
