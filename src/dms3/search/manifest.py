"""Content type `manifest`: a person's signed word that a space is public, and where its index is.

Source: docs/wire.md, "Manifest"; plan 0003, "Who holds what". The newest manifest of a space
stays; one that is `withdrawn` stands in the place of the others until they would have expired.
What it counts is shown to people and never believed in ranking.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field

from dms3.core.cid import Cid
from dms3.core.codec import INTEGER_MAX, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    DIRECTORY_KEYS,
    KIND_CHARS_MAX,
    MANIFEST_BYTES_MAX,
    MANIFEST_LIFE_US_MAX,
    MANIFEST_QUOTA_BYTES,
    MANIFESTS_PER_KEY_MAX,
    PUBLIC_DOCUMENTS_MAX,
    PUBLIC_KINDS_MAX,
    SPACE_NAME_CHARS_MAX,
)
from dms3.core.overlay import Content, ContentType, Retention
from dms3.core.verdict import Abandoned, Invalid, Valid, Verdict, in_date
from dms3.crypto.certificate import is_node_peer_id
from dms3.crypto.grant import SPACE_BYTES
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey
from dms3.search.openindex import CODEC
from dms3.search.wordfilter import filter_fault

NAME = "manifest"
DOMAIN = b"manifest"
VERSION = 1
_PREFIX = b"manifests/"

DIRECTORY = tuple(_PREFIX + f"{digit:x}".encode() for digit in range(DIRECTORY_KEYS))
"""The keys under which all manifests lie."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """`root` says: my `space`, called `name`, is public; its open index is `index`.

    `peer`: the node it was published on. `documents`, `size` (bytes), `terms` (words): how much
    there is; `kinds` of documents; `filter`: which words there can be (`search/wordfilter.py`).
    `created_us`, `until_us`: wall clock. The signature covers every other field.
    """

    v: int
    space: bytes
    name: str
    root: bytes
    peer: bytes
    index: Cid
    documents: int
    size: int
    terms: int
    kinds: tuple[str, ...]
    filter: bytes = field(repr=False)
    created_us: int
    until_us: int
    withdrawn: bool
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"version {self.v} of manifests is not known")
        need(len(self.space) == SPACE_BYTES and any(self.space), "not the id of a space")
        name = self.name
        need(0 < len(name) <= SPACE_NAME_CHARS_MAX and name.isprintable(), "not a name")
        need(len(self.root) == PUBLIC_BYTES, "a root has 32 bytes")
        need(is_node_peer_id(self.peer), "the peer id is not one of an Ed25519 key")
        need(self.index.codec == CODEC, "the index is no index block")
        need(0 <= self.documents <= PUBLIC_DOCUMENTS_MAX, "too many documents")
        need(min(self.size, self.terms) >= 0, "a negative count")
        need(len(self.kinds) <= PUBLIC_KINDS_MAX, "too many kinds")
        need(all(0 < len(kind) <= KIND_CHARS_MAX for kind in self.kinds), "not a kind")
        fault = filter_fault(self.filter)
        need(not fault, fault)
        need(0 <= self.created_us < self.until_us <= INTEGER_MAX, "the dates are out of order")
        need(self.until_us - self.created_us <= MANIFEST_LIFE_US_MAX, "it claims too long a life")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")

    @property
    def slot(self) -> bytes:
        """Where it lies under its key: nobody else's manifest lies there."""
        return hashlib.sha256(self.root + self.space).digest()


def directory_key(space: bytes) -> bytes:
    """The key under which the manifest of `space` lies."""
    return DIRECTORY[hashlib.sha256(space).digest()[0] * DIRECTORY_KEYS >> 8]


def sign_manifest(key: SigningKey, manifest: Manifest) -> Content:
    """The content of `manifest`, signed by root `key`; ValueError when it is too large."""
    signed = signed_by(key, DOMAIN, dataclasses.replace(manifest, root=key.public))
    value = encode(signed)
    need(len(value) <= MANIFEST_BYTES_MAX, f"a manifest has at most {MANIFEST_BYTES_MAX} bytes")
    return Content(NAME, directory_key(signed.space), value, signed.until_us)


def decode_manifest(data: bytes) -> Manifest:
    """The manifest in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, MANIFEST_BYTES_MAX, "a manifest")
    return decode(Manifest, data, strict=True)


def validate(key: bytes, value: bytes, wall_us: int) -> Verdict:
    """Whether `value` is a person's own word about a space that lies under `key`, and in date."""
    try:
        manifest = decode_manifest(value)
    except DecodeError as error:
        return Invalid("form", error.reason)
    if directory_key(manifest.space) != key:
        return Invalid("key", "its space lies under another key")
    dates = in_date(manifest.created_us, manifest.until_us, wall_us)
    if isinstance(dates, Abandoned):
        return dates
    if not is_signed_by(manifest.root, DOMAIN, manifest):
        return Invalid("signature", "its root has not signed it")
    return Valid()


def merge(held: bytes, offered: bytes) -> bytes:
    """The later of two valid manifests of one slot; of equal ones the greater, everywhere."""
    one, two = decode_manifest(held), decode_manifest(offered)
    return max((one.created_us, held), (two.created_us, offered))[1]


def retention(key: bytes, value: bytes) -> Retention:
    """One slot for each space of a person, until the manifest expires."""
    del key
    manifest = decode_manifest(value)
    return Retention(manifest.slot, manifest.until_us)


def manifest_type() -> ContentType:
    """The content type."""
    return ContentType(
        name=NAME,
        validate=validate,
        merge=merge,
        retention=retention,
        value_bytes_max=MANIFEST_BYTES_MAX,
        slots_max=MANIFESTS_PER_KEY_MAX,
        quota_bytes=MANIFEST_QUOTA_BYTES,
    )
