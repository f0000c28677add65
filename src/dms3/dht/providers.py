"""Content type `provider`: a node's signed word that it serves everything under a public CID.

Source: docs/wire.md, "Content types"; libp2p kad-dht, "Content provider advertisement" (there
unsigned, and believed because it comes from the provider itself). The newest record of each peer
stays. Says where to ask, not that the answer will be right: every block is hashed by who asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dms3.core.cid import Cid
from dms3.core.codec import INTEGER_MAX, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    ADDRESS_CHARS_MAX,
    ADDRESSES_PER_PEER_MAX,
    HELD_LIFE_US,
    PROVIDER_RECORD_BYTES_MAX,
    PROVIDERS_BYTES_MAX,
    PROVIDERS_MAX,
)
from dms3.core.overlay import Content, ContentType, Retention
from dms3.core.verdict import Abandoned, Invalid, Valid, Verdict, in_date
from dms3.crypto.certificate import PEER_ID_PREFIX, is_node_peer_id
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import SIGNATURE_BYTES, SigningKey
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey
from dms3.p2p.reach import Reach, others_word

NAME = "provider"
DOMAIN = b"provider"
VERSION = 1


@dataclass(frozen=True, slots=True)
class ProviderRecord:
    """`peer` says: I serve everything under `cid`, at `addresses` (multiaddrs as text).

    In force from `since_us` until `until_us` (wall clock, microseconds), HELD_LIFE_US at most.
    """

    v: int
    cid: Cid
    peer: bytes
    addresses: tuple[str, ...]
    since_us: int
    until_us: int
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of provider records is not known")
        need(is_node_peer_id(self.peer), "the peer id is not one of an Ed25519 key")
        need(len(self.addresses) <= ADDRESSES_PER_PEER_MAX, "too many addresses")
        for address in self.addresses:
            fits = 0 < len(address) <= ADDRESS_CHARS_MAX and address.isprintable()
            need(fits, "an address is too long or not one line of text")
        need(0 <= self.since_us < self.until_us <= INTEGER_MAX, "the dates are out of order")
        need(self.until_us - self.since_us <= HELD_LIFE_US, "it claims too long a life")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


def issue_provider(
    key: NodeKey, cid: Cid, addresses: Sequence[str], wall_us: int, life_us: int = HELD_LIFE_US
) -> Content:
    """The signed content in which the node with identity `key` offers `cid` from now on."""
    fit = tuple(addresses[:ADDRESSES_PER_PEER_MAX])
    bare = ProviderRecord(VERSION, cid, key.peer_id, fit, wall_us, wall_us + life_us, b"")
    record = signed_by(SigningKey.of_seed(key.seed), DOMAIN, bare)
    return Content(NAME, cid.binary, encode(record), record.until_us)


def decode_provider(data: bytes) -> ProviderRecord:
    """The record in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, PROVIDER_RECORD_BYTES_MAX, "a provider record")
    return decode(ProviderRecord, data, strict=True)


def validate(key: bytes, value: bytes, wall_us: int) -> Verdict:
    """Whether `value` is a provider's own word about the CID `key`, in date at `wall_us`."""
    try:
        record = decode_provider(value)
    except DecodeError as error:
        return Invalid("form", error.reason)
    if record.cid.binary != key:
        return Invalid("key", "it is about another CID")
    dates = in_date(record.since_us, record.until_us, wall_us)
    if isinstance(dates, Abandoned):
        return dates
    public = record.peer[len(PEER_ID_PREFIX) :]
    if not is_signed_by(public, DOMAIN, record):
        return Invalid("signature", "its peer has not signed it")
    return Valid()


def merge(held: bytes, offered: bytes) -> bytes:
    """The later of two valid records of one peer; of equal ones the greater bytes, everywhere."""
    one, two = decode_provider(held), decode_provider(offered)
    return max((one.since_us, held), (two.since_us, offered))[1]


def retention(key: bytes, value: bytes) -> Retention:
    """One slot for each peer, until the record expires."""
    del key
    record = decode_provider(value)
    return Retention(record.peer, record.until_us)


def dialable(addresses: Sequence[str], near: Reach) -> tuple[str, ...]:
    """Those of a record's `addresses` that a stranger's word may make this node dial.

    Whoever put it may be `near`, as far away as the farthest peer: on the Internet it names no
    address of a private network, and names are not resolved.
    """
    return others_word([Multiaddr.parse(text) for text in addresses if _is_address(text)], near)


def _is_address(text: str) -> bool:
    try:
        Multiaddr.parse(text)
    except DecodeError:
        return False
    return True


def provider_type() -> ContentType:
    """The content type."""
    return ContentType(
        name=NAME,
        validate=validate,
        merge=merge,
        retention=retention,
        value_bytes_max=PROVIDER_RECORD_BYTES_MAX,
        slots_max=PROVIDERS_MAX,
        quota_bytes=PROVIDERS_BYTES_MAX,
    )
