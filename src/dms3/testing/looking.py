"""What a test sees of the nodes' disks: what was refused, what is not published, equal views.

Source: docs/testing.md, "Nodes that lie"; `validation/rows.py`. Looks from outside and changes
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dms3.chain.action import decode_signed
from dms3.chain.entry import decode_entry
from dms3.core.codec import decode
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId
from dms3.core.machine import scan
from dms3.core.multibase import encode_base32
from dms3.sim.disk import Disk
from dms3.sim.world import SimNode
from dms3.validation.digest import digest
from dms3.validation.holding import Holding
from dms3.validation.rows import ACTIONS, ActionRow, Rows


@dataclass(frozen=True, slots=True)
class Refusal:
    """An action of `author` that the node `by` has refused: the rule, its line, why.

    `author`: the name of the node, or the agent of a stranger; `entry`: the entry's content, None
    when there is none or it did not travel.
    """

    by: str
    author: str
    rule: str
    line: int
    detail: str
    kind: str
    action: str
    entry: Any = None


@dataclass(frozen=True, slots=True)
class _Table:
    """A machine's View of a disk, from outside."""

    disk: Disk
    machine: str

    def get(self, table: str, key: bytes) -> bytes | None:
        """As View."""
        return self.disk.get(f"{self.machine}/{table}", key)

    def range(self, table: str, start: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """As View."""
        return self.disk.range(f"{self.machine}/{table}", start, limit)


def view_of(node: SimNode, overlay: OverlayId) -> str:
    """A digest of all that the node holds of an app: equal on nodes that hold the same."""
    return digest(_Table(node.disk, "validation"), overlay).hex()


def refusals(node: SimNode, name: str, overlay: OverlayId, names: dict[str, str]) -> list[Refusal]:
    """What the node has refused; `names`: of agents."""
    table = _Table(node.disk, "validation")
    rows = Rows(Desk())
    rows.load(table)
    holding = Holding(rows)
    found = []
    for _, value in scan(table, ACTIONS, overlay):
        row = decode(ActionRow, value)
        if row.state != "rejected":
            continue
        signed = decode_signed(row.signed)
        action, agent = signed.action, encode_base32(signed.action.author)
        entry = None
        if action.entry is not None and not action.private:
            data = holding.entry(overlay, action.entry)
            entry = None if data is None else decode_entry(data).content
        author = names.get(agent, agent)
        why = (row.rule, row.line, row.detail)
        found.append(Refusal(name, author, *why, action.kind, str(signed.hash), entry))
    return sorted(found, key=lambda one: (one.author, one.action))


def held(node: SimNode, overlay: OverlayId) -> dict[str, str]:
    """The actions that the node holds: hash -> state."""
    rows = scan(_Table(node.disk, "validation"), ACTIONS, overlay)
    found = (decode(ActionRow, value) for _, value in rows)
    return {str(decode_signed(row.signed).hash): row.state for row in found}


def publishing(node: SimNode) -> int:
    """How many own actions are not held by enough nodes yet."""
    return len(node.disk.table("source/pending"))


def judging(node: SimNode) -> int:
    """How many actions wait for their verdict."""
    return len(node.disk.table("validation/pending"))
