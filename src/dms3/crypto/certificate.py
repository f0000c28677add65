"""Device certificates: a root's signed word that one peer id acts for it, for a time.

Source: docs/architecture.md, "Identity"; bytes in docs/wire.md. Says nothing about what the device
may see: that is `crypto/grant.py`. Keeps no list of revoked devices: a certificate is short-lived.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.codec import INTEGER_MAX, decode, need, need_at_most
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import PeerId, Root, short
from dms3.core.limits import CERTIFICATE_BYTES_MAX, CLOCK_AHEAD_US_MAX, DEVICE_NAME_CHARS_MAX
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey

DOMAIN = b"certificate"
VERSION = 1
PEER_ID_PREFIX = bytes.fromhex("002408011220")  # libp2p peer-ids: identity multihash of Ed25519
PEER_ID_BYTES = len(PEER_ID_PREFIX) + PUBLIC_BYTES


@dataclass(frozen=True, slots=True)
class Certificate:
    """`root` says: `peer` acts for me from `since_us` until `until_us` (wall clock, microseconds).

    `device` is a name for people. The signature covers every other field.
    """

    v: int
    root: bytes
    peer: bytes
    device: str
    since_us: int
    until_us: int
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"certificate version {self.v} is not known")
        need(len(self.root) == PUBLIC_BYTES, "a root has 32 bytes")
        need(is_node_peer_id(self.peer), "the peer id is not one of an Ed25519 key")
        need(len(self.device) <= DEVICE_NAME_CHARS_MAX, "the device name is too long")
        need(0 <= self.since_us < self.until_us <= INTEGER_MAX, "the dates are out of order")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


def issue_certificate(
    key: SigningKey, peer: PeerId, device: str, since_us: int, until_us: int
) -> Certificate:
    """The certificate that root `key` gives to `peer`; ValueError when a field breaks a bound."""
    bare = Certificate(VERSION, key.public, peer, device, since_us, until_us, b"")
    return signed_by(key, DOMAIN, bare)


def decode_certificate(data: bytes) -> Certificate:
    """The certificate in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, CERTIFICATE_BYTES_MAX, "a certificate")
    certificate = decode(Certificate, data, strict=True)
    if not certificate.signature:
        raise DecodeError(0, "the certificate is not signed")
    return certificate


def check_certificate(certificate: Certificate, root: Root, peer: PeerId, wall_us: int) -> None:
    """Return when `root` has certified `peer` and the certificate is in date at `wall_us`.

    Raises `certificate_invalid` (other root, other peer, altered), `certificate_expired`, or
    `not_yet_valid` (from the future: ask again later; it is not judged).
    """
    if certificate.root != root:
        raise Dms3Error("certificate_invalid", f"The certificate is not of root {short(root)}.")
    if certificate.peer != peer:
        raise Dms3Error(
            "certificate_invalid", f"The certificate is for another peer than {short(peer)}."
        )
    if not is_signed_by(certificate.root, DOMAIN, certificate):
        raise Dms3Error("certificate_invalid", "The signature of the certificate does not fit.")
    check_certificate_dates(certificate, wall_us)


def check_certificate_dates(certificate: Certificate, wall_us: int) -> None:
    """The part of `check_certificate` that changes with time."""
    if certificate.since_us > wall_us + CLOCK_AHEAD_US_MAX:
        raise Dms3Error(
            "not_yet_valid",
            "The certificate begins in the future.",
            hint="Compare the clocks of the two machines.",
        )
    if certificate.until_us <= wall_us:
        raise Dms3Error(
            "certificate_expired",
            "The certificate of the device has expired.",
            hint="Restart that node: it makes a new one.",
        )


def is_node_peer_id(peer: bytes) -> bool:
    """Whether `peer` is the binary peer id of an Ed25519 key, as every dms3 node has."""
    return len(peer) == PEER_ID_BYTES and peer.startswith(PEER_ID_PREFIX)
