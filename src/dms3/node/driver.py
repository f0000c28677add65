"""Runs machines: events in, effects out in order, and nothing leaves before it is durable.

Source: docs/architecture.md, "The driver". Synchronous and without I/O: `io/loop.py` pumps it in
a node, `sim/world.py` in a simulation, both carry out the same batches.

An event's effects are released, in order, when its own transaction is durable; an event of a
machine that has nothing uncommitted is released at once. A machine that raises stops the node:
its memory can no longer be trusted, and a bug is never swallowed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId, RequestId
from dms3.core.limits import (
    CLOCK_JUMP_US_MAX,
    EVENT_EFFECTS_MAX,
    INBOX_EVENTS_MAX,
    STEP_EVENTS_MAX,
)
from dms3.core.machine import (
    Cancel,
    ClockJumped,
    Delete,
    Effect,
    Notify,
    Now,
    Persist,
    View,
)
from dms3.core.ports import Batch
from dms3.node.commits import Commits, Group, Seat
from dms3.node.exchange import Exchange
from dms3.node.inbox import Hosted, Inbox
from dms3.node.uncommitted import Uncommitted

OnBug = Callable[[str, str, Exception], None]
"""Told of a machine that raised: its name, the kind of event, the exception."""


class Driver:
    """The machines of one node; implements `core.ports.DriverPort`.

    Arguments: `hosted`, in the order in which they start; `view`, the store's committed state;
    `last_event`, the id of the newest stored Notify (0: none); `on_bug`, told before the driver
    stops; `inbox_limit`, refusable events per machine.
    """

    def __init__(
        self,
        hosted: Sequence[Hosted],
        view: View,
        *,
        last_event: int,
        on_bug: OnBug,
        inbox_limit: int = INBOX_EVENTS_MAX,
    ) -> None:
        self._seats = {
            item.name: Seat(item, Uncommitted(view, item.name), Inbox(inbox_limit))
            for item in hosted
        }
        assert len(self._seats) == len(hosted), "two machines share a name"
        self._order = tuple(self._seats.values())
        self._exchange = Exchange(self._seats)
        self._commits = Commits(last_event)
        self._on_bug = on_bug
        self._clock_offset: int | None = None
        self._failure: Dms3Error | None = None

    # Turns

    def start(self, now: Now) -> Batch:
        """Start every machine from committed state; once, before anything else."""
        assert self._clock_offset is None, "started twice"
        self._clock_offset = now.wall_us - now.mono_us
        batch = Batch()
        for seat in self._seats.values():
            self._run(seat, "start", seat.machine.on_start, (seat.view, now), batch, now)
        return self._seal(batch)

    def step(self, now: Now) -> Batch:
        """Run due timers and queued events, at most `STEP_EVENTS_MAX` of them.

        Raises the Dms3Error that stops the node when a machine raises.
        """
        if self._failure is not None:
            raise self._failure
        self._watch_clock(now)
        exchange, commits = self._exchange, self._commits
        batch = Batch(exchange.take_refusals())
        left = STEP_EVENTS_MAX
        for seat in self._order:
            timer = seat.timer
            if timer is not None and timer <= now.mono_us and not commits.full:
                left -= 1
                self._run(seat, "timer", seat.machine.on_timer, (now,), batch, now)
        while exchange.ready and left > 0 and not commits.full:
            left -= 1
            seat, event = exchange.next_event()
            if event is not None:
                name = type(event).__name__
                self._run(seat, name, seat.machine.on_event, (event, now), batch, now)
        return self._seal(batch)

    def committed(self, number: int) -> Batch:
        """Transaction `number` is durable: what waited for it is released."""
        self._check_running()
        group = self._commits.finish(number)
        batch = Batch(notices=group.events)
        for seat, effect in group.held:
            self._exchange.release(seat, effect, batch.actions)
        return self._seal(batch)

    def commit_failed(self, number: int, error: Dms3Error) -> Dms3Error:
        """Transaction `number` was not written: the driver stops; raise what is returned."""
        self._commits.check_running(number)
        self._failure = Dms3Error(
            error.code,
            f"The node stops because its store could not write: {error.message}",
            hint=error.hint or "Nothing that was acknowledged is lost; start it again.",
        )
        return self._failure

    def next_timer(self) -> int | None:
        """The monotonic microsecond at which `step` has a timer to run, or None."""
        first = None
        for seat in self._order:
            timer = seat.timer
            if timer is not None and (first is None or timer < first):
                first = timer
        return None if self._commits.full else first  # if full, committed() comes first

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do now."""
        exchange = self._exchange
        return bool(exchange.refusals or (exchange.ready and not self._commits.full))

    @property
    def waiting(self) -> bool:
        """Whether an event waits in an inbox, even if it cannot run now."""
        return bool(self._exchange.ready)

    # Events: described in `core.ports`, done by the exchange

    def peer_up(self, peer: PeerId, address: str, *, inbound: bool) -> None:
        """Every machine is told of the connection."""
        self._exchange.peer_up(peer, address, inbound=inbound)

    def peer_down(self, peer: PeerId, reason: str) -> None:
        """Every machine is told; questions of the peer are withdrawn first."""
        self._exchange.peer_down(peer, reason)

    def received(self, peer: PeerId, protocol: str, body: bytes) -> bool:
        """A one-way message; False: not taken, offer it again."""
        return self._exchange.received(peer, protocol, body)

    def requested(self, peer: PeerId, protocol: str, body: bytes, wire: int) -> None:
        """A question of a peer; refused at once when the machine has no room for it."""
        self._exchange.requested(peer, protocol, body, wire)

    def withdrawn(self, peer: PeerId, wire: int) -> None:
        """`peer` no longer waits for the answer to `wire`."""
        self._exchange.withdrawn(peer, wire)

    def answered(self, handle: int, body: Any) -> None:
        """The answer to an `AskPeer` or `AskPort`; unknown and forgotten handles are ignored."""
        self._exchange.answered(handle, body)

    def call(self, port: str, arguments: Any, done: Callable[[Any], None]) -> RequestId:
        """A command: ask machine `port` ("NAME.OPERATION"); `done` gets the answer or Failure.

        Raises `limit_reached` when the machine has no room, `method_unknown` when there is none.
        """
        self._check_running()
        return self._exchange.call(port, arguments, done)

    def withdraw(self, request: RequestId) -> None:
        """Whoever asked `request` no longer waits; a later Reply to it is dropped."""
        self._exchange.withdraw(request)

    def protocols(self) -> frozenset[str]:
        """The protocols in which some machine answers or listens."""
        return frozenset(name for seat in self._seats.values() for name in seat.hosted.protocols)

    def queued(self) -> dict[str, int]:
        """Events waiting in the inbox of each machine."""
        return {name: len(seat.inbox) for name, seat in self._seats.items()}

    def dropped(self) -> dict[str, int]:
        """One-way messages of each machine's protocols that were dropped for want of room."""
        return {name: seat.inbox.dropped for name, seat in self._seats.items()}

    # One event

    def _run(
        self,
        seat: Seat,
        what: str,
        method: Callable[..., list[Effect]],
        arguments: tuple[Any, ...],
        batch: Batch,
        now: Now,
    ) -> None:
        """Run one method of a machine and sort its effects into written, held and released."""
        try:
            effects = method(*arguments)
            if effects:
                self._absorb(seat, effects, batch, now)
            seat.timer = seat.machine.next_timer()
        except Exception as error:
            self._failure = Dms3Error(
                "internal",
                f"The node stops because its part {seat.name!r} failed on {what}.",
                hint="Please report it with the log; nothing that was acknowledged is lost.",
            )
            self._on_bug(seat.name, what, error)
            raise self._failure from error

    def _absorb(self, seat: Seat, effects: list[Effect], batch: Batch, now: Now) -> None:
        assert len(effects) <= EVENT_EFFECTS_MAX, "too many effects of one event"
        others: list[Effect] = []
        for effect in effects:
            kind = type(effect)
            if kind is Persist or kind is Delete:
                self._commits.write(seat, effect)  # type: ignore[arg-type]
            elif kind is Notify:
                self._commits.note(effect, now)  # type: ignore[arg-type]
            else:
                if isinstance(effect, Cancel):
                    self._exchange.unwant(seat, effect.token)
                others.append(effect)
        group = self._release_point(seat, wrote=len(others) < len(effects))
        if group is None:
            for effect in others:
                self._exchange.release(seat, effect, batch.actions)
        else:
            group.hold(seat, others)

    def _release_point(self, seat: Seat, *, wrote: bool) -> Group | None:
        return self._commits.release_point(seat, wrote=wrote)

    def _seal(self, batch: Batch) -> Batch:
        batch.transaction = self._commits.seal()
        return batch

    def _watch_clock(self, now: Now) -> None:
        assert self._clock_offset is not None, "step before start"
        delta = now.wall_us - now.mono_us - self._clock_offset
        if abs(delta) > CLOCK_JUMP_US_MAX:
            self._clock_offset += delta
            self._exchange.push_to_all(ClockJumped(delta))

    def _check_running(self) -> None:
        if self._failure is not None:
            raise self._failure
