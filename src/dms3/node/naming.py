"""What names need of other parts, put together: the machine, its content types, its ports.

Source: docs/names.md. Subsystems and adapters do not know each other; this is where `names` gets
what `p2p` makes, and Ethereum nodes, gateways and links their ways out. Decides nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from dms3.core.overlay import ContentType
from dms3.crypto.signing import SigningKey
from dms3.io.ccip import Ccip
from dms3.io.courier_http import Asked, Door
from dms3.io.ethereum import Ethereum
from dms3.io.loop import Port
from dms3.io.web import Web
from dms3.libp2p.multiaddr import Multiaddr
from dms3.names.claim import name_type
from dms3.names.finding import Known
from dms3.names.names import NAME, Names
from dms3.names.own import Owner
from dms3.names.record import profile_type
from dms3.node.identity import Identity
from dms3.node.inbox import Hosted
from dms3.node.message_ports import is_local, may_lie_at
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


@contextlib.asynccontextmanager
async def name_ports(
    ethereum: Sequence[str], listening: Callable[[], Sequence[Multiaddr]]
) -> AsyncIterator[dict[str, Port]]:
    """The ports "ethereum" and "web".

    `ethereum`: URLs of Ethereum nodes, at any address: the person has chosen them. `listening`:
    where this node listens now, which says how far links and gateways may lead.
    """
    chosen = Door(lambda _: True)
    named = Door(lambda address: may_lie_at(address, listening()))
    gateways = Ccip(_opener(named), lambda: is_local(listening()))
    chain = Ethereum(ethereum, _opener(chosen), gateways.answer)
    try:
        yield {"ethereum": chain.serve, "web": Web(_opener(named)).serve}
    finally:
        await chosen.close()
        await named.close()


def _opener(
    door: Door,
) -> Callable[
    [str, str, bytes | None], AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]
]:
    return lambda method, url, body: door.open(Asked(method, url, body))
