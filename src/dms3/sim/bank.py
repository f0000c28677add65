"""A toy bank as a production-shaped machine: it exercises every promise of the driver.

Source: docs/architecture.md, "Tests". Every node keeps one account. A transfer leaves it with the
command, travels as a question under its own number until it is answered, and is credited once by
its receiver. Rumours of how many transfers are done travel as gossip. It is no ledger.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from dms3.core.codec import decode, encode
from dms3.core.errors import DecodeError, Failure
from dms3.core.ids import PeerId, Token
from dms3.core.limits import SECOND_US
from dms3.core.machine import (
    Answered,
    Called,
    Delete,
    Effect,
    Event,
    Notify,
    Now,
    Persist,
    Received,
    Reply,
    Request,
    Requested,
    Send,
    View,
    scan,
)

PAY = "/dms3/bank/1"
RUMOUR = "/dms3/bank-rumour/1"

DEADLINE_US = SECOND_US
RETRY_MIN_US = SECOND_US // 20
RETRY_MAX_US = 2 * SECOND_US
AMOUNT_MAX = 1 << 40

ACCOUNT = b"account"


@dataclass(frozen=True, slots=True)
class Account:
    """What a node has: money, the number of its next transfer, and how many are done."""

    balance: int
    next: int = 0
    done: int = 0


@dataclass(frozen=True, slots=True)
class Payment:
    """On the wire: transfer `number` of the sender brings `amount`."""

    number: int
    amount: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """In table "out": a transfer that its receiver has not acknowledged."""

    to: bytes
    amount: int


@dataclass(frozen=True, slots=True)
class Rumour:
    """On the wire: the sender has `done` transfers behind it."""

    done: int


class Bank:
    """The machine. Argument: `opening`, the balance of an account that is new.

    Command "transfer", arguments (PeerId, amount): replies the transfer's number, or a Failure.
    """

    def __init__(self, opening: int) -> None:
        self._opening = opening
        self._account = Account(opening)
        self._out: dict[int, Outgoing] = {}
        self._tries: dict[int, int] = {}
        self._retries: list[tuple[int, int]] = []  # heap of (due, number)

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Read the account; send again what nobody has acknowledged."""
        self._view = view
        stored = view.get("account", ACCOUNT)
        effects: list[Effect] = []
        if stored is None:
            effects.append(Persist("account", ACCOUNT, encode(self._account)))
        else:
            self._account = decode(Account, stored)
        for key, value in scan(view, "out"):
            number = int.from_bytes(key, "big")
            self._out[number] = decode(Outgoing, value)
            effects.append(self._request(number, now))
        return effects

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Pay, take in, note an acknowledgement, or listen to a rumour."""
        if isinstance(event, Requested):
            return self._take_in(event)
        if isinstance(event, Answered):
            return self._acknowledged(int(event.token), event.body, now)
        if isinstance(event, Called):
            return self._transfer(event, now)
        if isinstance(event, Received):
            return self._hear(event)
        return []

    def on_timer(self, now: Now) -> list[Effect]:
        """Ask again for the transfers whose time has come."""
        effects: list[Effect] = []
        while self._retries and self._retries[0][0] <= now.mono_us:
            _, number = heapq.heappop(self._retries)
            if number in self._out:
                effects.append(self._request(number, now))
        return effects

    def next_timer(self) -> int | None:
        """When the next transfer is to be tried again."""
        return self._retries[0][0] if self._retries else None

    def _transfer(self, event: Called, now: Now) -> list[Effect]:
        to, amount = event.arguments
        account = self._account
        if not 0 < amount <= account.balance:
            failure = Failure("argument_invalid", f"{amount} is not in the account")
            return [Reply(event.request, failure)]
        number = account.next
        self._account = Account(account.balance - amount, number + 1, account.done)
        self._out[number] = Outgoing(to, amount)
        return [
            Persist("out", _key(number), encode(self._out[number])),
            self._save(),
            Reply(event.request, number),
            self._request(number, now),
        ]

    def _take_in(self, event: Requested) -> list[Effect]:
        try:
            payment = decode(Payment, event.body)
        except DecodeError as error:
            return [Reply(event.request, Failure.of(error))]
        key = event.peer + _key(payment.number)
        if self._view.get("in", key) is not None:
            return [Reply(event.request, b"ok")]  # credited before: only the answer was lost
        if not 0 < payment.amount <= AMOUNT_MAX:
            return [Reply(event.request, Failure("argument_invalid", "no such amount"))]
        account = self._account
        self._account = Account(account.balance + payment.amount, account.next, account.done)
        return [
            Persist("in", key, encode(payment)),
            self._save(),
            Notify("bank", {"from": event.peer.hex(), "amount": payment.amount}),
            Reply(event.request, b"ok"),
        ]

    def _acknowledged(self, number: int, body: object, now: Now) -> list[Effect]:
        if number not in self._out:
            return []
        if isinstance(body, Failure):
            tries = self._tries[number] = self._tries.get(number, 0) + 1
            pause = min(RETRY_MIN_US << min(tries, 16), RETRY_MAX_US)
            heapq.heappush(self._retries, (now.mono_us + pause, number))
            return []
        outgoing = self._out.pop(number)
        self._tries.pop(number, None)
        account = self._account
        self._account = Account(account.balance, account.next, account.done + 1)
        rumour = Send(PeerId(outgoing.to), RUMOUR, encode(Rumour(self._account.done)))
        return [Delete("out", _key(number)), self._save(), rumour]

    def _hear(self, event: Received) -> list[Effect]:
        try:
            rumour = decode(Rumour, event.body)
        except DecodeError:
            return []
        known = self._view.get("heard", event.peer)
        if known is not None and decode(Rumour, known).done >= rumour.done:
            return []
        return [Persist("heard", event.peer, event.body)]

    def _request(self, number: int, now: Now) -> Request:
        outgoing = self._out[number]
        return Request(
            peer=PeerId(outgoing.to),
            protocol=PAY,
            body=encode(Payment(number, outgoing.amount)),
            token=Token(str(number)),
            deadline_us=now.mono_us + DEADLINE_US,
        )

    def _save(self) -> Persist:
        return Persist("account", ACCOUNT, encode(self._account))


def _key(number: int) -> bytes:
    return number.to_bytes(8, "big")
