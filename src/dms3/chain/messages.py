"""The messages of /dms3/chain/1: ops published, fetched, compared; receipts that come later.

Source: docs/wire.md, "/dms3/chain/1". Unsigned: unknown keys are ignored. Decoders raise
DecodeError and nothing else. Ops in them are decoded one by one by who takes them: one bad op does
not spoil the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

from dms3.chain.action import BASE_BYTES_MAX, KEY_BYTES
from dms3.chain.ops import OP_BYTES_MAX
from dms3.chain.receipt import OP_ID_BYTES
from dms3.core.codec import INTEGER_MAX, check_items, decode, need, need_at_most
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    CHAIN_ANSWER_BYTES_MAX,
    CHAIN_FETCH_MAX,
    CHAIN_MESSAGE_ITEMS_MAX,
    CHAIN_NAMES_BYTES_MAX,
    CHAIN_NAMES_MAX,
    CHAIN_OPS_MAX,
    CHAIN_QUESTION_BYTES_MAX,
    CHAIN_SMALL_BYTES_MAX,
    DETAIL_CHARS_MAX,
    DNA_NAME_CHARS_MAX,
    RECEIPT_BYTES_MAX,
    RECONCILE_ANSWER_BYTES_MAX,
    RECONCILE_ANSWER_ITEMS_MAX,
    RECONCILE_RANGES_MAX,
    TAG_BYTES_MAX,
)
from dms3.core.reconcile import Summary, Told

PROTOCOL = "/dms3/chain/1"
MINORS = (0,)
WHAT = ("record", "entry", "links", "activity", "agents", "warrants", "changes")
"""What can be fetched: see Fetch."""
CODES = ("held", "pending", "refused", "far", "busy", "unknown")
STATES = ("integrated", "rejected", "abandoned", "pending")
_CLOSED = 256  # names and numbers around the ops of a message

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Publish:
    """Take these ops (encoded, see `chain/ops.py`) and hold what lies near you."""

    ops: tuple[bytes, ...] = field(repr=False)

    def __post_init__(self) -> None:
        need(0 < len(self.ops) <= CHAIN_OPS_MAX, f"a publish has 1 to {CHAIN_OPS_MAX} ops")
        need(max(map(len, self.ops)) <= OP_BYTES_MAX, "an op is too long")


@dataclass(frozen=True, slots=True)
class Fetch:
    """What do you hold near `basis`?

    `what`: "record" (an action), "entry" (the actions that made it), "links" (with their unlinks),
    "activity" (of an agent), "agents" (of a root), "warrants" (of an agent), "changes" (updates and
    deletes of an action or entry). `kind`, `tag`: of links, the tag as a prefix. `author`: only by
    this agent (or root). `after`: activity behind this seq (-1: all). `cursor`: other ops behind
    the one with this id (empty, or not held there: from the first). `since_us`, `until_us`: time
    of the action (0: any).
    """

    what: str
    basis: bytes
    limit: int
    kind: str = ""
    tag: bytes = b""
    author: bytes = b""
    after: int = -1
    cursor: bytes = b""
    since_us: int = 0
    until_us: int = 0

    def __post_init__(self) -> None:
        need(self.what in WHAT, f"{self.what[:32]!r} cannot be fetched")
        need(0 < len(self.basis) <= BASE_BYTES_MAX, "not a key of the overlay")
        need(1 <= self.limit <= CHAIN_FETCH_MAX, f"the limit is not 1 to {CHAIN_FETCH_MAX}")
        need(len(self.kind) <= DNA_NAME_CHARS_MAX, "not the name of a link kind")
        need(len(self.tag) <= TAG_BYTES_MAX, "the tag is too long")
        need(len(self.author) in (0, KEY_BYTES), "an agent has 32 bytes")
        need(-1 <= self.after <= INTEGER_MAX, "not a place in a chain")
        need(len(self.cursor) in (0, OP_ID_BYTES), "an op is named by 32 bytes")
        need(min(self.since_us, self.until_us) >= 0, "a time is out of range")


@dataclass(frozen=True, slots=True)
class Reconcile:
    """What do you hold in these ranges (`core/reconcile.py`), of which I have so much?

    `lacks`: ids of ops that I hold and you do not, to be brought from me if they lie near you.
    """

    ranges: tuple[Summary, ...] = ()
    lacks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        need(len(self.ranges) <= RECONCILE_RANGES_MAX, "too many ranges")
        need(bool(self.ranges or self.lacks), "nothing is asked")
        _need_names(self.lacks)


@dataclass(frozen=True, slots=True)
class Bring:
    """Give me the ops with these ids."""

    ops: tuple[bytes, ...]

    def __post_init__(self) -> None:
        need(bool(self.ops), "nothing is asked")
        _need_names(self.ops)


@dataclass(frozen=True, slots=True)
class Vouch:
    """Sign again that you hold the ops with these ids: I am to let go of them."""

    ops: tuple[bytes, ...]

    def __post_init__(self) -> None:
        need(0 < len(self.ops) <= CHAIN_OPS_MAX, f"1 to {CHAIN_OPS_MAX} ops are vouched for")
        _need_names(self.ops)


@dataclass(frozen=True, slots=True)
class ChainQuestion:
    """One question about `overlay`, and what answers it.

    `publish`: Published. `fetch`: Fetched. `reconcile`: Reconciled. `bring`: Fetched. `vouch`:
    Published.
    """

    overlay: bytes
    publish: Publish | None = None
    fetch: Fetch | None = None
    reconcile: Reconcile | None = None
    bring: Bring | None = None
    vouch: Vouch | None = None

    def __post_init__(self) -> None:
        need(len(self.overlay) == KEY_BYTES, "an overlay has 32 bytes")
        asked = (self.publish, self.fetch, self.reconcile, self.bring, self.vouch)
        need(sum(one is not None for one in asked) == 1, "exactly one thing is asked")


@dataclass(frozen=True, slots=True)
class OpResult:
    """What became of one op: `code` held (with a receipt), pending, refused, far, busy, unknown.

    "pending": it is judged later, a receipt follows (ReceiptNote). "refused": by `rule`, at `line`
    of the app's rules (0: of the system), in words `detail`; without a rule it could not be read.
    "unknown": no such app here.
    """

    code: str
    receipt: bytes = field(default=b"", repr=False)
    rule: str = ""
    detail: str = ""
    line: int = 0

    def __post_init__(self) -> None:
        need(self.code in CODES, f"{self.code[:32]!r} is no result")
        need((self.code == "held") == bool(self.receipt), "a receipt is of what is held")
        need(len(self.receipt) <= RECEIPT_BYTES_MAX, "the receipt is too long")
        need(len(self.rule) <= DNA_NAME_CHARS_MAX, "the name of the rule is too long")
        need(len(self.detail) <= DETAIL_CHARS_MAX, "the detail is too long")
        need(0 <= self.line <= INTEGER_MAX, "not a line")


@dataclass(frozen=True, slots=True)
class Published:
    """The answer to Publish: one result for each op, in their order."""

    results: tuple[OpResult, ...]

    def __post_init__(self) -> None:
        need(len(self.results) <= CHAIN_OPS_MAX, "too many results")


@dataclass(frozen=True, slots=True)
class FetchedOp:
    """An op (encoded) as it stands at the answerer; of a rejected one by which rule, and why."""

    op: bytes = field(repr=False)
    state: str = "integrated"
    rule: str = ""
    detail: str = ""
    line: int = 0

    def __post_init__(self) -> None:
        need(len(self.op) <= OP_BYTES_MAX, "an op is too long")
        need(self.state in STATES, f"{self.state[:32]!r} is no state")
        need(len(self.rule) <= DNA_NAME_CHARS_MAX, "the name of the rule is too long")
        need(len(self.detail) <= DETAIL_CHARS_MAX, "the detail is too long")
        need(0 <= self.line <= INTEGER_MAX, "not a line")


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer to Fetch: ops in the order of docs/wire.md; `more`: some are left behind.

    `head`: of activity, the last seq held without a gap; `highest`: the highest seen (-1: none).
    """

    ops: tuple[FetchedOp, ...]
    more: bool = False
    head: int = -1
    highest: int = -1

    def __post_init__(self) -> None:
        need(len(self.ops) <= CHAIN_FETCH_MAX, "too many ops")
        need(-1 <= self.head <= self.highest <= INTEGER_MAX, "the places are out of order")


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The answer to Reconcile: of each range, in their order, what is held there.

    `wanted`: how many of the ops that I lack I am bringing now.
    """

    ranges: tuple[Told, ...] = ()
    wanted: int = 0

    def __post_init__(self) -> None:
        need(len(self.ranges) <= RECONCILE_RANGES_MAX, "too many ranges")
        need(0 <= self.wanted <= CHAIN_NAMES_MAX, "more than was told")


@dataclass(frozen=True, slots=True)
class ReceiptNote:
    """Said without being asked: what became of ops that were pending, by their ids."""

    overlay: bytes
    ops: tuple[bytes, ...]
    results: tuple[OpResult, ...]

    def __post_init__(self) -> None:
        need(len(self.overlay) == KEY_BYTES, "an overlay has 32 bytes")
        need(0 < len(self.ops) <= CHAIN_OPS_MAX, f"a note is of 1 to {CHAIN_OPS_MAX} ops")
        need(len(self.ops) == len(self.results), "one result for each op")
        need(all(len(op) == OP_ID_BYTES for op in self.ops), "an op is named by 32 bytes")


def decode_chain_question(data: bytes) -> ChainQuestion:
    """A question of a peer; raises DecodeError."""
    question = _bounded(ChainQuestion, data, CHAIN_QUESTION_BYTES_MAX)
    if question.publish is not None:
        return question
    most = CHAIN_SMALL_BYTES_MAX if question.fetch is not None else CHAIN_NAMES_BYTES_MAX
    need_at_most(data, most, "a question without ops")
    return question


def decode_published(data: bytes, count: int) -> Published:
    """An answer to the publish of `count` ops; raises DecodeError."""
    limit = count * (RECEIPT_BYTES_MAX + 4 * DETAIL_CHARS_MAX + _CLOSED) + _CLOSED
    answer = _bounded(Published, data, limit)
    if len(answer.results) != count:
        raise DecodeError(0, f"{len(answer.results)} results for {count} ops")
    return answer


def decode_fetched(data: bytes, limit: int = CHAIN_FETCH_MAX) -> Fetched:
    """An answer to a fetch of at most `limit` ops; raises DecodeError."""
    answer = _bounded(Fetched, data, CHAIN_ANSWER_BYTES_MAX)
    if len(answer.ops) > limit:
        raise DecodeError(0, "more ops than were asked for")
    return answer


def decode_reconciled(data: bytes, count: int) -> Reconciled:
    """An answer about `count` ranges; raises DecodeError."""
    need_at_most(data, RECONCILE_ANSWER_BYTES_MAX, "a Reconciled")
    check_items(data, RECONCILE_ANSWER_ITEMS_MAX)
    answer = decode(Reconciled, data)
    if len(answer.ranges) != count:
        raise DecodeError(0, f"{len(answer.ranges)} answers for {count} ranges")
    return answer


def decode_receipt_note(data: bytes) -> ReceiptNote:
    """A note of a peer; raises DecodeError."""
    return _bounded(ReceiptNote, data, _NOTE_BYTES_MAX)


_NOTE_BYTES_MAX = CHAIN_OPS_MAX * (RECEIPT_BYTES_MAX + 4 * DETAIL_CHARS_MAX + _CLOSED) + _CLOSED


def _need_names(ops: tuple[bytes, ...]) -> None:
    need(len(ops) <= CHAIN_NAMES_MAX, f"at most {CHAIN_NAMES_MAX} ops are named")
    need(all(len(op) == OP_ID_BYTES for op in ops), "an op is named by 32 bytes")


def _bounded(cls: type[T], data: bytes, limit: int) -> T:
    need_at_most(data, limit, f"a {cls.__name__}")
    check_items(data, CHAIN_MESSAGE_ITEMS_MAX)
    return decode(cls, data)
