"""Which addresses are of the Internet, when somebody else has named them.

Source: RFC 6890 (special-purpose addresses), RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4380 (Teredo);
docs/attacks.md, "A name that points into my network". Resolves no name.
"""

from __future__ import annotations

import ipaddress

_TRANSLATED = (  # addresses that carry an IPv4 address, which is reached through them
    ipaddress.ip_network("64:ff9b::/96"),
    ipaddress.ip_network("64:ff9b:1::/48"),
    ipaddress.ip_network("2002::/16"),
    ipaddress.ip_network("2001::/32"),
)


def is_public(address: str) -> bool:
    """Whether `address`, a number without brackets, is one that everybody can reach.

    One that carries another is not: it may lead into this network through a translator.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:  # a name, or an address of one link
        return False
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_multicast or ip.is_reserved or not ip.is_global:
        return False
    if getattr(ip, "is_site_local", False):  # RFC 3879: given up, and still of one site
        return False
    return not any(ip.version == network.version and ip in network for network in _TRANSLATED)
