"""The machines of a node in scenario "chain": chains, dht and peer book of a real node.

Source: docs/simulator.md, "The scenario chain". Every node is a person of its own.
"""

from __future__ import annotations

import hashlib

from dms3.chain.whereabouts import whereabouts_type
from dms3.core.limits import REPUT_US, SIM_PRESENCES_KEPT_MAX
from dms3.core.machine import Entropy
from dms3.crypto.keys import DEVICE_BYTES, KeyTree
from dms3.crypto.signing import SigningKey
from dms3.crypto.words import words_of_entropy
from dms3.dht.presence import Verified
from dms3.dht.providers import provider_type
from dms3.node.inbox import Hosted
from dms3.sim.scenarios.chain_parts import chain_parts
from dms3.sim.scenarios.chain_rules import sandbox
from dms3.sim.scenarios.members import Members, empty_library
from dms3.sim.world import Port, SimNode
from dms3.source.grounds import Own


class ChainMembers:
    """Makes them; the keys of each person are made once."""

    def __init__(self) -> None:
        types = (provider_type(), whereabouts_type())
        self._members = Members(REPUT_US, Verified(SIM_PRESENCES_KEPT_MAX), types)
        self._trees: dict[int, KeyTree] = {}

    def machines(self, node: SimNode, entropy: Entropy) -> list[Hosted]:
        """The machines of `node`, which joins through the first nodes."""
        return [*self._members.machines(node, entropy, joins=True), *self.chains(node, entropy)]

    def chains(self, node: SimNode, entropy: Entropy) -> list[Hosted]:
        """Those of its machines that are about chains."""
        signing = SigningKey.of_seed(node.key.seed)
        return chain_parts(self.own(node), signing, entropy)

    def own(self, node: SimNode) -> Own:
        """Whose node `node` is."""
        return Own(node.peer, _drawn(node.index)[:DEVICE_BYTES], self._tree(node.index), b"sim")

    def _tree(self, index: int) -> KeyTree:
        if index not in self._trees:
            self._trees[index] = KeyTree.of_words(words_of_entropy(_drawn(index)[:16]))
        return self._trees[index]


def chain_ports() -> dict[str, Port]:
    """A sandbox that knows the one app, an empty library."""
    return {"library": empty_library, "sandbox": sandbox}


def _drawn(index: int) -> bytes:
    return hashlib.sha256(b"dms3 sim chain: person %d" % index).digest()
