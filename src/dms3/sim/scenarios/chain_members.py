"""The machines of a node in scenario "chain": chains, dht and peer book of a real node.

Source: docs/simulator.md, "The scenario chain". Every node is a person of its own.
"""

from __future__ import annotations

import hashlib

from dms3.chain.whereabouts import whereabouts_type
from dms3.core.limits import SIM_PRESENCES_KEPT_MAX
from dms3.core.machine import Entropy
from dms3.crypto.keys import DEVICE_BYTES, KeyTree
from dms3.crypto.signing import SigningKey
from dms3.crypto.words import words_of_entropy
from dms3.dht import messages
from dms3.dht.dht import Dht
from dms3.dht.presence import Verified
from dms3.dht.providers import provider_type
from dms3.libp2p.peer_id import peer_id_text
from dms3.node.inbox import Hosted, Overflow
from dms3.p2p import peers
from dms3.sim.places import address_of
from dms3.sim.scenarios.members import BOOTSTRAP_NODES
from dms3.sim.world import SimNode
from dms3.source import source
from dms3.source.grounds import Own
from dms3.validation import validation


class ChainMembers:
    """Makes them; the keys of each person are made once."""

    def __init__(self) -> None:
        self._verified = Verified(SIM_PRESENCES_KEPT_MAX)
        self._trees: dict[int, KeyTree] = {}

    def machines(self, node: SimNode, entropy: Entropy) -> list[Hosted]:
        """The machines of `node`, which joins through the first nodes."""
        tree = self._tree(node.index)
        first = node.world.nodes[: min(BOOTSTRAP_NODES, node.index)]
        book = peers.PeerBook(node.peer, tree.root_id(), tuple(map(_place, first)), entropy)
        dht = Dht(
            node.key,
            (provider_type(), whereabouts_type()),
            entropy,
            member=True,
            verified=self._verified,
        )
        signing = SigningKey.of_seed(node.key.seed)
        return [
            Hosted("peers", book, {peers.PROTOCOL: Overflow.HOLD}),
            Hosted("dht", dht, {messages.PROTOCOL: Overflow.HOLD}),
            Hosted(
                "source", source.Source(self.own(node), entropy), {source.PROTOCOL: Overflow.HOLD}
            ),
            Hosted(
                "validation",
                validation.Validation(signing),
                {validation.PROTOCOL: Overflow.DROP_OLDEST},
            ),
        ]

    def own(self, node: SimNode) -> Own:
        """Whose node `node` is."""
        return Own(node.peer, _drawn(node.index)[:DEVICE_BYTES], self._tree(node.index), b"sim")

    def _tree(self, index: int) -> KeyTree:
        if index not in self._trees:
            self._trees[index] = KeyTree.of_words(words_of_entropy(_drawn(index)[:16]))
        return self._trees[index]


def _drawn(index: int) -> bytes:
    return hashlib.sha256(b"dms3 sim chain: person %d" % index).digest()


def _place(node: SimNode) -> str:
    return f"{address_of(node.index)}/p2p/{peer_id_text(node.peer)}"
