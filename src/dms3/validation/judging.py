"""Judging: the rules of the system, then those of the app; what is missing wakes who waits for it.

Source: docs/chains.md, "How an op is judged". A case is one action on its way to a verdict; it is
looked at again when something that it waits for has come, and never by the clock. What becomes of
a verdict is for whoever began the case.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from dms3.chain.action import SignedAction
from dms3.chain.dna import Dna, program_of
from dms3.chain.judging import shown_to_rules
from dms3.chain.membrane import Staked, no_ledger
from dms3.chain.operations_validation import Record
from dms3.chain.rules import check_action, needed
from dms3.chain.sandboxing import Judge, Judged, Program
from dms3.chain.warrant import accused_of, check_warrant
from dms3.core.cid import Cid
from dms3.core.desk import Desk
from dms3.core.ids import OverlayId, Token
from dms3.core.limits import (
    JUDGE_FUEL_MAX,
    JUDGE_QUESTIONS_MAX,
    JUDGE_RETRY_US,
    JUDGE_TRIES_MAX,
    JUDGES_AT_ONCE_MAX,
)
from dms3.core.verdict import Abandoned, Invalid, Unresolved, Valid, Verdict
from dms3.validation.charges import Charges
from dms3.validation.needs import (
    MISSING,
    NO_BUNDLE,
    Bundle,
    Known,
    Lies,
    Need,
    Refused,
    TooMuch,
    parse_need,
)

_TARGETED = ("update", "delete", "unlink")
_NO_APP = (None, None)


@dataclass(slots=True, eq=False)
class Case:
    """An action of `overlay` on its way to a verdict, which `done` is told once.

    `entry`: its entry, when it lies nowhere yet. `peer`: who brought it, b"" this node. `stage`:
    parked, system or app. `needs`: what it waits for; `absent`: that is not here at all, and
    `waits` is told when that begins.
    """

    overlay: OverlayId
    signed: SignedAction
    done: Callable[[Verdict], None]
    bundle: Bundle = NO_BUNDLE
    entry: bytes | None = field(default=None, repr=False)
    peer: bytes = b""
    urgent: bool = False
    since_us: int = 0
    stage: str = "system"
    needs: tuple[Need, ...] = ()
    absent: bool = False
    waits: Callable[[], None] | None = None
    known: dict[str, Any] = field(default_factory=dict)
    fuel: int = 0
    tries: int = 0
    token: Token | None = None
    over: bool = False
    hearsay: bool = False  # its rules were told what only others say of a record
    unpaid: bool = False  # who brought it has cost too much, not its author


class Bringer(Protocol):
    """Who fetches what is missing."""

    def want(self, overlay: OverlayId, need: Need, *, urgent: bool) -> None:
        """Bring it, now or a little later, as long as somebody waits for it."""
        ...


class Accuser(Protocol):
    """Who has judged what warrants are about."""

    def verdict(self, overlay: OverlayId, accused: SignedAction) -> Verdict | None:
        """What this node has found it to be; None: who waits for it is woken."""
        ...

    def is_hearsay(self, overlay: OverlayId, hash_: Cid) -> bool:
        """Whether that a valid action holds rests on what others say."""
        ...


def _is_warrant(case: Case) -> bool:
    """Whether the rules of the app have no say: warrants are the same in all of them."""
    return case.signed.action.kind == "warrant"


class Judging:
    """The cases under way. `known` answers needs, `charges` knows who has cost too much."""

    def __init__(self, desk: Desk, known: Known, charges: Charges) -> None:
        self._desk = desk
        self._known = known
        self._charges = charges
        self.bringer: Bringer
        self.accusing: Accuser
        self.stake: Staked = no_ledger
        self._dnas: dict[OverlayId, tuple[Dna, Program | None]] = {}
        self._waiting: dict[tuple[OverlayId, Cid], dict[Case, None]] = {}
        self._line: deque[Case] = deque()
        self._woken: deque[tuple[OverlayId, Cid]] = deque()
        self._soon: deque[Callable[[], None]] = deque()
        self._running = 0

    def open(self, dna: Dna) -> None:
        """Judge by `dna` in its overlay."""
        program = program_of(dna) if dna.source else None
        self._dnas[dna.id] = (dna, program)

    def shut(self, overlay: OverlayId) -> None:
        """Judge nothing there any more."""
        self._dnas.pop(overlay, None)

    def is_open(self, overlay: OverlayId) -> bool:
        """Whether actions of this overlay are judged."""
        return overlay in self._dnas

    def has_rules(self, overlay: OverlayId) -> bool:
        """Whether its app has rules of its own, which may read records."""
        return self._dnas.get(overlay, _NO_APP)[1] is not None

    # What happens to cases

    def begin(self, case: Case) -> None:
        """Look at a case for the first time."""
        case.since_us = self._desk.now.mono_us
        self.advance(case)

    def cancel(self, case: Case) -> None:
        """Nobody wants its verdict any more."""
        case.over = True
        self._rest(case)
        if case.token is not None:
            self._desk.cancel(case.token)
            case.token = None
            self._running -= 1
            self._run_next()

    def waits_for(self, overlay: OverlayId, hash_: Cid) -> bool:
        """Whether any case waits for it."""
        return (overlay, hash_) in self._waiting

    def waiters(self, overlay: OverlayId, hash_: Cid) -> list[Case]:
        """The cases that wait for it, oldest first."""
        return list(self._waiting.get((overlay, hash_), ()))

    def wake(self, overlay: OverlayId, hash_: Cid) -> None:
        """Something has become known: who waits for it is looked at again, in `settle`."""
        if (overlay, hash_) in self._waiting:
            self._woken.append((overlay, hash_))

    def learn(self, overlay: OverlayId, record: Record) -> None:
        """An action that is not held was found valid: what follows it need not ask again."""
        need = Need("before", record.signed.hash)
        entry = None if record.signed.action.private else record.entry
        self._known.bring(overlay, need, Lies(record.signed, entry, "brought"))
        self.wake(overlay, need.hash)

    def soon(self, then: Callable[[], None]) -> None:
        """Do `then` in `settle`, not deep in what is going on now."""
        self._soon.append(then)

    def settle(self) -> None:
        """Look at who was woken, and at whom that wakes: a whole chain, one after another."""
        while self._woken or self._soon:
            if self._soon:
                self._soon.popleft()()
                continue
            overlay, hash_ = self._woken.popleft()
            for case in self.waiters(overlay, hash_):
                if not case.over and overlay in self._dnas:
                    self.advance(case)

    def advance(self, case: Case) -> None:
        """Judge a case as far as what is known allows."""
        self._rest(case)
        dna, program = self._dnas[case.overlay]
        case.stage = "system"
        verdict = self._system(case, dna)
        if isinstance(verdict, tuple):
            self._wait(case, verdict)
        elif isinstance(verdict, Valid) and program is not None and not _is_warrant(case):
            self._app(case, program)
        else:
            self.finish(case, verdict)

    def finish(self, case: Case, verdict: Verdict) -> None:
        """Its verdict, whatever it still waits for."""
        if not case.over:
            self.cancel(case)
            case.done(verdict)

    # Rules of the system

    def _system(self, case: Case, dna: Dna) -> Verdict | tuple[Need, ...]:
        """The verdict of the rules of the system, or what it waits for."""
        action = case.signed.action
        record = self._complete(case)
        found: dict[Cid, SignedAction] = {}
        refused: tuple[str, str] | None = None
        missing: list[Need] = []
        for hash_ in needed(record):
            if hash_ == action.entry:
                missing.append(Need("entry", hash_))
                continue
            before = self._known.before(case.overlay, hash_, case.bundle)
            if before is None:
                missing.append(Need("before", hash_))
            elif isinstance(before, Refused):
                what = "previous" if hash_ == action.prev else "target"
                refused = refused or (what, before.rule)
            else:
                found[hash_] = before
        previous = None if action.prev is None else found.get(action.prev)
        verdict = check_action(record, dna, previous, found, self.stake)
        if isinstance(verdict, Valid) and action.kind == "warrant":
            return self._warrant(case)
        if not isinstance(verdict, Unresolved):
            return verdict
        if missing:
            return tuple(missing)
        assert refused is not None, "nothing is missing, and it is not resolved"
        what, rule = refused
        word = "the action before it" if what == "previous" else "its target"
        return Invalid(f"{what}-refused", f"{word} broke rule {rule!r}")

    def _warrant(self, case: Case) -> Verdict | tuple[Need, ...]:
        """A warrant of a broken rule is what the accused action is not."""
        accused = accused_of(case.signed.action)
        if accused is None:
            return Valid()
        found = self.accusing.verdict(case.overlay, accused)
        return (Need("accused", accused.hash),) if found is None else check_warrant(found)

    def _complete(self, case: Case) -> Record:
        """The action with its public entry, if that is known."""
        action = case.signed.action
        entry = case.entry
        if entry is None and action.entry is not None and not action.private:
            entry = self._known.entry(case.overlay, action.entry, case.bundle)
        return Record(case.signed, entry)

    # Rules of the app

    def _app(self, case: Case, program: Program) -> None:
        case.stage = "app"
        author, now = case.signed.action.author, self._desk.now
        why = self._charges.refuses(author, case.peer, now)
        if why:
            case.unpaid = not self._charges.refuses(author, b"", now)
            self.finish(case, Abandoned(why))
            return
        if case.urgent:
            self._line.appendleft(case)
        else:
            self._line.append(case)
        del program
        self._run_next()

    def _run_next(self) -> None:
        while self._line and self._running < JUDGES_AT_ONCE_MAX:
            case = self._line.popleft()
            if not case.over and case.overlay in self._dnas:
                self._run(case)

    def _run(self, case: Case) -> None:
        program = self._dnas[case.overlay][1]
        assert program is not None, "an app without rules has nothing to run"
        action, content = shown_to_rules(self._complete(case))
        target = case.signed.action.target
        if target is not None and case.signed.action.kind in _TARGETED:
            self._look(case, Need("action", target))  # rules of changes always ask for it
        known = tuple(sorted(case.known.items()))
        judge = Judge(program, action, content, known)
        self._running += 1
        case.token = self._desk.call("sandbox.judge", judge, lambda body: self._judged(case, body))

    def _judged(self, case: Case, body: Any) -> None:
        case.token = None
        self._running -= 1
        if case.over:
            self._run_next()
            return
        if not isinstance(body, Judged):
            self._failed(case)
        elif isinstance(body.verdict, Unresolved):
            self._unresolved(case, body.verdict, body.fuel)
        else:
            brought = isinstance(body.verdict, Invalid) and case.peer
            if brought or isinstance(body.verdict, Abandoned):
                self._charge(case, case.fuel + body.fuel)
            self.finish(case, body.verdict)
        self._run_next()

    def _failed(self, case: Case) -> None:
        """The sandbox did not answer: that says nothing about the action."""
        case.tries += 1
        if case.tries >= JUDGE_TRIES_MAX:
            self.finish(case, Abandoned("the sandbox of this node does not answer"))
            return
        key = f"sandbox:{case.overlay.hex()}:{case.signed.hash}:{id(case)}"
        self._desk.after(key, JUDGE_RETRY_US << case.tries, lambda: self._once_more(case))

    def _once_more(self, case: Case) -> None:
        if not case.over and case.overlay in self._dnas:
            self.advance(case)

    def _unresolved(self, case: Case, verdict: Unresolved, fuel: int) -> None:
        """A rule asks for more: judge again when it is there."""
        missing: list[Need] = []
        case.fuel += fuel
        asked_before = len(case.known)
        for question in verdict.missing:
            need = parse_need(question)
            if need is None:
                case.known[question.decode(errors="replace")] = None  # nothing has that name
                continue
            answer = self._look(case, need, question.decode())
            if answer is MISSING:
                missing.append(need)
            elif isinstance(answer, TooMuch):
                self._charge(case, fuel)
                self.finish(case, Abandoned(answer.why))
                return
        why = ""
        if len(case.known) > JUDGE_QUESTIONS_MAX or case.fuel > JUDGE_FUEL_MAX:
            why = "its rules read too many things, one after another"
        elif not missing and len(case.known) == asked_before:
            why = "its rules ask again for what they were told"
        if why:
            self._charge(case, case.fuel)
            self.finish(case, Abandoned(why))
        elif missing:
            self._wait(case, tuple(missing))
        else:
            self._line.appendleft(case)

    def _look(self, case: Case, need: Need, name: str = "") -> Any:
        name = name or need.name
        if name in case.known:
            return case.known[name]
        answer = self._known.answer(case.overlay, need, case.bundle)
        if need.of == "record" and answer is not MISSING:
            own = self._known.is_own_word(case.overlay, need.hash, case.bundle)
            case.hearsay |= not own or self.accusing.is_hearsay(case.overlay, need.hash)
        if answer is not MISSING and not isinstance(answer, TooMuch):
            case.known[name] = answer
        return answer

    def _charge(self, case: Case, fuel: int) -> None:
        self._charges.charge(case.signed.action.author, case.peer, fuel, self._desk.now)

    # Waiting

    def _wait(self, case: Case, needs: tuple[Need, ...]) -> None:
        case.needs = needs
        for need in needs:
            self._waiting.setdefault((case.overlay, need.hash), {})[case] = None
        absent = [
            need
            for need in needs
            if need.of != "accused" and not self._known.is_pending(case.overlay, need)
        ]
        for need in absent:  # what is judged here already comes by itself
            self.bringer.want(case.overlay, need, urgent=case.urgent)
        case.absent = bool(absent)
        if absent and case.waits is not None:
            case.waits()

    def _rest(self, case: Case) -> None:
        """It waits for nothing."""
        for need in case.needs:
            key = (case.overlay, need.hash)
            cases = self._waiting.get(key)
            if cases is not None:
                cases.pop(case, None)
                if not cases:
                    del self._waiting[key]
        case.needs, case.absent = (), False
