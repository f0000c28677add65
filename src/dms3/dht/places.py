"""The network prefix of an address: what one person can easily have many addresses of.

Source: docs/attacks.md, "Somebody in the public overlay". Resolves no name; a name may be
anywhere, so all names share one prefix.
"""

from __future__ import annotations

import ipaddress

from dms3.core.errors import DecodeError
from dms3.libp2p.multiaddr import Multiaddr
from dms3.p2p.reach import Reach, reach_of_text

NAMES = "names"  # the prefix of whatever is not a number
_PREFIX_BITS = {4: 24, 6: 48}  # what providers give to one customer, and a little more


def prefix_of(address: str) -> str | None:
    """The prefix of multiaddr `address`: IPv4 /24, IPv6 /48, or NAMES; None on a LAN or machine."""
    if reach_of_text(address) is not Reach.EVERYWHERE:
        return None
    try:
        name, value = Multiaddr.parse(address).parts[0]
    except DecodeError:
        return NAMES
    if name not in {"ip4", "ip6"}:
        return NAMES
    ip = ipaddress.ip_address(value)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    number = mapped or ip
    return str(ipaddress.ip_network((number, _PREFIX_BITS[number.version]), strict=False))
