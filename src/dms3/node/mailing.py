"""What machine "mailbox" needs of other parts, put together: keys, account, this node's service.

Source: docs/architecture.md, "Messages". Subsystems do not know each other; this is where messages
get what identity and libp2p make. Decides nothing.
"""

from __future__ import annotations

from dms3.core.machine import Entropy
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.profile import ServiceProfile, SignedProfile, UserProfile, sign_profile
from dms3.libp2p.peer_id import parse_peer_id, peer_id_text
from dms3.messaging.mailbox import NAME, PROTOCOL, Mailbox
from dms3.messaging.ports import DIRECT, Own
from dms3.node.identity import Identity
from dms3.node.inbox import Hosted, Overflow


def mail_machines(
    identity: Identity, entropy: Entropy, service_keys: ProfileKeys, service_url: str = ""
) -> list[Hosted]:
    """The machine of a person's messages.

    `service_keys`: of this node as a delivery service; `service_url`: where it answers over HTTP,
    "" when it takes messages for its own person only, from node to node.
    """
    own = own_side(identity, service_keys, service_url)
    return [Hosted(NAME, Mailbox(own, entropy), {PROTOCOL: Overflow.DROP_OLDEST})]


def own_side(identity: Identity, service_keys: ProfileKeys, service_url: str) -> Own:
    """What the mailbox is told of this node and its person."""
    account = identity.tree.account()

    def sign(profile: UserProfile) -> SignedProfile:
        return sign_profile(account.secret, profile)

    service = ServiceProfile(
        service_keys.encryption_public,
        service_keys.signing_public,
        service_url or DIRECT + peer_id_text(identity.peer),
    )
    return Own(
        peer=identity.peer,
        address=account.address,
        root=identity.root.hex(),
        seed=identity.tree.dm3,
        sign=sign,
        service=service,
        service_keys=service_keys,
        show=peer_id_text,
        read=parse_peer_id,
    )
