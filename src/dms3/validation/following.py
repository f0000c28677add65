"""Following an agent: its activity as most of the nodes near its key say, and what they differ in.

Source: GetActivity; docs/chains.md, "What is read". Every action is signed
by the agent, so nobody can add one; what one holder hides another shows, and so forks are seen as
soon as one honest holder has both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from dms3.chain.action import GENESIS, Action, SignedAction
from dms3.chain.agent import check_revocation, decode_revocation
from dms3.chain.messages import Fetch
from dms3.chain.operations_validation import Activity, GetActivity
from dms3.chain.rules import ends_chain, next_author
from dms3.core.cid import Cid
from dms3.core.codec import INTEGER_MAX
from dms3.core.desk import Desk
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import PeerId, RequestId
from dms3.core.limits import CHAIN_FETCH_MAX, DHT_ASK_US, READ_ENOUGH, READ_PAGES_MAX
from dms3.core.overlay import HOLDERS_MIN
from dms3.core.verdict import Invalid
from dms3.validation.holders import Answer, Heard, Reach
from dms3.validation.reading import Readers, Seen, Union

State = Literal["empty", "valid", "forked", "invalid", "closed"]
ACTIVITY_MAX = CHAIN_FETCH_MAX * READ_PAGES_MAX
_FIRST = 16  # rows beyond the limit: the beginning of the chain, and what is said of its key


@dataclass(slots=True, eq=False)
class _Read:
    """An activity being read; `after`: up to which seq all pages so far reach."""

    asked: GetActivity
    request: RequestId
    until_us: int
    after: int
    union: Union = field(default_factory=Union)
    pages: int = 0
    holders: int = 0
    quorum: bool = False
    head: int = -1
    highest: int = -1
    more: bool = False  # holders have more than was read
    told: dict[PeerId, int] = field(default_factory=dict)  # how many pages each holder answered
    cut: set[PeerId] = field(default_factory=set)  # whose last page was not the end


class Following:
    """Reads of activity under way."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._desk: Desk = readers.desk
        self._open: dict[RequestId, _Read] = {}

    @property
    def open(self) -> int:
        """Reads that are not answered yet."""
        return len(self._open)

    def activity(self, asked: GetActivity, request: RequestId) -> None:
        """Answer with Activity."""
        if not 0 < asked.limit <= ACTIVITY_MAX:
            raise Dms3Error("argument_invalid", f"1 to {ACTIVITY_MAX} actions are read at once.")
        until_us = self._desk.now.mono_us + asked.patience_us
        read = self._open[request] = _Read(asked, request, until_us, asked.after)
        fetch = Fetch("activity", asked.agent, CHAIN_FETCH_MAX, after=asked.after)
        rows = self._readers.serving.rows(asked.overlay, fetch)
        read.union.local(row for row, _ in zip(rows, range(asked.limit + _FIRST), strict=False))
        self._page(read)

    def withdrawn(self, request: RequestId) -> None:
        """Nobody waits for it."""
        self._open.pop(request, None)

    def _page(self, read: _Read) -> None:
        left_us = read.until_us - self._desk.now.mono_us
        if left_us <= 0:
            self._judge(read)
            return
        read.pages += 1
        fetch = Fetch("activity", read.asked.agent, CHAIN_FETCH_MAX, after=read.after)
        reach = Reach(HOLDERS_MIN, 0, min(DHT_ASK_US, left_us))
        self._readers.fetch(
            read.asked.overlay, [fetch], reach, lambda heard: self._heard(read, heard[0])
        )

    def _heard(self, read: _Read, heard: Heard) -> None:
        if self._open.get(read.request) is not read:
            return
        read.union.heard(heard.answers)
        if read.pages == 1:
            read.holders = len(heard.answers) + heard.near
            read.quorum = 2 * read.holders > heard.members + heard.near
        for answer in heard.answers:
            read.told[answer.peer] = read.told.get(answer.peer, 0) + 1
            (read.cut.add if answer.more else read.cut.discard)(answer.peer)
            read.head = max(read.head, answer.head)
            read.highest = max(read.highest, answer.highest)
        ends = [
            end
            for answer in heard.answers
            if answer.more and (end := _end(answer, read.asked.agent)) is not None
        ]
        enough = len(_own(read)) >= read.asked.limit and read.asked.until is None
        if ends and min(ends) > read.after:
            if not enough and read.pages < READ_PAGES_MAX:
                read.after = min(ends)
                self._page(read)
                return
            read.more = True
        self._judge(read)

    def _judge(self, read: _Read) -> None:
        """What somebody calls rejected is judged here: it would speak against the agent.

        So is the beginning of a chain that one holder alone shows: it would let the agent in.
        """
        doubted = [one for one in _own(read) if one.verdict is None and not one.is_believed]
        doubted.sort(key=lambda one: one.op.signed.action.seq)
        refused = [one for one in doubted if one.valid < len(one.holders)]
        alone = [one for one in doubted if one.valid == len(one.holders)]
        unsure = refused[:READ_ENOUGH]
        if not _has_begun(read):
            unsure += alone[: len(GENESIS)]
        left_us = read.until_us - self._desk.now.mono_us
        self._readers.judge(read.asked.overlay, unsure, left_us, lambda: self._show(read))

    def _show(self, read: _Read) -> None:
        if self._open.pop(read.request, None) is not read:
            return
        found = _activity(read)
        self._desk.reply(read.request, found)
        if found.state == "forked":
            self._readers.forked(read.asked.overlay, *_fork(found.actions))
        self._mend(read)

    def _mend(self, read: _Read) -> None:
        """Offer what was read to near nodes that have told all they have, and miss some of it."""
        whole = [
            peer
            for peer, pages in read.told.items()
            if pages == read.pages and peer not in read.cut
        ]
        good = [one for one in _own(read) if one.is_believed]
        good.sort(key=lambda one: (one.op.signed.action.seq, one.op.signed.hash))
        self._readers.poke(read.asked.overlay, good, whole)


def _activity(read: _Read) -> Activity:
    asked, seen = read.asked, _own(read)
    refused = [one for one in seen if isinstance(one.verdict, Invalid)]
    good = sorted(
        (one.op.signed for one in seen if not isinstance(one.verdict, Invalid)),
        key=lambda signed: (signed.action.seq, signed.hash),
    )
    if asked.until is not None:
        good = _back_from(asked.until, good)
    said = [one.op.signed.action for one in read.union.of("activity")]
    head = max(asked.after, _before(said, good))
    for signed in good:
        if signed.action.seq == head + 1:
            head += 1
    cut = read.more or len(good) > asked.limit
    highest = max([head, *(signed.action.seq for signed in good)])
    return Activity(
        asked.agent,
        _state(good, refused) if refused or _has_begun(read) else "empty",
        tuple(good[: asked.limit]),
        max(head, read.head) if cut else head,
        max(highest, read.highest, read.head) if cut else highest,
        read.holders,
        read.quorum,
        revoked=_is_replaced(good) or any(_takes_back(action, good) for action in said),
    )


def _fork(actions: Sequence[SignedAction]) -> tuple[SignedAction, ...]:
    """The first two at one place; none when they lie behind what was asked for."""
    for one, two in pairwise(actions):
        if one.action.seq == two.action.seq:
            return one, two
    return ()


def _has_begun(read: _Read) -> bool:
    """Whether an action is known to be valid that lets its agent in; so was the proof before it."""
    return read.asked.after >= 0 or any(
        one.is_believed and one.op.signed.action.seq >= len(GENESIS) - 1 for one in _own(read)
    )


def _is_replaced(good: Sequence[SignedAction]) -> bool:
    """Whether the last word of this key was the certificate of the next one."""
    return bool(good) and next_author(good[-1].action) != good[-1].action.author


def _before(said: Sequence[Action], good: Sequence[SignedAction]) -> int:
    """The place before the first action of a key that took over from another one; -1: none did."""
    if not good:
        return -1
    first = good[0].action
    certified = (
        action
        for action in said
        if action.seq + 1 == first.seq
        and action.author != first.author
        and next_author(action) == first.author
        and action.root == first.root
    )
    return next((action.seq for action in certified), -1)


def _takes_back(action: Action, good: Sequence[SignedAction]) -> bool:
    """Whether `action` is the word of the agent's root that its key is not the root's any more."""
    if not action.revocation or not good:
        return False
    try:
        certificate = check_revocation(decode_revocation(action.revocation))
    except DecodeError:
        return False
    first = good[0].action
    return certificate is not None and (certificate.root, certificate.agent) == (
        first.root,
        first.author,
    )


def _own(read: _Read) -> list[Seen]:
    """Actions of the agent itself, not those of others about it."""
    agent = read.asked.agent
    return [one for one in read.union.of("activity") if one.op.signed.action.author == agent]


def _back_from(until: Cid, good: Sequence[SignedAction]) -> list[SignedAction]:
    """The chain that ends with `until`, as far back as it is known, earliest first."""
    by_hash = {signed.hash: signed for signed in good}
    chain: list[SignedAction] = []
    at: Cid | None = until
    while at is not None and at in by_hash:
        chain.append(by_hash[at])
        at = chain[-1].action.prev
    return chain[::-1]


def _state(good: Sequence[SignedAction], refused: Sequence[Seen]) -> State:
    if not good and not refused:
        return "empty"
    places = [signed.action.seq for signed in good]
    if len(set(places)) < len(places):
        return "forked"
    if refused:
        return "invalid"
    return "closed" if ends_chain(good[-1].action) else "valid"


def _end(answer: Answer, agent: bytes) -> int | None:
    """The last seq of a page."""
    actions = (told.op.signed.action for told in answer.ops)
    places = [action.seq for action in actions if action.author == agent]
    return min(places[-1], INTEGER_MAX) if places else None
