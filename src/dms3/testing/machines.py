"""The machines of a simulated node that has an app, and the ports that they ask.

Source: docs/testing.md, "How it works". Those of chains are a node's own; before them stands a mask
(`byzantine.py`). Nodes know each other, or find each other with the real dht and peer book.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from dms3.chain.whereabouts import whereabouts_type
from dms3.core.machine import Entropy
from dms3.dht.providers import provider_type
from dms3.node.inbox import Hosted
from dms3.sim.scenarios.chain_members import ChainMembers
from dms3.sim.scenarios.members import empty_library
from dms3.sim.wiring import Mesh, Wiring, WiringOf
from dms3.sim.world import Port, SimNode
from dms3.source.grounds import Own
from dms3.testing import overlay
from dms3.testing.byzantine import MASKED, Conduct, Mask
from dms3.testing.sandboxes import judged

Overlay = Literal["known", "real"]
"""How nodes find each other: everybody knows everybody (`overlay.py`), or with the real dht."""

SHARE = 0.2  # of the time, that a node is on: what newcomers count


class Machines:
    """Makes them for all nodes of a test."""

    def __init__(self, way: Overlay) -> None:
        self.real = way == "real"
        self._members = ChainMembers()
        self._board = overlay.Board((provider_type(), whereabouts_type()))

    @property
    def wiring(self) -> WiringOf:
        """How nodes are connected."""
        return Wiring if self.real else Mesh

    def ports(self) -> Mapping[str, Port]:
        """The ports of every node, but "dapps"."""
        found: dict[str, Port] = {"library": empty_library, "sandbox": judged}
        return found if self.real else {**found, "peers": _peers}

    def own(self, node: SimNode) -> Own:
        """Whose node `node` is."""
        return self._members.own(node)

    def build(self, node: SimNode, entropy: Entropy, conduct: Conduct) -> list[Hosted]:
        """The machines of `node`, which behaves like `conduct`."""
        if self.real:
            machines = self._members.machines(node, entropy)
        else:
            known = overlay.Known(node.peer, node.world.peers, self._board)
            chains = self._members.chains(node, entropy)
            machines = [Hosted(overlay.NAME, known), *chains]
        return [_masked(each, conduct) if each.name in MASKED else each for each in machines]


def _masked(hosted: Hosted, conduct: Conduct) -> Hosted:
    return Hosted(hosted.name, Mask(hosted.machine, conduct), hosted.protocols)


def _peers(_node: SimNode, operation: str, arguments: Any) -> Any:
    """What the peer book says of newcomers."""
    return (SHARE,) * len(arguments) if operation == "uptime" else None
