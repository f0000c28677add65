"""Group commit: which writes go together, and which effects wait for them.

Source: docs/architecture.md, "The driver". The writes of all events processed while one
transaction runs form the next one; effects wait for the transaction of their own event. Does not
run machines and does not write to disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dms3.core.database import StoredEvent, Write
from dms3.core.limits import COMMIT_EVENTS_MAX, COMMIT_WRITES_MAX, PERSIST_VALUE_BYTES_MAX
from dms3.core.machine import Delete, Effect, Machine, Notify, Now, Persist
from dms3.core.ports import Transaction
from dms3.node.inbox import Hosted, Inbox
from dms3.node.uncommitted import Uncommitted


@dataclass(slots=True, eq=False)
class Seat:
    """A machine with everything the driver knows about it."""

    hosted: Hosted
    view: Uncommitted
    inbox: Inbox
    name: str = field(init=False)
    machine: Machine = field(init=False)
    timer: int | None = None
    holds: Group | None = None  # the newest transaction that its effects wait for
    ready: bool = False  # whether it stands in the queue of seats with events

    def __post_init__(self) -> None:
        self.name, self.machine = self.hosted.name, self.hosted.machine


@dataclass(slots=True, eq=False)
class Group:
    """A transaction in the making or running, and the effects that wait for it."""

    number: int
    writes: dict[tuple[str, bytes], tuple[Seat, Write]] = field(default_factory=dict)
    events: list[StoredEvent] = field(default_factory=list)
    held: list[tuple[Seat, Effect]] = field(default_factory=list)
    seats: list[Seat] = field(default_factory=list)  # those that wrote in it
    count: int = 0  # events whose effects wait for it

    def hold(self, seat: Seat, effects: Sequence[Effect]) -> None:
        """Keep the effects of one event until this transaction is durable."""
        self.count += 1
        self.held.extend((seat, effect) for effect in effects)


class Commits:
    """The transaction that is filling and the one that runs; never more than these two.

    Argument: `last_event`, the id of the newest stored Notify.
    """

    def __init__(self, last_event: int) -> None:
        self._last_event = last_event
        self._open = Group(1)
        self._running: Group | None = None

    @property
    def full(self) -> bool:
        """Whether the transaction that is filling, or what waits for the running one, is full."""
        group = self._open
        return (
            group.count >= COMMIT_EVENTS_MAX
            or len(group.writes) >= COMMIT_WRITES_MAX
            or (self._running is not None and self._running.count >= 2 * COMMIT_EVENTS_MAX)
        )

    def write(self, seat: Seat, effect: Persist | Delete) -> None:
        """Put a write into the filling transaction, where the machine's view sees it."""
        view, group = seat.view, self._open
        stored = view.stored_name(effect.table)
        write: Write
        if isinstance(effect, Persist):
            assert len(effect.value) < PERSIST_VALUE_BYTES_MAX, (
                f"{stored}: a value of {len(effect.value)} bytes belongs in a pack"
            )
            view.write(stored, effect.key, effect.value, group.number)
            write = Persist(stored, effect.key, effect.value)
        else:
            view.write(stored, effect.key, None, group.number)
            write = Delete(stored, effect.key)
        group.writes[stored, effect.key] = (seat, write)

    def note(self, effect: Notify, now: Now) -> None:
        """Put an event into the filling transaction under the next id."""
        self._last_event += 1
        event = StoredEvent(self._last_event, effect.topic, effect.data, now.wall_us)
        self._open.events.append(event)

    def release_point(self, seat: Seat, *, wrote: bool) -> Group | None:
        """The transaction that an event's effects wait for; None: nothing, release them.

        `wrote`: whether the event put something into the filling transaction. If not, its effects
        still wait for what its machine wrote before: order is kept.
        """
        if wrote and seat.holds is not self._open:
            seat.holds = self._open
            self._open.seats.append(seat)
        return seat.holds

    def seal(self) -> Transaction | None:
        """Let the filling transaction run, if none is running and it has something to write."""
        group = self._open
        if self._running is not None or not (group.writes or group.events):
            return None
        self._running = group
        self._open = Group(group.number + 1)
        writes = [write for _, write in group.writes.values()]
        return Transaction(group.number, writes, group.events)

    def check_running(self, number: int) -> Group:
        """The running transaction, which is `number`."""
        group = self._running
        assert group is not None, "no transaction is running"
        assert group.number == number, "another transaction is running"
        return group

    def finish(self, number: int) -> Group:
        """The running transaction is durable: the store answers for its writes from now on."""
        group = self.check_running(number)
        self._running = None
        for (stored, key), (seat, _) in group.writes.items():
            seat.view.settle(stored, key, number)
        for seat in group.seats:
            if seat.holds is group:
                seat.holds = None
        return group
