"""What names need of other parts, put together: the machine, its content types, its ports.

Source: docs/names.md. Subsystems and adapters do not know each other; this is where `names` gets
what `p2p` makes, and Ethereum nodes, gateways and links their ways out. Decides nothing.
"""

from __future__ import annotations

from dms3.core.overlay import ContentType
from dms3.crypto.signing import SigningKey
from dms3.names.claim import name_type
from dms3.names.finding import Known
from dms3.names.names import NAME, Names
from dms3.names.own import Owner
from dms3.names.record import profile_type
from dms3.node.identity import Identity
from dms3.node.inbox import Hosted
from dms3.p2p.contacts import Contact


def names_machine(identity: Identity) -> Hosted:
    """The machine that knows who names are."""
    tree = identity.tree
    node = SigningKey.of_seed(identity.node_key.seed)
    return Hosted(NAME, Names(Owner(tree.root(), node, tree.account().address), known))


def name_types() -> tuple[ContentType, ...]:
    """What the overlay holds for names."""
    return (profile_type(), name_type())


def known(contact: Contact) -> Known:
    """What machine names wants of a contact."""
    return Known(contact.root, contact.name)
