"""Machines "source" and "validation" of a node: whose chains, on which device, in which home.

Source: docs/chains.md. Keys of agents come from the words and from the device, which is random per
home and in no backup: a restored home is another device with chains of its own.
"""

from __future__ import annotations

from dms3.core.admission import Admission
from dms3.core.machine import Entropy
from dms3.crypto.signing import SigningKey
from dms3.node.identity import Identity
from dms3.node.inbox import Hosted, Overflow
from dms3.source import source
from dms3.source.grounds import Own
from dms3.validation import validation

CHAIN_PROTOCOLS = {source.PROTOCOL: source.MINORS, validation.PROTOCOL: validation.MINORS}
"""What the machines of chains speak, with minors."""


def chain_machines(
    identity: Identity, entropy: Entropy, place: bytes, admission: Admission
) -> list[Hosted]:
    """The machines of chains; `place`: where the home lies (`Home.place`).

    `admission`: who may be answered about closed overlays.
    """
    own = Own(identity.peer, identity.device, identity.tree, place)
    signing = SigningKey.of_seed(identity.node_key.seed)
    return [
        Hosted(
            source.NAME,
            source.Source(own, entropy),
            {source.PROTOCOL: Overflow.DROP_OLDEST},
        ),
        Hosted(
            validation.NAME,
            validation.Validation(signing, admission),
            {validation.PROTOCOL: Overflow.DROP_OLDEST},
        ),
    ]
