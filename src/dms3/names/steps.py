"""Work of machine "names" that asks several parts in turn, written as one generator each.

Source: docs/architecture.md, "The machine". A generator yields what it wants of others and is sent
the answer; it has neither clock nor tasks of its own. What is under way lives in memory only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from dms3.core.errors import Dms3Error
from dms3.core.ids import Token
from dms3.core.limits import NAME_WORK_PAUSE_US
from dms3.core.machine import Call, Cancel, Delete, Effect, Now, Persist


@dataclass(frozen=True, slots=True)
class Ask:
    """Wait for the answer (or Failure) of `port` to `arguments`."""

    port: str
    arguments: Any


@dataclass(frozen=True, slots=True)
class Rest:
    """Let others have a turn; then go on."""


Wanted = Ask | Rest | Persist | Delete
Steps = Generator[Wanted, Any, Any]
"""Yields what it wants, is sent the answer, returns its result or raises Dms3Error."""

Done = Callable[[Any, Now], list[Effect]]
"""Called once, with the result or the Dms3Error."""


@dataclass(slots=True, eq=False)
class Work:
    """A generator under way; `token` is that of its open question."""

    steps: Steps
    done: Done
    token: Token | None = None


class Runner:
    """Carries out generators; `now` is the instant of the event in hand."""

    def __init__(self) -> None:
        self.now = Now(0, 0)
        self._asked: dict[Token, Work] = {}
        self._resting: deque[Work] = deque()
        self._due_us = 0
        self._count = 0

    def start(self, steps: Steps, done: Done) -> tuple[Work, list[Effect]]:
        """Begin; the effects reach to its first question, or to its end."""
        work = Work(steps, done)
        return work, self._go_on(work, None)

    def stop(self, work: Work) -> list[Effect]:
        """Nobody wants the result any more."""
        work.steps.close()
        if work in self._resting:
            self._resting.remove(work)
        if work.token is None:
            return []
        self._asked.pop(work.token, None)
        return [Cancel(work.token)]

    def answered(self, token: Token, body: Any) -> list[Effect]:
        """The answer to an Ask; one that nobody waits for is dropped."""
        work = self._asked.pop(token, None)
        if work is None:
            return []
        work.token = None
        return self._go_on(work, body)

    def on_timer(self) -> list[Effect]:
        """One more turn for whoever rests."""
        if not self._resting or self._due_us > self.now.mono_us:
            return []
        return self._go_on(self._resting.popleft(), None)

    def next_timer(self) -> int | None:
        """When whoever rests goes on."""
        return self._due_us if self._resting else None

    def _go_on(self, work: Work, body: Any) -> list[Effect]:
        effects: list[Effect] = []
        while True:
            try:
                wanted = work.steps.send(body)
            except StopIteration as end:
                return [*effects, *work.done(end.value, self.now)]
            except Dms3Error as error:
                return [*effects, *work.done(error, self.now)]
            if isinstance(wanted, Ask):
                self._count += 1
                work.token = Token(f"step:{self._count}")
                self._asked[work.token] = work
                return [*effects, Call(wanted.port, wanted.arguments, work.token)]
            if isinstance(wanted, Rest):
                self._resting.append(work)
                self._due_us = self.now.mono_us + NAME_WORK_PAUSE_US
                return effects
            effects.append(wanted)
            body = None
