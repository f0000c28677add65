"""Runs machines: events in, effects out in order, and nothing leaves before it is durable.

Source: docs/architecture.md, "The driver". Synchronous and without I/O: `io/loop.py` pumps it in
a node, `sim/world.py` in a simulation, both carry out the same batches.

Group commit: the writes of all events processed while one transaction runs form the next one. An
event's other effects are released, in order, when its own transaction is durable; an event of a
machine that has nothing uncommitted is released at once. A machine that raises stops the node:
its memory can no longer be trusted, and a bug is never swallowed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dms3.core.database import StoredEvent, Write
from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.ids import PeerId, RequestId
from dms3.core.limits import (
    ASKS_OPEN_MAX,
    CLOCK_JUMP_US_MAX,
    COMMIT_EVENTS_MAX,
    COMMIT_WRITES_MAX,
    EVENT_EFFECTS_MAX,
    INBOX_EVENTS_MAX,
    PERSIST_VALUE_BYTES_MAX,
    QUESTIONS_OPEN_MAX,
    STEP_EVENTS_MAX,
)
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Cancel,
    ClockJumped,
    Delete,
    Effect,
    Event,
    Notify,
    Now,
    PeerDown,
    PeerUp,
    Persist,
    Received,
    Reply,
    Request,
    Requested,
    Send,
    View,
    Withdrawn,
)
from dms3.core.ports import (
    Action,
    AskPeer,
    AskPort,
    Batch,
    Finish,
    Forget,
    ReplyPeer,
    Transaction,
)
from dms3.node.inbox import Arrived, Hosted, Inbox, Overflow
from dms3.node.overlay import Overlay
from dms3.node.questions import Asks, FromCommand, FromMachine, FromPeer, Questions

OnBug = Callable[[str, str, Exception], None]
"""Told of a machine that raised: its name, the kind of event, the exception."""


@dataclass(slots=True, eq=False)
class _Seat:
    """A machine with everything the driver knows about it."""

    hosted: Hosted
    overlay: Overlay
    inbox: Inbox
    timer: int | None = None
    holds: _Group | None = None  # the newest transaction that its effects wait for
    ready: bool = False  # whether it stands in the queue of seats with events


@dataclass(slots=True, eq=False)
class _Group:
    """A transaction in the making or running, and the effects that wait for it."""

    number: int
    writes: dict[tuple[str, bytes], tuple[_Seat, Write]] = field(default_factory=dict)
    events: list[StoredEvent] = field(default_factory=list)
    held: list[tuple[_Seat, Effect]] = field(default_factory=list)
    seats: list[_Seat] = field(default_factory=list)  # those that wrote in it
    count: int = 0  # events whose effects wait for it


class Driver:
    """The machines of one node; implements `core.ports.DriverPort`, where methods are described.

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
            item.name: _Seat(item, Overlay(view, item.name), Inbox(inbox_limit)) for item in hosted
        }
        assert len(self._seats) == len(hosted), "two machines share a name"
        self._by_protocol = {
            protocol: seat for seat in self._seats.values() for protocol in seat.hosted.protocols
        }
        self._last_event = last_event
        self._on_bug = on_bug
        self._ready: deque[_Seat] = deque()
        self._asks = Asks()
        self._questions = Questions()
        self._refusals: list[Action] = []
        self._open = _Group(1)
        self._running: _Group | None = None
        self._clock_offset: int | None = None
        self._failure: Dms3Error | None = None

    # What surroundings call: turns

    def start(self, now: Now) -> Batch:
        """Start every machine from committed state; once, before anything else."""
        batch = Batch()
        self._clock_offset = now.wall_us - now.mono_us
        for seat in self._seats.values():
            self._run(seat, "start", seat.hosted.machine.on_start, (seat.overlay, now), batch, now)
        return self._seal(batch)

    def step(self, now: Now) -> Batch:
        """Run due timers and queued events, at most `STEP_EVENTS_MAX` of them."""
        self._check_running()
        self._watch_clock(now)
        batch = Batch()
        if self._refusals:
            batch.actions, self._refusals = self._refusals, []
        left = STEP_EVENTS_MAX
        for seat in self._seats.values():
            if seat.timer is not None and seat.timer <= now.mono_us and not self._full:
                left -= 1
                self._run(seat, "timer", seat.hosted.machine.on_timer, (now,), batch, now)
        ready = self._ready
        while ready and left > 0 and not self._full:
            left -= 1
            seat = ready.popleft()
            event: Event | Arrived | None = seat.inbox.pop()
            if len(seat.inbox):
                ready.append(seat)  # machines take turns
            else:
                seat.ready = False
            if type(event) is Arrived:
                event = self._wanted(event)
            if event is not None:
                name = type(event).__name__
                self._run(seat, name, seat.hosted.machine.on_event, (event, now), batch, now)
        return self._seal(batch)

    def committed(self, number: int) -> Batch:
        """Transaction `number` is durable: what waited for it is released."""
        self._check_running()
        group = self._running
        assert group is not None, "no transaction is running"
        assert group.number == number, "another transaction is running"
        self._running = None
        batch = Batch(notices=group.events)
        for (stored, key), (seat, _) in group.writes.items():
            seat.overlay.settle(stored, key, number)
        for seat in group.seats:
            if seat.holds is group:
                seat.holds = None
        for seat, effect in group.held:
            self._release(seat, effect, batch.actions)
        return self._seal(batch)

    def commit_failed(self, number: int, error: Dms3Error) -> Dms3Error:
        """Transaction `number` was not written: the driver stops; raise what is returned."""
        assert self._running is not None, "no transaction is running"
        assert self._running.number == number, "another transaction is running"
        self._failure = Dms3Error(
            error.code,
            f"The node stops because its store could not write: {error.message}",
            hint=error.hint or "Nothing that was acknowledged is lost; start it again.",
        )
        return self._failure

    def next_timer(self) -> int | None:
        """The monotonic microsecond at which `step` has a timer to run, or None."""
        if self._full:
            return None  # committed() comes first
        timers = [seat.timer for seat in self._seats.values() if seat.timer is not None]
        return min(timers) if timers else None

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do now."""
        return bool(self._refusals) or (bool(self._ready) and not self._full)

    def queued(self) -> dict[str, int]:
        """Events waiting in the inbox of each machine."""
        return {name: len(seat.inbox) for name, seat in self._seats.items()}

    def longest_inbox(self) -> int:
        """Events waiting in the fullest inbox."""
        return max((len(seat.inbox) for seat in self._ready), default=0)

    # What surroundings call: events

    def peer_up(self, peer: PeerId, address: str, *, inbound: bool) -> None:
        """Every machine is told of the connection."""
        for seat in self._seats.values():
            self._push(seat, PeerUp(peer, address, inbound))

    def peer_down(self, peer: PeerId, reason: str) -> None:
        """Every machine is told; questions of the peer are withdrawn first."""
        for request in self._questions.of_peer(peer):
            self.withdraw(request)
        for seat in self._seats.values():
            self._push(seat, PeerDown(peer, reason))

    def received(self, peer: PeerId, protocol: str, body: bytes) -> bool:
        """A one-way message; False: not taken, offer it again."""
        seat = self._by_protocol.get(protocol)
        if seat is None:
            return True  # nobody here speaks it: gone, as the sender must expect
        event = Received(peer, protocol, body)
        if seat.hosted.protocols[protocol] is Overflow.HOLD:
            taken = seat.inbox.offer(event)
        else:
            seat.inbox.offer_newest(event, seat.hosted.protocols)
            taken = True
        self._queue(seat)
        return taken

    def requested(self, peer: PeerId, protocol: str, body: bytes, wire: int) -> None:
        """A question of a peer; refused at once when the machine has no room for it."""
        seat = self._by_protocol.get(protocol)
        if seat is None:
            failure = Failure("protocol_unsupported", f"This node does not answer {protocol}.")
            self._refusals.append(ReplyPeer(peer, wire, failure))
        elif self._questions.wire(peer, wire) is None:  # else it is asked already
            if not self._has_room(seat):
                self._refusals.append(ReplyPeer(peer, wire, _refusal(seat)))
                return
            request = self._questions.open(seat.hosted.name, FromPeer(peer, wire))
            self._push(seat, Requested(peer, protocol, body, request))

    def withdrawn(self, peer: PeerId, wire: int) -> None:
        """`peer` no longer waits for the answer to `wire`."""
        request = self._questions.wire(peer, wire)
        if request is not None:
            self.withdraw(request)

    def answered(self, handle: int, body: Any) -> None:
        """The answer to an `AskPeer` or `AskPort`; unknown and forgotten handles are ignored."""
        ask = self._asks.get(handle)
        if ask is None:
            return
        if ask.wanted:
            self._push(self._seats[ask.owner], Arrived(handle, body))
        else:
            self._asks.close(handle)

    def call(self, port: str, arguments: Any, done: Callable[[Any], None]) -> RequestId:
        """A command: ask machine `port` ("NAME.OPERATION"); `done` gets the answer or Failure."""
        self._check_running()
        name, _, operation = port.partition(".")
        seat = self._seats.get(name)
        if seat is None:
            raise Dms3Error("method_unknown", f"There is no {name!r} to call.")
        if not self._has_room(seat):
            raise _refusal(seat).error()
        request = self._questions.open(name, FromCommand(done))
        self._push(seat, Called(operation, arguments, request))
        return request

    def withdraw(self, request: RequestId) -> None:
        """Whoever asked `request` no longer waits; a later Reply to it is dropped."""
        found = self._questions.close(request)
        if found is not None:
            self._push(self._seats[found[0]], Withdrawn(request))

    # One event

    def _run(
        self,
        seat: _Seat,
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
            seat.timer = seat.hosted.machine.next_timer()
        except Exception as error:
            name = seat.hosted.name
            self._failure = Dms3Error(
                "internal",
                f"The node stops because its part {name!r} failed on {what}.",
                hint="Please report it with the log; nothing that was acknowledged is lost.",
            )
            self._on_bug(name, what, error)
            raise self._failure from error

    def _absorb(self, seat: _Seat, effects: list[Effect], batch: Batch, now: Now) -> None:
        assert len(effects) <= EVENT_EFFECTS_MAX, "too many effects of one event"
        others: list[Effect] = []
        for effect in effects:
            kind = type(effect)
            if kind is Persist or kind is Delete:
                self._write(seat, effect)  # type: ignore[arg-type]  # narrowed by `kind`
            elif kind is Notify:
                self._note(effect, now)  # type: ignore[arg-type]  # narrowed by `kind`
            else:
                if kind is Cancel:
                    self._asks.unwant(seat.hosted.name, effect.token)  # type: ignore[union-attr]
                others.append(effect)
        group = self._release_point(seat, wrote=len(others) < len(effects))
        if group is None:
            for effect in others:
                self._release(seat, effect, batch.actions)
        else:
            group.count += 1
            group.held.extend((seat, effect) for effect in others)

    def _release_point(self, seat: _Seat, *, wrote: bool) -> _Group | None:
        """The transaction that this event's effects wait for; None: nothing, release them."""
        if wrote and seat.holds is not self._open:
            seat.holds = self._open
            self._open.seats.append(seat)
        return seat.holds

    def _write(self, seat: _Seat, effect: Persist | Delete) -> None:
        stored = seat.overlay.stored_name(effect.table)
        group = self._open
        write: Write
        if type(effect) is Persist:
            assert len(effect.value) < PERSIST_VALUE_BYTES_MAX, (
                f"{stored}: a value of {len(effect.value)} bytes belongs in a pack"
            )
            seat.overlay.write(stored, effect.key, effect.value, group.number)
            write = Persist(stored, effect.key, effect.value)
        else:
            seat.overlay.write(stored, effect.key, None, group.number)
            write = Delete(stored, effect.key)
        group.writes[stored, effect.key] = (seat, write)

    def _note(self, effect: Notify, now: Now) -> None:
        self._last_event += 1
        event = StoredEvent(self._last_event, effect.topic, effect.data, now.wall_us)
        self._open.events.append(event)

    def _release(self, seat: _Seat, effect: Effect, actions: list[Action]) -> None:
        """Let one effect out: to the surroundings, or to another machine's inbox."""
        kind = type(effect)
        if kind is Send:
            actions.append(effect)  # type: ignore[arg-type]  # narrowed by `kind`
        elif isinstance(effect, Reply):
            self._reply(effect, actions)
        elif isinstance(effect, Cancel):
            handle = self._asks.handle_of(seat.hosted.name, effect.token)
            if handle is not None:
                self._forget(handle, actions)
        else:
            assert isinstance(effect, Request | Call), f"{effect!r} is not an effect"
            self._ask(seat, effect, actions)

    def _ask(self, seat: _Seat, effect: Request | Call, actions: list[Action]) -> None:
        name = seat.hosted.name
        before = self._asks.handle_of(name, effect.token)
        if before is not None:
            self._forget(before, actions)  # asked anew: the first answer is no longer wanted
        handle = self._asks.open(name, effect.token)
        if self._asks.count(name) > ASKS_OPEN_MAX:
            failure = Failure("limit_reached", f"{name}: too many open questions", Retry.LATER)
            self.answered(handle, failure)
        elif isinstance(effect, Request):
            actions.append(
                AskPeer(effect.peer, effect.protocol, effect.body, handle, effect.deadline_us)
            )
        else:
            port, _, operation = effect.port.partition(".")
            target = self._seats.get(port)
            if target is None:
                actions.append(AskPort(port, operation, effect.arguments, handle))
            else:
                self._ask_machine(target, operation, effect.arguments, handle)

    def _ask_machine(self, target: _Seat, operation: str, arguments: Any, handle: int) -> None:
        if not self._has_room(target):
            self.answered(handle, _refusal(target))
            return
        request = self._questions.open(target.hosted.name, FromMachine(handle))
        ask = self._asks.get(handle)
        assert ask is not None
        ask.question = request
        self._push(target, Called(operation, arguments, request))

    def _reply(self, effect: Reply, actions: list[Action]) -> None:
        found = self._questions.close(effect.request)
        if found is None:
            return  # withdrawn
        origin = found[1]
        if isinstance(origin, FromPeer):
            assert isinstance(effect.body, bytes | Failure), "a peer gets bytes or a Failure"
            actions.append(ReplyPeer(origin.peer, origin.wire, effect.body))
        elif isinstance(origin, FromMachine):
            self.answered(origin.handle, effect.body)
        else:
            actions.append(Finish(origin.done, effect.body))

    def _forget(self, handle: int, actions: list[Action]) -> None:
        ask = self._asks.close(handle)
        if ask is None:
            return
        if ask.question is not None:
            self.withdraw(ask.question)
        else:
            actions.append(Forget(handle))

    # Small parts

    def _wanted(self, arrived: Arrived) -> Answered | None:
        ask = self._asks.close(arrived.handle)
        return Answered(ask.token, arrived.body) if ask is not None and ask.wanted else None

    def _seal(self, batch: Batch) -> Batch:
        """Hand over the open transaction if none is running and it has something to write."""
        group = self._open
        if self._running is None and (group.writes or group.events):
            self._running = group
            self._open = _Group(group.number + 1)
            writes = [write for _, write in group.writes.values()]
            batch.transaction = Transaction(group.number, writes, group.events)
        return batch

    @property
    def _full(self) -> bool:
        """Whether the transaction that is filling, or what waits for the running one, is full."""
        running = self._running
        return (
            self._open.count >= COMMIT_EVENTS_MAX
            or len(self._open.writes) >= COMMIT_WRITES_MAX
            or (running is not None and running.count >= 2 * COMMIT_EVENTS_MAX)
        )

    def _watch_clock(self, now: Now) -> None:
        offset = now.wall_us - now.mono_us
        assert self._clock_offset is not None, "step before start"
        delta = offset - self._clock_offset
        if abs(delta) > CLOCK_JUMP_US_MAX:
            self._clock_offset = offset
            for seat in self._seats.values():
                self._push(seat, ClockJumped(delta))

    def _has_room(self, seat: _Seat) -> bool:
        name = seat.hosted.name
        return seat.inbox.has_room and self._questions.count(name) < QUESTIONS_OPEN_MAX

    def _push(self, seat: _Seat, event: Event | Arrived) -> None:
        seat.inbox.push(event)
        self._queue(seat)

    def _queue(self, seat: _Seat) -> None:
        if not seat.ready and len(seat.inbox):
            seat.ready = True
            self._ready.append(seat)

    def _check_running(self) -> None:
        if self._failure is not None:
            raise self._failure


def _refusal(seat: _Seat) -> Failure:
    return Failure("limit_reached", f"{seat.hosted.name} is busy; try again later", Retry.LATER)
