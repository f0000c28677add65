"""Where simulated nodes lie: an address that production code can parse names a node.

Source: docs/simulator.md, "Connections". Node 0 is at /ip4/10.0.0.0/tcp/4001. No name is resolved.
"""

from __future__ import annotations

from functools import lru_cache

from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId
from dms3.core.limits import SIM_ADDRESSES_CACHED_MAX
from dms3.libp2p.multiaddr import Multiaddr

PORT = 4001
_INBOUND_PORT = 50_000  # of whoever dials: nobody listens there
_NETWORK = 10  # a private network: 10.0.0.0/8


def address_of(index: int) -> str:
    """Where node `index` listens, as a multiaddr."""
    return f"{_host(index)}/tcp/{PORT}"


def source_of(index: int) -> str:
    """From where node `index` dials, as a multiaddr."""
    return f"{_host(index)}/tcp/{_INBOUND_PORT}"


def _host(index: int) -> str:
    return f"/ip4/{_NETWORK}.{index >> 16 & 255}.{index >> 8 & 255}.{index & 255}"


@lru_cache(maxsize=SIM_ADDRESSES_CACHED_MAX)
def place(text: str) -> tuple[int | None, PeerId | None] | None:
    """The node that the multiaddr `text` names, and the peer id in it; None: it cannot be dialled.

    A node of None: nobody listens there.
    """
    try:
        address = Multiaddr.parse(text)
    except DecodeError:
        return None
    if address.tcp_endpoint is None:
        return None
    name, host = address.parts[0]
    port = int.from_bytes(address.parts[1][1], "big")
    here = name == "ip4" and host[0] == _NETWORK and port == PORT
    return int.from_bytes(host[1:], "big") if here else None, address.peer
