"""Addresses of peers as self-describing paths, in text and binary form.

Source: multiaddr specification and multicodec table. Only the protocols below are known; an
address with another one is a DecodeError. Does not resolve names.
"""

from __future__ import annotations

import ipaddress
import string
from dataclasses import dataclass

from dms3.core import limits
from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId
from dms3.core.varint import decode_varint, encode_varint
from dms3.libp2p.peer_id import decode_peer_id, parse_peer_id, peer_id_text

_VARIABLE = -1
# name -> (multicodec, bytes of its value)
_PROTOCOLS = {
    "ip4": (4, 4),
    "tcp": (6, 2),
    "ip6": (41, 16),
    "dns": (53, _VARIABLE),
    "dns4": (54, _VARIABLE),
    "dns6": (55, _VARIABLE),
    "dnsaddr": (56, _VARIABLE),
    "udp": (273, 2),
    "p2p-circuit": (290, 0),
    "p2p": (421, _VARIABLE),
    "quic-v1": (461, 0),
    "ws": (477, 0),
    "wss": (478, 0),
}
_NAMES = {code: name for name, (code, _) in _PROTOCOLS.items()}
_HOSTS = ("ip4", "ip6", "dns", "dns4", "dns6")
_DNS_CHARS = frozenset(string.ascii_letters + string.digits + "-_.")


@dataclass(frozen=True, slots=True)
class Multiaddr:
    """An address: `parts` are pairs of protocol name and value bytes, outermost first."""

    parts: tuple[tuple[str, bytes], ...]

    @classmethod
    def parse(cls, text: str) -> Multiaddr:
        """The address written as `text`, such as /ip4/127.0.0.1/tcp/4001; raises DecodeError."""
        if len(text) > limits.MULTIADDR_CHARS_MAX:
            raise DecodeError(limits.MULTIADDR_CHARS_MAX, "address is too long")
        words = text.split("/")
        if words[0] != "" or len(words) < 2:
            raise DecodeError(0, "an address starts with a slash, as in /ip4/127.0.0.1/tcp/4001")
        parts: list[tuple[str, bytes]] = []
        index = 1
        while index < len(words):
            name = "p2p" if words[index] == "ipfs" else words[index]
            if name not in _PROTOCOLS:
                raise DecodeError(_offset(words, index), f"{name[:16]!r} is not a known protocol")
            value = b""
            if _PROTOCOLS[name][1] != 0:
                index += 1
                if index == len(words):
                    raise DecodeError(len(text), f"{name} needs a value")
                value = _value_from_text(name, words[index], _offset(words, index))
            parts.append((name, value))
            index += 1
        return cls._checked(parts)

    @classmethod
    def decode(cls, data: bytes) -> Multiaddr:
        """The address whose binary form is exactly `data`; raises DecodeError."""
        if len(data) > limits.MULTIADDR_BYTES_MAX:
            raise DecodeError(limits.MULTIADDR_BYTES_MAX, "address is too long")
        parts: list[tuple[str, bytes]] = []
        offset = 0
        while offset < len(data):
            start = offset
            code, offset = decode_varint(data, offset)
            name = _NAMES.get(code)
            if name is None:
                raise DecodeError(start, f"address protocol {code} is not known")
            size = _PROTOCOLS[name][1]
            if size == _VARIABLE:
                size, offset = decode_varint(data, offset)
            if size > len(data) - offset:
                raise DecodeError(offset, "address is cut off")
            value = bytes(data[offset : offset + size])
            _check_value(name, value, offset)
            parts.append((name, value))
            offset += size
        return cls._checked(parts)

    @classmethod
    def _checked(cls, parts: list[tuple[str, bytes]]) -> Multiaddr:
        if not 0 < len(parts) <= limits.MULTIADDR_PARTS_MAX:
            raise DecodeError(0, f"an address has 1 to {limits.MULTIADDR_PARTS_MAX} parts")
        address = cls(tuple(parts))
        if len(address.encode()) > limits.MULTIADDR_BYTES_MAX:
            raise DecodeError(limits.MULTIADDR_BYTES_MAX, "address is too long")
        return address

    @classmethod
    def tcp(cls, host: str, port: int) -> Multiaddr:
        """The address of a TCP port on the numeric IP address `host`."""
        ip = ipaddress.ip_address(host.partition("%")[0])
        return cls(((f"ip{ip.version}", ip.packed), ("tcp", port.to_bytes(2, "big"))))

    def encode(self) -> bytes:
        """The binary form."""
        out = bytearray()
        for name, value in self.parts:
            code, size = _PROTOCOLS[name]
            out += encode_varint(code)
            if size == _VARIABLE:
                out += encode_varint(len(value))
            out += value
        return bytes(out)

    def __str__(self) -> str:
        return "".join(_part_text(name, value) for name, value in self.parts)

    @property
    def peer(self) -> PeerId | None:
        """The peer id at the end of the address, or None."""
        name, value = self.parts[-1]
        return PeerId(value) if name == "p2p" else None

    def with_peer(self, peer: PeerId) -> Multiaddr:
        """This address naming `peer` at its end."""
        return Multiaddr((*self.without_peer().parts, ("p2p", peer)))

    def without_peer(self) -> Multiaddr:
        """This address without the peer id at its end."""
        if len(self.parts) > 1 and self.parts[-1][0] == "p2p":
            return Multiaddr(self.parts[:-1])
        return self

    @property
    def tcp_endpoint(self) -> tuple[str, str, int] | None:
        """(kind, host, port) of a plain TCP address with or without peer id; None otherwise.

        `kind` is ip4, ip6, dns, dns4 or dns6, `host` the numeric address or name.
        """
        parts = self.without_peer().parts
        if len(parts) != 2 or parts[0][0] not in _HOSTS or parts[1][0] != "tcp":
            return None
        name, value = parts[0]
        return name, _value_text(name, value), int.from_bytes(parts[1][1], "big")

    @property
    def circuit(self) -> tuple[Multiaddr, PeerId] | None:
        """The TCP address of the hop, and the hop, of an address of a circuit; None otherwise."""
        parts = self.without_peer().parts
        if len(parts) != 4 or [name for name, _ in parts[2:]] != ["p2p", "p2p-circuit"]:
            return None
        hop = Multiaddr(parts[:2])
        return None if hop.tcp_endpoint is None else (hop, PeerId(parts[2][1]))

    def through(self, hop: PeerId) -> Multiaddr:
        """The address of whoever has a place at `hop`, which listens at this address."""
        return Multiaddr((*self.without_peer().parts, ("p2p", hop), ("p2p-circuit", b"")))


def _offset(words: list[str], index: int) -> int:
    return sum(len(word) + 1 for word in words[:index])


def _value_from_text(name: str, text: str, offset: int) -> bytes:
    try:
        if name == "ip4":
            return ipaddress.IPv4Address(text).packed
        if name == "ip6":
            return _ip6(text, offset)
    except ValueError as cause:
        raise DecodeError(offset, f"{text[:48]!r} is not an {name} address") from cause
    if name in {"tcp", "udp"}:
        if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) < 1 << 16):
            raise DecodeError(offset, f"{text[:16]!r} is not a port")
        return int(text).to_bytes(2, "big")
    if name == "p2p":
        return parse_peer_id(text)
    value = text.encode("utf-8", "surrogatepass")
    _check_value(name, value, offset)
    return value


def _ip6(text: str, offset: int) -> bytes:
    if "%" in text:
        raise DecodeError(offset, "an ip6 address here has no zone")
    return ipaddress.IPv6Address(text).packed


def _check_value(name: str, value: bytes, offset: int) -> None:
    if name == "p2p":
        decode_peer_id(value)
    if name.startswith("dns"):
        text = value.decode("latin-1")
        if not 0 < len(text) <= limits.DNS_NAME_CHARS_MAX or not _DNS_CHARS.issuperset(text):
            raise DecodeError(offset, f"{text[:48]!r} is not a DNS name")


def _value_text(name: str, value: bytes) -> str:
    if name in {"ip4", "ip6"}:
        return str(ipaddress.ip_address(value))
    if name in {"tcp", "udp"}:
        return str(int.from_bytes(value, "big"))
    if name == "p2p":
        return peer_id_text(PeerId(value))
    return value.decode("latin-1")


def _part_text(name: str, value: bytes) -> str:
    return f"/{name}/{_value_text(name, value)}" if _PROTOCOLS[name][1] else f"/{name}"
