"""One round of one letter: the same message to every service of its receiver that lacks it.

Source: docs/architecture.md, "Messages"; dm3 specification, "Message Transport". Services are asked
in parallel; each has an envelope of its own, because each is told in secret whom it is for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dms3.core.desk import Desk
from dms3.core.errors import DecodeError, Failure, Retry
from dms3.core.machine import Entropy
from dms3.dm3.envelope import Envelope, enclose, legacy_form, readdress
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.lookup import Resolve, Resolved
from dms3.dm3.message import Message
from dms3.dm3.profile import ServiceProfile, UserProfile
from dms3.messaging.direct import Direct
from dms3.messaging.operations import Submit
from dms3.messaging.ports import DIRECT, Own

_LATER = frozenset(
    ("peer_unreachable", "timed_out", "limit_reached", "node_busy", "node_stopping", "disk_full")
)


@dataclass(slots=True)
class Round:
    """What came of it: `had` took it, `refused` never will, `failed` did not now: name -> why.

    `nodes`: those of `services` that are nodes of the receiver, asked directly.
    """

    services: list[str]
    had: list[str] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    waiting: int = 0
    sealed: Envelope | None = None  # to the service that was known first

    def without_nodes(self) -> None:
        """A service has it: the receiver's nodes fetch it there, so what they said is no matter."""
        for name in self.nodes:
            self.failed.pop(name, None)
            self.refused.pop(name, None)

    def first(self, said: dict[str, str]) -> tuple[str, str]:
        """Of what services `said`, that of the one listed first."""
        name = next(name for name in self.services if name in said)
        return name, said[name]


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent: `message`, signed with `keys`, to the person with profile `to`."""

    message: Message
    keys: ProfileKeys
    to: UserProfile


Ended = Callable[[Round], None]


class Carrying:
    """How a message gets to services: over HTTP by the courier, or directly to a node."""

    def __init__(self, desk: Desk, own: Own, direct: Direct, entropy: Entropy) -> None:
        self._desk = desk
        self._own = own
        self._direct = direct
        self._entropy = entropy

    def carry(
        self, parcel: Parcel, services: list[str], taken: Callable[[str], None], ended: Ended
    ) -> None:
        """Give `parcel` to `services`; `taken` is told of each that has it, then `ended` of all."""
        turn = Round(services, waiting=len(services))

        def one(name: str) -> Callable[[Any], None]:
            def answered(body: Any) -> None:
                self._note(turn, name, body)
                if not isinstance(body, Failure):
                    taken(name)
                turn.waiting -= 1
                if not turn.waiting:
                    ended(turn)

            return answered

        if not services:
            ended(turn)
        for name in services:
            self._one(parcel, name, turn, one(name))

    def _one(self, parcel: Parcel, name: str, turn: Round, answered: Callable[[Any], None]) -> None:
        def resolved(body: Resolved | Failure) -> None:
            if isinstance(body, Failure):
                answered(
                    Failure(body.code, f"its record was not found ({body.message})", body.retry)
                )
            elif body.service is None:
                answered(Failure("not_found", "its name is not that of a delivery service"))
            else:
                if body.service.url.startswith(DIRECT):
                    turn.nodes.append(name)
                self._submit(parcel, turn, body.service, answered)

        self._desk.call("names.resolve", Resolve(name), resolved)

    def _enclosed(self, parcel: Parcel, turn: Round, service: ServiceProfile) -> Envelope:
        """The message is sealed once in a round, whom it is for once for each service."""
        if turn.sealed is None:
            turn.sealed = enclose(parcel.message, parcel.keys, parcel.to, service, self._entropy)
            return turn.sealed
        return readdress(turn.sealed, parcel.message, parcel.keys, service, self._entropy)

    def _submit(
        self,
        parcel: Parcel,
        turn: Round,
        service: ServiceProfile,
        answered: Callable[[Any], None],
    ) -> None:
        try:
            envelope = self._enclosed(parcel, turn, service)
            if service.url.startswith(DIRECT):
                peer = self._own.peer_of(service.url)
                self._direct.submit(peer, envelope.text(), answered)
                return
            legacy = legacy_form(envelope, parcel.keys)
        except DecodeError as error:
            answered(Failure("content_invalid", f"its profile cannot be used ({error.reason})"))
            return
        submit = Submit(service.url, envelope.text(), legacy.text())
        self._desk.call("courier.submit", submit, answered)

    def _note(self, turn: Round, name: str, body: Any) -> None:
        if not isinstance(body, Failure):
            turn.had.append(name)
        elif body.retry is Retry.LATER or body.code in _LATER or body.code == "not_found":
            turn.failed[name] = body.message.rstrip(". ")
        else:
            turn.refused[name] = body.message.rstrip(". ")
