"""The network file: the parameters a set of nodes agrees on, and its hash, the network id.

Source: docs/architecture.md, "Network agreement and versions". Parameters are not configuration:
changing one makes another network, whose nodes refuse each other by name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from dms3.core.codec import decode, encode

NETWORK_FILE_BYTES_MAX = 1 << 20
BUCKET_SIZE = 20  # k of Kademlia in networks of ours; also the most nodes one answer may name
LOOKUP_PARALLELISM = 3  # alpha


@dataclass(frozen=True, slots=True)
class NetworkParameters:
    """What every node of a network agrees on; `name` is for people, the hash is what counts.

    `lookup_parallelism` (alpha) and `bucket_size` (k) are those of Kademlia. `chain_id`,
    `allocation` and `members` stay empty until the network has a ledger.
    """

    name: str
    lookup_parallelism: int = LOOKUP_PARALLELISM
    bucket_size: int = BUCKET_SIZE
    chain_id: int = 0
    allocation: dict[str, str] = field(default_factory=dict)
    members: tuple[bytes, ...] = ()
    v: int = 1


MAIN = NetworkParameters(name="dms3")
"""The network that nodes join by default."""


def network_id(parameters: NetworkParameters) -> bytes:
    """The 32-byte id of a network: SHA-256 of its canonical parameters."""
    return hashlib.sha256(encode(parameters)).digest()


def decode_network(data: bytes) -> NetworkParameters:
    """The parameters in a network file (dag-cbor); raises DecodeError when it is not one."""
    return decode(NetworkParameters, data, strict=True)
