"""Content type `profile`: the signed word of a root or node key about account, profile, service.

Source: docs/wire.md, "Content types"; docs/names.md. The newest record of each key stays. Whoever
holds one checks the key's signature and no more; that the account has signed the profile is checked
by whoever asked (`names/finding.py`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from dms3.core.codec import INTEGER_MAX, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    NAME_RECORD_LIFE_US,
    PROFILE_RECORD_BYTES_MAX,
    PROFILE_RECORDS_BYTES_MAX,
)
from dms3.core.overlay import Content, ContentType, Retention
from dms3.core.verdict import Abandoned, Invalid, Valid, Verdict, in_date
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey

NAME = "profile"
DOMAIN = b"profile record"
VERSION = 1
ADDRESS_CHARS = 42
_SLOTS = 2  # one is ever used; a type of several slots is asked from several holders


@dataclass(frozen=True, slots=True)
class ProfileRecord:
    """`key` says: my account is `address`, and this is my `profile`, and the `service` I am.

    `key`: 32 bytes of a root or node key. `address`: with checksum, "" without. `profile`: JSON of
    a signed user profile, `service`: of a delivery service profile; empty: none. `sequence` rises
    with every record of the key. In force from `since_us` until `until_us` (wall clock).
    """

    v: int
    key: bytes
    address: str
    profile: bytes = field(repr=False)
    service: bytes = field(repr=False)
    sequence: int
    since_us: int
    until_us: int
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of profile records is not known")
        need(len(self.key) == PUBLIC_BYTES, "a key has 32 bytes")
        fits = len(self.address) in (0, ADDRESS_CHARS) and self.address.isascii()
        need(fits and self.address.isprintable(), "not an address")
        need(bool(self.address) or not self.profile, "a profile belongs to an account")
        need(0 <= self.sequence <= INTEGER_MAX, "the sequence is out of range")
        need(0 <= self.since_us < self.until_us <= INTEGER_MAX, "the dates are out of order")
        need(self.until_us - self.since_us <= NAME_RECORD_LIFE_US, "it claims too long a life")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


def record_key(key: bytes) -> bytes:
    """Where the record of a root or node key lies."""
    return b"profile/" + key


def sign_record(signer: SigningKey, record: ProfileRecord) -> Content:
    """The content of `record`, signed by its key; ValueError when it is too large."""
    signed = signed_by(signer, DOMAIN, dataclasses.replace(record, key=signer.public))
    value = encode(signed)
    need(len(value) <= PROFILE_RECORD_BYTES_MAX, f"it has over {PROFILE_RECORD_BYTES_MAX} bytes")
    return Content(NAME, record_key(signed.key), value, signed.until_us)


def decode_record(data: bytes) -> ProfileRecord:
    """The record in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, PROFILE_RECORD_BYTES_MAX, "a profile record")
    return decode(ProfileRecord, data, strict=True)


def validate(key: bytes, value: bytes, wall_us: int) -> Verdict:
    """Whether `value` is the own word of the key it lies under, in date at `wall_us`."""
    try:
        record = decode_record(value)
    except DecodeError as error:
        return Invalid("form", error.reason)
    if record_key(record.key) != key:
        return Invalid("key", "it is of another key")
    dates = in_date(record.since_us, record.until_us, wall_us)
    if isinstance(dates, Abandoned):
        return dates
    if not is_signed_by(record.key, DOMAIN, record):
        return Invalid("signature", "its key has not signed it")
    return Valid()


def merge(held: bytes, offered: bytes) -> bytes:
    """The later of two valid records of one key; of equal ones the greater bytes, everywhere."""
    one, two = decode_record(held), decode_record(offered)
    return max((one.sequence, held), (two.sequence, offered))[1]


def retention(key: bytes, value: bytes) -> Retention:
    """One slot, until the record expires."""
    del key
    record = decode_record(value)
    return Retention(b"", record.until_us)


def profile_type() -> ContentType:
    """The content type."""
    return ContentType(
        name=NAME,
        validate=validate,
        merge=merge,
        retention=retention,
        value_bytes_max=PROFILE_RECORD_BYTES_MAX,
        slots_max=_SLOTS,
        quota_bytes=PROFILE_RECORDS_BYTES_MAX,
        life_us=NAME_RECORD_LIFE_US,
    )
