"""Who may send to a receiver: a sender whose signature is theirs, not too often, by the rules.

Source: docs/delivery.md, "Rules". The profile that a name resolves to decides, not the envelope;
what rules ask about a sender is asked of Ethereum.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.limits import (
    MAIL_SENDER_BURST_MAX,
    MAIL_SENDER_PER_SECOND,
    MAIL_SENDERS_NOTED_MAX,
    SECOND_US,
)
from dms3.delivery.admission import check_signature, named
from dms3.delivery.rates import Rates
from dms3.delivery.rules import Asked, SpamRules
from dms3.dm3.envelope import Envelope
from dms3.dm3.lookup import Resolved
from dms3.dm3.outside import TokenBalance
from dms3.node.delivery_names import Clock, Names

Chain = Callable[[str, Any], Awaitable[Any]]
"""The io port "ethereum": operation and arguments (`io/ethereum.py`)."""


class Senders:
    """The senders of one service, over `names`; `chain`: None where Ethereum cannot be asked."""

    def __init__(self, names: Names, chain: Chain | None, clock: Clock) -> None:
        self._names = names
        self._chain = chain
        self._clock = clock
        self._rates = Rates(MAIL_SENDER_PER_SECOND, MAIL_SENDER_BURST_MAX, MAIL_SENDERS_NOTED_MAX)

    async def admit(self, envelope: Envelope, sender: str, rules: SpamRules) -> None:
        """Return when `envelope` is signed by `sender`, who meets the receiver's `rules`.

        Raises `content_invalid`, `limit_reached`, `forbidden`, `argument_invalid` (no name) or
        `timed_out` (cannot be told now).
        """
        resolved = await self._verified(envelope, sender)
        wait_us = self._rates.take(resolved.name, self._clock.now().mono_us)
        if wait_us:
            raise Dms3Error(
                "limit_reached",
                f"{sender[:64]} sends too much at once.",
                hint=f"Send again in {wait_us // SECOND_US + 1} s.",
            )
        for asked in rules.asked():
            await self._ask(asked, resolved.address)

    async def _verified(self, envelope: Envelope, sender: str) -> Resolved:
        """Who `sender` is, after the signature of `envelope` was checked with their profile."""
        name = named(sender)
        try:
            resolved = await self._names.resolve(name)
        except Dms3Error as error:
            if error.retry is Retry.NEVER:
                raise _unverifiable(sender) from error
            raise
        if resolved.profile is not None:
            with contextlib.suppress(Dms3Error):
                check_signature(envelope, sender, resolved.profile.profile.signing)
                return resolved
        fresh = await self._names.again(name) or resolved
        if fresh.profile is None:
            raise _unverifiable(sender)
        check_signature(envelope, sender, fresh.profile.profile.signing)
        return fresh

    async def _ask(self, asked: Asked, address: str) -> None:
        """Ask Ethereum what a rule of the receiver needs; raises `forbidden`, `timed_out`."""
        asked.judge(await self._number(asked, address) if address else 0)

    async def check_rules(self, rules: SpamRules, address: str) -> None:
        """Raise `timed_out` when what `rules` ask cannot be asked of Ethereum for `address`."""
        for asked in rules.asked():
            await self._number(asked, address)

    async def _number(self, asked: Asked, address: str) -> int:
        if self._chain is None:
            raise _unjudged()
        arguments = TokenBalance(asked.token, address) if asked.token else address
        try:
            number = await self._chain(asked.operation, arguments)
        except Dms3Error as error:
            raise _unjudged() from error
        if isinstance(number, Failure):
            raise _unjudged() from number.error()
        return int(number)


def _unverifiable(sender: str) -> Dms3Error:
    return Dms3Error(
        "content_invalid",
        f"{sender[:64]} has no dm3 profile, so nobody can tell who sends this.",
        hint="Publish the profile under that name first.",
    )


def _unjudged() -> Dms3Error:
    return Dms3Error(
        "timed_out",
        "Rules for senders cannot be checked now: this service cannot ask Ethereum.",
        hint="Try again in a minute.",
    )
