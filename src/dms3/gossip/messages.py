"""The messages of /dms3/gossip/1: ids told, bodies asked for, and what two partners compare.

Source: docs/wire.md, "/dms3/gossip/1". Unsigned: unknown keys are ignored. Decoders raise
DecodeError and nothing else. Ids travel as one string of bytes, ID_BYTES each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from dms3.core.codec import check_items, decode, need, need_at_most
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    GOSSIP_ANSWER_BYTES_MAX,
    GOSSIP_BODY_BYTES_MAX,
    GOSSIP_NEWS_MAX,
    GOSSIP_RECENT_MAX,
    GOSSIP_TOPIC_CHARS_MAX,
    GOSSIP_WANT_MAX,
)
from dms3.core.overlay import LOCATION_BYTES

PROTOCOL = "/dms3/gossip/1"
MINORS = (0,)
ID_BYTES = 16
_MARK = b"dms3 gossip mark\0"
_HEAD_BYTES = 256  # names, overlay and topic of a message
_SMALL_ITEMS_MAX = 32  # names and values of a message, with those of later minors

T = TypeVar("T")


class Channel(NamedTuple):
    """An overlay and a topic: what is spread there belongs together."""

    overlay: OverlayId
    topic: str


def id_of(channel: Channel, body: bytes) -> bytes:
    """The id of `body` there: SHA-256 of overlay, topic and body, the first 16 bytes."""
    topic = channel.topic.encode()
    told = channel.overlay + bytes([len(topic)]) + topic + body
    return hashlib.sha256(told).digest()[:ID_BYTES]


def split(ids: bytes) -> list[bytes]:
    """The ids in a string of them."""
    return [ids[at : at + ID_BYTES] for at in range(0, len(ids), ID_BYTES)]


def mark_of(ids: Iterable[bytes]) -> bytes:
    """What two equal sets of ids have in common, and no two others: a hash of them, sorted."""
    return hashlib.sha256(_MARK + b"".join(sorted(ids))).digest()[:ID_BYTES]


@dataclass(frozen=True, slots=True)
class News:
    """I have these bodies of the channel."""

    overlay: bytes
    topic: str
    ids: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check_channel(self.overlay, self.topic)
        _check_ids(self.ids, GOSSIP_NEWS_MAX)


@dataclass(frozen=True, slots=True)
class Question:
    """`want`: give me these bodies, answered by Bodies.

    Or `mark`, that of the newest ids which the asker keeps: which do you keep? Answered by Recent.
    """

    overlay: bytes
    topic: str
    want: bytes = field(default=b"", repr=False)
    mark: bytes = b""

    def __post_init__(self) -> None:
        _check_channel(self.overlay, self.topic)
        need(bool(self.want) != bool(self.mark), "either bodies or a comparison")
        if self.want:
            _check_ids(self.want, GOSSIP_WANT_MAX)
        else:
            need(len(self.mark) == ID_BYTES, f"a mark has {ID_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class Bodies:
    """Those of the wanted bodies that are here; `cut`: more of them did not fit."""

    bodies: tuple[bytes, ...] = field(repr=False)
    cut: bool = False

    def __post_init__(self) -> None:
        need(len(self.bodies) <= GOSSIP_WANT_MAX, "more bodies than can be wanted")
        need(max(map(len, self.bodies), default=0) <= GOSSIP_BODY_BYTES_MAX, "a body is too long")


@dataclass(frozen=True, slots=True)
class Recent:
    """The newest ids that are kept here; none, and `same`, when the marks are equal."""

    ids: bytes = field(default=b"", repr=False)
    same: bool = False

    def __post_init__(self) -> None:
        if self.ids:
            _check_ids(self.ids, GOSSIP_RECENT_MAX)


def decode_news(data: bytes) -> News:
    """What a peer tells; raises DecodeError."""
    return _read(News, data, GOSSIP_NEWS_MAX * ID_BYTES, _SMALL_ITEMS_MAX)


def decode_question(data: bytes) -> Question:
    """What a peer asks; raises DecodeError."""
    return _read(Question, data, GOSSIP_WANT_MAX * ID_BYTES, _SMALL_ITEMS_MAX)


def decode_bodies(data: bytes) -> Bodies:
    """The answer to a wish for bodies; raises DecodeError."""
    return _read(Bodies, data, GOSSIP_ANSWER_BYTES_MAX, _SMALL_ITEMS_MAX + GOSSIP_WANT_MAX)


def decode_recent(data: bytes) -> Recent:
    """The answer to a comparison; raises DecodeError."""
    return _read(Recent, data, GOSSIP_RECENT_MAX * ID_BYTES, _SMALL_ITEMS_MAX)


def fitting(bodies: Sequence[bytes]) -> Bodies:
    """As many of `bodies`, the first ones, as one answer holds."""
    size = 0
    for count, body in enumerate(bodies):
        size += len(body) + 4
        if size > GOSSIP_ANSWER_BYTES_MAX:
            return Bodies(tuple(bodies[:count]), cut=True)
    return Bodies(tuple(bodies))


def _check_channel(overlay: bytes, topic: str) -> None:
    need(len(overlay) == LOCATION_BYTES, f"an overlay has {LOCATION_BYTES} bytes")
    fits = 0 < len(topic) <= GOSSIP_TOPIC_CHARS_MAX and topic.isascii()
    need(fits, "not the name of a topic")


def _check_ids(ids: bytes, most: int) -> None:
    whole = len(ids) % ID_BYTES == 0
    need(whole and 0 < len(ids) <= most * ID_BYTES, f"not 1 to {most} ids")


def _read(cls: type[T], data: bytes, content_bytes: int, items: int) -> T:
    limit = content_bytes + _HEAD_BYTES
    need_at_most(data, limit, f"a {cls.__name__}")
    check_items(data, items)
    return decode(cls, data)
