"""Links from a base: those of this node and of several holders joined, without the unlinked.

Source: GetLinks; docs/chains.md, "What is read". Pages are read on until
the limit is met; of pages of unequal length only what all of them cover is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.chain.messages import Fetch
from dms3.chain.operations_validation import GetLinks, LinkRecord
from dms3.chain.ops import Op, op_id
from dms3.core.cid import Cid
from dms3.core.desk import Desk
from dms3.core.errors import Dms3Error
from dms3.core.ids import RequestId
from dms3.core.limits import (
    CHAIN_FETCH_MAX,
    DHT_ASK_US,
    READ_ENOUGH,
    READ_HOLDERS,
    READ_PAGES_MAX,
)
from dms3.core.verdict import Valid
from dms3.validation.holders import Answer, Heard, Reach
from dms3.validation.reading import Readers, Seen, Union
from dms3.validation.rows import link_tail, number_key
from dms3.validation.serving import fits

LINKS_MAX = CHAIN_FETCH_MAX * READ_PAGES_MAX


@dataclass(slots=True, eq=False)
class _Read:
    """Links being read, page by page; `cut`: the order up to which all pages reach."""

    asked: GetLinks
    request: RequestId
    until_us: int
    union: Union = field(default_factory=Union)
    cursor: bytes = b""
    cut: bytes = b""
    pages: int = 0
    last: Heard | None = None


class Linking:
    """Reads of links under way."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._desk: Desk = readers.desk
        self._open: dict[RequestId, _Read] = {}

    @property
    def open(self) -> int:
        """Reads that are not answered yet."""
        return len(self._open)

    def links(self, asked: GetLinks, request: RequestId) -> None:
        """Answer with the live links, in order of kind, tag, time and hash."""
        if not 0 < asked.limit <= LINKS_MAX:
            raise Dms3Error("argument_invalid", f"1 to {LINKS_MAX} links are read at once.")
        until_us = self._desk.now.mono_us + asked.patience_us
        read = self._open[request] = _Read(asked, request, until_us)
        fetch = self._fetch(read)
        room = 2 * asked.limit  # a link and its unlink
        rows = self._readers.serving.rows(asked.overlay, fetch)
        read.union.local(row for row, _ in zip(rows, range(room), strict=False))
        if self._readers.recent.knows(asked.overlay, fetch):
            self._show(read)
            return
        self._page(read)

    def withdrawn(self, request: RequestId) -> None:
        """Nobody waits for it."""
        self._open.pop(request, None)

    def _fetch(self, read: _Read) -> Fetch:
        asked = read.asked
        return Fetch(
            "links",
            asked.base,
            CHAIN_FETCH_MAX,
            kind=asked.kind,
            tag=asked.tag,
            author=asked.author,
            cursor=read.cursor,
            since_us=asked.since_us,
            until_us=asked.until_us,
        )

    def _page(self, read: _Read) -> None:
        left_us = read.until_us - self._desk.now.mono_us
        if left_us <= 0:
            self._judge(read)
            return
        read.pages += 1
        reach = Reach(READ_HOLDERS, READ_ENOUGH, min(DHT_ASK_US, left_us))
        fetches = [self._fetch(read)]
        self._readers.fetch(
            read.asked.overlay, fetches, reach, lambda heard: self._heard(read, heard[0])
        )

    def _heard(self, read: _Read, heard: Heard) -> None:
        if self._open.get(read.request) is not read:
            return
        read.union.heard(heard.answers)
        read.last = heard if read.pages == 1 else None
        if read.pages == 1:
            self._readers.recent.looked(read.asked.overlay, self._fetch(read), heard)
        ends = [end for answer in heard.answers if answer.more and (end := _end(answer))]
        read.cut = b"" if not ends else min(ends)[0]
        enough = len(self._asked_for(read)) >= read.asked.limit
        if ends and not enough and read.pages < READ_PAGES_MAX:
            cursor = min(ends)[1]
            if cursor != read.cursor:
                read.cursor = cursor
                self._page(read)
                return
        self._judge(read)

    def _asked_for(self, read: _Read) -> list[Seen]:
        """The links of all that was told: a page may end with another one."""
        fetch = self._fetch(read)
        return [one for one in read.union.of("link") if fits(one.op.signed.action, fetch)]

    def _judge(self, read: _Read) -> None:
        unsure = [
            one
            for one in (*self._asked_for(read), *read.union.of("unlink"))
            if one.verdict is None and not one.is_believed
        ]
        left_us = read.until_us - self._desk.now.mono_us
        self._readers.judge(read.asked.overlay, unsure, left_us, lambda: self._show(read))

    def _show(self, read: _Read) -> None:
        if self._open.pop(read.request, None) is not read:
            return
        unlinked = {
            one.op.signed.action.target for one in read.union.of("unlink") if one.is_believed
        }
        links = sorted(
            (one for one in self._asked_for(read) if one.is_believed),
            key=lambda one: link_order(one.op),
        )
        shown = [
            _record(one)
            for one in links
            if one.op.signed.hash not in unlinked
            and (not read.cut or link_order(one.op) <= read.cut)
        ]
        self._desk.reply(read.request, tuple(shown[: read.asked.limit]))
        if read.last is not None:
            believed = [
                one.op
                for one in read.union.of("link", "unlink")
                if isinstance(one.verdict, Valid) and one.local
            ]
            self._readers.mend(read.asked.overlay, read.last, believed)


def link_order(op: Op) -> bytes:
    """Where a link stands among those of its base."""
    action = op.signed.action
    tail = link_tail(action.link_kind, action.tag) + number_key(action.time_us)
    return tail + op.signed.hash.digest


def _end(answer: Answer) -> tuple[bytes, bytes] | None:
    """The place and op id of the last link of a page."""
    links = [told.op for told in answer.ops if told.op.kind == "link"]
    if not links:
        return None
    return link_order(links[-1]), op_id(links[-1])


def _record(one: Seen) -> LinkRecord:
    signed = one.op.signed
    action = signed.action
    hash_: Cid = signed.hash
    return LinkRecord(
        hash_, action.base, action.to, action.link_kind, action.tag, action.author, action.time_us
    )
