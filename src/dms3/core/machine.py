"""The one shape of everything stateful that talks to peers: events in, effects out, time injected.

Source: docs/architecture.md, "The machine". A machine never awaits, never holds another machine,
never asks for the time and never iterates a set unsorted. `node/driver.py` runs it in the node and
in the simulator alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from dms3.core.errors import Failure
from dms3.core.ids import PeerId, RequestId, Token


@dataclass(frozen=True, slots=True)
class Now:
    """The instant of an event: `mono_us` for timers and timeouts, `wall_us` for what is kept.

    `mono_us`: microseconds of a monotonic clock with an arbitrary start. `wall_us`: microseconds
    since the Unix epoch; the only one that is persisted or signed.
    """

    mono_us: int
    wall_us: int


class Entropy(Protocol):
    """A source of random bytes: the operating system in the node, a seeded stream in tests."""

    def draw(self, count: int) -> bytes:
        """`count` fresh random bytes."""
        ...


class View(Protocol):
    """Committed state plus the machine's own uncommitted Persists."""

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value under `key`, or None."""
        ...

    def range(self, table: str, start: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        """At most `limit` pairs with key >= `start`, in order of key bytes."""
        ...


# Effects: what a machine asks for. All are released after the transaction of their event.


@dataclass(frozen=True, slots=True)
class Send:
    """A one-way message to a peer; lost when the peer is not connected."""

    peer: PeerId
    protocol: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A question to a peer, answered once by `Answered(token)` at the latest at `deadline_us`.

    `deadline_us`: an instant of the monotonic clock, in microseconds.
    """

    peer: PeerId
    protocol: str
    body: bytes
    token: Token
    deadline_us: int


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a `Requested` (bytes or Failure) or a `Called` (any object or Failure)."""

    request: RequestId
    body: Any  # bytes to a peer; whatever the called operation returns in process


@dataclass(frozen=True, slots=True)
class Persist:
    """Write `value` (below 64 KB) under `key`; durable before later effects are released."""

    table: str
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove `key` from `table`; nothing happens when it is not there."""

    table: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """Ask a local port (an io service or another machine); at least once, answered by `Answered`.

    `port` is "NAME" or "NAME.OPERATION"; the token makes a repeated Call idempotent.
    """

    port: str
    arguments: Any  # a frozen dataclass or tuple that the port's documentation names
    token: Token


@dataclass(frozen=True, slots=True)
class Cancel:
    """Forget an unfinished Call or Request: its answer will not be delivered."""

    token: Token


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell people and programs: an event with a gap-free id, stored with the transaction."""

    topic: str
    data: dict[str, Any]  # JSON values


Effect = Send | Request | Reply | Persist | Delete | Call | Cancel | Notify


# Events: what a machine is told.


@dataclass(frozen=True, slots=True)
class Received:
    """A peer's one-way message."""

    peer: PeerId
    protocol: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Requested:
    """A peer's question; answer with `Reply(request, ...)`, now or later."""

    peer: PeerId
    protocol: str
    body: bytes
    request: RequestId


@dataclass(frozen=True, slots=True)
class Called:
    """A local question from a command or another machine; answer with `Reply(request, ...)`."""

    operation: str
    arguments: Any
    request: RequestId


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a Request (bytes), a Call (any object), or the Failure of either."""

    token: Token
    body: Any


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Whoever asked `request` no longer waits; a Reply to it is dropped."""

    request: RequestId


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A connection to `peer` is open; `address` is the remote multiaddr as text."""

    peer: PeerId
    address: str
    inbound: bool


@dataclass(frozen=True, slots=True)
class PeerDown:
    """The last connection to `peer` has closed; `reason` is one clause for people."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class ClockJumped:
    """The wall clock moved by `delta_us` against the monotonic clock (more than two seconds)."""

    delta_us: int


Event = Received | Requested | Called | Answered | Withdrawn | PeerUp | PeerDown | ClockJumped


class Machine(Protocol):
    """A protocol's state and rules; see the module docstring for what it may not do."""

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Rebuild from committed state and re-issue every unfinished Call and Request."""
        ...

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Effects of one event, in the order in which they are to happen."""
        ...

    def on_timer(self, now: Now) -> list[Effect]:
        """Effects of the timer announced by `next_timer`, called at or after that instant."""
        ...

    def next_timer(self) -> int | None:
        """The monotonic microsecond at which `on_timer` wants to be called, or None."""
        ...


def scan(
    view: View, table: str, prefix: bytes = b"", page: int = 256
) -> Iterator[tuple[bytes, bytes]]:
    """Every pair of `table` whose key starts with `prefix`, in order, read `page` at a time."""
    start = prefix
    while True:
        rows = view.range(table, start, page)
        for key, value in rows:
            if not key.startswith(prefix):
                return
            yield key, value
        if len(rows) < page:
            return
        start = rows[-1][0] + b"\0"


def is_failure(body: object) -> bool:
    """Whether the body of an `Answered` is a Failure."""
    return isinstance(body, Failure)
