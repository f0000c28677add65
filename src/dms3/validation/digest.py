"""One hash over what an overlay's tables hold here: equal on nodes that hold the same ops.

Source: docs/chains.md, "How an op is judged". For tests and simulations; reads everything. Left
out is what may differ between honest nodes: when something came, and the words of a verdict.
"""

from __future__ import annotations

import dataclasses
import hashlib

from dms3.core.codec import decode, encode
from dms3.core.ids import OverlayId
from dms3.core.machine import View, scan
from dms3.validation.rows import ACTIONS, HELD_TABLES, ActionRow


def digest(view: View, overlay: OverlayId) -> bytes:
    """SHA-256 over all held rows of `overlay`, in order of their keys."""
    state = hashlib.sha256()
    for table in HELD_TABLES:
        state.update(table.encode() + b"\0")
        for key, value in scan(view, table, overlay):
            kept = value
            if table == ACTIONS:
                row = decode(ActionRow, value)
                kept = encode(
                    dataclasses.replace(row, received_us=0, rule="", detail="", line=0, own=False)
                )
            state.update(len(key).to_bytes(4, "big") + key + hashlib.sha256(kept).digest())
    return state.digest()
