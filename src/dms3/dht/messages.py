"""The messages of /dms3/dht/1: find, get, offer, put, and their answers.

Source: docs/wire.md, "/dms3/dht/1"; Kademlia (Maymounkov, Mazieres 2002) section 2.3; offers as in
the Portal wire protocol. Unsigned: unknown keys are ignored. Decoders raise DecodeError and nothing
else. Values are checked by their content type, presences by `dht/presence.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

from dms3.core.codec import check_items, decode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    DHT_ITEMS_MAX,
    DHT_KEY_BYTES_MAX,
    DHT_MESSAGE_ITEMS_MAX,
    DHT_QUESTION_BYTES_MAX,
    DHT_SMALL_BYTES_MAX,
    DHT_TYPE_CHARS_MAX,
    DHT_VALUES_MAX,
    NEIGHBOURS_MAX,
    PRESENCE_CLOSED_BYTES_MAX,
    RADII_TOLD_MAX,
)
from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import LOCATION_BYTES

PROTOCOL = "/dms3/dht/1"
MINORS = (0,)
MARK_BYTES = 16

T = TypeVar("T")


class Code(IntEnum):
    """What a node says to one content offered or put."""

    WANTED = 0  # to an offer: put it to me; to a put: it is held now
    HELD = 1  # this very value, or a newer one, is held already
    FAR = 2  # too many nodes are nearer to it than this one
    BUSY = 3  # later: too much at once, or the quota of the type is full
    UNKNOWN = 4  # no such content type or overlay here
    INVALID = 5  # its content type refuses it
    OUTSIDE = 6  # outside the radius that this node's quota leaves to it


@dataclass(frozen=True, slots=True)
class Find:
    """Which nodes do you know nearest to the location `target`? At most `count` of them."""

    target: bytes
    count: int = BUCKET_SIZE

    def __post_init__(self) -> None:
        need(len(self.target) == LOCATION_BYTES, "a location has 32 bytes")
        need(0 < self.count <= NEIGHBOURS_MAX, f"one asks for 1 to {NEIGHBOURS_MAX} nodes")


@dataclass(frozen=True, slots=True)
class Get:
    """Which values of `type` do you hold under `key`, in slots after `after`; else, who might?"""

    type: str
    key: bytes
    after: bytes = b""

    def __post_init__(self) -> None:
        _check_name(self.type, self.key)
        need(len(self.after) <= DHT_KEY_BYTES_MAX, "the slot is too long")


@dataclass(frozen=True, slots=True)
class Offered:
    """A content that could be put: `mark` is the beginning of its value's SHA-256.

    `until_us` as in PutValue: whoever holds it already keeps it for longer, if it says so.
    """

    type: str
    key: bytes
    mark: bytes
    until_us: int

    def __post_init__(self) -> None:
        _check_name(self.type, self.key)
        need(len(self.mark) == MARK_BYTES, f"a mark has {MARK_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class PutValue:
    """A content to hold until `until_us` (wall clock); its type may say less."""

    type: str
    key: bytes
    value: bytes = field(repr=False)
    until_us: int

    def __post_init__(self) -> None:
        _check_name(self.type, self.key)


@dataclass(frozen=True, slots=True)
class Question:
    """One question about `overlay`, exactly one of find, get, offers and puts.

    `presence`: the asker's own signed presence, when it takes part and has not shown it on this
    connection yet; else empty. The answer is Nodes, Values or Codes.
    """

    overlay: bytes
    presence: bytes = b""
    find: Find | None = None
    get: Get | None = None
    offers: tuple[Offered, ...] = ()
    puts: tuple[PutValue, ...] = ()

    def __post_init__(self) -> None:
        need(len(self.overlay) == LOCATION_BYTES, "an overlay has 32 bytes")
        need(len(self.presence) <= PRESENCE_CLOSED_BYTES_MAX, "the presence is too long")
        asked = (self.find is not None, self.get is not None, bool(self.offers), bool(self.puts))
        need(sum(asked) == 1, "exactly one of find, get, offers and puts")
        need(max(len(self.offers), len(self.puts)) <= DHT_ITEMS_MAX, "too many contents")


@dataclass(frozen=True, slots=True)
class Nodes:
    """The answer to find: signed presences of the nearest nodes, nearest first.

    `presence`: the answerer's own, as in Question.
    """

    nodes: tuple[bytes, ...]
    presence: bytes = b""

    def __post_init__(self) -> None:
        _check_nodes(self.nodes, self.presence, NEIGHBOURS_MAX)


@dataclass(frozen=True, slots=True)
class Values:
    """The answer to get: what is held, in order of slot, `more` when slots are left; and nodes."""

    values: tuple[bytes, ...] = field(repr=False)
    more: bool
    nodes: tuple[bytes, ...]
    presence: bytes = b""

    def __post_init__(self) -> None:
        _check_nodes(self.nodes, self.presence, BUCKET_SIZE)
        need(len(self.values) <= DHT_VALUES_MAX, "too many values")


@dataclass(frozen=True, slots=True)
class Within:
    """Of content type `type` the answerer keeps what is at most `radius` (a number) from it."""

    type: str
    radius: bytes

    def __post_init__(self) -> None:
        need(0 < len(self.type) <= DHT_TYPE_CHARS_MAX, "not the name of a content type")
        need(len(self.radius) == LOCATION_BYTES, f"a radius has {LOCATION_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class Codes:
    """The answer to offers and puts: one Code for each, in their order.

    `radii`: of the types that were named and that this node keeps by a radius.
    """

    codes: tuple[int, ...]
    presence: bytes = b""
    radii: tuple[Within, ...] = ()

    def __post_init__(self) -> None:
        need(len(self.codes) <= DHT_ITEMS_MAX, "too many codes")
        need(len(self.radii) <= RADII_TOLD_MAX, "too many radii")
        need(all(code in _CODES for code in self.codes), "an unknown code")
        need(len(self.presence) <= PRESENCE_CLOSED_BYTES_MAX, "the presence is too long")


_CODES = frozenset(Code)


def decode_question(data: bytes) -> Question:
    """A question of a peer; raises DecodeError."""
    question = _bounded(Question, data, DHT_QUESTION_BYTES_MAX)
    if len(data) > DHT_SMALL_BYTES_MAX and not question.puts:
        raise DecodeError(DHT_SMALL_BYTES_MAX, "too long for a question without values")
    return question


def decode_nodes(data: bytes, count: int = NEIGHBOURS_MAX) -> Nodes:
    """An answer to a find of `count` nodes; raises DecodeError."""
    answer = _bounded(Nodes, data, _NODES_BYTES_MAX)
    if len(answer.nodes) > count:
        raise DecodeError(0, f"{len(answer.nodes)} nodes, and {count} were asked for")
    return answer


def decode_values(data: bytes) -> Values:
    """An answer to get; raises DecodeError."""
    return _bounded(Values, data, DHT_QUESTION_BYTES_MAX + _NODES_BYTES_MAX)


def decode_codes(data: bytes, count: int) -> Codes:
    """An answer to `count` offers or puts; raises DecodeError."""
    answer = _bounded(Codes, data, 4 * DHT_ITEMS_MAX + 2 * PRESENCE_CLOSED_BYTES_MAX)
    if len(answer.codes) != count:
        raise DecodeError(0, f"{len(answer.codes)} codes to {count} contents")
    return answer


_NODES_BYTES_MAX = (NEIGHBOURS_MAX + 1) * (PRESENCE_CLOSED_BYTES_MAX + 8) + 64


def _check_nodes(nodes: tuple[bytes, ...], presence: bytes, most: int) -> None:
    need(len(nodes) <= most, f"more than {most} nodes")
    longest = max([len(presence), *map(len, nodes)])
    need(longest <= PRESENCE_CLOSED_BYTES_MAX, "a presence is too long")


def _check_name(name: str, key: bytes) -> None:
    need(0 < len(name) <= DHT_TYPE_CHARS_MAX, "not the name of a content type")
    need(0 < len(key) <= DHT_KEY_BYTES_MAX, f"a key has 1 to {DHT_KEY_BYTES_MAX} bytes")


def _bounded(cls: type[T], data: bytes, limit: int) -> T:
    need_at_most(data, limit, f"a {cls.__name__}")
    check_items(data, DHT_MESSAGE_ITEMS_MAX)
    return decode(cls, data)
