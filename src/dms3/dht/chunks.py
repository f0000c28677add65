"""Content type `chunk`: a sealed piece of somebody's conversation storage, under a key of its own.

Source: docs/wire.md, "Content types"; mutable items as in BitTorrent's BEP 44, with one key pair
for each name, so that neither the names nor the pieces of one person can be told to belong
together. The newest sequence stays; an empty one says that there is nothing any more. What the
bytes mean is the business of who made them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from dms3.core.codec import INTEGER_MAX, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    CHUNK_LIFE_US,
    CHUNK_VALUE_BYTES_MAX,
    CHUNK_WORK_BITS,
    CHUNK_WORK_TRIES_MAX,
    CHUNKS_BYTES_MAX,
)
from dms3.core.overlay import Content, ContentType, Retention
from dms3.core.verdict import Abandoned, Invalid, Valid, Verdict, in_date
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey

NAME = "chunk"
DOMAIN = b"chunk"
VERSION = 1
_SLOT = b"\0"
_SLOTS = 2  # one is used; a get of a type of several slots hears several holders, the newest wins
_SEED_LABEL = b"dms3 chunk seed 1"
_WORK_LABEL = b"dms3 chunk work 1"
_DIGEST_BITS = 256


@dataclass(frozen=True, slots=True)
class Chunk:
    """The holder of `public` says: under my key lies `data`, empty for nothing.

    `work`: solves the puzzle of the key. `sequence`: the greater one counts. In force from
    `since_us` until `until_us` (wall clock, microseconds), CHUNK_LIFE_US at most.
    """

    v: int
    public: bytes
    work: int
    sequence: int
    since_us: int
    until_us: int
    data: bytes = field(repr=False)
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of chunks is not known")
        need(len(self.public) == PUBLIC_BYTES, "a public key has 32 bytes")
        need(0 <= self.work <= INTEGER_MAX, "the work is no number of 64 bits")
        need(0 <= self.sequence <= INTEGER_MAX, "the sequence is no number of 64 bits")
        need(0 <= self.since_us < self.until_us <= INTEGER_MAX, "the dates are out of order")
        need(self.until_us - self.since_us <= CHUNK_LIFE_US, "it claims too long a life")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


def chunk_key(seed: bytes, name: str, sequence: int, part: int) -> SigningKey:
    """The key of one chunk: another one for each `name`, and for each part of each sequence.

    `seed`: 32 secret bytes of the person. `sequence` 0 and `part` 0 is the chunk that is looked
    for first. Nobody without the seed finds a key, or sees that two belong together.
    """
    assert len(seed) == 32, f"a seed has 32 bytes, not {len(seed)}"
    bound = _SEED_LABEL + sequence.to_bytes(8, "big") + part.to_bytes(4, "big") + name.encode()
    return SigningKey.of_seed(hashlib.blake2b(bound, key=seed, digest_size=32).digest())


def solve(public: bytes) -> int:
    """The work of the key `public`: some CHUNK_WORK_BITS bits of tries; the same every time."""
    start = hashlib.sha256(_WORK_LABEL + public)
    for work in range(CHUNK_WORK_TRIES_MAX):
        tried = start.copy()
        tried.update(work.to_bytes(8, "big"))
        if not tried.digest()[0] and _is_work(tried.digest()):
            return work
    raise Dms3Error("internal", f"No work was found for the key {public.hex()}.")


def issue_chunk(key: SigningKey, data: bytes, *, sequence: int, work: int, wall_us: int) -> Content:
    """The signed content that puts `data` under `key` from now on; `work`: `solve(key.public)`."""
    until_us = wall_us + CHUNK_LIFE_US
    bare = Chunk(VERSION, key.public, work, sequence, wall_us, until_us, data, b"")
    signed = signed_by(key, DOMAIN, bare)
    return Content(NAME, key.public, encode(signed), until_us)


def decode_chunk(data: bytes) -> Chunk:
    """The chunk in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, CHUNK_VALUE_BYTES_MAX, "a chunk")
    return decode(Chunk, data, strict=True)


def validate(key: bytes, value: bytes, wall_us: int) -> Verdict:
    """Whether `value` was put under `key` by the holder of that key, and is in date."""
    try:
        chunk = decode_chunk(value)
    except DecodeError as error:
        return Invalid("form", error.reason)
    if chunk.public != key:
        return Invalid("key", "it belongs under another key")
    digest = hashlib.sha256(_WORK_LABEL + key + chunk.work.to_bytes(8, "big")).digest()
    if not _is_work(digest):
        return Invalid("work", "its key has cost no work")
    dates = in_date(chunk.since_us, chunk.until_us, wall_us)
    if isinstance(dates, Abandoned):
        return dates
    if not is_signed_by(key, DOMAIN, chunk):
        return Invalid("signature", "the holder of its key has not signed it")
    return Valid()


def merge(held: bytes, offered: bytes) -> bytes:
    """The greater sequence of two valid chunks of one key; of equal ones the greater bytes."""
    one, two = decode_chunk(held), decode_chunk(offered)
    return max((one.sequence, held), (two.sequence, offered))[1]


def retention(key: bytes, value: bytes) -> Retention:
    """One slot, until the chunk expires."""
    del key
    return Retention(_SLOT, decode_chunk(value).until_us)


def chunk_type() -> ContentType:
    """The content type."""
    return ContentType(
        name=NAME,
        validate=validate,
        merge=merge,
        retention=retention,
        value_bytes_max=CHUNK_VALUE_BYTES_MAX,
        slots_max=_SLOTS,
        quota_bytes=CHUNKS_BYTES_MAX,
        life_us=CHUNK_LIFE_US,
    )


def _is_work(digest: bytes) -> bool:
    zeros = _DIGEST_BITS - int.from_bytes(digest, "big").bit_length()
    return zeros >= CHUNK_WORK_BITS
