"""What public spaces need of other parts, put together: ports of machines, provider records, dials.

Source: docs/architecture.md, "Public spaces". Subsystems do not know each other; this is where
`search` gets what `dht` and `p2p` make. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from dms3.core.codec import decode
from dms3.core.ids import PeerId
from dms3.core.limits import PROVIDER_DIAL_US_MAX
from dms3.core.machine import Entropy
from dms3.core.overlay import NodeAt
from dms3.dht.providers import ProviderRecord, dialable, issue_provider
from dms3.node.identity import Identity
from dms3.node.inbox import Hosted, Overflow
from dms3.p2p.port import DialRequest
from dms3.p2p.reach import Reach, reach_of_text
from dms3.search import publishing
from dms3.search.fetch import Fetching
from dms3.search.public import NAME as PUBLIC_NAME
from dms3.search.public import Public
from dms3.search.publicways import PublicPorts


def public_machines(identity: Identity, entropy: Entropy) -> list[Hosted]:
    """The machines that publish, search and fetch what is public."""
    key, peer = identity.node_key, identity.peer
    machine = publishing.Publishing(
        identity.tree.root(),
        peer,
        lambda cid, addresses, wall_us: issue_provider(key, cid, addresses, wall_us),
    )
    protocols = dict.fromkeys(publishing.PROTOCOLS, Overflow.DROP_OLDEST)
    return [
        Hosted(publishing.NAME, machine, protocols),
        Hosted(PUBLIC_NAME, Public(peer, entropy)),
        Hosted("fetch", Fetching(PublicPorts(peer, provider_at, dial_request, fit_provider))),
    ]


def provider_at(value: bytes) -> NodeAt:
    """Who a valid provider record (`Got.values`) names, and where."""
    record = decode(ProviderRecord, value)
    return NodeAt(PeerId(record.peer), record.addresses)


def fit_provider(node: NodeAt, remotes: Iterable[str]) -> NodeAt:
    """`node` with those of its addresses that a stranger's word may make this node dial."""
    near = max(map(reach_of_text, remotes), default=Reach.EVERYWHERE)
    return NodeAt(node.peer, dialable(node.addresses, near))


def dial_request(node: NodeAt) -> DialRequest:
    """How a provider is dialled: whoever does not answer soon is passed over."""
    return DialRequest(node.addresses, node.peer, PROVIDER_DIAL_US_MAX)
