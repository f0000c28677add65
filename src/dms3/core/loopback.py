"""Which hosts are this machine talking to itself, where the private API listens and its token goes.

Source: docs/attacks.md, "Somebody else on this machine, or a page in my browser". Resolves no
name.
"""

from __future__ import annotations

import ipaddress

_IPV6_NETWORK_BITS = 64  # what one household is given: every address of it is the same somebody


def is_loopback(host: str) -> bool:
    """Whether `host`, a name or an address without brackets, is this machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def network_of(host: str) -> str:
    """Under which name somebody at the address `host` is counted: of IPv6 the network.

    "" for this machine. What is no address stays, cut to 64 characters.
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _IPV6_NETWORK_BITS), strict=False))
    return str(address)
