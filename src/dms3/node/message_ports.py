"""What messages need of other parts, put together: their tables, the courier, where it may go.

Source: docs/architecture.md, "Messages". Subsystems and adapters do not know each other; this is
where machine "mailbox" gets its ports. Decides only which addresses services may lie at.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from dms3.core.addresses import is_public
from dms3.core.database import Database
from dms3.io.courier import Courier
from dms3.io.loop import Port
from dms3.io.messages import Messages
from dms3.libp2p.multiaddr import Multiaddr
from dms3.node.message_search import shelve
from dms3.p2p.reach import Reach, reach_of

Call = Callable[[str, Any], Awaitable[Any]]
"""Asks an operation of a machine (`Node.call`)."""


class MessagePorts:
    """The ports "messages" and "courier" of a node; `run` as a task, before anything is asked.

    `listening`: where the node listens now.
    """

    def __init__(
        self, database: Database, call: Call, listening: Callable[[], Sequence[Multiaddr]]
    ) -> None:
        async def arrived(service: str) -> None:
            await call("mailbox.arrived", service)

        def allowed(address: str) -> bool:
            return may_lie_at(address, listening())

        self._courier = Courier(allowed, arrived)
        self.ports: dict[str, Port] = {
            "messages": Messages(database, shelve).serve,
            "courier": self._courier.serve,
        }

    async def run(self) -> None:
        """Hold push connections until cancelled."""
        await self._courier.run()


def may_lie_at(address: str, listening: Sequence[Multiaddr]) -> bool:
    """Whether a delivery service may lie at the IP `address`.

    A profile names it, so anybody does: no address of this machine or of a private network, or a
    name would make this node ask the devices around it. A node that listens on its own machine only
    is part of a network of processes, where services lie there too.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback:
        return is_local(listening)
    return is_public(str(ip))


def is_local(listening: Sequence[Multiaddr]) -> bool:
    """Whether the node is part of a network of processes on this machine, and of no other."""
    return bool(listening) and all(reach_of(one) is Reach.MACHINE for one in listening)
