"""A machine written by the test, and a bench on which a driver is stepped by hand."""

from collections.abc import Callable
from typing import Any

from dms3.core.ids import PeerId, Token
from dms3.core.machine import (
    Called,
    Now,
    Received,
    Requested,
)
from dms3.core.ports import Batch
from dms3.node.driver import Driver
from dms3.node.inbox import Hosted, Overflow
from dms3.sim.disk import Disk

PEER = PeerId(b"peer-one")
OTHER = PeerId(b"peer-two")
GOSSIP = "/dms3/gossip/1"
VOTE = "/dms3/vote/1"
ASK = "/dms3/ask/1"
START = Now(1_000, 5_000_000)


class Script:
    """Returns what the test wants: `rules` maps a body, operation or event class to effects."""

    def __init__(self, rules: dict[Any, Any] | None = None) -> None:
        self.rules = rules or {}
        self.seen: list[Any] = []
        self.timer: int | None = None
        self.starting: list[Any] = []
        self.view: Any = None

    def on_start(self, view, now):
        del now
        self.view = view
        return list(self.starting)

    def on_event(self, event, now):
        del now
        self.seen.append(event)
        key = type(event)
        if isinstance(event, Received | Requested):
            key = event.body
        elif isinstance(event, Called):
            key = event.operation
        effects = self.rules.get(key, self.rules.get(type(event), []))
        return effects(event) if isinstance(effects, Callable) else list(effects)

    def on_timer(self, now):
        self.seen.append(("timer", now))
        self.timer = None
        return list(self.rules.get("timer", []))

    def next_timer(self):
        return self.timer


class Bench:
    """A driver over scripts, stepped by hand; `actions` collects what was released."""

    def __init__(
        self, *, inbox_limit: int = 100, disk: Disk | None = None, **scripts: Script
    ) -> None:
        self.disk = disk or Disk()
        self.scripts = scripts
        self.bugs: list[tuple[str, str, Exception]] = []
        first = next(iter(scripts))
        self.driver = Driver(
            [
                Hosted(name, script, _protocols() if name == first else {})
                for name, script in scripts.items()
            ],
            self.disk,
            last_event=self.disk.last_event,
            on_bug=lambda *bug: self.bugs.append(bug),
            inbox_limit=inbox_limit,
        )
        self.actions: list[Any] = []
        self.notices: list[Any] = []
        self.pending: Any = None
        self.take(self.driver.start(START))

    def take(self, batch: Batch) -> Batch:
        self.actions += batch.actions
        self.notices += batch.notices
        if batch.transaction is not None:
            assert self.pending is None, "two transactions at once"
            self.pending = batch.transaction
        return batch

    def step(self, now: Now = START) -> list[Any]:
        """One step; the actions it released."""
        return self.take(self.driver.step(now)).actions

    def commit(self) -> list[Any]:
        """Make the running transaction durable; the actions that released."""
        transaction, self.pending = self.pending, None
        self.disk.apply(transaction)
        return self.take(self.driver.committed(transaction.number)).actions

    def tell(self, body: bytes, protocol: str = GOSSIP) -> bool:
        return self.driver.received(PEER, protocol, body)


def _protocols() -> dict[str, Overflow]:
    return {GOSSIP: Overflow.DROP_OLDEST, VOTE: Overflow.HOLD, ASK: Overflow.HOLD}


def token(text: str) -> Token:
    return Token(text)


def bodies(actions: list[Any]) -> list[bytes]:
    return [action.body for action in actions]
