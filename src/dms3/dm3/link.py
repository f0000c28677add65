"""Profile links: a profile for one purpose, bound to a person's main profile or account.

Source: the dm3 linked-profiles draft (DM3LPP) as the reference signs it (dm3-lib-profile). Does not
look up whose key or account the main id is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dms3.core.errors import DecodeError
from dms3.core.limits import DM3_NAME_CHARS_MAX, DM3_URL_CHARS_MAX
from dms3.dm3.canonical import members, text_of
from dms3.dm3.keys import verify_text
from dms3.dm3.message import instant_of
from dms3.dm3.wallet import address_bytes, personal_signer

ACCOUNT = "EthAddressLink"
PROFILE = "ProfileLink"
_SIGNATURE_CHARS_MAX = 132  # of a wallet, in hex; one of Ed25519 in base64 has 88
_MAIN = {ACCOUNT: "Ethereum address", PROFILE: "main dm3 profile"}
_MEMBERS = ("type", "mainId", "linkedProfile", "scopeUri", "issuedAt", "expirationTime", "nonce")


@dataclass(frozen=True, slots=True)
class ProfileLink:
    """`linked` (a name) is a profile of `main` for what `scope` (a URI) is about.

    `kind`: whether `main` is an address or the name of a profile. `issued_s`, `until_s`: seconds
    since 1970; None: for ever. `nonce`: counts up when a link replaces another.
    """

    kind: Literal["EthAddressLink", "ProfileLink"]
    main: str
    linked: str
    scope: str
    issued_s: int
    until_s: int | None = None
    nonce: int = 0

    def value(self) -> dict[str, Any]:
        """The JSON value."""
        return {
            "type": self.kind,
            "mainId": self.main,
            "linkedProfile": self.linked,
            "scopeUri": self.scope,
            "issuedAt": self.issued_s,
            "expirationTime": self.until_s,
            "nonce": self.nonce,
        }

    def text(self) -> str:
        """What the account (EIP-191) or the main profile's key signs."""
        until = "null" if self.until_s is None else self.until_s
        return (
            f"dm3 Profile Link:\n{self.scope} wants you to link your local dm3 profile with your "
            f"{_MAIN[self.kind]}.\n\nMain ID: {self.main}\nMain ID Type: {self.kind}\n"
            f"Linked Profile Name: {self.linked}\nNonce: {self.nonce}\n"
            f"Issued At: {self.issued_s}\nExpiration Time: {until}"
        )


@dataclass(frozen=True, slots=True)
class SignedLink:
    """A link and its signature (hex of a wallet, or base64 of Ed25519), not yet checked."""

    link: ProfileLink
    signature: str

    def value(self) -> dict[str, Any]:
        """The JSON value."""
        return {"profileLink": self.link.value(), "signature": self.signature}


def decode_signed_link(value: Any) -> SignedLink:
    """The link in the JSON `value`, its signature unchecked; raises DecodeError."""
    outer = members(value, ("profileLink", "signature"))
    found = members(outer["profileLink"], _MEMBERS)
    if found["type"] not in (ACCOUNT, PROFILE):
        raise DecodeError(0, f"type: expected {ACCOUNT} or {PROFILE}")
    until = found["expirationTime"]
    link = ProfileLink(
        kind=found["type"],
        main=_line(found["mainId"], "mainId", DM3_NAME_CHARS_MAX),
        linked=_line(found["linkedProfile"], "linkedProfile", DM3_NAME_CHARS_MAX),
        scope=_line(found["scopeUri"], "scopeUri", DM3_URL_CHARS_MAX),
        issued_s=instant_of(found["issuedAt"], "issuedAt"),
        until_s=None if until is None else instant_of(until, "expirationTime"),
        nonce=instant_of(found["nonce"], "nonce"),
    )
    return SignedLink(link, text_of(outer["signature"], "signature", _SIGNATURE_CHARS_MAX))


def is_link_by(signed: SignedLink, signing_public: bytes | None, wall_s: int) -> bool:
    """Whether the main id signed the link and it holds at `wall_s` (seconds since 1970).

    `signing_public`: the Ed25519 key of the main profile; None when the main id is an account.
    """
    link = signed.link
    if link.until_s is not None and link.until_s <= wall_s:
        return False
    if link.kind == PROFILE:
        return signing_public is not None and verify_text(
            signing_public, link.text(), signed.signature
        )
    try:
        signer = personal_signer(link.text(), signed.signature)
        return address_bytes(signer) == address_bytes(link.main)
    except DecodeError:
        return False


def _line(value: Any, name: str, most: int) -> str:
    """Text of one line: with another, one signed text could be read as two links."""
    if any(char in text_of(value, name, most) for char in "\r\n"):
        raise DecodeError(0, f"{name}: more than one line")
    return str(value)
