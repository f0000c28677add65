"""Tokens of a delivery service: a challenge to sign, and the session that the signature opens.

Source: the dm3 reference (dm3-lib-server-side); JWT with HS256 (RFC 7519) by PyJWT. The reference's
challenge can be answered again within its 15 minutes; whoever checks one here remembers its `id`.
Takes the time as an argument and keeps nothing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from dms3.core.errors import DecodeError
from dms3.core.limits import (
    DM3_NAME_CHARS_MAX,
    DM3_TOKEN_AHEAD_SECONDS_MAX,
    DM3_TOKEN_CHARS_MAX,
)
from dms3.core.machine import Entropy
from dms3.dm3.canonical import members, text_of
from dms3.dm3.keys import ProfileKeys

CHALLENGE_SECONDS = 900  # the reference's
SESSION_SECONDS = 3_600  # the reference's
_ALGORITHM = "HS256"
_UUID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a service asked `account` (a name) to sign; `id` differs in each. `until_s`: wall."""

    account: str
    id: str
    until_s: int


@dataclass(frozen=True, slots=True)
class Session:
    """Who may fetch until `until_s` (wall clock, seconds): `account`, a name or an address."""

    account: str
    until_s: int


def token_secret(service_keys: ProfileKeys) -> str:
    """The secret of a service's tokens, as the reference makes it from the signing key."""
    return "0x" + hashlib.sha256(service_keys.signing_secret).hexdigest()


def issue_challenge(secret: str, account: str, wall_s: int, entropy: Entropy) -> str:
    """A challenge for `account` at `wall_s` (seconds): the text to sign is all of it."""
    fields = {"account": account, "challenge": _uuid(entropy.draw(_UUID_BYTES))}
    return _encode(secret, fields, wall_s, CHALLENGE_SECONDS)


def read_challenge(secret: str, token: str, wall_s: int) -> Challenge:
    """The challenge in `token`, when this service issued it and it is not over; DecodeError."""
    found = _decode(secret, token, wall_s, "challenge")
    return Challenge(
        text_of(found["account"], "account", DM3_NAME_CHARS_MAX),
        text_of(found["challenge"], "challenge", DM3_NAME_CHARS_MAX),
        found["exp"],
    )


def issue_session(secret: str, account: str, wall_s: int) -> str:
    """A session of `account` from `wall_s` on (seconds)."""
    return _encode(secret, {"account": account}, wall_s, SESSION_SECONDS)


def read_session(secret: str, token: str, wall_s: int) -> Session:
    """The session in `token`, when this service opened it and it is not over; DecodeError."""
    found = _decode(secret, token, wall_s)
    return Session(text_of(found["account"], "account", DM3_NAME_CHARS_MAX), found["exp"])


def _encode(secret: str, fields: dict[str, Any], wall_s: int, lasts_s: int) -> str:
    import jwt  # noqa: PLC0415  # 120 ms, for services only

    claims = {**fields, "iat": wall_s, "nbf": wall_s, "exp": wall_s + lasts_s}
    return jwt.encode(claims, secret, algorithm=_ALGORITHM)


def _decode(secret: str, token: str, wall_s: int, *more: str) -> dict[str, Any]:
    import jwt  # noqa: PLC0415  # as above

    if len(token) > DM3_TOKEN_CHARS_MAX:
        raise DecodeError(DM3_TOKEN_CHARS_MAX, "a token is too long")
    try:
        found = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},  # see below
        )
    except (jwt.PyJWTError, ValueError, RecursionError) as cause:
        raise DecodeError(0, f"no token of this service: {cause}") from cause
    members(found, ("account", "exp", "iat", "nbf", *more))
    for name in ("exp", "iat", "nbf"):
        if type(found[name]) is not int:
            raise DecodeError(0, f"{name}: expected seconds since 1970")
    if found["exp"] <= wall_s:
        raise DecodeError(0, "the token is over")
    if max(found["nbf"], found["iat"]) > wall_s + DM3_TOKEN_AHEAD_SECONDS_MAX:
        raise DecodeError(0, "the token is not valid yet")
    return dict(found)


def _uuid(data: bytes) -> str:
    """RFC 9562 version 4 of 16 random bytes."""
    marked = bytearray(data)
    marked[6] = marked[6] & 0x0F | 0x40
    marked[8] = marked[8] & 0x3F | 0x80
    text = marked.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
