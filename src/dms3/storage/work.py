"""Works: long sequences of questions and pauses of one machine, written as generators.

Source: docs/architecture.md, "The machine". A work yields what it waits for and is resumed with
the answer; it has no clock and no thread. Nothing of it outlives the process: the machine starts
its works anew from what was committed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dms3.core.errors import Failure
from dms3.core.ids import Token
from dms3.core.limits import STORAGE_RETRY_US_MIN, STORAGE_TRIES_MAX
from dms3.core.machine import Call, Effect, Now

T = TypeVar("T")
_REPEATED = ("place.put", "place.get", "place.delete")  # may be asked twice
_LOST = ("peer_unreachable", "timed_out")
_ROUNDS_MAX = 10_000  # of works that wake each other within one event: more is a bug


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a port; the work is resumed with the answer, or the error of the Failure is raised."""

    port: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class All:
    """Ask several at once; the work is resumed with a list of answers and Failures."""

    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Until:
    """Wait until `holds`, or for `patience_us` (None: for ever)."""

    holds: Callable[[], bool]
    patience_us: int | None = None


Step = Ask | All | Until
Work = Generator[Step, Any, T]


def rest(us: int) -> Until:
    """Wait for `us` microseconds."""
    return Until(lambda: False, us)


@dataclass(slots=True)
class _Waiting:
    """A work, and what it waits for: answers of tokens, or a moment."""

    work: Work[None]
    step: Step | None = None
    due_us: int | None = None
    open: dict[Token, int] = field(default_factory=dict)
    again: list[tuple[int, int]] = field(default_factory=list)  # when to ask which one again
    tries: dict[int, int] = field(default_factory=dict)
    answers: list[Any] = field(default_factory=list)

    @property
    def is_resumable(self) -> bool:
        """Whether what it waited for has come, apart from the moment."""
        if isinstance(self.step, Until):
            return self.step.holds()
        return not self.open and not self.again

    @property
    def asks(self) -> tuple[Ask, ...]:
        """What it asked for."""
        assert isinstance(self.step, (Ask, All)), "it asked for nothing"
        return (self.step,) if isinstance(self.step, Ask) else self.step.asks


class Works:
    """All works of a machine, the present time, and the effects of the present event."""

    def __init__(self) -> None:
        self.now = Now(0, 0)
        self.effects: list[Effect] = []
        self._works: dict[str, _Waiting] = {}
        self._owner: dict[Token, str] = {}
        self._count = 0

    def start(self, name: str, work: Work[None]) -> None:
        """Begin a work; it runs at the next `run`."""
        assert name not in self._works, f"{name} runs already"
        self._works[name] = _Waiting(work)

    def answered(self, token: Token, body: Any) -> None:
        """The answer to an Ask has come."""
        name = self._owner.pop(token, None)
        if name is None:
            return
        waiting = self._works[name]
        index = waiting.open.pop(token)
        waiting.answers[index] = body
        tries = waiting.tries.get(index, 1)
        lost = isinstance(body, Failure) and body.code in _LOST
        if lost and waiting.asks[index].port in _REPEATED and tries < STORAGE_TRIES_MAX:
            waiting.tries[index] = tries + 1
            due_us = self.now.mono_us + STORAGE_RETRY_US_MIN
            waiting.again.append((due_us, index))
            waiting.due_us = min(each for each, _ in waiting.again)

    def run(self) -> list[Effect]:
        """Resume every work that can go on, until none can; the effects since the last call."""
        moved = ""
        for _ in range(_ROUNDS_MAX):
            moved = ""
            for name in list(self._works):
                waiting = self._works[name]
                if waiting.again and self._is_due(waiting):
                    self._ask_again(name, waiting)
                elif waiting.is_resumable or self._is_due(waiting):
                    moved = name
                    self._resume(name, waiting)
            if not moved:
                effects, self.effects = self.effects, []
                return effects
        raise AssertionError(f"{moved} and others wake each other without end")

    def next_timer(self) -> int | None:
        """The monotonic microsecond at which a pause ends."""
        return min(
            (each.due_us for each in self._works.values() if each.due_us is not None), default=None
        )

    def call(self, port: str, arguments: Any) -> None:
        """Ask a port whose answer nobody waits for."""
        self._count += 1
        self.effects.append(Call(port, arguments, Token(f"{port}:{self._count}")))

    def _is_due(self, waiting: _Waiting) -> bool:
        return waiting.due_us is not None and waiting.due_us <= self.now.mono_us

    def _ask_again(self, name: str, waiting: _Waiting) -> None:
        """Ask what got no answer once more."""
        due = [index for due_us, index in waiting.again if due_us <= self.now.mono_us]
        waiting.again = [each for each in waiting.again if each[1] not in due]
        waiting.due_us = min((each for each, _ in waiting.again), default=None)
        for index in due:
            self._ask(name, waiting, index)

    def _resume(self, name: str, waiting: _Waiting) -> None:
        step, answers = waiting.step, waiting.answers
        waiting.step, waiting.due_us, waiting.answers, waiting.tries = None, None, [], {}
        try:
            if isinstance(step, Ask):
                body = answers[0]
                if isinstance(body, Failure):
                    waiting.step = waiting.work.throw(body.error())
                else:
                    waiting.step = waiting.work.send(body)
            elif isinstance(step, All):
                waiting.step = waiting.work.send(answers)
            else:
                waiting.step = waiting.work.send(None)
        except StopIteration:
            del self._works[name]
            return
        self._wait(name, waiting)

    def _wait(self, name: str, waiting: _Waiting) -> None:
        step = waiting.step
        if isinstance(step, Until):
            if step.patience_us is not None:
                waiting.due_us = self.now.mono_us + step.patience_us
            return
        asks = waiting.asks
        waiting.answers = [None] * len(asks)
        for index in range(len(asks)):
            self._ask(name, waiting, index)

    def _ask(self, name: str, waiting: _Waiting, index: int) -> None:
        self._count += 1
        token = Token(f"{name}:{self._count}")
        waiting.open[token] = index
        self._owner[token] = name
        ask = waiting.asks[index]
        self.effects.append(Call(ask.port, ask.arguments, token))


def body_or_raise(body: Any) -> Any:
    """An answer of All; raises the error when it is a Failure."""
    if isinstance(body, Failure):
        raise body.error()
    return body
