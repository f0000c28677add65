"""Networks: what closed overlays that people made are, and the invitations to them.

Source: docs/networks.md; docs/wire.md, "Membership". The id of a network is the hash of its
description, which only its members have: it holds a secret by which they meet. An invitation is one
line of text like a contact card; it holds the description, a proof, and where members are. Does not
judge proofs: `chain/membrane.py` does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from dms3.chain.membrane import Immune, Membrane, Open, membrane_of, membrane_values
from dms3.chain.values import decode_values, encode_values
from dms3.core.codec import check_items, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    ADDRESS_CHARS_MAX,
    ADDRESSES_PER_PEER_MAX,
    MEMBRANE_PROOF_BYTES_MAX,
    NETWORK_BYTES_MAX,
    NETWORK_INVITATION_BYTES_MAX,
    NETWORK_NAME_CHARS_MAX,
    NETWORK_NODES_MAX,
)
from dms3.core.multibase import decode_base32, encode_base32
from dms3.crypto.certificate import is_node_peer_id
from dms3.crypto.signing import PUBLIC_BYTES

VERSION = 1
PREFIX = "dms3net:"
SECRET_BYTES = 32
TEXT_CHARS_MAX = 2 * NETWORK_INVITATION_BYTES_MAX + len(PREFIX)
_ITEMS_MAX = 16 * NETWORK_NODES_MAX + 32


@dataclass(frozen=True, slots=True)
class Network:
    """A network called `name`; `membrane`: encoded JSON values; `local`: of local networks only.

    `secret`: random; members meet by it, and nobody else can name the network.
    """

    v: int
    name: str
    membrane: bytes
    local: bool
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of networks is not known")
        need(is_network_name(self.name), "a network has a name of one line")
        need(len(self.secret) == SECRET_BYTES, f"the secret has {SECRET_BYTES} bytes")
        _membrane(self.membrane)

    @property
    def id(self) -> OverlayId:
        """Its overlay."""
        return OverlayId(hashlib.sha256(b"dms3 network\0" + encode(self)).digest())

    @property
    def rule(self) -> Membrane:
        """Who may be in it."""
        return _membrane(self.membrane)


@dataclass(frozen=True, slots=True)
class At:
    """A member's node and where it can be dialled (multiaddrs as text, without the peer id)."""

    peer: bytes
    addresses: tuple[str, ...]

    def __post_init__(self) -> None:
        need(is_node_peer_id(self.peer), "the peer id is not one of an Ed25519 key")
        need(len(self.addresses) <= ADDRESSES_PER_PEER_MAX, "too many addresses")
        fit = all(0 < len(each) <= ADDRESS_CHARS_MAX for each in self.addresses)
        need(fit, "an address is too long")


@dataclass(frozen=True, slots=True)
class Invitation:
    """`network`, encoded; `to`: the person it is for, b"" for whoever has it; `proof`: or b"".

    It is as secret as the network: whoever reads it learns that there is one, and where it is.
    """

    v: int
    network: bytes = field(repr=False)
    to: bytes
    proof: bytes = field(repr=False)
    nodes: tuple[At, ...]

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of invitations is not known")
        need(len(self.network) <= NETWORK_BYTES_MAX, "the description is too long")
        need(len(self.to) in (0, PUBLIC_BYTES), "a root has 32 bytes")
        need(len(self.proof) <= MEMBRANE_PROOF_BYTES_MAX, "the proof is too long")
        need(len(self.nodes) <= NETWORK_NODES_MAX, "it names too many nodes")


def make_network(name: str, membrane: Membrane, secret: bytes, *, local: bool) -> Network:
    """A network; ValueError when a field breaks a bound."""
    values = encode_values(membrane_values(membrane), "membrane")
    made = Network(VERSION, name, values, local, secret)
    need(len(encode(made)) <= NETWORK_BYTES_MAX, "the description is too long")
    return made


def encode_network(network: Network) -> bytes:
    """The canonical bytes of a description."""
    return encode(network)


def decode_network(data: bytes) -> Network:
    """The network in `data`; raises DecodeError, and nothing else."""
    need_at_most(data, NETWORK_BYTES_MAX, "a network")
    check_items(data, _ITEMS_MAX)
    found = decode(Network, data, strict=True)
    if encode(found) != data:
        raise DecodeError(0, "not the one byte form of this network")
    return found


def invitation_text(invitation: Invitation) -> str:
    """One line, `dms3net:` and base32."""
    return PREFIX + encode_base32(encode(invitation))


def parse_invitation(text: str) -> tuple[Invitation, Network]:
    """The invitation written as `text` and its network; raises DecodeError, and nothing else.

    What mail does to a long line is undone; other lines around a whole one are left aside.
    """
    need_at_most(text, TEXT_CHARS_MAX, "an invitation")
    whole = next((line for line in text.splitlines() if _is_whole(line.strip())), text)
    joined = "".join(whole.split()).lower()
    if not joined.startswith(PREFIX):
        raise DecodeError(0, f"an invitation begins with {PREFIX}")
    return decode_invitation(decode_base32(joined[len(PREFIX) :]))


def _is_whole(line: str) -> bool:
    """Whether a line holds an invitation to its end."""
    if not line.lower().startswith(PREFIX):
        return False
    try:
        decode_invitation(decode_base32(line[len(PREFIX) :].lower()))
    except DecodeError:
        return False
    return True


def decode_invitation(data: bytes) -> tuple[Invitation, Network]:
    """The same from its bytes; raises DecodeError, and nothing else."""
    need_at_most(data, NETWORK_INVITATION_BYTES_MAX, "an invitation")
    check_items(data, _ITEMS_MAX)
    found = decode(Invitation, data, strict=True)
    return found, decode_network(found.network)


def is_network_name(name: str) -> bool:
    """Whether a network may be called so: one printable line, nothing at its ends."""
    fits = 0 < len(name) <= NETWORK_NAME_CHARS_MAX
    return fits and name.isprintable() and name == name.strip()


def _membrane(data: bytes) -> Membrane:
    try:
        found = membrane_of(decode_values(data, "membrane"))
    except DecodeError as error:
        raise ValueError(error.reason) from error
    need(not isinstance(found, Open) or found == Open(), "a network has no rules of its own")
    named = not isinstance(found, Immune) or bool(found.apps)
    need(named, "it names the apps in which members warn of each other")
    return found
