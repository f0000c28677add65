"""Agent certificates: a root's signed word that a key writes for it in one DNA, and its end.

Source: IPS paper, agents; docs/wire.md, "Source chains". The key is `KeyTree.agent`: of one device
in one DNA, so that no two devices ever write one chain. Does not expire: a chain is for ever; it is
taken back by a revocation. Which actions a revocation touches is for those who read the activity.
A root can certify a key that is not its own; what makes them one is that the key signs, too: action
2 of its chain, what it writes after a rotation, or a question that shows the certificate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from dms3.core.codec import INTEGER_MAX, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import CERTIFICATE_AGENT_BYTES_MAX, REVOCATION_BYTES_MAX
from dms3.crypto.keys import DEVICE_BYTES, DNA_BYTES, GENERATION_MAX
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey

DOMAIN = b"agent certificate"
REVOCATION_DOMAIN = b"agent revocation"
VERSION = 1

T = TypeVar("T", "AgentCertificate", "AgentRevocation")


@dataclass(frozen=True, slots=True)
class AgentCertificate:
    """`root` says: since `since_us` the key `agent` of my `device` writes for me in `dna`.

    `generation` counts the keys of this device in this DNA. The signature covers the other fields.
    """

    v: int
    root: bytes
    dna: bytes
    agent: bytes
    device: bytes
    generation: int
    since_us: int
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of agent certificates is not known")
        need(len(self.root) == PUBLIC_BYTES, "a root has 32 bytes")
        need(len(self.dna) == DNA_BYTES, "a DNA id has 32 bytes")
        need(len(self.agent) == PUBLIC_BYTES, "an agent has 32 bytes")
        need(len(self.device) == DEVICE_BYTES, "a device has 16 bytes")
        need(0 <= self.generation <= GENERATION_MAX, "the generation is out of range")
        need(0 <= self.since_us <= INTEGER_MAX, "the date is out of range")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


@dataclass(frozen=True, slots=True)
class AgentRevocation:
    """The root of `certificate` takes it back: actions behind `last_seq` are not mine.

    `last_seq` -1: none is. The signature is the root's and covers the other fields.
    """

    v: int
    certificate: bytes
    last_seq: int
    since_us: int
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of agent revocations is not known")
        need(len(self.certificate) <= CERTIFICATE_AGENT_BYTES_MAX, "the certificate is too long")
        need(-1 <= self.last_seq <= INTEGER_MAX, "the place is out of range")
        need(0 <= self.since_us <= INTEGER_MAX, "the date is out of range")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


@dataclass(frozen=True, slots=True)
class AgentPlace:
    """What a certificate is about: an agent key of a device in a DNA."""

    dna: bytes
    agent: bytes
    device: bytes
    generation: int = 0


def issue_agent(key: SigningKey, place: AgentPlace, wall_us: int) -> bytes:
    """The encoded certificate by which root `key` lets the agent at `place` write for it."""
    bare = AgentCertificate(
        VERSION, key.public, place.dna, place.agent, place.device, place.generation, wall_us, b""
    )
    return encode(signed_by(key, DOMAIN, bare))


def decode_agent(data: bytes) -> AgentCertificate:
    """The certificate in `data`, not yet checked; raises DecodeError, and nothing else."""
    return _decoded(AgentCertificate, data, CERTIFICATE_AGENT_BYTES_MAX)


def check_agent(certificate: AgentCertificate) -> bool:
    """Whether its root has signed it."""
    return is_signed_by(certificate.root, DOMAIN, certificate)


def revoke_agent(key: SigningKey, certificate: bytes, last_seq: int, wall_us: int) -> bytes:
    """The encoded revocation of `certificate` by its root `key`."""
    assert decode_agent(certificate).root == key.public, "a certificate is its root's to take back"
    bare = AgentRevocation(VERSION, certificate, last_seq, wall_us, b"")
    return encode(signed_by(key, REVOCATION_DOMAIN, bare))


def decode_revocation(data: bytes) -> AgentRevocation:
    """The revocation in `data`, not yet checked; raises DecodeError, and nothing else."""
    return _decoded(AgentRevocation, data, REVOCATION_BYTES_MAX)


def check_revocation(revocation: AgentRevocation) -> AgentCertificate | None:
    """The certificate that is taken back, when its root has signed both; else None."""
    try:
        certificate = decode_agent(revocation.certificate)
    except DecodeError:
        return None
    signed = is_signed_by(certificate.root, REVOCATION_DOMAIN, revocation)
    return certificate if signed and check_agent(certificate) else None


def _decoded(cls: type[T], data: bytes, limit: int) -> T:
    need_at_most(data, limit, f"an {cls.__name__}")
    found = decode(cls, data, strict=True)
    if not found.signature:
        raise DecodeError(0, "it is not signed")
    return found
