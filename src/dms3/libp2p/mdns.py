"""What a node says of itself on the local network: the TXT record of libp2p's mDNS discovery.

Source: libp2p specification, "Multicast DNS (mDNS)"; RFC 6763 section 6 (TXT records). Encodes and
decodes the record; sockets, names and questions are io/discovery.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId
from dms3.core.limits import MDNS_ADDRESSES_MAX, MDNS_TXT_BYTES_MAX
from dms3.libp2p.multiaddr import Multiaddr

SERVICE = "_p2p._udp.local."
_KEY = b"dnsaddr="
_STRING_BYTES_MAX = 255  # RFC 1035 section 3.3: a character string has one byte of length


@dataclass(frozen=True, slots=True)
class Heard:
    """Somebody's word that `peer` listens at `addresses`, without the peer id."""

    peer: PeerId
    addresses: tuple[Multiaddr, ...]


def encode_txt(peer: PeerId, addresses: Sequence[Multiaddr]) -> bytes:
    """The TXT record for `peer` at `addresses`; what is too long or too many is left out."""
    out = bytearray()
    for address in addresses[:MDNS_ADDRESSES_MAX]:
        string = _KEY + str(address.with_peer(peer)).encode()
        fits = len(string) <= _STRING_BYTES_MAX and len(out) + len(string) < MDNS_TXT_BYTES_MAX
        if fits:
            out += bytes((len(string),)) + string
    return bytes(out)


def decode_txt(data: bytes) -> Heard:
    """Who is where, according to the TXT record `data`; raises DecodeError, and nothing else.

    All addresses are of the first peer that is named; other attributes, other peers and addresses
    of unknown kinds are left out.
    """
    peer: PeerId | None = None
    found: list[Multiaddr] = []
    for string in _strings(data):
        if not string.startswith(_KEY) or len(found) >= MDNS_ADDRESSES_MAX:
            continue
        try:
            address = Multiaddr.parse(string[len(_KEY) :].decode("ascii", "replace"))
        except DecodeError:
            continue  # a transport we do not know is not a fault of the peer
        peer = peer or address.peer
        if peer is not None and address.peer == peer:
            found.append(address.without_peer())
    if peer is None:
        raise DecodeError(0, "no address with a peer id")
    return Heard(peer, tuple(dict.fromkeys(found)))


def _strings(data: bytes) -> list[bytes]:
    if len(data) > MDNS_TXT_BYTES_MAX:
        raise DecodeError(MDNS_TXT_BYTES_MAX, "the record is too long")
    strings = []
    offset = 0
    while offset < len(data):
        end = offset + 1 + data[offset]
        if end > len(data):
            raise DecodeError(offset, "a string is cut off")
        strings.append(data[offset + 1 : end])
        offset = end
    return strings
