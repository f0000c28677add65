"""Names as a delivery service needs them: resolved lately, and when nobody answers.

Source: docs/delivery.md, "Rules"; `dm3/lookup.py`. The service sees the same names again and again;
it remembers them for a minute, and a profile that cannot be asked again for an hour.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from dms3.core.errors import Dms3Error, Retry
from dms3.core.limits import (
    MAIL_LOOKUPS_MAX,
    MAIL_LOOKUPS_PER_DOMAIN_MAX,
    MAIL_NAME_AGAIN_US,
    MAIL_NAME_FRESH_US,
    MAIL_NAME_STALE_US,
    MAIL_NAMES_CACHED_MAX,
)
from dms3.core.machine import Now
from dms3.dm3.lookup import Resolve, Resolved

Call = Callable[[str, Any], Awaitable[Any]]
"""Asks an operation of a machine (`Node.call`)."""

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")


class Clock(Protocol):
    """Where the time comes from (`io/clock.py`)."""

    def now(self) -> Now:
        """This instant."""
        ...


@dataclass(slots=True)
class _Known:
    resolved: Resolved
    asked_us: int
    fresh_us: int


class Names:
    """Asks `names.resolve` through `call`; all names given are normalised."""

    def __init__(self, call: Call, clock: Clock) -> None:
        self._call = call
        self._clock = clock
        self._known: dict[str, _Known] = {}  # the longest unasked first
        self._asking: dict[str, asyncio.Future[Resolved]] = {}
        self._under_way: Counter[str] = Counter()  # look-ups by domain

    async def resolve(self, name: str) -> Resolved:
        """Who `name` is. An address is itself.

        Raises `not_found`, `argument_invalid` or `content_invalid` for good, and `timed_out` when
        nobody could be asked now and nothing is known from the hour before.
        """
        if _ADDRESS.fullmatch(name):
            return Resolved(name, name, None, None, "address", "")
        if "." not in name or any(char.isspace() for char in name):
            # The node's own person may call a contact so; a stranger learns nothing of them. With
            # blanks around it a name would be several senders, each with a place of its own.
            raise Dms3Error("not_found", f"{name[:64]!r} is no whole name.")
        known = self._known.get(name)
        if known is not None and self._age(known) < MAIL_NAME_FRESH_US:
            return known.resolved
        return await self._asked(name, fresh=False)

    async def again(self, name: str) -> Resolved | None:
        """Who `name` is, past every cache, as a signature does not match.

        None: it was just looked up, or is an address, which nothing is published under.
        """
        if _ADDRESS.fullmatch(name):
            return None
        known = self._known.get(name)
        now_us = self._clock.now().mono_us
        if (
            known is not None
            and known.fresh_us > 0
            and now_us - known.fresh_us < MAIL_NAME_AGAIN_US
        ):
            return None
        if known is not None:
            known.fresh_us = now_us
        return await self._asked(name, fresh=True)

    def _age(self, known: _Known) -> int:
        return self._clock.now().mono_us - known.asked_us

    async def _asked(self, name: str, *, fresh: bool) -> Resolved:
        """Ask once, for all who want to know `name` at the same time."""
        asking = self._asking.get(name)
        if asking is not None and not fresh:
            return await asyncio.shield(asking)
        asking = self._asking[name] = asyncio.get_running_loop().create_future()
        try:
            resolved = await self._call_names(name, fresh=fresh)
        except Dms3Error as error:
            asking.set_exception(error)
            asking.exception()  # seen, also when nobody else waits for it
            raise
        except asyncio.CancelledError:
            asking.set_exception(_unknown(name))
            asking.exception()
            raise
        else:
            asking.set_result(resolved)
            return resolved
        finally:
            if self._asking.get(name) is asking:
                del self._asking[name]

    async def _turn(self, name: str, *, fresh: bool) -> Any:
        """What machine "names" answers; raises `limit_reached` while too many are looked up.

        Nobody who asks for many names that answer slowly keeps all others from being looked up.
        """
        domain = _domain(name)
        of_it, of_all = self._under_way[domain], self._under_way.total()
        if of_it >= MAIL_LOOKUPS_PER_DOMAIN_MAX or of_all >= MAIL_LOOKUPS_MAX:
            raise Dms3Error("limit_reached", "Too many names are being looked up.")
        self._under_way[domain] += 1
        try:
            return await self._call("names.resolve", Resolve(name, fresh))
        finally:
            self._under_way[domain] -= 1
            if not self._under_way[domain]:
                del self._under_way[domain]

    async def _call_names(self, name: str, *, fresh: bool) -> Resolved:
        try:
            resolved = await self._turn(name, fresh=fresh)
        except Dms3Error as error:
            known = self._known.get(name)
            if error.retry is Retry.NEVER and error.code != "method_unknown":
                self._known.pop(name, None)
                raise
            if known is not None and self._age(known) < MAIL_NAME_STALE_US:
                return known.resolved
            raise _unknown(name) from error
        assert isinstance(resolved, Resolved), "what names.resolve answers"
        known = self._known.pop(name, None)
        now_us = self._clock.now().mono_us
        self._known[name] = _Known(resolved, now_us, known.fresh_us if known else 0)
        if len(self._known) > MAIL_NAMES_CACHED_MAX:
            del self._known[next(iter(self._known))]
        return resolved


def _domain(name: str) -> str:
    """Whose servers may be asked about `name`: of a key or a first-come name nobody's but its own.

    Of others the last two parts, which somebody registered.
    """
    return name if name.endswith(".dms3") else ".".join(name.split(".")[-2:])


def _unknown(name: str) -> Dms3Error:
    return Dms3Error(
        "timed_out",
        f"Who {name[:64]} is cannot be asked now.",
        hint="Nothing was taken; send it again in a minute.",
    )
