"""Records that carry their own signature: a dataclass whose last word is `signature`.

Source: docs/architecture.md, "Identity". What is signed is the record's encoding with an empty
signature, in the domain of its kind (`crypto/signing.py`). Who may have signed it, and when it is
in force, say the records themselves.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Protocol, TypeVar

from dms3.core.codec import encode
from dms3.crypto.signing import SigningKey, verify


class Signable(Protocol):
    """A dataclass with a field `signature`, empty or of 64 bytes."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def signature(self) -> bytes:
        """By whom the record says it is from, over all its other fields."""
        ...


Record = TypeVar("Record", bound=Signable)


def signed_by(key: SigningKey, domain: bytes, record: Record) -> Record:
    """`record` with the signature of `key` in `domain`, in place of whatever it carries."""
    bare = dataclasses.replace(record, signature=b"")
    return dataclasses.replace(bare, signature=key.sign(domain, encode(bare)))


def is_signed_by(public: bytes, domain: bytes, record: Signable) -> bool:
    """Whether the holder of key `public` has signed `record` as it is, in `domain`."""
    bare = dataclasses.replace(record, signature=b"")
    return verify(public, domain, encode(bare), record.signature)
