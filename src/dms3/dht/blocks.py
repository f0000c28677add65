"""Content type `block`: a block of public content under its CID; and types that have an owner.

Source: docs/wire.md, "Content types"; IPLD CID specification. The key says what the value must be,
so one honest holder is enough and nobody can replace it. Kept in the library until it expires.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dms3.core.cid import Cid
from dms3.core.errors import DecodeError
from dms3.core.limits import BLOCK_BYTES_MAX, HELD_BLOCKS_BYTES_MAX, HELD_LIFE_US
from dms3.core.overlay import ContentType, Retention
from dms3.core.verdict import Invalid, Valid, Verdict

NAME = "block"


def validate(key: bytes, value: bytes, wall_us: int) -> Verdict:
    """Whether `value` is the block whose CID (binary form) is `key`."""
    del wall_us
    try:
        cid = Cid.decode(key)
    except DecodeError as error:
        return Invalid("key", error.reason)
    if cid.binary != key:
        return Invalid("key", "not a CIDv1")
    return Valid() if cid.matches(value) else Invalid("hash", "the block is not that of its CID")


def merge(held: bytes, offered: bytes) -> bytes:
    """The held one: two blocks of one CID are equal."""
    del offered
    return held


def retention(key: bytes, value: bytes) -> Retention:
    """One slot, for as long as whoever puts it says."""
    del key, value
    return Retention(b"", None)


def block_type(quota_bytes: int = HELD_BLOCKS_BYTES_MAX) -> ContentType:
    """The content type; `quota_bytes`: how much a node gives to blocks of others."""
    return ContentType(
        name=NAME,
        validate=validate,
        merge=merge,
        retention=retention,
        value_bytes_max=BLOCK_BYTES_MAX,
        slots_max=1,
        quota_bytes=quota_bytes,
        kept_as="blocks",
        taken_by="both",
    )


def owned_type(
    name: str,
    verify: Callable[[bytes, bytes, int], Verdict],
    quota_bytes: int,
    *,
    life_us: int = HELD_LIFE_US,
) -> ContentType:
    """Blocks under their CIDs of which an owner says which are true: those of a ledger, say.

    `verify(key, value, wall_us)` is asked for what has the hash of its key: Valid for what its
    owner wants to be kept, Abandoned while it does not know yet. All nodes keep it within whose
    radius it lies, however many are nearer. `life_us`: how long after the last offer.
    """

    def wanted(key: bytes, value: bytes, wall_us: int) -> Verdict:
        verdict = validate(key, value, wall_us)
        return verify(key, value, wall_us) if isinstance(verdict, Valid) else verdict

    return replace(
        block_type(quota_bytes), name=name, validate=wanted, life_us=life_us, taken_by="radius"
    )
