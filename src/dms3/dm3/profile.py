"""Profiles: who delivers a person's messages and with which keys, signed by the person's account.

Source: the dm3 reference (dm3-lib-profile): members are exact, nothing may be added. docs/dm3.md,
"Formats". Does not look profiles up: see `records.py` for where they lie.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from dms3.core.errors import DecodeError
from dms3.core.limits import DM3_NAME_CHARS_MAX, DM3_SERVICES_MAX, DM3_URL_CHARS_MAX
from dms3.crypto.keys import address_of, checksum_address
from dms3.dm3.canonical import canonical, decode_base64, encode_base64, list_of, members, text_of
from dms3.dm3.keys import KEY_BYTES
from dms3.dm3.wallet import address_bytes, check_wallet_signature, personal_sign, personal_signer

_FINGERPRINT_GROUPS = 8  # of 16 bits: 128 bits cannot be found for another key
_PROFILE_TEXT = """\
dm3.chat wants you register your dm3 profile with your Ethereum account:
{address}

This is required only once!
(There is no paid transaction initiated. The signature is used off-chain only.)

URI: https://dm3.chat
Version: 1
dm3 Profile: {profile}"""


@dataclass(frozen=True, slots=True)
class UserProfile:
    """What a person publishes: names of delivery services, best first, and two public keys.

    `encryption`: X25519, `signing`: Ed25519; 32 bytes each.
    """

    delivery_services: tuple[str, ...]
    encryption: bytes
    signing: bytes

    def value(self) -> dict[str, Any]:
        """The JSON value."""
        return {
            "deliveryServices": list(self.delivery_services),
            "publicEncryptionKey": encode_base64(self.encryption),
            "publicSigningKey": encode_base64(self.signing),
        }

    def text(self) -> str:
        """The canonical JSON: what the account signs a part of."""
        return canonical(self.value())


@dataclass(frozen=True, slots=True)
class SignedProfile:
    """A profile and the account's signature of it: "0x" and 130 hex digits, not yet checked."""

    profile: UserProfile
    signature: str

    def value(self) -> dict[str, Any]:
        """The JSON value: what ENS records and delivery services have."""
        return {"profile": self.profile.value(), "signature": self.signature}

    def text(self) -> str:
        """The canonical JSON; its hash is the `dm3Hash` of a linked profile."""
        return canonical(self.value())


@dataclass(frozen=True, slots=True)
class ServiceProfile:
    """What a delivery service publishes: two public keys (32 bytes each) and where it answers."""

    encryption: bytes
    signing: bytes
    url: str

    def value(self) -> dict[str, Any]:
        """The JSON value."""
        return {
            "publicEncryptionKey": encode_base64(self.encryption),
            "publicSigningKey": encode_base64(self.signing),
            "url": self.url,
        }

    def text(self) -> str:
        """The canonical JSON."""
        return canonical(self.value())


def decode_user_profile(value: Any) -> UserProfile:
    """The profile in the JSON `value`; raises DecodeError for anything else."""
    found = members(value, ("deliveryServices", "publicEncryptionKey", "publicSigningKey"))
    services = list_of(found["deliveryServices"], "deliveryServices", DM3_SERVICES_MAX)
    return UserProfile(
        tuple(text_of(name, "deliveryServices", DM3_NAME_CHARS_MAX) for name in services),
        decode_base64(found["publicEncryptionKey"], KEY_BYTES),
        decode_base64(found["publicSigningKey"], KEY_BYTES),
    )


def decode_signed_profile(value: Any) -> SignedProfile:
    """The signed profile in the JSON `value`, its signature unchecked; raises DecodeError."""
    found = members(value, ("profile", "signature"))
    signature = check_wallet_signature(found["signature"])
    return SignedProfile(decode_user_profile(found["profile"]), signature)


def decode_service_profile(value: Any) -> ServiceProfile:
    """The profile of a delivery service in the JSON `value`; raises DecodeError."""
    found = members(value, ("publicEncryptionKey", "publicSigningKey", "url"))
    return ServiceProfile(
        decode_base64(found["publicEncryptionKey"], KEY_BYTES),
        decode_base64(found["publicSigningKey"], KEY_BYTES),
        text_of(found["url"], "url", DM3_URL_CHARS_MAX),
    )


def profile_text(address: str, profile: UserProfile) -> str:
    """What the account at `address` signs (EIP-191); raises DecodeError when `address` is none."""
    checksummed = checksum_address(address_bytes(address))
    return _PROFILE_TEXT.format(address=checksummed, profile=profile.text())


def sign_profile(account_secret: bytes, profile: UserProfile) -> SignedProfile:
    """`profile` signed by the account whose secp256k1 key is `account_secret` (32 bytes)."""
    text = profile_text(address_of(account_secret), profile)
    return SignedProfile(profile, personal_sign(account_secret, text))


def is_signed_by(signed: SignedProfile, address: str) -> bool:
    """Whether the account at `address` signed the profile."""
    try:
        signer = personal_signer(profile_text(address, signed.profile), signed.signature)
        return address_bytes(signer) == address_bytes(address)
    except DecodeError:
        return False


def fingerprint(profile: UserProfile) -> str:
    """A short form of both keys for people to compare: 8 groups of 4 hex digits."""
    digest = hashlib.sha256(b"dms3 fingerprint\0" + profile.encryption + profile.signing).digest()
    return " ".join(digest[2 * n : 2 * n + 2].hex() for n in range(_FINGERPRINT_GROUPS))
