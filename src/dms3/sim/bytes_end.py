"""One node's end of a simulated byte stream: the production connection and link, and their state.

Source: docs/architecture.md, "Tests". What happens on it is decided in `sim/bytes_network.py`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from dms3.core.machine import Entropy
from dms3.core.network import MAIN, network_id
from dms3.libp2p.connection import Connection
from dms3.libp2p.identify import IdentifyInfo
from dms3.libp2p.multiaddr import Multiaddr
from dms3.p2p.link import Link
from dms3.p2p.stream import Told
from dms3.sim.places import address_of
from dms3.sim.world import SimNode


@dataclass(slots=True, eq=False)
class End:
    """One node's end of connection `number` to node `far`."""

    node: SimNode
    far: int
    number: int
    dialer: bool  # whether it opened the stream
    connection: Connection
    link: Link
    held: deque[Told] = field(default_factory=deque)  # offered to the driver and not taken
    arriving: deque[tuple[int, bytes]] = field(default_factory=deque)  # (when, bytes)
    handles: set[int] = field(default_factory=set)  # our open questions; looked up, not iterated
    delivering: bool = False  # whether an arrival is on the heap
    up: bool = False
    timer_at: int | None = None


def make_end(node: SimNode, far: int, number: int, *, dialer: bool, entropy: Entropy) -> End:
    """A fresh end, its handshake not begun; `dialer`: it is the one that opened the stream."""
    assert node.driver is not None, "a node that is down has no connections"
    protocols = node.driver.protocols()
    names = tuple(sorted(protocols))
    here = (Multiaddr.parse(address_of(node.index)),)
    connection = Connection(
        key=node.key,
        dialer=dialer,
        expected_peer=node.world.peers[far] if dialer else None,
        protocols=lambda name: name in protocols,
        identify=lambda: IdentifyInfo("dms3/1", "dms3-sim", here, names),
        entropy=entropy,
        now_us=node.now().mono_us,
    )
    link = Link(connection, dict.fromkeys(names, (0,)), network_id(MAIN))
    return End(node, far, number, dialer, connection, link)
