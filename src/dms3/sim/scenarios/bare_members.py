"""The machines of a node in a bare world: its dht, and a peer book that answers from the outside.

Source: docs/simulator.md, "Bare worlds".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dms3.core.ids import OverlayId
from dms3.core.machine import Entropy
from dms3.core.overlay import PUBLIC
from dms3.dht import messages
from dms3.dht.dht import Dht
from dms3.dht.presence import Verified
from dms3.sim.bare import BareNode, Made
from dms3.sim.scenarios.notes import note_type


def bare_dht(
    node: BareNode,
    entropy: Entropy,
    verified: Verified,
    reput_us: int,
    overlays: Sequence[OverlayId] = (PUBLIC,),
) -> Made:
    """The production dht of `node`; `reput_us`: how often it puts again what it holds.

    `overlays`: those that it is in from the start.
    """
    dht = Dht(
        node.key,
        (note_type(),),
        entropy,
        member=True,
        reput_us=reput_us,
        overlays=overlays,
        verified=verified,
    )
    return "dht", dht, (messages.PROTOCOL,)


def peer_book(_node: BareNode, operation: str, arguments: Any) -> Any:
    """Ports "peers" and "library" of nodes of which nobody knows anything."""
    if operation == "uptime":
        return (1.0,) * len(arguments)
    return () if operation == "held" else None
