"""Content type `agent`: an agent's signed word at which node it can be asked now.

Source: docs/wire.md, "Content types". Lies in the overlay of its app under `whereabouts_key`; the
newest stays. Says where to ask, not that the node acts for the agent: that shows its answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from dms3.core.codec import INTEGER_MAX, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import (
    ADDRESS_CHARS_MAX,
    ADDRESSES_PER_PEER_MAX,
    WHEREABOUTS_BYTES_MAX,
    WHEREABOUTS_LIFE_US,
    WHEREABOUTS_TOTAL_BYTES_MAX,
)
from dms3.core.overlay import Content, ContentType, Retention
from dms3.core.verdict import Abandoned, Invalid, Valid, Verdict, in_date
from dms3.crypto.certificate import is_node_peer_id
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey

NAME = "agent"
DOMAIN = b"whereabouts"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """`agent` of `overlay` says: ask me at `peer`, at `addresses` (multiaddrs as text).

    In force from `since_us` until `until_us` (wall clock), WHEREABOUTS_LIFE_US at most.
    """

    v: int
    overlay: bytes
    agent: bytes
    peer: bytes
    addresses: tuple[str, ...]
    since_us: int
    until_us: int
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of whereabouts is not known")
        need(len(self.overlay) == PUBLIC_BYTES, "an overlay has 32 bytes")
        need(len(self.agent) == PUBLIC_BYTES, "an agent has 32 bytes")
        need(is_node_peer_id(self.peer), "the peer id is not one of an Ed25519 key")
        need(len(self.addresses) <= ADDRESSES_PER_PEER_MAX, "too many addresses")
        for address in self.addresses:
            fits = 0 < len(address) <= ADDRESS_CHARS_MAX and address.isprintable()
            need(fits, "an address is too long or not one line of text")
        need(0 <= self.since_us < self.until_us <= INTEGER_MAX, "the dates are out of order")
        need(self.until_us - self.since_us <= WHEREABOUTS_LIFE_US, "it claims too long a life")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


def whereabouts_key(overlay: OverlayId, agent: bytes) -> bytes:
    """Under which key an agent's whereabouts lie: 32 bytes."""
    return hashlib.sha256(b"dms3 whereabouts " + overlay + agent).digest()


def issue_whereabouts(
    key: SigningKey, overlay: OverlayId, peer: PeerId, addresses: Sequence[str], wall_us: int
) -> Content:
    """The signed content by which agent `key` can be found at `peer` from now on."""
    fit = tuple(addresses[:ADDRESSES_PER_PEER_MAX])
    until = wall_us + WHEREABOUTS_LIFE_US
    bare = Whereabouts(VERSION, overlay, key.public, peer, fit, wall_us, until, b"")
    found = signed_by(key, DOMAIN, bare)
    return Content(NAME, whereabouts_key(overlay, key.public), encode(found), until)


def decode_whereabouts(data: bytes) -> Whereabouts:
    """The whereabouts in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, WHEREABOUTS_BYTES_MAX, "whereabouts")
    return decode(Whereabouts, data, strict=True)


def validate(key: bytes, value: bytes, wall_us: int) -> Verdict:
    """Whether `value` is the own word of the agent with that `key`, in date at `wall_us`."""
    try:
        found = decode_whereabouts(value)
    except DecodeError as error:
        return Invalid("form", error.reason)
    if whereabouts_key(OverlayId(found.overlay), found.agent) != key:
        return Invalid("key", "it is about another agent")
    dates = in_date(found.since_us, found.until_us, wall_us)
    if isinstance(dates, Abandoned):
        return dates
    if not is_signed_by(found.agent, DOMAIN, found):
        return Invalid("signature", "its agent has not signed it")
    return Valid()


def merge(held: bytes, offered: bytes) -> bytes:
    """The later of two valid ones; of equal ones the greater bytes, everywhere."""
    one, two = decode_whereabouts(held), decode_whereabouts(offered)
    return max((one.since_us, held), (two.since_us, offered))[1]


def retention(key: bytes, value: bytes) -> Retention:
    """One slot, until it expires."""
    del key
    return Retention(b"", decode_whereabouts(value).until_us)


def whereabouts_type() -> ContentType:
    """The content type."""
    return ContentType(
        name=NAME,
        validate=validate,
        merge=merge,
        retention=retention,
        value_bytes_max=WHEREABOUTS_BYTES_MAX,
        slots_max=1,
        quota_bytes=WHEREABOUTS_TOTAL_BYTES_MAX,
        life_us=WHEREABOUTS_LIFE_US,
    )
