"""The tables of machine "validation": what a row is, under which key it lies, writes seen at once.

Source: docs/chains.md, "How an op is judged". Every key begins with the overlay, and every look-up
is a range below one prefix, so that its cost does not grow with what is held. A set of index keys
only ever grows, so the order in which ops come leaves no trace.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from dms3.chain.action import SignedAction
from dms3.core.cid import Cid
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId
from dms3.core.machine import View

ACTIONS, ENTRIES, OPS, INDEX = "actions", "entries", "ops", "index"
AUTHORS, PENDING, COUNTS = "authors", "pending", "counts"
DOUBTS = "doubts"  # see `doubts.py`
HELD_TABLES = (ACTIONS, ENTRIES, OPS, INDEX, AUTHORS)
"""What `digest.py` compares; the others follow from them or from what is under way."""

_NUMBER_BYTES = 8
_PAGE_MIN, _PAGE_MAX = 4, 256  # most lists are short

STATES = ("pending", "integrated", "rejected", "abandoned")


@dataclass(frozen=True, slots=True)
class ActionRow:
    """An action and what was made of it: `state` is one of STATES, of a verdict rule and words.

    `signed`: the signed action, encoded. `own`: this node's own, readable whatever lies near.
    `received_us`: wall clock.
    """

    v: int
    signed: bytes = field(repr=False)
    state: str
    received_us: int
    rule: str = ""
    detail: str = ""
    line: int = 0
    own: bool = False


@dataclass(frozen=True, slots=True)
class OpRow:
    """An op that is held here, or will be when its action is found valid."""

    v: int
    kind: str
    basis: bytes
    action: bytes


@dataclass(frozen=True, slots=True)
class AuthorRow:
    """The chain of an author as held here.

    `head`: the last seq held without a gap; `highest`: the highest; `forked`: the first seq at
    which there are two actions, -1 for none.
    """

    v: int
    head: int
    highest: int
    forked: int


@dataclass(frozen=True, slots=True)
class PendingRow:
    """An action that waits for its verdict; `peer`: who brought it first."""

    v: int
    peer: bytes


class Rows:
    """The committed rows, with what was written over them; `desk` takes the writes.

    What is written `late` is seen at once, and goes to the desk with the next other write or with
    `flush`.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._view: View
        self._fresh: dict[tuple[str, bytes], bytes | None] = {}
        self._keys: dict[str, list[bytes]] = {}
        self._late: dict[tuple[str, bytes], bytes | None] = {}
        self._is_late = False

    def load(self, view: View) -> None:
        """Read through `view` from now on."""
        self._view = view

    def settle(self) -> None:
        """The event is over: the view shows its writes, but for the late ones."""
        self._fresh.clear()
        self._keys.clear()
        for (table, key), value in self._late.items():
            self._note(table, key, value)

    def get(self, table: str, key: bytes) -> bytes | None:
        """The newest value under `key`, or None."""
        if (table, key) in self._fresh:
            return self._fresh[table, key]
        return self._view.get(table, key)

    def put(self, table: str, key: bytes, value: bytes) -> None:
        """Write a row."""
        self._write(table, key, value)

    def drop(self, table: str, key: bytes) -> None:
        """Remove a row."""
        self._write(table, key, None)

    @contextmanager
    def late(self) -> Iterator[None]:
        """What is written within is late."""
        self._is_late = True
        try:
            yield
        finally:
            self._is_late = False

    @property
    def has_late(self) -> bool:
        """Whether anything is to be flushed."""
        return bool(self._late)

    def flush(self) -> None:
        """Write what is late."""
        late, self._late = self._late, {}
        for (table, key), value in late.items():
            self._tell(table, key, value)

    def range(self, table: str, start: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """At most `limit` newest pairs with key >= `start`, in order."""
        keys = self._keys.get(table)
        if not keys:
            return self._view.range(table, start, limit)
        over = {key: self._fresh[table, key] for key in keys[bisect_left(keys, start) :]}
        hidden = sum(value is None for value in over.values())
        merged: dict[bytes, bytes | None] = dict(self._view.range(table, start, limit + hidden))
        merged |= over
        pairs = [(key, value) for key, value in merged.items() if value is not None]
        return sorted(pairs)[:limit]

    def under(self, table: str, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Every pair whose key begins with `prefix`, in order, behind key `after`."""
        start = max(prefix, after + b"\0" if after else b"")
        page = _PAGE_MIN
        while True:
            rows = self.range(table, start, page)
            for key, value in rows:
                if not key.startswith(prefix):
                    return
                yield key, value
            if len(rows) < page:
                return
            start = rows[-1][0] + b"\0"
            page = min(4 * page, _PAGE_MAX)

    def _write(self, table: str, key: bytes, value: bytes | None) -> None:
        self._note(table, key, value)
        if self._is_late:
            self._late[table, key] = value
            return
        if self._late:
            self.flush()
        self._tell(table, key, value)

    def _tell(self, table: str, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._desk.delete(table, key)
        else:
            self._desk.persist(table, key, value)

    def _note(self, table: str, key: bytes, value: bytes | None) -> None:
        if (table, key) not in self._fresh:
            insort(self._keys.setdefault(table, []), key)
        self._fresh[table, key] = value


# Keys


def action_key(overlay: OverlayId, hash_: Cid) -> bytes:
    """Where an action lies, and whether it is pending."""
    return overlay + hash_.digest


def index_prefix(overlay: OverlayId, code: bytes, basis: bytes) -> bytes:
    """Under which everything of kind `code` lies that is held near `basis`."""
    return overlay + code + bytes((len(basis),)) + basis


def number_key(number: int) -> bytes:
    """A number so that keys are in its order."""
    return number.to_bytes(_NUMBER_BYTES, "big")


def link_tail(kind: str, tag: bytes) -> bytes:
    """How the keys of links of `kind` whose tag begins with `tag` go on."""
    return kind.encode() + b"\0" + tag


def index_key(overlay: OverlayId, kind: str, basis: bytes, signed: SignedAction) -> bytes | None:
    """Where the op `kind` of an action at `basis` is listed; None: its action's row says it all."""
    action, digest = signed.action, signed.hash.digest
    if kind == "record":
        return None
    if kind == "activity" and basis == action.author:
        tail = number_key(action.seq) + digest
    elif kind == "link":
        tail = link_tail(action.link_kind, action.tag) + number_key(action.time_us) + digest
    elif kind == "unlink":
        assert action.target is not None, "an unlink has a target"
        tail = action.target.digest + digest
    else:
        tail = action.root + digest if kind == "activity" else digest
    code = OTHERS if kind == "activity" and basis != action.author else CODES[kind]
    return index_prefix(overlay, code, basis) + tail


def refused_key(overlay: OverlayId, kind: str, basis: bytes, signed: SignedAction) -> bytes | None:
    """Where the op `kind` of a rejected action is listed: by its place, and by its entry."""
    digest = signed.hash.digest
    if kind == "activity" and basis == signed.action.author:
        return index_prefix(overlay, REFUSED, basis) + number_key(signed.action.seq) + digest
    return index_prefix(overlay, EVIDENCE, basis) + digest if kind == "entry" else None


CODES = {
    "entry": b"e",
    "activity": b"a",
    "update": b"u",
    "delete": b"d",
    "link": b"l",
    "unlink": b"x",
    "agent": b"g",
    "warrant": b"w",
}
OTHERS = b"o"
"""Code under which actions of others are listed that say something of an agent, by their person:
what a stranger says of a key is never looked at, however much it is."""

REFUSED = b"r"
"""Code under which rejected actions are listed by author and seq."""

EVIDENCE = b"v"
"""Code under which rejected actions are listed by the entry that they made."""
