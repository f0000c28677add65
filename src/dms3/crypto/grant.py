"""Grants: a root's signed right to read or search one space or to call an app, and its proof.

Source: docs/architecture.md, "Private by default"; bytes in docs/wire.md. A grant names the
reader's *root*; the reader's devices add their certificate. Which grants are withdrawn is known to
the issuer's node alone: see `search/grants.py` and, for calls, `source/capabilities.py`.

A grant for an app has the DNA's id in place of a space and the rights `call:FUNCTION`. Its reader
may be the public key of a secret that goes from hand to hand: whoever has it is the reader.

Attenuation fits later without touching this type: a narrower grant is a `Grant` whose issuer is
the reader of the wider one, and `Proof` then carries the chain in a further field; a node that
does not know the field sees a reader that differs from the certificate's root, and refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dms3.core.codec import INTEGER_MAX, decode, need, need_at_most
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import PeerId, Root, SpaceId, short
from dms3.core.limits import (
    CERTIFICATE_BYTES_MAX,
    CLOCK_AHEAD_US_MAX,
    DNA_NAME_CHARS_MAX,
    GRANT_BYTES_MAX,
    RIGHTS_MAX,
)
from dms3.crypto.certificate import Certificate, check_certificate, decode_certificate
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey

DOMAIN = b"grant"
VERSION = 1
READ = "read"  # fetch blocks of the space
SEARCH = "search"  # ask questions to its index
CALL = "call:"  # with the name of a function of an app
SERIAL_BYTES = 16
SPACE_BYTES = 32
FOREVER_US = 253_402_300_799_000_000  # the end of the year 9999: a grant without an end
_RIGHT_CHARS_MAX = 16


@dataclass(frozen=True, slots=True)
class Grant:
    """`issuer` lets `reader` (roots) use `rights` on `space` until `until_us` (wall clock, us).

    `rights` are sorted and distinct; an unknown right gives nothing. `serial` (16 random bytes)
    names this grant when it is withdrawn. The signature covers every other field.
    """

    v: int
    issuer: bytes
    space: bytes
    reader: bytes
    rights: tuple[str, ...]
    created_us: int
    until_us: int
    serial: bytes
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"grant version {self.v} is not known")
        need(len(self.issuer) == PUBLIC_BYTES, "the issuer is a root of 32 bytes")
        need(len(self.reader) == PUBLIC_BYTES, "the reader is a root of 32 bytes")
        need(len(self.space) == SPACE_BYTES, "a space id has 32 bytes")
        need(0 < len(self.rights) <= RIGHTS_MAX, f"a grant has 1 to {RIGHTS_MAX} rights")
        need(self.rights == tuple(sorted(set(self.rights))), "rights are sorted and distinct")
        need(
            all(_is_right(right) for right in self.rights),
            "a right is a short lower-case word, or call:FUNCTION",
        )
        need(0 <= self.created_us < self.until_us <= INTEGER_MAX, "the dates are out of order")
        need(len(self.serial) == SERIAL_BYTES, "a serial has 16 bytes")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


@dataclass(frozen=True, slots=True)
class Proof:
    """What a reader's device shows with every question: the grant and its own certificate."""

    grant: bytes
    certificate: bytes


def issue_grant(
    key: SigningKey,
    space: SpaceId,
    reader: Root,
    rights: Sequence[str],
    dates: tuple[int, int],
    serial: bytes,
) -> Grant:
    """The grant that root `key` gives to `reader`; `dates` = (created, until), wall clock us.

    Raises ValueError when a field breaks its bound.
    """
    created_us, until_us = dates
    bare = Grant(
        v=VERSION,
        issuer=key.public,
        space=space,
        reader=reader,
        rights=tuple(sorted(set(rights))),
        created_us=created_us,
        until_us=until_us,
        serial=serial,
        signature=b"",
    )
    return signed_by(key, DOMAIN, bare)


def decode_grant(data: bytes) -> Grant:
    """The grant in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, GRANT_BYTES_MAX, "a grant")
    grant = decode(Grant, data, strict=True)
    if not grant.signature:
        raise DecodeError(0, "the grant is not signed")
    return grant


def check_grant(grant: Grant, issuer: Root, wall_us: int) -> None:
    """Return when `issuer` signed `grant` and it is in date at `wall_us`.

    Raises `grant_invalid` (other issuer, altered), `grant_expired`, or `not_yet_valid` (made in
    the future: ask again later; it is not judged).
    """
    if grant.issuer != issuer:
        raise Dms3Error("grant_invalid", f"The grant is not of root {short(issuer)}.")
    if not grant_signed(grant):
        raise Dms3Error("grant_invalid", "The signature of the grant does not fit.")
    check_grant_dates(grant, wall_us)


def grant_signed(grant: Grant) -> bool:
    """Whether the issuer that `grant` names has signed it."""
    return is_signed_by(grant.issuer, DOMAIN, grant)


def check_grant_dates(grant: Grant, wall_us: int) -> None:
    """The part of `check_grant` that changes with time."""
    if grant.created_us > wall_us + CLOCK_AHEAD_US_MAX:
        raise Dms3Error(
            "not_yet_valid",
            "The grant was made in the future.",
            hint="Compare the clocks of the two machines.",
        )
    if grant.until_us <= wall_us:
        raise Dms3Error(
            "grant_expired", "The grant has expired.", hint="Ask its owner to share again."
        )


def check_use(grant: Grant, space: SpaceId, right: str) -> None:
    """Return when `grant` gives `right` on `space`; raises `grant_invalid` or `grant_missing`."""
    if grant.space != space:
        raise Dms3Error("grant_invalid", f"The grant is for another space than {short(space)}.")
    if right not in grant.rights:
        raise Dms3Error("grant_missing", f"The grant does not give the right to {right}.")


def check_proof(
    proof: Proof, issuer: Root, space: SpaceId, peer: PeerId, wall_us: int
) -> tuple[Grant, Certificate]:
    """The grant and certificate of `proof`, when it lets `peer` use `space` of `issuer` now.

    `peer` is the authenticated other end of the connection the proof came over. The caller still
    asks `check_use` for the right, and whether the grant was withdrawn. Raises `grant_invalid`,
    `grant_expired`, `certificate_invalid`, `certificate_expired` or `not_yet_valid`.
    """
    try:
        grant = decode_grant(proof.grant)
        certificate = decode_certificate(proof.certificate)
    except DecodeError as error:
        raise Dms3Error("grant_invalid", f"The proof cannot be read: {error.reason}.") from error
    if grant.space != space:
        raise Dms3Error("grant_invalid", f"The grant is for another space than {short(space)}.")
    check_grant(grant, issuer, wall_us)
    check_certificate(certificate, Root(grant.reader), peer, wall_us)
    return grant, certificate


def decode_proof(data: bytes) -> Proof:
    """The proof in `data` (bounded, not yet checked); raises DecodeError, and nothing else."""
    need_at_most(data, GRANT_BYTES_MAX + CERTIFICATE_BYTES_MAX + 64, "a proof")
    return decode(Proof, data)


def call_right(function: str) -> str:
    """The right to call `function` of an app; Grant refuses what is no name of one."""
    return CALL + function


def _is_right(right: str) -> bool:
    function = right.removeprefix(CALL)
    if function != right:
        fits = 0 < len(function) <= DNA_NAME_CHARS_MAX
        return fits and function.isascii() and function.replace("-", "_").isidentifier()
    return 0 < len(right) <= _RIGHT_CHARS_MAX and right.isascii() and right.islower()
