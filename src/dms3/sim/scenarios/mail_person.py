"""Who writes in scenario "mail": the person of each simulated node, with keys made of its index.

Source: docs/simulator.md, "The scenario of messages".
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial

from dms3.core.ids import PeerId
from dms3.crypto.keys import address_of
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.profile import ServiceProfile, sign_profile
from dms3.libp2p.peer_id import parse_peer_id, peer_id_text
from dms3.messaging.ports import DIRECT, Own


def account_address(index: int) -> str:
    """The address of the account of the person of node `index`."""
    return address_of(_secret(index))


def own_of(index: int, peers: Sequence[PeerId]) -> Own:
    """What the mailbox of node `index` is told of its node and person."""
    keys = ProfileKeys.of_seed(hashlib.sha256(f"service {index}".encode()).digest())
    url = DIRECT + peer_id_text(peers[index])
    return Own(
        peer=peers[index],
        address=account_address(index),
        root=f"{index:064x}",
        seed=lambda generation: hashlib.sha256(f"{index} {generation}".encode()).digest(),
        sign=partial(sign_profile, _secret(index)),
        service=ServiceProfile(keys.encryption_public, keys.signing_public, url),
        service_keys=keys,
        show=peer_id_text,
        read=parse_peer_id,
    )


def _secret(index: int) -> bytes:
    return hashlib.sha256(f"account {index}".encode()).digest()
