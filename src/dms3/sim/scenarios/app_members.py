"""The machines of a node in a bare world of one app, and what they ask that is not there.

Source: docs/simulator.md, "Bare worlds". Every node holds and compares ops; a writer has a chain of
its own as well; there is no overlay but that of the app, whose rules are those of scenario "chain".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId
from dms3.core.limits import SECOND_US, SIM_PRESENCES_KEPT_MAX
from dms3.core.machine import Entropy
from dms3.crypto.keys import DEVICE_BYTES, KeyTree
from dms3.crypto.signing import SigningKey
from dms3.crypto.words import words_of_entropy
from dms3.dht.presence import Verified
from dms3.sim.bare import BareNode, Made, Ports
from dms3.sim.scenarios.bare_members import bare_dht
from dms3.sim.scenarios.chain_rules import judge
from dms3.source import source
from dms3.source.grounds import Own
from dms3.validation import validation

_REPUT_US = 10_000_000 * SECOND_US  # the dht holds nothing here


class AppMembers:
    """Makes them. `writers`: the nodes below that index write; `share_of`: true uptimes by peer."""

    def __init__(self, writers: int) -> None:
        self.writers = writers
        self.verified = Verified(SIM_PRESENCES_KEPT_MAX)
        self.share_of: Mapping[PeerId, float] = {}

    def machines(self, node: BareNode, entropy: Entropy) -> Sequence[Made]:
        """Those of `node`."""
        signing = SigningKey.of_seed(node.key.seed)
        made: list[Made] = [
            bare_dht(node, entropy, self.verified, _REPUT_US, overlays=()),
            ("validation", validation.Validation(signing), (validation.PROTOCOL,)),
        ]
        if node.index < self.writers:
            made.append(("source", source.Source(_own(node), entropy), (source.PROTOCOL,)))
        return made

    def ports(self) -> Ports:
        """A peer book that knows the true uptimes; the rules; nobody to gossip with."""
        return dict.fromkeys(("peers", "library", "sandbox", "gossip", "source"), self._port)

    def _port(self, _node: BareNode, operation: str, arguments: Any) -> Any:
        if operation == "uptime":
            return tuple(self.share_of[peer] for peer in arguments)
        if operation == "judge":
            return judge(arguments)
        if operation == "load":
            raise Dms3Error("not_found", "This library has no blocks.")
        return () if operation == "held" else None


def _own(node: BareNode) -> Own:
    """The person who writes on `node`."""
    drawn = hashlib.sha256(b"dms3 sim app: person %d" % node.index).digest()
    tree = KeyTree.of_words(words_of_entropy(drawn[:16]))
    return Own(node.peer, drawn[:DEVICE_BYTES], tree, b"sim")
