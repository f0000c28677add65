"""The messages of /dms3/grant/1, /dms3/search/1 and /dms3/block/1.

Source: docs/wire.md, "Sharing". Unsigned messages: unknown keys are ignored. Decoders raise
DecodeError and nothing else; who may ask is decided in `search/gate.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from dms3.core.cid import Cid
from dms3.core.codec import check_items, decode, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    BLOCK_QUESTION_BYTES_MAX,
    GRANT_MESSAGE_BYTES_MAX,
    KIND_CHARS_MAX,
    REMOTE_CONDITION_CHARS_MAX,
    REMOTE_CONDITIONS_MAX,
    REMOTE_QUERY_CHARS_MAX,
    SEARCH_ANSWER_BYTES_MAX,
    SEARCH_HITS_MAX,
    SEARCH_ITEMS_MAX,
    SEARCH_QUESTION_BYTES_MAX,
    SPACE_NAME_CHARS_MAX,
)
from dms3.crypto.grant import SERIAL_BYTES, SPACE_BYTES, Proof
from dms3.search.operations import Found

GRANT_PROTOCOL = "/dms3/grant/1"
SEARCH_PROTOCOL = "/dms3/search/1"
BLOCK_PROTOCOL = "/dms3/block/1"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GrantMessage:
    """An offer (`grant`, with the space's `name`) or a withdrawal (`serial`), never both.

    `certificate` shows that the sending peer acts for the issuer. The answer is `RECEIPT`.
    """

    certificate: bytes = field(repr=False)
    grant: bytes | None = field(default=None, repr=False)
    name: str = ""
    serial: bytes | None = None

    def __post_init__(self) -> None:
        if (self.grant is None) == (self.serial is None):
            raise ValueError("either a grant or a serial")
        if self.serial is not None and len(self.serial) != SERIAL_BYTES:
            raise ValueError("a serial has 16 bytes")
        if len(self.name) > SPACE_NAME_CHARS_MAX:
            raise ValueError("the name of the space is too long")
        if not self.name.isprintable():
            raise ValueError("the name of the space is not one line of text")


RECEIPT = b"\xa0"  # an empty dag-cbor map


@dataclass(frozen=True, slots=True)
class SearchQuestion:
    """Search one space; the answer is `operations.Found`."""

    space: bytes
    query: str = field(repr=False)
    limit: int
    proof: Proof = field(repr=False)
    kind: str | None = None
    where: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.space) != SPACE_BYTES:
            raise ValueError("a space id has 32 bytes")
        if not 1 <= self.limit <= SEARCH_HITS_MAX:
            raise ValueError(f"the limit is not 1 to {SEARCH_HITS_MAX}")
        if len(self.query) > REMOTE_QUERY_CHARS_MAX:
            raise ValueError("the query is too long")
        if len(self.kind or "") > KIND_CHARS_MAX:
            raise ValueError("the kind is too long")
        if len(self.where) > REMOTE_CONDITIONS_MAX:
            raise ValueError("too many conditions")
        if any(len(condition) > REMOTE_CONDITION_CHARS_MAX for condition in self.where):
            raise ValueError("a condition is too long")


@dataclass(frozen=True, slots=True)
class BlockQuestion:
    """Ask for one block of a space; the answer is the block's bytes, checked by the asker."""

    space: bytes
    cid: Cid
    proof: Proof = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.space) != SPACE_BYTES:
            raise ValueError("a space id has 32 bytes")


def decode_grant_message(data: bytes) -> GrantMessage:
    """An offer or withdrawal; raises DecodeError."""
    return _bounded(GrantMessage, data, GRANT_MESSAGE_BYTES_MAX)


def decode_search_question(data: bytes) -> SearchQuestion:
    """A question to /dms3/search/1; raises DecodeError."""
    return _bounded(SearchQuestion, data, SEARCH_QUESTION_BYTES_MAX)


def decode_search_answer(data: bytes, limit: int = SEARCH_HITS_MAX) -> Found:
    """An answer of /dms3/search/1 with at most `limit` hits; raises DecodeError."""
    found = _bounded(Found, data, SEARCH_ANSWER_BYTES_MAX)
    if len(found.hits) > limit:
        raise DecodeError(0, "more hits than were asked for")
    return found


def decode_block_question(data: bytes) -> BlockQuestion:
    """A question to /dms3/block/1; raises DecodeError."""
    return _bounded(BlockQuestion, data, BLOCK_QUESTION_BYTES_MAX)


def _bounded(cls: type[T], data: bytes, limit: int) -> T:
    need_at_most(data, limit, f"a {cls.__name__}")
    check_items(data, SEARCH_ITEMS_MAX)
    return decode(cls, data)
