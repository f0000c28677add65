"""Finding a record: what lies under a hash, an action or an entry, and what has happened to it.

Source: GetRecord; docs/chains.md, "What is read". The rows here and several
holders are joined; what is not known here to be valid is judged before it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.chain.action import SignedAction
from dms3.chain.messages import Fetch
from dms3.chain.operations_validation import Found, GetRecord, Record
from dms3.chain.ops import Op
from dms3.core.cid import Cid
from dms3.core.desk import Desk
from dms3.core.errors import Failure, Retry
from dms3.core.ids import OverlayId, RequestId
from dms3.core.limits import (
    CHAIN_FETCH_MAX,
    DHT_ASK_US,
    READ_ENOUGH,
    READ_HOLDERS,
    READ_PAGES_MAX,
)
from dms3.core.verdict import Invalid, Valid
from dms3.validation.holders import Heard, Reach
from dms3.validation.reading import Readers, Seen, Union

_WHAT = ("record", "entry", "changes")
_UNSURE = Failure(
    "timed_out", "What was found could not be checked in time; ask again.", Retry.LATER
)


@dataclass(slots=True, eq=False)
class _Get:
    """A get under way: `hash` is what is looked for now, `passed` what it has led through."""

    asked: GetRecord
    request: RequestId
    hash: Cid
    until_us: int
    passed: dict[Cid, None] = field(default_factory=dict)
    best: Found | None = None


class Finding:
    """Gets under way."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._desk: Desk = readers.desk
        self._open: dict[RequestId, _Get] = {}

    @property
    def open(self) -> int:
        """Gets that are not answered yet."""
        return len(self._open)

    def get(self, asked: GetRecord, request: RequestId) -> None:
        """Answer with Found, or None."""
        until_us = self._desk.now.mono_us + asked.patience_us
        get = self._open[request] = _Get(asked, request, asked.hash, until_us)
        self._look(get)

    def withdrawn(self, request: RequestId) -> None:
        """Nobody waits for it."""
        self._open.pop(request, None)

    def _look(self, get: _Get) -> None:
        overlay, union = get.asked.overlay, Union()
        get.passed[get.hash] = None
        fetches = [Fetch(what, get.hash.binary, CHAIN_FETCH_MAX) for what in _WHAT]
        for fetch in fetches:
            answer = self._readers.serving.rows(overlay, fetch)
            union.local(row for row, _ in zip(answer, range(CHAIN_FETCH_MAX), strict=False))
        left_us = get.until_us - self._desk.now.mono_us
        if get.asked.local or left_us <= 0 or self._is_known(overlay, fetches, union):
            self._show(get, union, [])
            return
        reach = Reach(READ_HOLDERS, READ_ENOUGH, min(DHT_ASK_US, left_us))
        self._readers.fetch(overlay, fetches, reach, lambda heard: self._heard(get, union, heard))

    def _is_known(self, overlay: OverlayId, fetches: list[Fetch], union: Union) -> bool:
        """Whether others would not show more than what lies here."""
        recent = self._readers.recent
        if any(one.written_us and recent.has_just(one.written_us) for one in _makers(union)):
            return True
        return all(recent.knows(overlay, fetch) for fetch in fetches) and bool(_makers(union))

    def _heard(self, get: _Get, union: Union, heard: list[Heard]) -> None:
        if self._open.get(get.request) is not get:
            return
        for what, each in zip(_WHAT, heard, strict=True):
            fetch = Fetch(what, get.hash.binary, CHAIN_FETCH_MAX)
            self._readers.recent.looked(get.asked.overlay, fetch, each)
        for each in heard:
            union.heard(each.answers)
        unsure = [one for one in union.of("record", "entry") if one.verdict is None]
        marks = union.of("update", "delete")
        unsure += [one for one in marks if one.verdict is None and not one.is_believed]
        left_us = get.until_us - self._desk.now.mono_us
        self._readers.judge(
            get.asked.overlay, unsure, left_us, lambda: self._show(get, union, heard)
        )

    # What is shown

    def _show(self, get: _Get, union: Union, heard: list[Heard]) -> None:
        if self._open.get(get.request) is not get:
            return
        makers = _makers(union)
        valid = [one for one in makers if isinstance(one.verdict, Valid)]
        refused = [one for one in makers if isinstance(one.verdict, Invalid)]
        if not valid and not refused:
            unsure = bool(makers) and not get.asked.local
            self._end(get, get.best if get.best or not unsure else _UNSURE)
            return
        if heard and valid:
            self._mend(get.asked.overlay, union, heard)
        found = _found(valid or refused, union)
        newer = _newest(union) if get.asked.latest and valid else None
        if newer is not None and newer not in get.passed and len(get.passed) < READ_PAGES_MAX:
            get.best, get.hash = found, newer
            self._look(get)
            return
        self._end(get, found)

    def _mend(self, overlay: OverlayId, union: Union, heard: list[Heard]) -> None:
        for what, one in zip(_WHAT, heard, strict=True):
            kinds = ("update", "delete") if what == "changes" else (what,)
            ops: list[Op] = [
                each.op for each in union.of(*kinds) if isinstance(each.verdict, Valid)
            ]
            self._readers.mend(overlay, one, ops)

    def _end(self, get: _Get, answer: Found | Failure | None) -> None:
        del self._open[get.request]
        self._desk.reply(get.request, answer)


def _makers(union: Union) -> list[Seen]:
    """The actions that are it or made it, earliest first, each once."""
    by_hash = {one.op.signed.hash: one for one in union.of("entry", "record")}
    return sorted(by_hash.values(), key=lambda one: _age(one.op.signed))


def _found(makers: list[Seen], union: Union) -> Found:
    updates = [one.op.signed for one in union.of("update") if one.is_believed]
    deletes = [one.op.signed for one in union.of("delete") if one.is_believed]
    deleted = {signed.action.target for signed in deletes}
    verdict = makers[0].verdict
    assert verdict is not None, "only what was judged is shown"
    live = any(one.op.signed.hash not in deleted for one in makers)
    return Found(
        tuple(Record(one.op.signed, one.op.entry) for one in makers),
        tuple(signed.hash for signed in sorted(updates, key=_age)),
        tuple(signed.hash for signed in sorted(deletes, key=_age)),
        live and isinstance(verdict, Valid),
        verdict,
        max(one.count for one in makers),
    )


def _newest(union: Union) -> Cid | None:
    updates = [one.op.signed for one in union.of("update") if one.is_believed]
    return max(updates, key=_age).hash if updates else None


def _age(signed: SignedAction) -> tuple[int, Cid]:
    return signed.action.time_us, signed.hash
