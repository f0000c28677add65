"""Sequences of calls and pauses written as generators, on the desk of machine "source".

Source: docs/architecture.md, "The machine". Nothing of a flow outlives the process: parts begin
theirs anew from what was committed. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from dms3.chain.agent_messages import PROTOCOL
from dms3.core.desk import Desk
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a port; the flow is resumed with the answer, be it a Failure."""

    port: str
    arguments: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class AskPeer:
    """Ask a connected peer in /dms3/agent/1; resumed with bytes or a Failure."""

    peer: PeerId
    body: bytes = field(repr=False)
    patience_us: int


@dataclass(frozen=True, slots=True)
class Rest:
    """Go on after so many microseconds."""

    us: int


@dataclass(frozen=True, slots=True)
class Join:
    """Begin several flows; resumed with what each returns, or its Failure, in order."""

    flows: tuple[Generator[Any, Any, Any], ...]


Step = Ask | AskPeer | Rest | Join
Flow = Generator[Step, Any, T]
"""What a flow is: `answer = yield Ask(...)`; its return value ends it."""


class Flows:
    """The flows under way."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._count = 0

    def start(self, flow: Flow[T], done: Callable[[T | Failure], None]) -> None:
        """Begin a flow at once; `done` is told what it returns, or the Failure of its Dms3Error."""
        self._resume(flow, None, done)

    def _resume(self, flow: Flow[T], answer: Any, done: Callable[[T | Failure], None]) -> None:
        try:
            step = flow.send(answer)
        except StopIteration as end:
            done(end.value)
            return
        except Dms3Error as error:
            done(Failure.of(error))
            return
        match step:
            case Ask(port, arguments):
                self._desk.call(port, arguments, lambda body: self._resume(flow, body, done))
            case Join(flows):
                self._join(flows, lambda results: self._resume(flow, results, done))
            case AskPeer(peer, body, patience_us):
                self._desk.request(
                    peer, PROTOCOL, body, patience_us, lambda body: self._resume(flow, body, done)
                )
            case Rest(us):
                self._count += 1
                self._desk.after(f"flow:{self._count}", us, lambda: self._resume(flow, None, done))

    def _join(self, flows: tuple[Flow[Any], ...], then: Callable[[list[Any]], None]) -> None:
        assert flows, "a flow waits for something"
        results: list[Any] = [None] * len(flows)
        left = len(flows)

        def ended(index: int, result: Any) -> None:
            nonlocal left
            results[index] = result
            left -= 1
            if not left:
                then(results)

        for index, each in enumerate(flows):
            self.start(each, partial(ended, index))


def answer_or_raise(body: Any) -> Any:
    """The answer of a step; raises the error when it is a Failure."""
    if isinstance(body, Failure):
        raise body.error()
    return body
