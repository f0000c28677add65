"""Types between the driver and whatever runs it: the loop in a node, the world in a simulation.

Source: docs/architecture.md, "The driver". `node/driver.py` produces batches of actions,
`io/loop.py` and `sim/world.py` carry them out, `node/network.py` is the peer port. No behaviour
is defined here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dms3.core.database import StoredEvent, Write
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId, RequestId
from dms3.core.machine import Now, Send

# Actions: effects that leave the driver, in the order in which they are to happen.


@dataclass(frozen=True, slots=True)
class AskPeer:
    """A Request of a machine on its way to `peer`; answered with `answered(handle, body)`."""

    peer: PeerId
    protocol: str
    body: bytes
    handle: int
    deadline_us: int


@dataclass(frozen=True, slots=True)
class ReplyPeer:
    """The answer to question `wire` of `peer` (the number the peer port gave with it)."""

    peer: PeerId
    wire: int
    body: bytes | Failure


@dataclass(frozen=True, slots=True)
class AskPort:
    """A Call of a machine to an io port; answered with `answered(handle, body)`."""

    port: str
    operation: str
    arguments: Any
    handle: int


@dataclass(frozen=True, slots=True)
class Forget:
    """The answer to `handle` is no longer wanted; work for it may stop."""

    handle: int


@dataclass(frozen=True, slots=True)
class Finish:
    """A command's answer: call `done(body)`."""

    done: Callable[[Any], None]
    body: Any  # whatever the called operation returns, or its Failure


Action = Send | AskPeer | ReplyPeer | AskPort | Forget | Finish


@dataclass(frozen=True, slots=True)
class Transaction:
    """A group commit: hand it to the store, then call `committed(number)` on the driver."""

    number: int
    writes: Sequence[Write]  # one per key; tables are "MACHINE/TABLE"
    events: Sequence[StoredEvent]


@dataclass(slots=True)
class Batch:
    """What one turn of the driver asks of its surroundings.

    `actions` first, in order; then `notices` (events now durable) to subscribers; then
    `transaction`, if any, to the store.
    """

    actions: list[Action] = field(default_factory=list)
    notices: list[StoredEvent] = field(default_factory=list)
    transaction: Transaction | None = None


class PeerPort(Protocol):
    """What carries messages to peers. No method blocks or raises for a peer that is gone."""

    def send(self, peer: PeerId, protocol: str, body: bytes) -> None:
        """A one-way message; dropped when `peer` is not connected."""
        ...

    def request(
        self, peer: PeerId, protocol: str, body: bytes, handle: int, deadline_us: int
    ) -> None:
        """Ask `peer`; exactly one `answered(handle, ...)` follows, at the latest at the deadline.

        `deadline_us`: instant of the monotonic clock; then the answer is Failure `timed_out`. For
        a peer that is not connected it is Failure `peer_unreachable`.
        """
        ...

    def reply(self, peer: PeerId, wire: int, body: bytes | Failure) -> None:
        """Answer the question that was delivered with number `wire`."""
        ...

    def cancel(self, handle: int) -> None:
        """Forget a request of ours; the peer is told. Unknown handles are ignored."""
        ...


class PeerEvents(Protocol):
    """What the peer port tells the driver (through the loop or the world).

    A return value of False asks the port to keep the message and to offer it again, reading no
    further from that stream; it is said only for protocols whose messages are never dropped.
    """

    def peer_up(self, peer: PeerId, address: str, *, inbound: bool) -> None:
        """The first connection to `peer` is open."""
        ...

    def peer_down(self, peer: PeerId, reason: str) -> None:
        """The last connection to `peer` closed; its open questions to us are withdrawn."""
        ...

    def received(self, peer: PeerId, protocol: str, body: bytes) -> bool:
        """A one-way message; False: not taken, offer it again."""
        ...

    def requested(self, peer: PeerId, protocol: str, body: bytes, wire: int) -> None:
        """A question; `wire` is any number that names it among the open ones of `peer`."""
        ...

    def withdrawn(self, peer: PeerId, wire: int) -> None:
        """`peer` no longer waits for the answer to `wire`."""
        ...

    def answered(self, handle: int, body: bytes | Failure) -> None:
        """The answer to our request `handle`."""
        ...


class DriverPort(PeerEvents, Protocol):
    """The driver as its surroundings see it."""

    def start(self, now: Now) -> Batch:
        """Start every machine from committed state; once, before anything else."""
        ...

    def step(self, now: Now) -> Batch:
        """Run due timers and queued events, at most `STEP_EVENTS_MAX` of them."""
        ...

    def committed(self, number: int) -> Batch:
        """Transaction `number` is durable: what waited for it is released."""
        ...

    def commit_failed(self, number: int, error: Dms3Error) -> Dms3Error:
        """Transaction `number` was not written: the driver stops; raise what is returned."""
        ...

    def call(self, port: str, arguments: Any, done: Callable[[Any], None]) -> RequestId:
        """A command: ask machine `port` ("NAME.OPERATION"); `done` gets the answer or Failure.

        Raises Dms3Error `limit_reached` when the machine's inbox is full, `method_unknown` when
        there is no such machine.
        """
        ...

    def withdraw(self, request: RequestId) -> None:
        """The command's caller no longer waits."""
        ...

    def answered(self, handle: int, body: Any) -> None:
        """The answer to an `AskPeer` or `AskPort`; unknown and forgotten handles are ignored."""
        ...

    def next_timer(self) -> int | None:
        """The monotonic microsecond at which `step` has a timer to run, or None."""
        ...

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do now."""
        ...
