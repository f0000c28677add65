"""What records of names say, checked: a profile is believed for the signature of its account.

Source: docs/names.md. Every failure is `content_invalid` and names the record.
"""

from __future__ import annotations

from typing import Any

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import PROFILE_RECORD_BYTES_MAX
from dms3.crypto.keys import checksum_address
from dms3.dm3.canonical import parse
from dms3.dm3.lookup import Resolved
from dms3.dm3.profile import (
    ServiceProfile,
    SignedProfile,
    decode_service_profile,
    decode_signed_profile,
    fingerprint,
    is_signed_by,
)
from dms3.names.record import ProfileRecord


def of_record(name: str, held: ProfileRecord) -> Resolved:
    """Who the owner of a checked record is; raises `content_invalid`."""
    profile, service = None, None
    if held.profile:
        profile = signed_profile(name, _parsed(name, held.profile), held.address)
    if held.service:
        service = service_profile(name, _parsed(name, held.service))
    root = held.key.hex()
    if profile is None:  # nothing proves that the account agrees
        return Resolved(name, "", None, service, "address", "", root)
    address = checksum_address(bytes.fromhex(held.address[2:]))
    return Resolved(name, address, profile, service, "address", fingerprint(profile.profile), root)


def _parsed(name: str, text: bytes) -> Any:
    try:
        return parse(text, PROFILE_RECORD_BYTES_MAX)
    except DecodeError as error:
        raise _wrong(name, "record", error.reason) from error


def signed_profile(name: str, value: Any, address: str) -> SignedProfile:
    """The profile in the JSON `value` of `name`, which the account `address` has signed."""
    try:
        signed = decode_signed_profile(value)
    except DecodeError as error:
        raise _wrong(name, "profile", error.reason) from error
    if not is_signed_by(signed, address):
        owner = address or "any account"
        raise _wrong(name, "profile", f"it is not signed by {owner}, the account behind the name")
    return signed


def service_profile(name: str, value: Any) -> ServiceProfile:
    """The profile of a delivery service in the JSON `value` of `name`."""
    try:
        return decode_service_profile(value)
    except DecodeError as error:
        raise _wrong(name, "delivery service profile", error.reason) from error


def _wrong(name: str, what: str, why: str) -> Dms3Error:
    return Dms3Error("content_invalid", f"The {what} of {name} is not valid: {why}.")
