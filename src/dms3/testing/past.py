"""A past that all nodes share: chains that each has begun alone are held by everybody.

Source: docs/testing.md, "How it works"; the idea of `sim/warm.py`. A network of twenty nodes would
spend its time on the beginnings of its chains, which no test is about. What is written here is what
publishing would have written among a few nodes, where everybody is near everything
(`tests/unit/testing/test_past.py` compares); among more, some hold more than they would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dms3.core.codec import decode, encode
from dms3.core.ids import OverlayId
from dms3.sim.world import SimNode
from dms3.source.holding import PublishRow
from dms3.validation.holding import Counts
from dms3.validation.rows import ACTIONS, COUNTS, HELD_TABLES, ActionRow

_PUBLISH, _PENDING = "source/publish", "source/pending"
_MILLION = 1_000_000


def share(nodes: Sequence[SimNode], overlay: OverlayId, uptime: float) -> None:
    """Give every node, all of which are down, what each of them holds; `uptime` of each of them."""
    held = {table: _all(nodes, f"validation/{table}") for table in HELD_TABLES}
    foreign = {key: _foreign(value) for key, value in held[ACTIONS].items()}
    counts = _counted(nodes, overlay)
    for node in nodes:
        own = node.disk.table(f"validation/{ACTIONS}")
        for table, rows in held.items():
            if table != ACTIONS:
                node.disk.fill(f"validation/{table}", dict(rows))
        node.disk.fill(f"validation/{ACTIONS}", {**foreign, **own})
        node.disk.fill(f"validation/{COUNTS}", {bytes(overlay): counts})
        _publish(node, [other.peer for other in nodes if other is not node], uptime)


def _all(nodes: Sequence[SimNode], table: str) -> dict[bytes, bytes]:
    rows: dict[bytes, bytes] = {}
    for node in nodes:
        rows.update(node.disk.table(table))
    return rows


def _foreign(value: bytes) -> bytes:
    return encode(replace(decode(ActionRow, value), own=False))


def _counted(nodes: Sequence[SimNode], overlay: OverlayId) -> bytes:
    ops: dict[str, int] = {}
    size = 0
    for node in nodes:
        counts = decode(Counts, node.disk.table(f"validation/{COUNTS}")[overlay])
        size += counts.bytes
        for state, number in counts.ops.items():
            ops[state] = ops.get(state, 0) + number
    return encode(Counts(ops=ops, bytes=size))


def _publish(node: SimNode, others: Sequence[bytes], uptime: float) -> None:
    """Everything that the node wrote is held by all others."""
    signers = tuple(sorted(bytes(other) for other in others))
    known = len(others) * round(uptime * _MILLION)
    rows = {}
    for key, value in node.disk.table(_PUBLISH).items():
        row = decode(PublishRow, value)
        ops = tuple(
            replace(op, signers=signers, uptime_ppm=known, members=len(others), enough="everybody")
            for op in row.ops
        )
        rows[key] = encode(replace(row, ops=ops, again_us=0, tries=0))
    node.disk.fill(_PUBLISH, rows)
    node.disk.fill(_PENDING, {})
