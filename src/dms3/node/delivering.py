"""A delivery service over a running node: takes envelopes for its accounts and hands them out.

Source: docs/delivery.md; dm3 specification (DM3MTP). The rules are in `delivery/`, the tables in
`io/mailroom*.py`, HTTP in `api/dm3.py`. It has keys of its own, made from a random seed in the
store, and never talks to another delivery service.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dms3.core.database import Database
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    MAIL_FETCHES_MAX,
    MAIL_INTERVAL_SECONDS,
    MAIL_SWEEP_SECONDS,
    MAIL_TRUNCATE_SECONDS,
)
from dms3.core.machine import Entropy
from dms3.delivery.admission import named, read_envelope, read_information
from dms3.delivery.properties import Properties
from dms3.dm3.canonical import canonical
from dms3.dm3.envelope import DeliveryInformation, Envelope
from dms3.dm3.postmark import delivered, stamp, stamped
from dms3.dm3.profile import ServiceProfile
from dms3.dm3.records import data_uri
from dms3.io.mailroom import Arrival, Mailroom, Totals, Waiting
from dms3.node.delivery_accounts import US_PER_MS, US_PER_S, Accounts, Receiver, rules_in
from dms3.node.delivery_names import Call, Clock, Names
from dms3.node.delivery_secrets import ServiceSecrets
from dms3.node.delivery_senders import Chain, Senders

Push = Callable[[str, str, str], None]
"""Told of a new envelope: the receiver's address, its text, and that with what was sealed."""


@dataclass(slots=True)
class Figures:
    """What a service did since it started; `refused`: why, by code."""

    accepted: int = 0
    duplicates: int = 0
    fetched: int = 0
    acknowledged: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class Delivering:
    """One service. `run` it as a task; `push` may be set by whoever carries pushes."""

    def __init__(
        self,
        secrets: ServiceSecrets,
        store: Database,
        call: Call,
        chain: Chain | None,
        properties: Properties,
        world: tuple[Clock, Entropy],
    ) -> None:
        clock, entropy = world
        self.store = store
        self.properties = properties
        self.figures = Figures()
        self.push: Push | None = None
        self.url = ""  # where the node says that it answers
        self._call = call
        self._room = Mailroom(store, secrets.room, entropy)
        self._keys = keys = secrets.keys
        self._clock = clock
        self._entropy = entropy
        self._names = Names(call, clock)
        self.accounts = Accounts(store, keys, self._names, clock, entropy)
        self._senders = Senders(self._names, chain, clock)
        self._fetches = asyncio.Semaphore(MAIL_FETCHES_MAX)
        self._deleted = asyncio.Event()
        self._deleted.set()  # a crash may have come between a deletion and the emptying of the log

    def profile(self, url: str) -> ServiceProfile:
        """What this service publishes when it answers at `url`."""
        return ServiceProfile(self._keys.encryption_public, self._keys.signing_public, url)

    async def submit(self, given: Any) -> None:
        """Take the envelope in `given` (JSON value or text); returns when it is durable.

        One that waits already, or was picked up, is taken without effect. Raises Dms3Error:
        `body_malformed`, `body_too_large`, `content_invalid` (form, seal or signature),
        `not_found` (no such receiver), `forbidden` (the receiver's rules), `limit_reached`
        (quotas), `timed_out` (the sender cannot be verified now: try later), `disk_full`.
        """
        try:
            is_new = await self._submit(given)
        except Dms3Error as error:
            self.figures.refused[error.code] += 1
            raise
        if is_new:
            self.figures.accepted += 1
        else:
            self.figures.duplicates += 1

    async def _submit(self, given: Any) -> bool:
        envelope, text = read_envelope(given, self.properties.envelope_bytes)
        information = read_information(self._keys, envelope)
        receiver = await self.accounts.of_name(named(information.receiver))
        if receiver is None:
            raise Dms3Error(
                "not_found", f"{information.receiver[:64]} has no account at this service."
            )
        await self._senders.admit(envelope, information.sender, receiver.rules)
        return await self._keep(envelope, text, information, receiver)

    async def _keep(
        self, envelope: Envelope, text: str, information: DeliveryInformation, receiver: Receiver
    ) -> bool:
        wall_ms = self._clock.now().wall_us // US_PER_MS
        public = receiver.signed.profile.encryption
        postmark = stamp(self._keys, envelope, public, wall_ms, self._entropy)
        assert isinstance(envelope.delivery, str), "it was opened"
        arrival = Arrival(
            account=receiver.id,
            sender=named(information.sender),
            hash=envelope.message_hash,
            signature=envelope.signature,
            arrived_ms=wall_ms,
            information=canonical(information.value()),
            sealed=envelope.delivery,
            envelope=stamped(text, envelope, postmark),
        )
        is_new = await self._room_for(arrival, receiver)
        if is_new and self.push is not None:
            plain = delivered(arrival.envelope, arrival.information)
            both = delivered(arrival.envelope, arrival.information, arrival.sealed)
            self.push(receiver.address, plain, both)
        return is_new

    async def _room_for(self, arrival: Arrival, receiver: Receiver) -> bool:
        """Keep `arrival`: what strangers have taken leaves no less room for the node's person."""
        quota, total = self.properties.account_bytes, self.properties.total_bytes
        try:
            return await asyncio.wrap_future(self._room.keep(arrival, quota, total))
        except Dms3Error as error:
            if error.code != "limit_reached" or not await self._is_own(receiver):
                raise
        return await asyncio.wrap_future(self._room.keep(arrival, quota, None))

    async def _is_own(self, receiver: Receiver) -> bool:
        """Whether `receiver` is the person whose node this is."""
        try:
            own = await self._call("names.own", None)
            resolved = await self._names.resolve(own.key_name)
        except Dms3Error:
            return False
        return resolved.address.lower() == receiver.address

    async def incoming(
        self, receiver: Receiver, *, sealed: bool = False, page: tuple[int, int] | None = None
    ) -> list[Waiting]:
        """What waits for `receiver`; `page`: at most so many with an id above the first number."""
        async with self._fetches:
            if page is None:
                found = await asyncio.to_thread(self._room.incoming, receiver.id, sealed=sealed)
            else:
                found = await asyncio.to_thread(self._room.page, receiver.id, *page, sealed=sealed)
        self.figures.fetched += len(found)
        return found

    async def conversation(self, receiver: Receiver, sender: str) -> list[Waiting]:
        """What waits for `receiver` of the name `sender`."""
        async with self._fetches:
            return await asyncio.to_thread(self._room.conversation, receiver.id, named(sender))

    async def set_rules(self, receiver: Receiver, value: Any) -> dict[str, Any]:
        """Keep the spam rules in `value` (JSON) for `receiver`; as kept.

        Raises `argument_invalid`, and `timed_out` when this service could not check them now.
        """
        rules = rules_in(value)
        await self._senders.check_rules(rules, receiver.address)
        await self.accounts.keep_rules(receiver, rules)
        return rules.value()

    async def acknowledge(self, receiver: Receiver, messages: Sequence[tuple[str, str]]) -> int:
        """Delete what `receiver` has; pairs of sender name and hash. How many waited here."""
        pairs = [(named(sender), name) for sender, name in messages]
        now_ms = self._clock.now().wall_us // US_PER_MS
        count = await asyncio.wrap_future(self._room.acknowledge(receiver.id, pairs, now_ms))
        self.figures.acknowledged += count
        if count:
            self._deleted.set()
        return count

    async def intervals(self) -> list[tuple[int, int, int]]:
        """Start (seconds), messages and bytes of each interval of the metrics that is over."""
        now_s = self._clock.now().wall_us // US_PER_S
        begun = now_s // MAIL_INTERVAL_SECONDS * MAIL_INTERVAL_SECONDS
        return await asyncio.to_thread(self._room.intervals, begun)

    async def totals(self) -> Totals:
        """How much lies here."""
        return await asyncio.to_thread(self._room.totals)

    async def status(self) -> dict[str, Any]:
        """What an operator wants to know; JSON values, counts since the start."""
        totals, own = await self.totals(), await self._call("names.own", None)
        figures = self.figures
        return {
            "name": own.service_name,
            "url": self.url,
            "record": data_uri(self.profile(self.url).text()),
            "accounts": totals.accounts,
            "messages": totals.messages,
            "bytes": totals.bytes,
            "held_bytes": totals.held,
            "keep_days": self.properties.keep_days,
            "envelope_bytes": self.properties.envelope_bytes,
            "account_bytes": self.properties.account_bytes,
            "total_bytes": self.properties.total_bytes,
            "accepted": figures.accepted,
            "duplicates": figures.duplicates,
            "fetched": figures.fetched,
            "acknowledged": figures.acknowledged,
            "refused": dict(sorted(figures.refused.items())),
        }

    async def run(self) -> None:
        """Remove what has expired, and empty the log after deletions, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._expire())
            group.create_task(self._truncate())

    async def _expire(self) -> None:
        while True:
            now_ms = self._clock.now().wall_us // US_PER_MS
            before_ms = now_ms - self.properties.keep_ms if self.properties.keep_ms else 0
            with contextlib.suppress(Dms3Error):  # a busy or full store: at the next look
                while await asyncio.wrap_future(self._room.expire(before_ms, now_ms)):
                    self._deleted.set()
            await asyncio.sleep(MAIL_SWEEP_SECONDS)

    async def _truncate(self) -> None:
        while True:
            await self._deleted.wait()
            await asyncio.sleep(MAIL_TRUNCATE_SECONDS)  # what is deleted meanwhile goes along
            self._deleted.clear()
            try:
                is_empty = await asyncio.wrap_future(self._room.truncate())
            except Dms3Error:
                is_empty = False
            if not is_empty:
                self._deleted.set()
