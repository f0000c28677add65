"""What nodes say of themselves: this one to others by Identify, and others to this one.

Source: docs/architecture.md, "How nodes meet"; libp2p/identify.py. Where this node is, others
decide (`node/reachable.py`, p2p/announcing.py): here it is kept, signed and told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from dms3.libp2p.identify import IdentifyInfo
from dms3.libp2p.multiaddr import Multiaddr
from dms3.node.session import Secured
from dms3.p2p.port import Announce, Introduced, Spoken
from dms3.p2p.reach import others_word, own_word, reach_of_text

Seal = Callable[[int, Sequence[Multiaddr]], bytes]
"""The signed record of a sequence number and addresses of this node (libp2p/peer_record.py)."""


class Described:
    """This node, for others: `agent`, name and version; `protocols` that peers may open."""

    def __init__(self, agent: str, protocols: tuple[str, ...], seal: Seal) -> None:
        self._agent = agent
        self.protocols = protocols
        self._seal = seal
        self.listening: list[Multiaddr] = []
        self.circuits: tuple[str, ...] = ()  # addresses of circuits to this node
        self.woken = asyncio.Event()  # this machine slept, or is in another network now
        self._announced: tuple[Multiaddr, ...] = ()
        self._record = b""  # these addresses, signed

    def info(self) -> IdentifyInfo:
        """What Identify says about this node."""
        return IdentifyInfo(
            protocol_version="dms3/1",
            agent=self._agent,
            addresses=self._announced or tuple(self.listening),
            protocols=self.protocols,
            signed_record=self._record,
        )

    def announce(self, announce: Announce) -> bool:
        """Sign where this node is; whether that is anything new."""
        self._announced = tuple(map(Multiaddr.parse, announce.addresses))
        before, self._record = self._record, self._seal(announce.sequence, self._announced)
        return self._record != before

    def at_circuits(self, addresses: tuple[str, ...]) -> None:
        """Circuits lead to this node at `addresses`, for all to know."""
        self.circuits = addresses
        self.woken.set()


def introduced(link: Secured, info: IdentifyInfo) -> tuple[Spoken, Introduced]:
    """What the peer of `link` says of itself, for the machines "circuits" and "peers".

    Of its addresses those count that can lead from there to here (p2p/reach.py).
    """
    near = reach_of_text(str(link.remote))
    usable = own_word(info.addresses, near)
    seen = "" if info.observed is None else str(info.observed)
    direct = others_word((one for one in info.addresses if one.circuit is None), near)
    return (
        Spoken(link.peer, info.protocols, seen, direct),
        Introduced(link.peer, usable, info.protocols, info.signed_record),
    )
