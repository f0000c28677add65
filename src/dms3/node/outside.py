"""The ways out of the overlay, put together: Ethereum nodes, their gateways, links of records.

Source: docs/names.md. Adapters do not know each other; this is where they meet. Decides nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager

from dms3.io.ccip import Ccip
from dms3.io.courier_http import Asked, Door
from dms3.io.ethereum import Ethereum
from dms3.io.loop import Port
from dms3.io.web import Web
from dms3.libp2p.multiaddr import Multiaddr
from dms3.node.message_ports import is_local, may_lie_at


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
