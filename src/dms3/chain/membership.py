"""Proofs of membership: invitations, words by a seed, and work; made and read, not yet judged.

Source: IPS paper, membranes and appendix D; Hashcash (Back 2002); docs/wire.md, "Membership". A
proof is JSON values as canonical dag-cbor, names its overlay, its member and its dates, and never
holds a secret. Whether it opens a membrane says `chain/membrane.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dms3.chain.values import decode_values, encode_values
from dms3.core.codec import INTEGER_MAX, encode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    INVITATION_LIFE_US_MAX,
    INVITATION_LINKS_MAX,
    INVITATION_SIGNERS_MAX,
    MEMBERSHIP_LIFE_US_MAX,
    MEMBRANE_PROOF_BYTES_MAX,
)
from dms3.crypto.signing import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey, verify

VERSION = 1
DOMAINS = {"invite": b"invitation", "seed": b"network seed"}
_WORK = b"dms3 membership work\0"
_OVERLAY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature by the key `by` (32 bytes)."""

    by: bytes
    signature: bytes = field(repr=False)

    def __post_init__(self) -> None:
        need(len(self.by) == PUBLIC_BYTES, "a key has 32 bytes")
        need(len(self.signature) == SIGNATURE_BYTES, "a signature has 64 bytes")


@dataclass(frozen=True, slots=True)
class Link:
    """The signers say: `to` may be in the overlay from `since_us` until `until_us` (wall clock)."""

    to: bytes
    since_us: int
    until_us: int
    signed: tuple[Signed, ...] = ()

    def __post_init__(self) -> None:
        need(len(self.to) == PUBLIC_BYTES, "a member's key has 32 bytes")
        need(0 <= self.since_us < self.until_us <= INTEGER_MAX, "the dates are out of order")
        keys = [each.by for each in self.signed]
        need(len(keys) <= INVITATION_SIGNERS_MAX, "too many signers")
        need(keys == sorted(set(keys)), "signers are sorted and distinct")


@dataclass(frozen=True, slots=True)
class Invited:
    """`scheme` "invite": links from who founded the overlay to the member; "seed": one link."""

    scheme: Literal["invite", "seed"]
    overlay: bytes
    links: tuple[Link, ...]

    def __post_init__(self) -> None:
        need(len(self.overlay) == _OVERLAY_BYTES, "an overlay has 32 bytes")
        most = INVITATION_LINKS_MAX if self.scheme == "invite" else 1
        need(1 <= len(self.links) <= most, f"it has not 1 to {most} links")
        life = INVITATION_LIFE_US_MAX if self.scheme == "invite" else MEMBERSHIP_LIFE_US_MAX
        for link in self.links:
            need(link.until_us - link.since_us <= life, "it would last too long")

    @property
    def to(self) -> bytes:
        """Whom it is for."""
        return self.links[-1].to


@dataclass(frozen=True, slots=True)
class Worked:
    """`nonce` makes the hash of overlay, member and date begin with zero bits: see `work_bits`."""

    overlay: bytes
    to: bytes
    since_us: int
    nonce: int
    scheme: Literal["work"] = "work"

    def __post_init__(self) -> None:
        need(len(self.overlay) == _OVERLAY_BYTES, "an overlay has 32 bytes")
        need(len(self.to) == PUBLIC_BYTES, "a member's key has 32 bytes")
        need(0 <= self.since_us <= INTEGER_MAX - MEMBERSHIP_LIFE_US_MAX, "not a date")
        need(0 <= self.nonce < 1 << 63, "a nonce has 63 bits")


Proof = Invited | Worked


@dataclass(frozen=True, slots=True)
class _Statement:
    """What is signed."""

    v: int
    overlay: bytes
    to: bytes
    since_us: int
    until_us: int


# Making


def invite(key: SigningKey, overlay: bytes, link: Link, under: Invited | None = None) -> Invited:
    """An invitation of `link` (unsigned) by `key`; `under`: that of who invites, if it needs one.

    ValueError when it would have too many links, or last too long.
    """
    before = () if under is None else under.links
    return Invited("invite", overlay, (*before, _sign("invite", key, overlay, link)))


def cosign(key: SigningKey, proof: Invited) -> Invited:
    """The same invitation, signed by `key` too; ValueError when it has too many signers."""
    *before, last = proof.links
    return replace(proof, links=(*before, _sign(proof.scheme, key, proof.overlay, last)))


def prove_seed(key: SigningKey, overlay: bytes, to: bytes, since_us: int) -> Invited:
    """The word of who knows the seed behind `key` that `to` may be in, from `since_us` on."""
    link = Link(to, since_us, since_us + MEMBERSHIP_LIFE_US_MAX)
    return Invited("seed", overlay, (_sign("seed", key, overlay, link),))


def prove_work(overlay: bytes, to: bytes, since_us: int, bits: int) -> Worked:
    """A proof that has cost `bits`: about 2**bits hashes, so call it off the loop."""
    head = _work_head(overlay, to, since_us)
    most = 1 << (256 - bits)
    nonce = 0
    while int.from_bytes(_work_hash(head, nonce), "big") >= most:
        nonce += 1
    return Worked(overlay, to, since_us, nonce)


def _sign(scheme: str, key: SigningKey, overlay: bytes, link: Link) -> Link:
    signature = key.sign(DOMAINS[scheme], _statement(overlay, link))
    others = [each for each in link.signed if each.by != key.public]
    signed = sorted([*others, Signed(key.public, signature)], key=lambda each: each.by)
    return replace(link, signed=tuple(signed))


# What holds without knowing the membrane


def is_signed(proof: Invited, link: Link, signed: Signed) -> bool:
    """Whether that signature of a link is its key's."""
    statement = _statement(proof.overlay, link)
    return verify(signed.by, DOMAINS[proof.scheme], statement, signed.signature)


def work_bits(proof: Worked) -> int:
    """With how many zero bits the hash of a proof begins."""
    digest = _work_hash(_work_head(proof.overlay, proof.to, proof.since_us), proof.nonce)
    return 256 - int.from_bytes(digest, "big").bit_length()


def end_us(proof: Proof) -> int:
    """From when on (wall clock) the proof says nothing any more."""
    if isinstance(proof, Worked):
        return proof.since_us + MEMBERSHIP_LIFE_US_MAX
    return min(link.until_us for link in proof.links)


def _statement(overlay: bytes, link: Link) -> bytes:
    return encode(_Statement(VERSION, overlay, link.to, link.since_us, link.until_us))


def _work_head(overlay: bytes, to: bytes, since_us: int) -> bytes:
    return _WORK + overlay + to + since_us.to_bytes(8, "big")


def _work_hash(head: bytes, nonce: int) -> bytes:
    return hashlib.sha256(head + nonce.to_bytes(8, "big")).digest()


# The form


def encode_proof(proof: Proof) -> bytes:
    """The canonical bytes of a proof."""
    return encode_values(proof_values(proof), "proof")


def proof_values(proof: Proof) -> dict[str, Any]:
    """The same as JSON values, as `dapp install --proof` takes them."""
    head: dict[str, Any] = {"v": VERSION, "scheme": proof.scheme, "overlay": proof.overlay.hex()}
    if isinstance(proof, Worked):
        return {**head, "to": proof.to.hex(), "since_us": proof.since_us, "nonce": proof.nonce}
    return {**head, "links": [_link_values(link) for link in proof.links]}


def decode_proof(data: bytes) -> Proof:
    """The proof in `data`, not yet judged; raises DecodeError, and nothing else."""
    need_at_most(data, MEMBRANE_PROOF_BYTES_MAX, "a proof of membership")
    values = decode_values(data, "proof")
    try:
        return _proof(values)
    except ValueError as error:
        raise DecodeError(0, str(error)) from error


def _link_values(link: Link) -> dict[str, Any]:
    return {
        "to": link.to.hex(),
        "since_us": link.since_us,
        "until_us": link.until_us,
        "signed": [
            {"by": each.by.hex(), "signature": each.signature.hex()} for each in link.signed
        ],
    }


def _proof(values: Any) -> Proof:
    scheme: Any = values.get("scheme") if type(values) is dict else None
    if scheme == "work":
        _, overlay, to, since_us, nonce = fields(
            values, ("v", "overlay", "to", "since_us", "nonce"), ("scheme",)
        )
        need(values["v"] == VERSION, "a version of proofs that is not known")
        return Worked(hex_of(overlay), hex_of(to), whole(since_us), whole(nonce))
    need(type(scheme) is str and scheme in DOMAINS, "it is no proof of membership")
    _, overlay, links = fields(values, ("v", "overlay", "links"), ("scheme",))
    need(values["v"] == VERSION, "a version of proofs that is not known")
    return Invited(scheme, hex_of(overlay), tuple(_link(each) for each in items(links)))


def _link(values: Any) -> Link:
    to, since_us, until_us, signed = fields(values, ("to", "since_us", "until_us", "signed"))
    return Link(
        hex_of(to),
        whole(since_us),
        whole(until_us),
        tuple(Signed(*map(hex_of, fields(each, ("by", "signature")))) for each in items(signed)),
    )


# Reading JSON values; ValueError for whoever wrote them


def fields(values: Any, names: Sequence[str], beside: Sequence[str] = ()) -> list[Any]:
    """The values of a map that has the keys `names`, `beside` and no others, in that order."""
    need(type(values) is dict, "it is a map")
    wanted = {*names, *beside}
    if missing := sorted(wanted - values.keys()):
        raise ValueError(f"it lacks {missing[0]!r}")
    if unknown := sorted(values.keys() - wanted):
        raise ValueError(f"it has no field {unknown[0][:32]!r}")
    return [values[name] for name in names]


def items(value: Any) -> list[Any]:
    """`value` when it is a list."""
    need(type(value) is list, "it is a list")
    found: list[Any] = value
    return found


def whole(value: Any) -> int:
    """`value` when it is a whole number."""
    need(type(value) is int, "it is a whole number")
    found: int = value
    return found


def hex_of(text: Any) -> bytes:
    """The bytes that `text` spells in lower-case hex."""
    need(type(text) is str, "it is text in hex")
    try:
        data = bytes.fromhex(text)
    except ValueError as error:
        raise ValueError("it is not hex") from error
    need(data.hex() == text, "hex is lower case and without spaces")
    return data
