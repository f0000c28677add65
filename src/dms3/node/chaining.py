"""Machine "source" of a node, put together: whose chains, on which device, in which home.

Source: docs/chains.md. Keys of agents come from the words and from the device, which is random per
home and in no backup: a restored home is another device with chains of its own.
"""

from __future__ import annotations

from dms3.core.machine import Entropy
from dms3.node.identity import Identity
from dms3.node.inbox import Hosted, Overflow
from dms3.source.grounds import Own
from dms3.source.source import MINORS, NAME, PROTOCOL, Source

CHAIN_PROTOCOLS = {PROTOCOL: MINORS}
"""What the machines of chains speak, with minors."""


def chain_machines(identity: Identity, entropy: Entropy, place: bytes) -> list[Hosted]:
    """The machines of chains; `place`: where the home lies (`Home.place`)."""
    own = Own(identity.peer, identity.device, identity.tree, place)
    return [Hosted(NAME, Source(own, entropy), {PROTOCOL: Overflow.DROP_OLDEST})]
