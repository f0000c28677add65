"""The desk of a machine with many parts: effects in order, who waits for which answer, alarms.

Source: docs/architecture.md, "The machine". Parts of a machine (`messaging/mailbox.py` and
`source/source.py` have them) write their effects here, and leave a function for the answer; nothing
here is kept over a restart.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import Any

from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId, RequestId, Token
from dms3.core.machine import (
    Call,
    Called,
    Cancel,
    Delete,
    Effect,
    Notify,
    Now,
    Persist,
    Reply,
    Request,
    Send,
)

_STALE_MAX = 64

Then = Callable[[Any], None]
"""Told the answer of a Call or Request: what was asked for, or a Failure."""

Operation = Callable[[Any, RequestId], None]
"""Carries out what is asked with these arguments, and replies; may raise Dms3Error instead."""


class Desk:
    """Effects of the present event, and what is to be done at answers and at times."""

    def __init__(self) -> None:
        self.now = Now(0, 0)
        self._effects: list[Effect] = []
        self._open: dict[Token, Then] = {}
        self._alarms: dict[str, tuple[int, int, Callable[[], None]]] = {}
        self._heap: list[tuple[int, int, str]] = []
        self._count = 0

    @property
    def now_ms(self) -> int:
        """Wall clock in milliseconds, the unit of dm3."""
        return self.now.wall_us // 1_000

    def take(self) -> list[Effect]:
        """The effects since the last call, in order."""
        effects, self._effects = self._effects, []
        return effects

    # Effects

    def persist(self, table: str, key: bytes, value: bytes) -> None:
        """Write a row."""
        self._effects.append(Persist(table, key, value))

    def delete(self, table: str, key: bytes) -> None:
        """Remove a row."""
        self._effects.append(Delete(table, key))

    def notify(self, topic: str, **data: Any) -> None:
        """Tell people and programs."""
        self._effects.append(Notify(topic, data))

    def reply(self, request: RequestId | None, body: Any) -> None:
        """Answer a question; nothing happens without one."""
        if request is not None:
            self._effects.append(Reply(request, body))

    def carry_out(self, machine: str, operations: Mapping[str, Operation], asked: Called) -> None:
        """Carry out what `machine` is asked; whoever asks for what is not there is told so."""
        operation = operations.get(asked.operation)
        if operation is None:
            why = f"{machine} has no operation {asked.operation!r}."
            self.reply(asked.request, Failure("method_unknown", why))
            return
        try:
            operation(asked.arguments, asked.request)
        except Dms3Error as error:
            self.reply(asked.request, Failure.of(error))

    def send(self, peer: PeerId, protocol: str, body: bytes) -> None:
        """Tell a peer, if it is connected."""
        self._effects.append(Send(peer, protocol, body))

    def call(self, port: str, arguments: Any, then: Then) -> Token:
        """Ask a port; `then` is told the answer."""
        token = self._token(port, then)
        self._effects.append(Call(port, arguments, token))
        return token

    def request(
        self, peer: PeerId, protocol: str, body: bytes, patience_us: int, then: Then
    ) -> Token:
        """Ask a peer; `then` is told bytes or a Failure within `patience_us`."""
        token = self._token("peer", then)
        deadline_us = self.now.mono_us + patience_us
        self._effects.append(Request(peer, protocol, body, token, deadline_us))
        return token

    def cancel(self, token: Token) -> None:
        """No longer wait for an answer."""
        if self._open.pop(token, None) is not None:
            self._effects.append(Cancel(token))

    def answered(self, token: Token, body: Any) -> None:
        """The answer has come."""
        then = self._open.pop(token, None)
        if then is not None:
            then(body)

    def _token(self, kind: str, then: Then) -> Token:
        self._count += 1
        token = Token(f"{kind}:{self._count}")
        self._open[token] = then
        return token

    # Alarms

    def after(self, key: str, wait_us: int, then: Callable[[], None]) -> None:
        """Do `then` in `wait_us`, in place of what was to be done under `key`."""
        self._count += 1
        due_us = self.now.mono_us + wait_us
        self._alarms[key] = (due_us, self._count, then)
        heapq.heappush(self._heap, (due_us, self._count, key))
        if len(self._heap) > _STALE_MAX + 2 * len(self._alarms):  # most of them were replaced
            self._heap = [(due, number, key) for key, (due, number, _) in self._alarms.items()]
            heapq.heapify(self._heap)

    def has_alarm(self, key: str) -> bool:
        """Whether something is to be done under `key`."""
        return key in self._alarms

    def no_alarm(self, key: str) -> None:
        """Nothing is to be done under `key`."""
        self._alarms.pop(key, None)

    def hurry(self, prefix: str) -> None:
        """What was to be done under keys with this beginning is done now, in order of its time."""
        due = sorted(
            (alarm[:2], key) for key, alarm in self._alarms.items() if key.startswith(prefix)
        )
        for _, key in due:
            alarm = self._alarms.pop(key, None)
            if alarm is not None:
                alarm[2]()

    def ring(self) -> None:
        """Do what is due."""
        while self._heap and self._heap[0][0] <= self.now.mono_us:
            _, number, key = heapq.heappop(self._heap)
            alarm = self._alarms.get(key)
            if alarm is not None and alarm[1] == number:
                del self._alarms[key]
                alarm[2]()

    def next_alarm(self) -> int | None:
        """When `ring` has something to do."""
        while self._heap:
            due_us, number, key = self._heap[0]
            alarm = self._alarms.get(key)
            if alarm is not None and alarm[1] == number:
                return due_us
            heapq.heappop(self._heap)  # replaced, or taken back
        return None


def words(failure: Failure) -> str:
    """What a failure says, without the dot at its end, to be part of a sentence."""
    return failure.message.rstrip(". ") or failure.code
