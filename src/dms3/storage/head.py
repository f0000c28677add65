"""Heads: what one device has written, signed by it; the only object of it that is replaced.

Source: docs/adr/0008-conversation-storage.md. A head lists the chunks of its device by digest, the
oldest of them through pages, so that it is the root of a hash tree over everything that the device
wrote. Who may sign is said by a claim (`storage/slots.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dms3.core.codec import INTEGER_MAX, check_items, decode, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    DEVICE_NAME_CHARS_MAX,
    STORAGE_HEAD_BYTES_MAX,
    STORAGE_PAGE_REFS,
    STORAGE_PARTS_MAX,
    STORAGE_REFS_MAX,
)
from dms3.crypto.keys import DEVICE_BYTES, GENERATION_MAX
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import SIGNATURE_BYTES, SigningKey
from dms3.storage.chunk import ORDER_MAX, digest_of
from dms3.storage.names import StorageKeys

VERSION = 1
DOMAIN = b"storage head"
ID_BYTES = 16
DIGEST_BYTES = 32
_FIELDS_OF_REF = 24  # dag-cbor items, more than it has
_PLAIN_ITEMS_MAX = 64 + _FIELDS_OF_REF * (STORAGE_REFS_MAX + 1)


@dataclass(frozen=True, slots=True)
class Ref:
    """A chunk, or a page of them: `parts` objects under names made of `id`, keys of `generation`.

    It stands for the appends `first` to `end` (without) of its device: `items`, `size` bytes,
    their orders from `low_ms` to `high_ms`. `tier`: how often its items were merged.
    """

    id: bytes
    generation: int
    parts: int
    first: int
    end: int
    items: int
    size: int
    low_ms: int
    high_ms: int
    tier: int
    digest: bytes

    def __post_init__(self) -> None:
        sound = (
            len(self.id) == ID_BYTES
            and 0 <= self.generation <= GENERATION_MAX
            and 1 <= self.parts <= STORAGE_PARTS_MAX
            and 0 <= self.first < self.end <= INTEGER_MAX
            and 0 < self.items <= INTEGER_MAX
            and 0 <= self.size <= INTEGER_MAX
            and 0 <= self.low_ms <= self.high_ms <= ORDER_MAX
            and 0 <= self.tier < 256
            and len(self.digest) == DIGEST_BYTES
        )
        if not sound:
            raise ValueError("not the reference of a chunk")


@dataclass(frozen=True, slots=True)
class Page:
    """The oldest chunks of a head, and the page before them."""

    v: int
    refs: tuple[Ref, ...]
    older: Ref | None = None

    def __post_init__(self) -> None:
        if self.v != VERSION or not 0 < len(self.refs) <= STORAGE_PAGE_REFS:
            raise ValueError("not a page")
        check_row(self.older, self.refs)


@dataclass(frozen=True, slots=True)
class Head:
    """What `device` has written: `sequence` appends in chunks `refs`, earlier ones in `older`.

    `version` rises with each writing within `epoch`, `epoch` with each move of the person's
    devices. `items`, `size` (bytes): of all chunks. `wall_us`: when it was written. `name`: of the
    device, for people. The signature, by the device's key, covers every other field.
    """

    v: int
    device: bytes
    name: str
    epoch: int
    version: int
    sequence: int
    items: int
    size: int
    wall_us: int
    refs: tuple[Ref, ...]
    older: Ref | None
    signature: bytes = field(repr=False, default=b"")

    def __post_init__(self) -> None:
        numbers = (self.epoch, self.version, self.sequence, self.items, self.size, self.wall_us)
        sound = (
            self.v == VERSION
            and len(self.device) == DEVICE_BYTES
            and len(self.name) <= DEVICE_NAME_CHARS_MAX
            and all(0 <= number <= INTEGER_MAX for number in numbers)
            and len(self.refs) <= STORAGE_REFS_MAX
            and len(self.signature) in (0, SIGNATURE_BYTES)
        )
        if not sound:
            raise ValueError("not a head")
        last = check_row(self.older, self.refs)
        if last != self.sequence:
            raise ValueError(f"its chunks end at {last}, not at {self.sequence}")

    @property
    def age(self) -> tuple[int, int]:
        """What rises with each head of a device."""
        return (self.epoch, self.version)


def check_row(older: Ref | None, refs: Sequence[Ref]) -> int:
    """Where the row ends; raises ValueError when it does not begin at 0 or has a gap."""
    at = 0
    for ref in refs if older is None else (older, *refs):
        if ref.first != at:
            raise ValueError(f"append {at} is in no chunk")
        at = ref.end
    return at


def sign_head(key: SigningKey, head: Head) -> Head:
    """`head` with the signature of the device's `key`."""
    return signed_by(key, DOMAIN, head)


def decode_head(data: bytes) -> Head:
    """The head in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, STORAGE_HEAD_BYTES_MAX, "a head")
    check_items(data, _PLAIN_ITEMS_MAX)
    return decode(Head, data, strict=True)


def is_head_of(head: Head, device: bytes, public: bytes) -> bool:
    """Whether `device`, whose key is `public`, has signed `head`."""
    return head.device == device and is_signed_by(public, DOMAIN, head)


def decode_page(data: bytes) -> Page:
    """The page in `data`; raises DecodeError, and nothing else."""
    need_at_most(data, STORAGE_HEAD_BYTES_MAX, "a page")
    check_items(data, _PLAIN_ITEMS_MAX)
    return decode(Page, data, strict=True)


def names_of(keys: StorageKeys, ref: Ref) -> list[str]:
    """The names under which the objects of a chunk or page are sealed, in order."""
    return [keys.name(ref.generation, "chunk", ref.id, bytes([part])) for part in range(ref.parts)]


def open_objects(keys: StorageKeys, ref: Ref, objects: Sequence[bytes]) -> bytes:
    """The content of a chunk or page whose objects came; raises DecodeError when one is another."""
    if digest_of(objects) != ref.digest:
        raise DecodeError(0, "its bytes are not those that were written")
    names = names_of(keys, ref)
    parts = zip(names, objects, strict=True)
    return b"".join(keys.open(ref.generation, name, sealed) for name, sealed in parts)
