"""How far an address reaches: this machine, a private network, everywhere; and which to dial.

Source: RFC 1918, RFC 4193, RFC 6890 (special-purpose addresses). A peer's word about where somebody
is must not make this node knock at doors that the peer cannot reach itself: what comes over a
connection across the Internet names no address of a private network, and so on inwards.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache

from dms3.core.errors import DecodeError
from dms3.core.limits import ADDRESS_CHARS_MAX, ADDRESSES_PER_PEER_MAX, REACHES_CACHED_MAX
from dms3.libp2p.multiaddr import Multiaddr

NAMES = "names"
"""The network prefix of whatever is not a number: a name may be anywhere."""

_PREFIX_BITS = {4: 24, 6: 48}  # what providers give to one customer, and a little more


class Reach(IntEnum):
    """From where an address can be dialled; a greater one from further away."""

    MACHINE = 0
    PRIVATE = 1
    EVERYWHERE = 2


def reach_of(address: Multiaddr) -> Reach | None:
    """The reach of a TCP address of a number; None for a name and for what nobody can dial.

    A circuit reaches as far as its hop.
    """
    circuit = address.circuit
    endpoint = (address if circuit is None else circuit[0]).tcp_endpoint
    if endpoint is None or not endpoint[0].startswith("ip"):
        return None
    ip = ipaddress.ip_address(endpoint[1])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_loopback:
        return Reach.MACHINE
    if ip.is_unspecified or ip.is_multicast or ip.is_reserved:
        return None
    if ip.version == 6 and ip.is_link_local:
        return None  # it needs a zone, which differs from machine to machine
    return Reach.PRIVATE if ip.is_private or not ip.is_global else Reach.EVERYWHERE


@lru_cache(maxsize=REACHES_CACHED_MAX)
def reach_of_text(text: str) -> Reach:
    """The reach of a connection's remote address; EVERYWHERE, the careful answer, when unsure.

    So also of a circuit: the hop is near, and the peer behind it may be anywhere.
    """
    try:
        address = Multiaddr.parse(text)
        found = None if address.circuit is not None else reach_of(address)
    except DecodeError:
        found = None
    return Reach.EVERYWHERE if found is None else found


def prefix_of(address: str) -> str | None:
    """The network prefix of multiaddr `address`, of which one person easily has many addresses.

    IPv4 /24, IPv6 /48, or NAMES, as no name is resolved; None on a LAN or machine. Source:
    docs/attacks.md, "Somebody in the public overlay".
    """
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


def own_word(addresses: Iterable[Multiaddr], near: Reach) -> tuple[str, ...]:
    """What a peer says of itself over a connection of reach `near`, as far as it can be dialled.

    Names and addresses of private networks count, as both may move into one network later;
    addresses of a machine count on that machine only.
    """
    return _texts(
        address
        for address in addresses
        if _is_name(address)
        or ((reach := reach_of(address)) is not None and (reach > Reach.MACHINE or reach == near))
    )


def others_word(addresses: Iterable[Multiaddr], near: Reach) -> tuple[str, ...]:
    """What a peer says of another over a connection of reach `near`: numbers at least as far."""
    return _texts(
        address
        for address in addresses
        if (reach := reach_of(address)) is not None and reach >= near
    )


def _is_name(address: Multiaddr) -> bool:
    endpoint = address.tcp_endpoint
    return endpoint is not None and endpoint[0].startswith("dns")


def _texts(addresses: Iterable[Multiaddr]) -> tuple[str, ...]:
    texts = dict.fromkeys(str(address.without_peer()) for address in addresses)
    return tuple(text for text in texts if len(text) <= ADDRESS_CHARS_MAX)[:ADDRESSES_PER_PEER_MAX]
