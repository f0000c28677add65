"""What mailboxes stand on in scenario "mail": names, delivery services, tables of messages.

Source: docs/simulator.md, "The scenario of messages". Names are known to all at once, tables are
durable at once; services are honest, and away at times. Services share nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from dms3.core.errors import Failure, Retry
from dms3.core.machine import Entropy
from dms3.dm3.envelope import decode_envelope, open_delivery, with_postmark
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.lookup import OwnNames, Published, PublishProfile, Resolve, Resolved
from dms3.dm3.postmark import stamp
from dms3.dm3.profile import ServiceProfile, SignedProfile, fingerprint
from dms3.messaging.operations import Acknowledge, Incoming, Kept, Mark, State, Submit

_RANKS = {
    state: rank
    for rank, states in enumerate(
        (
            (State.HELD,),
            (State.QUEUED, State.HALTED, State.RECEIVED),
            (State.FAILED,),
            (State.SENT,),
            (State.DELIVERED,),
            (State.READ,),
        )
    )
    for state in states
}


def person_name(index: int) -> str:
    """The name of the person of node `index`."""
    return f"person-{index}.dms3"


def service_name(index: int) -> str:
    """The name of node `index` as a service of its person."""
    return f"node-{index}.dms3"


class Names:
    """Who everybody is: what was published last, and services."""

    def __init__(self) -> None:
        self.records: dict[str, Resolved] = {}

    def answer(self, index: int, address: str, operation: str, asked: Any) -> Any:
        """What machine "names" of node `index`, whose account is at `address`, would answer."""
        name = person_name(index)
        if operation == "own":
            return OwnNames(name, name, service_name(index), (name,))
        if isinstance(asked, PublishProfile):
            self.records[name] = Resolved(
                name, address, asked.profile, None, "card", fingerprint(asked.profile.profile)
            )
            if asked.service is not None:
                self.add_service(service_name(index), asked.service)
            return Published(1)
        assert isinstance(asked, Resolve), f"names were asked {operation}"
        found = self.records.get(asked.name)
        return found or Failure("not_found", f"Nobody has the name {asked.name}.")

    def add_service(self, name: str, profile: ServiceProfile) -> None:
        """`name` is that of a delivery service."""
        self.records[name] = Resolved(name, "", None, profile, "dms3", "")


class Tables:
    """The tables of messages of one node; they outlive its crashes."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.arrivals: list[str] = []  # hashes in the order in which they came

    def answer(self, operation: str, asked: Any) -> Any:
        """What port "messages" answers."""
        if operation == "keep":
            return tuple(map(self._keep, asked))
        if operation == "mark":
            return self._mark(asked)
        if operation == "body":
            return self.kept.get(asked)
        assert operation in ("unread", "join"), f"messages were asked {operation}"
        unread = (one for one in self.kept.values() if not one.mine and one.person == asked)
        return tuple(one.hash for one in unread if one.state is State.RECEIVED)

    def _keep(self, one: Kept) -> bool:
        before = self.kept.get(one.hash)
        if before is None:
            self.kept[one.hash] = one
            self.arrivals.append(one.hash)
            return True
        self._mark(Mark(one.hash, one.state, one.problem, one.retry_us))
        after = self.kept[one.hash]
        self.kept[one.hash] = replace(after, order_ms=min(after.order_ms, one.order_ms))
        return False

    def _mark(self, mark: Mark) -> None:
        before = self.kept.get(mark.hash)
        if before is not None and _RANKS[mark.state] >= _RANKS[before.state]:
            self.kept[mark.hash] = replace(before, state=mark.state, problem=mark.problem)


@dataclass(slots=True, eq=False)
class Service:
    """A delivery service: what waits there, by receiver. `arrived(name, service)` is its push."""

    name: str
    entropy: Entropy
    arrived: Callable[[str, str], None]
    is_down: bool = False
    waiting: dict[str, dict[str, str]] = field(default_factory=dict)
    accounts: dict[str, SignedProfile] = field(default_factory=dict)

    @property
    def keys(self) -> ProfileKeys:
        """Its keys."""
        return ProfileKeys.of_seed(hashlib.sha256(self.name.encode()).digest())

    @property
    def profile(self) -> ServiceProfile:
        """What it publishes."""
        keys = self.keys
        return ServiceProfile(keys.encryption_public, keys.signing_public, f"https://{self.name}")

    def answer(self, operation: str, asked: Any, wall_ms: int) -> Any:
        """What port "courier" answers for this service."""
        if self.is_down:
            return Failure("timed_out", f"{self.name} did not answer.", Retry.LATER)
        if isinstance(asked, Submit):
            return self._submit(asked.envelope, wall_ms)
        if isinstance(asked, Incoming):
            return tuple(self.waiting.get(asked.name, {}).values())[: asked.limit]
        if isinstance(asked, Acknowledge):
            mine = self.waiting.get(asked.name, {})
            for _, message_hash in asked.messages:
                mine.pop(message_hash, None)
            return None
        if operation == "register":
            self.accounts[asked.name] = asked.profile
        return "token" if operation == "login" else None

    def _submit(self, text: str, wall_ms: int) -> Failure | None:
        envelope = decode_envelope(text)
        told = open_delivery(self.keys.encryption_secret, envelope)
        account = self.accounts.get(told.receiver)
        if account is None:
            return Failure("peer_refused", f"{told.receiver} has no account here.")
        public = account.profile.encryption
        sealed = stamp(self.keys, envelope, public, wall_ms, self.entropy)
        mine = self.waiting.setdefault(told.receiver, {})
        mine.setdefault(envelope.message_hash, with_postmark(envelope, sealed, told).text())
        self.arrived(told.receiver, self.name)
        return None
