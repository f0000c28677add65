"""Every machine of a node, with the protocols it answers: the second half of the composition root.

Source: docs/architecture.md, "The machine". Decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from dms3.chain.whereabouts import whereabouts_type
from dms3.core.machine import Entropy
from dms3.dht import dht, messages
from dms3.dht.blocks import block_type
from dms3.dht.chunks import chunk_type
from dms3.dht.providers import provider_type
from dms3.dm3.keys import ProfileKeys
from dms3.gossip import gossip
from dms3.gossip.grounds import Counts
from dms3.messaging.mailbox import PROTOCOL as DIRECT_PROTOCOL
from dms3.node.chaining import CHAIN_PROTOCOLS, chain_machines
from dms3.node.identity import Identity
from dms3.node.inbox import Hosted, Overflow
from dms3.node.mailing import mail_machines
from dms3.node.naming import name_types, names_machine
from dms3.node.noting import Noting
from dms3.node.opening import public_machines
from dms3.node.settings import Settings
from dms3.node.storing import storage_machines
from dms3.p2p import circuits, exchange, peers
from dms3.search import publicblock
from dms3.search.manifest import manifest_type
from dms3.search.messages import BLOCK_PROTOCOL, GRANT_PROTOCOL, SEARCH_PROTOCOL
from dms3.search.sharing import Sharing

PROTOCOLS = {
    peers.PROTOCOL: peers.MINORS,
    exchange.PROTOCOL: exchange.MINORS,
    GRANT_PROTOCOL: (0,),
    SEARCH_PROTOCOL: (0,),
    BLOCK_PROTOCOL: (0,),
    publicblock.PROTOCOL: publicblock.MINORS,
    messages.PROTOCOL: messages.MINORS,
    gossip.PROTOCOL: gossip.MINORS,
    DIRECT_PROTOCOL: (0,),
    **CHAIN_PROTOCOLS,
}


def machines_of(
    identity: Identity,
    settings: Settings,
    entropy: Entropy,
    service_keys: ProfileKeys,
    place: bytes = b"",
) -> list[Hosted]:
    """Every machine of a node; `service_keys`: those of its delivery service.

    `place`: where its home lies, b"" when that says nothing.
    """
    root_key = identity.tree.root()
    book = peers.PeerBook(
        identity.peer, identity.root, settings.join, entropy, public=settings.overlay
    )
    sharing = Sharing(root_key, identity.peer, identity.name, entropy)
    types = (
        block_type(settings.overlay_blocks),
        provider_type(),
        manifest_type(),
        chunk_type(),
        whereabouts_type(),
        *name_types(),
    )
    overlays = dht.Dht(identity.node_key, types, entropy, member=settings.overlay)
    spreading = gossip.Gossip(entropy, admission=overlays.admission)
    protocols = dict.fromkeys(
        (GRANT_PROTOCOL, SEARCH_PROTOCOL, BLOCK_PROTOCOL), Overflow.DROP_OLDEST
    )
    return [
        Hosted(
            "peers", book, dict.fromkeys((peers.PROTOCOL, exchange.PROTOCOL), Overflow.DROP_OLDEST)
        ),
        Hosted(circuits.NAME, circuits.CircuitBook(offers=settings.circuits)),
        Hosted("sharing", sharing, protocols),
        *public_machines(identity, entropy),
        names_machine(identity),
        *storage_machines(identity, entropy),
        *mail_machines(identity, entropy, service_keys, settings.public_url),
        *chain_machines(identity, entropy, place, overlays.admission),
        Hosted("noting", Noting()),
        Hosted(dht.NAME, overlays, {messages.PROTOCOL: Overflow.DROP_OLDEST}),
        Hosted(gossip.NAME, spreading, {gossip.PROTOCOL: Overflow.DROP_OLDEST}),
    ]


def counts_of(hosted: Sequence[Hosted]) -> Counts:
    """What machine "gossip" among them counts, which goes on changing."""
    machines = (each.machine for each in hosted)
    return next(each.counts for each in machines if isinstance(each, gossip.Gossip))
