"""Where this machine can be reached: an address that means "everywhere" spelled out.

A node that listens at 0.0.0.0 cannot tell a friend to dial that. Without asking anyone on the
Internet it knows the addresses of its own network interfaces; those are what a card can carry.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

import ifaddr

from dms3.core.limits import INTERFACES_MAX
from dms3.libp2p.multiaddr import Multiaddr

# Documentation addresses (RFC 5737, RFC 3849): connecting a UDP socket sends nothing, it only asks
# the routing table which of our addresses would be used.
_ASK = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def spelled_out(listening: Sequence[Multiaddr]) -> tuple[str, ...]:
    """The multiaddrs of `listening` as text; an unspecified one becomes this machine's own."""
    found: list[str] = []
    for address in listening:
        endpoint = address.tcp_endpoint
        if endpoint is None:
            continue
        _, host, port = endpoint
        ip = ipaddress.ip_address(host)
        hosts = own_addresses(ip.version) if ip.is_unspecified else [host]
        found += [str(Multiaddr.tcp(each, port)) for each in hosts]
    return tuple(dict.fromkeys(found))


def own_addresses(version: int) -> list[str]:
    """This machine's addresses of IP `version` 4 or 6: the one that routes outward, loopback.

    Without a way outward, as on a network of a few machines and a cable, those of its interfaces.
    """
    family, target = _ASK[0] if version == 4 else _ASK[1]
    loopback = "127.0.0.1" if version == 4 else "::1"
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asker:
            asker.connect((target, 9))
            outward = [str(asker.getsockname()[0])]
    except OSError:
        outward = interface_addresses(version)
    return list(dict.fromkeys((*outward, loopback)))


def interface_addresses(version: int) -> list[str]:
    """The addresses of IP `version` of this machine's interfaces that others could reach."""
    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]  # IPv6 comes with its zone
            address = ipaddress.ip_address(text)
            zoned = address.version == 6 and address.is_link_local
            if address.version == version and not address.is_loopback and not zoned:
                found.append(text)
    return list(dict.fromkeys(found))[:INTERFACES_MAX]
