"""The machines of chains of a simulated node, and gossip, with what happens to news beyond room.

Source: docs/simulator.md, "The scenario chain".
"""

from __future__ import annotations

from dms3.core.machine import Entropy
from dms3.crypto.signing import SigningKey
from dms3.gossip import gossip
from dms3.node.inbox import Hosted, Overflow
from dms3.source import source
from dms3.source.grounds import Own
from dms3.validation import validation


def chain_parts(own: Own, signing: SigningKey, entropy: Entropy) -> list[Hosted]:
    """Those of the node that `own` describes, whose key is `signing`."""
    return [
        Hosted("source", source.Source(own, entropy), {source.PROTOCOL: Overflow.HOLD}),
        Hosted(
            "validation",
            validation.Validation(signing),
            {validation.PROTOCOL: Overflow.DROP_OLDEST},
        ),
        Hosted(gossip.NAME, gossip.Gossip(entropy), {gossip.PROTOCOL: Overflow.DROP_OLDEST}),
    ]
