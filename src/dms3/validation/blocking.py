"""Blocking: what this node takes no more from whom, since somebody was convicted or by its person.

Source: docs/chains.md, "Convicted". Each node decides for itself; nobody is banned for others. What
was held before stays readable, and what others need to be judged is still looked at. Kept in
memory: `convicting.py` says at every start who is blocked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dms3.chain.action import SignedAction
from dms3.chain.operations_validation import ShutOut
from dms3.core.cid import Cid
from dms3.core.desk import Desk
from dms3.core.errors import Failure, Retry
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import SHUNNED_MAX
from dms3.core.overlay import Shun

RULE = "agent-blocked"
"""What an op is refused by whose author is blocked."""
WHY = "its author broke the rules of this app, as evidence shows that this node holds"
SHUNNED = Failure(
    "agent_blocked", "This node has no more to do with yours in that app.", Retry.NEVER
)


@dataclass(frozen=True, slots=True)
class Barred:
    """From place `seq` of its chain on nothing of an agent is taken, but the `evidence`."""

    seq: int
    evidence: frozenset[Cid] = frozenset()


class Blocking:
    """Who is blocked in which app; machines "source" and "dht" are told."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._blocks: dict[tuple[OverlayId, bytes], Barred] = {}
        self._nodes: dict[OverlayId, dict[PeerId, bytes]] = {}  # -> whose agent it brought

    def is_blocked(self, overlay: OverlayId, agent: bytes) -> bool:
        """Whether anything of this agent is refused here."""
        return (overlay, agent) in self._blocks

    def refuses(self, overlay: OverlayId, signed: SignedAction) -> bool:
        """Whether an action that is not held yet is not to be taken."""
        block = self._blocks.get((overlay, signed.action.author))
        return (
            block is not None
            and signed.action.seq >= block.seq
            and signed.hash not in block.evidence
        )

    def shuns(self, overlay: OverlayId, peer: PeerId) -> bool:
        """Whether questions of this node about the app are not answered."""
        return peer in self._nodes.get(overlay, ())

    def put(self, overlay: OverlayId, agent: bytes, block: Barred) -> None:
        """Block an agent, or from another place on."""
        new = not self.is_blocked(overlay, agent)
        self._blocks[overlay, agent] = block
        if new:
            self._tell(overlay)

    def lift(self, overlay: OverlayId, agent: bytes) -> None:
        """Take from an agent, and from its node, what is taken from others."""
        if self._blocks.pop((overlay, agent), None) is None:
            return
        nodes = self._nodes.get(overlay, {})
        for peer in [peer for peer, whose in nodes.items() if whose == agent]:
            del nodes[peer]
        self._tell(overlay)

    def shun(self, overlay: OverlayId, agent: bytes, peer: PeerId) -> None:
        """Have nothing to do with the node that brought what convicts `agent`, in this app."""
        nodes = self._nodes.setdefault(overlay, {})
        if not self.is_blocked(overlay, agent) or peer in nodes:
            return
        if len(nodes) >= SHUNNED_MAX:
            del nodes[next(iter(nodes))]
        nodes[peer] = agent
        self._tell(overlay)

    def _tell(self, overlay: OverlayId) -> None:
        agents = tuple(sorted(agent for each, agent in self._blocks if each == overlay))
        self._desk.call("source.shut_out", ShutOut(overlay, agents), _nothing)
        peers = tuple(sorted(self._nodes.get(overlay, ())))
        self._desk.call("dht.shun", Shun(overlay, peers), _nothing)


def _nothing(_: Any) -> None:
    """What is done with an answer that nobody waits for."""
