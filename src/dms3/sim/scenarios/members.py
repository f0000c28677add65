"""The machines of a node in the overlay's scenarios: the peer book and the dht of a real node.

Source: docs/simulator.md, "The scenarios of the overlay". The library is empty: notes are rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dms3.core.errors import Dms3Error
from dms3.core.ids import Root
from dms3.core.machine import Entropy
from dms3.core.overlay import ContentType
from dms3.dht import messages
from dms3.dht.dht import Dht
from dms3.dht.presence import Verified
from dms3.libp2p.peer_id import peer_id_text
from dms3.node.inbox import Hosted, Overflow
from dms3.p2p import peers
from dms3.p2p.peers import PeerBook
from dms3.sim.places import address_of
from dms3.sim.scenarios.notes import note_type
from dms3.sim.world import SimNode

BOOTSTRAP_NODES = 3


class Members:
    """Makes them. `reput_us`: how often a holder puts again; `verified`: shared by all nodes.

    `types`: the content types that they know.
    """

    def __init__(
        self, reput_us: int, verified: Verified, types: Sequence[ContentType] | None = None
    ) -> None:
        self._types = (note_type(),) if types is None else tuple(types)
        self._reput_us = reput_us
        self._verified = verified

    def machines(self, node: SimNode, entropy: Entropy, *, joins: bool) -> list[Hosted]:
        """The machines of `node`; `joins`: through the first nodes, for its table is empty."""
        first = node.world.nodes[: min(BOOTSTRAP_NODES, node.index)] if joins else []
        book = PeerBook(node.peer, Root(bytes(32)), tuple(map(_place, first)), entropy)
        dht = Dht(
            node.key,
            self._types,
            entropy,
            member=True,
            reput_us=self._reput_us,
            verified=self._verified,
        )
        return [
            Hosted("peers", book, {peers.PROTOCOL: Overflow.HOLD}),
            Hosted("dht", dht, {messages.PROTOCOL: Overflow.HOLD}),
        ]


def _place(node: SimNode) -> str:
    return f"{address_of(node.index)}/p2p/{peer_id_text(node.peer)}"


def empty_library(_node: SimNode, operation: str, _arguments: Any) -> Any:
    """The io port "library" of a node that keeps no blocks."""
    if operation == "held":
        return ()
    raise Dms3Error("not_found", "This library has no blocks.")
