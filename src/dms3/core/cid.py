"""Content identifiers: CIDv1 with a sha2-256 multihash, built by hand because libraries cost 100x.

Source: multiformats CID specification. Only sha2-256 is accepted: what cannot be checked is not
content-addressed. CIDv0 (`Qm...`) is read as the equal CIDv1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from dms3.core.errors import DecodeError
from dms3.core.limits import CID_TEXTS_KNOWN_MAX
from dms3.core.multibase import decode_base32, decode_base58, encode_base32

RAW = 0x55  # multicodec table: raw
DAG_PB = 0x70  # multicodec table: dag-pb
DAG_CBOR = 0x71  # multicodec table: dag-cbor
CODECS = {RAW: "raw", DAG_PB: "dag-pb", DAG_CBOR: "dag-cbor"}

_SHA2_256 = b"\x12\x20"  # multihash: sha2-256, 32 bytes
CID_BYTES = 36
CID_TEXT_CHARS_MAX = 64


@dataclass(frozen=True, slots=True, order=True)
class Cid:
    """A content identifier; `binary` is its 36-byte form (version, codec, multihash)."""

    binary: bytes

    @classmethod
    def of(cls, codec: int, data: bytes | memoryview) -> Cid:
        """The CID of `data` under multicodec `codec`."""
        return cls.of_digest(codec, hashlib.sha256(data).digest())

    @classmethod
    def of_digest(cls, codec: int, digest: bytes) -> Cid:
        """The CID with multicodec `codec` and a 32-byte sha2-256 `digest`."""
        assert codec in CODECS, f"unknown multicodec {codec:#x}"
        assert len(digest) == 32, f"a sha2-256 digest has 32 bytes, not {len(digest)}"
        return cls(bytes((1, codec)) + _SHA2_256 + digest)

    @classmethod
    def decode(cls, data: bytes) -> Cid:
        """The CID whose binary form is exactly `data`; raises DecodeError otherwise."""
        if len(data) == CID_BYTES and data[0] == 1 and data[1] in CODECS:
            if data[2:4] != _SHA2_256:
                raise DecodeError(2, "only sha2-256 content identifiers are supported")
            return cls(bytes(data))
        if len(data) == 34 and data[:2] == _SHA2_256:  # CIDv0
            return cls(bytes((1, DAG_PB)) + bytes(data))
        raise DecodeError(0, "not a CIDv1 (raw, dag-pb, dag-cbor) with sha2-256")

    @classmethod
    def parse(cls, text: str) -> Cid:
        """The CID written as `text`: base32 CIDv1 (`b...`) or base58 CIDv0 (`Qm...`)."""
        if len(text) > CID_TEXT_CHARS_MAX:
            raise DecodeError(CID_TEXT_CHARS_MAX, "too long for a content identifier")
        if text.startswith("b"):
            return cls.decode(decode_base32(text[1:]))
        if text.startswith("Qm"):
            return cls.decode(decode_base58(text))
        raise DecodeError(
            0, f"{text[:16]!r} is not a content identifier (bafy..., bafk... or Qm...)"
        )

    @property
    def codec(self) -> int:
        """The multicodec of the block: `RAW`, `DAG_PB` or `DAG_CBOR`."""
        return self.binary[1]

    @property
    def digest(self) -> bytes:
        """The 32-byte sha2-256 digest of the block."""
        return self.binary[4:]

    def matches(self, data: bytes | memoryview) -> bool:
        """Whether `data` is the block this identifier names."""
        return hashlib.sha256(data).digest() == self.digest

    def __str__(self) -> str:
        return _text_of(self.binary)


@lru_cache(maxsize=CID_TEXTS_KNOWN_MAX)  # one hash is shown again and again
def _text_of(binary: bytes) -> str:
    return "b" + encode_base32(binary)
