"""What the parts of machine "gossip" stand on: the desk, counters, and blame.

Source: docs/architecture.md, "The machine".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.desk import Desk
from dms3.core.ids import PeerId
from dms3.core.machine import Entropy
from dms3.p2p.port import Conducted

MALFORMED, LIED = "body_malformed", "content_invalid"


@dataclass(slots=True)
class Counts:
    """What `GossipFigures` tells of."""

    spread: int = 0
    delivered: int = 0
    refused: int = 0
    received: int = 0
    duplicates: int = 0
    asked: int = 0
    told: int = 0
    why: dict[str, int] = field(default_factory=dict)

    def dropped(self, why: str, count: int = 1) -> None:
        """Something was not passed on, or not taken."""
        if count:
            self.why[why] = self.why.get(why, 0) + count


@dataclass(slots=True)
class Grounds:
    """Shared by the parts of one machine."""

    entropy: Entropy
    desk: Desk = field(default_factory=Desk)
    counts: Counts = field(default_factory=Counts)

    def blame(self, peer: PeerId, code: str) -> None:
        """Hold `code`, a name of conduct, against `peer`."""
        self.desk.call("peers.conduct", Conducted(peer, code), lambda _: None)
