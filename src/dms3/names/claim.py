"""Content type `name`: a root's claim to a first-come name such as alice.dms3.

Source: docs/wire.md, "Content types"; docs/names.md, "First come". Nothing in a claim proves when
it was made, so no date in it counts: a node keeps the claim it saw first until that expires, and
only the same root renews it. A puzzle makes each claim cost something. What several nodes say is
weighed by whoever asks (`ContentType.contested`).
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass

from dms3.core.codec import INTEGER_MAX, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    NAME_CLAIM_BYTES_MAX,
    NAME_CLAIMS_BYTES_MAX,
    NAME_RECORD_LIFE_US,
    NAME_WORK_BITS,
)
from dms3.core.overlay import Content, ContentType, Retention
from dms3.core.verdict import Abandoned, Invalid, Valid, Verdict, in_date
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey
from dms3.names.forms import ENDING, label_fault

NAME = "name"
DOMAIN = b"name claim"
VERSION = 1
_WORK = b"dms3 name claim\0"
_DIGEST_BITS = 256


@dataclass(frozen=True, slots=True)
class NameClaim:
    """`root` says: `name` is mine, from `since_us` until `until_us` (wall clock, microseconds).

    `work` solves the puzzle of this name and root.
    """

    v: int
    name: str
    root: bytes
    work: int
    since_us: int
    until_us: int
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of claims is not known")
        need(len(self.root) == PUBLIC_BYTES, "a root has 32 bytes")
        need(self.name.endswith(ENDING), "not a name of dms3")
        fault = label_fault(self.name[: -len(ENDING)])
        need(not fault, fault)
        need(0 <= self.work <= INTEGER_MAX, "the work is out of range")
        need(0 <= self.since_us < self.until_us <= INTEGER_MAX, "the dates are out of order")
        need(self.until_us - self.since_us <= NAME_RECORD_LIFE_US, "it claims too long a life")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


def claim_key(name: str) -> bytes:
    """Where claims to `name` (normalised) lie."""
    return hashlib.sha256(b"name/" + name.encode()).digest()


def find_work(name: str, root: bytes, start: int, tries: int) -> int | None:
    """The first solution of the puzzle among `tries` numbers from `start` on, or None."""
    begun = _begun(name, root)
    most = 1 << (_DIGEST_BITS - NAME_WORK_BITS)
    for work in range(start, start + tries):
        digest = begun.copy()
        digest.update(work.to_bytes(8, "big"))
        if int.from_bytes(digest.digest(), "big") < most:
            return work
    return None


def is_work(name: str, root: bytes, work: int) -> bool:
    """Whether `work` solves the puzzle of `name` and `root`."""
    return find_work(name, root, work, 1) is not None


def sign_claim(key: SigningKey, claim: NameClaim) -> Content:
    """The content of `claim`, signed by root `key`."""
    signed = signed_by(key, DOMAIN, dataclasses.replace(claim, root=key.public))
    return Content(NAME, claim_key(signed.name), encode(signed), signed.until_us)


def decode_claim(data: bytes) -> NameClaim:
    """The claim in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, NAME_CLAIM_BYTES_MAX, "a claim")
    return decode(NameClaim, data, strict=True)


def validate(key: bytes, value: bytes, wall_us: int) -> Verdict:
    """Whether `value` is a root's own claim to the name it lies under, paid for and in date."""
    try:
        claim = decode_claim(value)
    except DecodeError as error:
        return Invalid("form", error.reason)
    if claim_key(claim.name) != key:
        return Invalid("key", "it is about another name")
    dates = in_date(claim.since_us, claim.until_us, wall_us)
    if isinstance(dates, Abandoned):
        return dates
    if not is_work(claim.name, claim.root, claim.work):
        return Invalid("work", "its puzzle is not solved")
    if not is_signed_by(claim.root, DOMAIN, claim):
        return Invalid("signature", "its root has not signed it")
    return Valid()


def merge(held: bytes, offered: bytes) -> bytes:
    """What is held stays; only its own root renews it, with a later date."""
    one, two = decode_claim(held), decode_claim(offered)
    if one.root == two.root:
        return max((one.since_us, held), (two.since_us, offered))[1]
    return held


def retention(key: bytes, value: bytes) -> Retention:
    """One slot for each name, until the claim expires."""
    del key
    claim = decode_claim(value)
    return Retention(b"", claim.until_us)


def name_type() -> ContentType:
    """The content type."""
    return ContentType(
        name=NAME,
        validate=validate,
        merge=merge,
        retention=retention,
        value_bytes_max=NAME_CLAIM_BYTES_MAX,
        slots_max=1,
        quota_bytes=NAME_CLAIMS_BYTES_MAX,
        life_us=NAME_RECORD_LIFE_US,
        contested=True,
    )


def _begun(name: str, root: bytes) -> hashlib._Hash:
    return hashlib.sha256(_WORK + root + name.encode() + b"\0")
