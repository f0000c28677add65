"""Bringing what judging misses: fetched from its holders, ever more rarely, while a case waits.

Source: docs/chains.md, "How an op is judged". What comes is checked against its hash; an action
that one holder alone names, or that any calls rejected, is judged here before anybody believes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from dms3.chain.action import SignedAction
from dms3.chain.messages import Fetch
from dms3.core.cid import Cid
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    BORROWED_MAX,
    BRING_FIRST_US,
    BRING_HOLDERS,
    BRING_US_MAX,
    BRING_US_MIN,
    BRINGS_AT_ONCE_MAX,
    CHAIN_FETCH_MAX,
    JUDGED_ACTIVITY_MAX,
    PENDING_US_MAX,
    READ_AGREE,
)
from dms3.core.overlay import HOLDERS_MIN
from dms3.core.verdict import Abandoned, Invalid, Verdict
from dms3.validation.holders import Heard, Holders, Reach, Told
from dms3.validation.judging import Case, Judging
from dms3.validation.needs import Known, Lies, Need

_HOLDS = "brought"

Borrow = Callable[[OverlayId, Told, Callable[[Verdict], None]], "Case | None"]
"""Judge an action that is not held here, because somebody says that it breaks a rule."""


@dataclass(slots=True)
class _Want:
    """Something that cases wait for; `chain`: of activity, what has come of it so far."""

    overlay: OverlayId
    need: Need
    tries: int = 0
    busy: bool = False
    asked_us: int = 0  # when the last attempt ended
    borrowed: Case | None = None  # judged because holders do not agree on it
    chain: dict[Cid, SignedAction] = field(default_factory=dict)
    agent: bytes = b""  # whose activity is asked for: earlier keys of the chain have other ones
    after: int = -1

    def turn(self, agent: bytes, heard: Heard) -> None:
        """Ask for the next page of activity, or for that of the key before; then from the first."""
        ends = [
            max((told.op.signed.action.seq for told in answer.ops), default=0) - 1  # a fork goes on
            for answer in heard.answers
            if answer.more
        ]
        more = agent == self.agent and ends and min(ends) > self.after
        self.agent, self.after = agent, min(ends) if more else -1


class Bringing:
    """What is wanted of all overlays."""

    def __init__(
        self, desk: Desk, holders: Holders, known: Known, judging: Judging, borrow: Borrow
    ) -> None:
        self._desk = desk
        self._holders = holders
        self._known = known
        self._judging = judging
        self._borrow = borrow
        self._wants: dict[tuple[OverlayId, Need], _Want] = {}
        self._line: dict[tuple[OverlayId, Need], None] = {}
        self._borrowed: dict[tuple[OverlayId, Need], None] = {}
        self._running = 0

    @property
    def open(self) -> int:
        """How many things are wanted."""
        return len(self._wants)

    def want(self, overlay: OverlayId, need: Need, *, urgent: bool) -> None:
        """Bring it, now or a little later, as long as somebody waits for it."""
        key = (overlay, need)
        want = self._wants.get(key)
        if want is None:
            want = self._wants[key] = _Want(overlay, need, agent=need.agent)
            self._later(key, 0 if urgent else BRING_FIRST_US)
        elif urgent and not want.busy and key not in self._line:
            rested_us = self._desk.now.mono_us - want.asked_us
            self._later(key, max(0, BRING_US_MIN - rested_us))

    def _later(self, key: tuple[OverlayId, Need], wait_us: int) -> None:
        self._desk.after(_name(key), wait_us, lambda: self._due(key))

    def _due(self, key: tuple[OverlayId, Need]) -> None:
        want = self._wants.get(key)
        if want is None or want.busy:
            return
        if not self._is_wanted(want):
            self._drop(key, want)
            return
        self._line[key] = None
        self._run_next()

    def _run_next(self) -> None:
        while self._line and self._running < BRINGS_AT_ONCE_MAX:
            key = next(iter(self._line))
            del self._line[key]
            want = self._wants.get(key)
            if want is not None and not want.busy:
                want.busy = True
                self._running += 1
                self._attempt(key, want)

    def _attempt(self, key: tuple[OverlayId, Need], want: _Want) -> None:
        reach = Reach(BRING_HOLDERS if want.tries == 0 else HOLDERS_MIN)
        self._holders.fetch(
            want.overlay, _fetch(want), reach, lambda heard: self._heard(key, want, heard)
        )

    def _heard(self, key: tuple[OverlayId, Need], want: _Want, heard: Heard) -> None:
        want.busy, want.asked_us = False, self._desk.now.mono_us
        self._running -= 1
        want.tries += 1
        if self._wants.get(key) is want:
            self._take(key, want, heard)
        self._run_next()

    def _take(self, key: tuple[OverlayId, Need], want: _Want, heard: Heard) -> None:
        if want.need.of == "entry":
            found = self._take_entry(want, heard)
        elif want.need.of == "activity":
            found = self._take_activity(want, heard)
        else:
            found = self._take_action(want, heard)
        if found:  # who was woken may still miss a part of it: it is asked for again in its turn
            self._judging.wake(want.overlay, want.need.hash)
        else:
            self._give_up(want)
        if not self._is_wanted(want):
            self._drop(key, want)
            return
        self._later(key, min(BRING_US_MIN << min(want.tries - 1, 16), BRING_US_MAX))

    def _drop(self, key: tuple[OverlayId, Need], want: _Want) -> None:
        """Nobody waits for it."""
        del self._wants[key]
        self._borrowed.pop(key, None)
        self._desk.no_alarm(_name(key))
        if want.borrowed is not None:
            self._judging.cancel(want.borrowed)

    def _is_wanted(self, want: _Want) -> bool:
        return self._judging.waits_for(want.overlay, want.need.hash)

    def _give_up(self, want: _Want) -> None:
        """Who has waited for a day waits no more."""
        before_us = self._desk.now.mono_us - PENDING_US_MAX
        for case in self._judging.waiters(want.overlay, want.need.hash):
            if case.since_us <= before_us:
                why = f"{want.need.name} was not found within a day"
                self._judging.finish(case, Abandoned(why))

    # What has come

    def _take_entry(self, want: _Want, heard: Heard) -> bool:
        for told in _told(heard):
            if told.op.entry is not None:
                self._known.bring(want.overlay, want.need, told.op.entry)
                return True
        return False

    def _take_action(self, want: _Want, heard: Heard) -> bool:
        told = [each for each in _told(heard) if each.op.signed.hash == want.need.hash]
        if not told:
            return False
        one, agreed = told[0], _agree(told)
        if want.need.of == "action":
            self._keep(want, one, _HOLDS if agreed else "pending")
            return True
        if agreed:
            self._keep(want, one, _HOLDS)
            return True
        self._doubt(want, one)
        return False

    def _doubt(self, want: _Want, told: Told) -> None:
        """Judge what holders do not agree on, or one alone says: he may lie either way."""
        key = (want.overlay, want.need)
        under_way = want.borrowed is not None and not want.borrowed.over
        if under_way or len(self._borrowed) >= BORROWED_MAX:
            return
        self._borrowed[key] = None
        want.borrowed = self._borrow(
            want.overlay, told, lambda verdict: self._judged(want, told, verdict)
        )
        if want.borrowed is None:
            self._borrowed.pop(key, None)

    def _judged(self, want: _Want, told: Told, verdict: Verdict) -> None:
        """What holders did not agree on has a verdict of this node's own."""
        self._borrowed.pop((want.overlay, want.need), None)
        if not isinstance(verdict, (Invalid, Abandoned)):
            self._keep(want, told, _HOLDS)
        if not isinstance(verdict, Abandoned):
            self._judging.wake(want.overlay, want.need.hash)

    def _keep(self, want: _Want, told: Told, state: str) -> None:
        lies = Lies(told.op.signed, told.op.entry, state, told.rule)
        self._known.bring(want.overlay, want.need, lies)

    def _take_activity(self, want: _Want, heard: Heard) -> bool:
        """Actions back from the one that is named, each proven by the hash in the next."""
        said = [told.op.signed for told in _told(heard)]
        own = [signed for signed in said if signed.action.author == want.agent]
        before = {signed.action.prev for signed in (*want.chain.values(), *own)}
        known = {signed.hash: signed for signed in said if signed.hash in before}
        known |= want.chain | {signed.hash: signed for signed in own}
        want.chain = dict(islice(known.items(), 2 * JUDGED_ACTIVITY_MAX))
        chain: list[SignedAction] = []
        at: Cid | None = want.need.hash
        while at in known and len(chain) < JUDGED_ACTIVITY_MAX:
            chain.append(known[at])
            at = chain[-1].action.prev
        if at is None:
            self._known.bring(want.overlay, want.need, tuple(chain))
            return True
        want.turn(chain[-1].action.author if chain else want.need.agent, heard)
        return False


def _fetch(want: _Want) -> Fetch:
    need = want.need
    if need.of == "entry":
        return Fetch("entry", need.hash.binary, 1)
    if need.of == "activity":
        return Fetch("activity", want.agent, CHAIN_FETCH_MAX, after=want.after)
    return Fetch("record", need.hash.binary, 1)


def _told(heard: Heard) -> list[Told]:
    return [told for answer in heard.answers for told in answer.ops]


def _agree(told: list[Told]) -> bool:
    """Whether it may be taken for valid unjudged: several say so, and nobody else."""
    return len(told) >= READ_AGREE and all(each.state == "integrated" for each in told)


def _name(key: tuple[OverlayId, Need]) -> str:
    overlay, need = key
    return f"bring:{overlay.hex()}:{need.of}:{need.hash}:{need.agent.hex()}"
