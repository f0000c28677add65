"""Fetches answered: from the rows of this node, a page at a time, in the order of their keys.

Source: docs/wire.md, "/dms3/chain/1". What was rejected is only given with its verdict, as
evidence; what is pending or given up is not given. Reads the same for peers and for this node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from dms3.chain.action import Action
from dms3.chain.messages import Fetch, Fetched, FetchedOp
from dms3.chain.ops import Op, encode_op
from dms3.core.cid import DAG_CBOR, Cid
from dms3.core.codec import INTEGER_MAX
from dms3.core.errors import DecodeError
from dms3.core.ids import OverlayId
from dms3.core.limits import AGENTS_MAX, CHAIN_ANSWER_BYTES_MAX, FETCH_PASSED_MAX
from dms3.validation.holding import Held, Holding
from dms3.validation.located import SHOWN
from dms3.validation.rows import (
    CODES,
    EVIDENCE,
    OTHERS,
    REFUSED,
    index_key,
    link_tail,
    number_key,
    refused_key,
)

ROOM_BYTES = 64 * 1_024  # names and verdicts around the ops of one answer


@dataclass(frozen=True, slots=True)
class Row:
    """An op that is held, with what was made of its action.

    `passed`: it is not asked for, and stands where the next page begins.
    """

    op: Op
    held: Held
    passed: bool = False

    @property
    def fetched(self) -> FetchedOp:
        """As it is sent."""
        held = self.held
        return FetchedOp(encode_op(self.op), held.state, held.rule, held.detail, held.line)


class Serving:
    """Answers from `holding`."""

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._lists: dict[str, Callable[[OverlayId, Fetch], Iterator[Row]]] = {
            "record": self._record,
            "entry": self._entry,
            "links": self._links,
            "activity": self._activity,
            "agents": self._agents,
            "warrants": self._warrants,
            "changes": self._changes,
        }

    def answer(self, overlay: OverlayId, fetch: Fetch) -> Fetched:
        """At most `fetch.limit` ops of CHAIN_ANSWER_BYTES_MAX together, one at least."""
        found: list[FetchedOp] = []
        size = 0
        more = False
        for row in self.rows(overlay, fetch):
            one = row.fetched
            size += len(one.op)
            if found and (len(found) == fetch.limit or size > CHAIN_ANSWER_BYTES_MAX - ROOM_BYTES):
                more = True
                break
            found.append(one)
            if row.passed:
                more = True
                break
        if fetch.what != "activity":
            return Fetched(tuple(found), more)
        author = self._holding.author(overlay, fetch.basis)
        return Fetched(tuple(found), more, author.head, author.highest)

    def bring(self, overlay: OverlayId, ids: Sequence[bytes]) -> Fetched:
        """Those of the ops with these ids that are held and told, of CHAIN_ANSWER_BYTES_MAX."""
        found: list[FetchedOp] = []
        size = 0
        for row in (row for each in ids for row in self._named(overlay, each)):
            one = row.fetched
            size += len(one.op)
            if found and size > CHAIN_ANSWER_BYTES_MAX - ROOM_BYTES:
                return Fetched(tuple(found), more=True)
            found.append(one)
        return Fetched(tuple(found))

    def rows(self, overlay: OverlayId, fetch: Fetch) -> Iterator[Row]:
        """Everything that `fetch` asks for, without its limit; after many others, one of them."""
        return self._lists[fetch.what](overlay, fetch)

    def _named(self, overlay: OverlayId, op_id: bytes) -> Iterator[Row]:
        op = self._holding.op(overlay, op_id)
        if op is None:
            return
        held = self._holding.action(overlay, Cid.of_digest(DAG_CBOR, op.action))
        if held is not None and held.state in SHOWN:
            yield from self._row(overlay, op.kind, op.basis, held)

    # What can be fetched

    def _record(self, overlay: OverlayId, fetch: Fetch) -> Iterator[Row]:
        try:
            held = self._holding.action(overlay, Cid.decode(fetch.basis))
        except DecodeError:
            return
        if held is not None and held.state in SHOWN:
            yield from self._row(overlay, "record", fetch.basis, held)

    def _entry(self, overlay: OverlayId, fetch: Fetch) -> Iterator[Row]:
        """The actions that made it; behind the valid ones those that were refused, as evidence."""
        yield from self._listed(overlay, "entry", fetch)
        yield from self._listed(overlay, "entry", fetch, code=EVIDENCE)

    def _agents(self, overlay: OverlayId, fetch: Fetch) -> Iterator[Row]:
        yield from self._listed(overlay, "agent", fetch)

    def _warrants(self, overlay: OverlayId, fetch: Fetch) -> Iterator[Row]:
        yield from self._listed(overlay, "warrant", fetch)

    def _changes(self, overlay: OverlayId, fetch: Fetch) -> Iterator[Row]:
        at = self._holding.op(overlay, fetch.cursor) if fetch.cursor else None
        if at is None or at.kind != "delete":
            yield from self._listed(overlay, "update", fetch)
        yield from self._listed(overlay, "delete", fetch)

    def _links(self, overlay: OverlayId, fetch: Fetch) -> Iterator[Row]:
        """Each link with one unlink, if there is any: one is enough to end it."""
        tail = link_tail(fetch.kind, fetch.tag) if fetch.kind else b""
        for row in self._listed(overlay, "link", fetch, tail):
            yield row
            yield from self.unlinks(overlay, fetch.basis, row.held.signed.hash)

    def unlinks(self, overlay: OverlayId, basis: bytes, link: Cid) -> Iterator[Row]:
        """The first unlink of `link` from `basis`, if there is one."""
        for _, held in self._holding.listed(overlay, CODES["unlink"], basis, link.digest):
            yield from self._row(overlay, "unlink", basis, held)
            return

    def _activity(self, overlay: OverlayId, fetch: Fetch) -> Iterator[Row]:
        """The actions of an agent in order of their seq, the refused among them."""
        start = number_key(min(fetch.after + 1, INTEGER_MAX)) if fetch.after >= 0 else b""
        if fetch.after < 0:
            yield from self._said_of(overlay, fetch.basis)
        valid = self._chain(overlay, CODES["activity"], fetch.basis, start)
        refused = self._chain(overlay, REFUSED, fetch.basis, start)
        for held in _merged(valid, refused):
            yield from self._row(overlay, "activity", fetch.basis, held)

    def _said_of(self, overlay: OverlayId, agent: bytes) -> Iterator[Row]:
        """What its person's other keys say of this one: certificates and revocations."""
        first = next(self._chain(overlay, CODES["activity"], agent, b""), None)
        if first is None:
            return
        root = first.signed.action.root
        said = self._holding.listed(overlay, OTHERS, agent, root)
        for _, held in islice(said, AGENTS_MAX):
            yield from self._row(overlay, "activity", agent, held)

    def _chain(self, overlay: OverlayId, code: bytes, agent: bytes, start: bytes) -> Iterator[Held]:
        for _, held in self._holding.listed_from(overlay, code, agent, start):
            yield held

    # Small parts

    def _listed(
        self, overlay: OverlayId, kind: str, fetch: Fetch, tail: bytes = b"", code: bytes = b""
    ) -> Iterator[Row]:
        after = self._cursor(overlay, kind, fetch)
        others = 0
        for _, held in self._holding.listed(overlay, code or CODES[kind], fetch.basis, tail, after):
            wanted = fits(held.signed.action, fetch)
            others = 0 if wanted else others + 1
            if wanted:
                yield from self._row(overlay, kind, fetch.basis, held)
            elif others % FETCH_PASSED_MAX == 0:
                for row in self._row(overlay, kind, fetch.basis, held):
                    yield replace(row, passed=True)

    def _cursor(self, overlay: OverlayId, kind: str, fetch: Fetch) -> bytes:
        """The key behind which the page begins; b"" when the op is not held: from the first."""
        row = self._holding.op(overlay, fetch.cursor) if fetch.cursor else None
        if row is None or row.kind != kind or row.basis != fetch.basis:
            return b""
        held = self._holding.action(overlay, Cid.of_digest(DAG_CBOR, row.action))
        assert held is not None, "the action of an op is kept"
        where = refused_key if held.state == "rejected" else index_key
        return where(overlay, kind, fetch.basis, held.signed) or b""

    def _row(self, overlay: OverlayId, kind: str, basis: bytes, held: Held) -> Iterator[Row]:
        op = self._holding.remade(overlay, kind, basis, held.signed)
        if op is not None:
            yield Row(op, held)


def fits(action: Action, fetch: Fetch) -> bool:
    """Whether an action is one that `fetch` asks for, as far as it says more than a basis."""
    if fetch.kind and action.link_kind != fetch.kind:
        return False
    if not action.tag.startswith(fetch.tag):
        return False
    if fetch.author and fetch.author not in (action.author, action.root):
        return False
    late = fetch.until_us and action.time_us >= fetch.until_us
    return action.time_us >= fetch.since_us and not late


def _merged(one: Iterator[Held], two: Iterator[Held]) -> Iterator[Held]:
    first, second = next(one, None), next(two, None)
    while first is not None or second is not None:
        if second is None or (first is not None and _place(first) <= _place(second)):
            assert first is not None, "one of the two is left"
            yield first
            first = next(one, None)
        else:
            yield second
            second = next(two, None)


def _place(held: Held) -> tuple[int, Cid]:
    return held.signed.action.seq, held.signed.hash
