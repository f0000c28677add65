"""How devices of one person find each other at a place that may not be able to list what it has.

Source: docs/adr/0008-conversation-storage.md. Each device puts a claim, signed by the person, into
one of a few slots; where all meet next is announced under a name of its own. A *ground* is a place
with a generation of keys: where, and under which names, the devices meet.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import cast, get_args

from dms3.core.codec import INTEGER_MAX, check_items, decode, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.ids import Root
from dms3.core.limits import (
    CERTIFICATE_BYTES_MAX,
    DEVICE_NAME_CHARS_MAX,
    PLACE_SECRET_BYTES_MAX,
    PLACE_URL_CHARS_MAX,
    STORAGE_DEVICES_MAX,
    STORAGE_NEXT_BYTES_MAX,
    STORAGE_REMOVED_MAX,
)
from dms3.crypto.keys import DEVICE_BYTES, GENERATION_MAX
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey
from dms3.storage.operations import Kind, Place

VERSION = 1
CLAIM_DOMAIN = b"storage device"
NEXT_DOMAIN = b"storage next"
_KINDS = get_args(Kind)
_PLAIN_ITEMS_MAX = 64 + 2 * STORAGE_REMOVED_MAX


@dataclass(frozen=True, slots=True)
class Ground:
    """A place, the generation of keys in use there, and which `visit` of the devices it is.

    Names differ with each visit: what is removed after an earlier one is never met again.
    """

    place: Place
    generation: int
    visit: int

    @property
    def alone(self) -> bool:
        """Whether no other device can be here."""
        return self.place.kind == "local"


@dataclass(frozen=True, slots=True)
class PlaceRow:
    """A Place as it is stored."""

    kind: str
    url: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if self.kind not in _KINDS or len(self.url) > PLACE_URL_CHARS_MAX:
            raise ValueError("not a place")
        if len(self.secret.encode(errors="surrogatepass")) > PLACE_SECRET_BYTES_MAX:
            raise ValueError("the secret of a place is too long")

    @classmethod
    def of(cls, place: Place) -> PlaceRow:
        """The row of `place`; ValueError when it is out of bounds."""
        return cls(place.kind, place.url, place.secret)

    @property
    def place(self) -> Place:
        """What was stored."""
        return Place(cast("Kind", self.kind), self.url, self.secret)


@dataclass(frozen=True, slots=True)
class Claim:
    """The person says: `device`, called `name`, signs heads with `public`.

    The signature, by the root, covers every other field.
    """

    v: int
    device: bytes
    name: str
    public: bytes
    since_us: int
    signature: bytes = field(repr=False, default=b"")

    def __post_init__(self) -> None:
        sound = (
            self.v == VERSION
            and len(self.device) == DEVICE_BYTES
            and len(self.name) <= DEVICE_NAME_CHARS_MAX
            and len(self.public) == PUBLIC_BYTES
            and 0 <= self.since_us <= INTEGER_MAX
            and len(self.signature) in (0, SIGNATURE_BYTES)
        )
        if not sound:
            raise ValueError("not the claim of a device")


def sign_claim(root: SigningKey, claim: Claim) -> Claim:
    """`claim` with the signature of the person's `root` key."""
    return signed_by(root, CLAIM_DOMAIN, claim)


def decode_claim(data: bytes, root: Root) -> Claim:
    """The claim in `data`; raises DecodeError also when `root` has not signed it."""
    need_at_most(data, CERTIFICATE_BYTES_MAX, "a claim")
    claim = decode(Claim, data, strict=True)
    if not is_signed_by(root, CLAIM_DOMAIN, claim):
        raise DecodeError(0, "the claim is not signed by the person")
    return claim


@dataclass(frozen=True, slots=True)
class Next:
    """The person says: whoever looks here is to go on at `place` (None: here), at that visit.

    `generation`: of the keys there. `epoch` counts such steps over all places. `removed`: devices
    that are no longer the person's.
    """

    v: int
    epoch: int
    generation: int
    visit: int
    place: PlaceRow | None
    removed: tuple[bytes, ...]
    signature: bytes = field(repr=False, default=b"")

    def __post_init__(self) -> None:
        sound = (
            self.v == VERSION
            and 0 <= self.epoch <= INTEGER_MAX
            and 0 <= self.visit <= INTEGER_MAX
            and 0 <= self.generation <= GENERATION_MAX
            and len(self.removed) <= STORAGE_REMOVED_MAX
            and all(len(device) == DEVICE_BYTES for device in self.removed)
            and len(self.signature) in (0, SIGNATURE_BYTES)
        )
        if not sound:
            raise ValueError("not an announcement")

    def ground(self, here: Place) -> Ground:
        """Where to go on, seen from `here`."""
        place = here if self.place is None else self.place.place
        return Ground(place, self.generation, self.visit)


def sign_next(root: SigningKey, step: Next) -> Next:
    """`step` with the signature of the person's `root` key."""
    return signed_by(root, NEXT_DOMAIN, step)


def decode_next(data: bytes, root: Root) -> Next:
    """The announcement in `data`; raises DecodeError also when `root` has not signed it."""
    need_at_most(data, STORAGE_NEXT_BYTES_MAX, "an announcement")
    check_items(data, _PLAIN_ITEMS_MAX)
    step = decode(Next, data, strict=True)
    if not is_signed_by(root, NEXT_DOMAIN, step):
        raise DecodeError(0, "the announcement is not signed by the person")
    return step


def slots_in_order(device: bytes) -> list[int]:
    """All slots, in the order in which `device` tries them: two that come at once seldom meet."""
    numbers = range(STORAGE_DEVICES_MAX)
    return sorted(numbers, key=lambda slot: hashlib.sha256(device + bytes([slot])).digest())
