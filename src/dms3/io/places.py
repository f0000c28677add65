"""Io port "place": where the objects of conversation storage lie, whatever the kind of place.

Source: docs/storage.md; storage/operations.py lists the operations. Joins the back-ends: each
operation has a time limit, each place a bounded number of them at once, and a failure says which
place and what to do. Knows nothing of what an object is, nor of any kind of place.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    PLACE_CALLS_MAX,
    PLACE_OBJECT_BYTES_MAX,
    PLACE_SECONDS_MAX,
    PLACE_SECRET_BYTES_MAX,
    PLACE_URL_CHARS_MAX,
    PLACE_WAITING_MAX,
    PLACES_OPEN_MAX,
)
from dms3.core.machine import Entropy
from dms3.storage.operations import DeleteObject, GetObject, ListObjects, Place, PutObject

T = TypeVar("T")

_NAME = re.compile(r"[0-9a-f]{64}")
_SECRETS = re.compile(r"(?<=//)[^/]*@|[?#].*", re.DOTALL)  # where people put passwords in a URL
_PROBE = b"dms3 was here"
_NEXT_STEPS = {
    "peer_unreachable": "It is tried again; see that it is up and that its address is right.",
    "timed_out": "It is tried again; see that it is up and the line to it is free.",
    "limit_reached": "Make room there, or choose another place with `dms3 message store-in`.",
    "unauthorized": "Choose the place again with a --secret-file that it accepts.",
    "disk_full": "Free some space, or choose another place with `dms3 message store-in`.",
}
_HINTS_MISSING = "Choose the place again with `dms3 message store-in`."


class BackEnd(Protocol):
    """One open place; `name` is 64 hex characters. Raises Dms3Error for what is to be expected.

    Its messages are clauses that go on after the name of the place and a colon.
    """

    async def put(self, name: str, data: bytes) -> None:
        """Replace what lies under `name`, whole or not at all; durable when this returns."""
        ...

    async def get(self, name: str) -> bytes | None:
        """What lies under `name`."""
        ...

    async def names(self, after: str) -> tuple[str, ...]:
        """The first PLACE_LIST_NAMES_MAX names greater than `after`, in order."""
        ...

    async def delete(self, name: str) -> None:
        """Remove `name`; nothing happens when it is not there."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


Opener = Callable[[Place], BackEnd]
"""Makes the back-end of a place without touching it; raises `argument_invalid`."""


@dataclass(slots=True, eq=False)
class _Open:
    """A place in use: its back-end, and who uses it."""

    back_end: BackEnd
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(PLACE_CALLS_MAX))
    users: int = 0


class Places:
    """The port. `openers`: one for each kind; `seconds`: the time limit of one operation."""

    def __init__(
        self,
        openers: Mapping[str, Opener],
        entropy: Entropy,
        *,
        seconds: float = PLACE_SECONDS_MAX,
    ) -> None:
        self._openers = openers
        self._entropy = entropy
        self._seconds = seconds
        self._open: dict[Place, _Open] = {}

    async def serve(self, operation: str, arguments: Any) -> Any:
        """What an operation of the port answers; raises Dms3Error as storage/operations.py says."""
        match operation, arguments:
            case "put", PutObject(place, name, data):
                _check_size(data)
                return await self._at(place, lambda at: at.put(_checked(name), data))
            case "get", GetObject(place, name):
                return await self._at(place, lambda at: _bounded(at.get(_checked(name))))
            case "list", ListObjects(place, after):
                return await self._at(place, lambda at: at.names(after))
            case "delete", DeleteObject(place, name):
                return await self._at(place, lambda at: at.delete(_checked(name)))
            case "check", Place():
                return await self._at(arguments, self._probe)
        raise Dms3Error("method_unknown", f"Port place has no {operation!r}.")

    async def close(self) -> None:
        """Let go of every place."""
        while self._open:
            _, place = self._open.popitem()
            await place.back_end.close()

    async def _probe(self, at: BackEnd) -> None:
        """Write, read and remove an object that nobody else knows."""
        name = self._entropy.draw(32).hex()
        await at.put(name, _PROBE)
        try:
            if await at.get(name) != _PROBE:
                raise Dms3Error("peer_unreachable", "what was written is not what is read")
        finally:
            await at.delete(name)

    async def _at(self, place: Place, work: Callable[[BackEnd], Any]) -> Any:
        """Do `work` at `place` in its turn and in time; its failure names the place."""
        label = place_name(place)
        try:
            async with self._used(place) as at, at.turns, asyncio.timeout(self._seconds):
                return await work(at.back_end)
        except TimeoutError as cause:
            why = f"{label}: no answer within {self._seconds:g} s."
            raise Dms3Error("timed_out", why, hint=_NEXT_STEPS["timed_out"]) from cause
        except Dms3Error as error:
            raise _named(label, error) from error

    @contextlib.asynccontextmanager
    async def _used(self, place: Place) -> AsyncIterator[_Open]:
        used = self._open.pop(place, None)
        if used is None:
            used = _Open(self._back_end(place))
        self._open[place] = used  # the one used last comes last
        if used.users >= PLACE_WAITING_MAX:
            raise Dms3Error("limit_reached", "too much waits for it already")
        used.users += 1
        try:
            await self._let_go()
            yield used
        finally:
            used.users -= 1

    async def _let_go(self) -> None:
        """Close the places that nobody uses, unused longest first, while too many are open."""
        idle = [place for place, used in self._open.items() if not used.users]
        for place in idle[: max(0, len(self._open) - PLACES_OPEN_MAX)]:
            await self._open.pop(place).back_end.close()

    def _back_end(self, place: Place) -> BackEnd:
        if len(place.url) > PLACE_URL_CHARS_MAX or not place.url.isprintable():
            raise Dms3Error("argument_invalid", "its address is too long, or no line of text")
        parts = _split(place.url)
        if "@" in parts.netloc or parts.query or parts.fragment:
            why = "its address must hold no user, password, question or fragment"
            raise Dms3Error("argument_invalid", why, hint="Put what is secret into the file.")
        if len(place.secret.encode()) > PLACE_SECRET_BYTES_MAX:
            raise Dms3Error("argument_invalid", "its secret is longer than any key")
        opener = self._openers.get(place.kind)
        if opener is None:
            known = ", ".join(sorted(self._openers))
            raise Dms3Error("argument_invalid", "no such kind of place", hint=f"There is {known}.")
        return opener(place)


def place_name(place: Place) -> str:
    """What people are told a place is; nothing secret is in it."""
    match place.kind:
        case "local":
            return "The conversations in this home"
        case "overlay":
            return "The public overlay"
    where = _SECRETS.sub("", place.url[:PLACE_URL_CHARS_MAX]) or "without address"
    return f"The {place.kind} place {where}"


def _named(label: str, error: Dms3Error) -> Dms3Error:
    hint = error.hint or _NEXT_STEPS.get(error.code, _HINTS_MISSING)
    return Dms3Error(
        error.code, f"{label}: {error.message}.", hint=hint, retry=error.retry, blame=error.blame
    )


def _split(url: str) -> Any:
    try:
        return urlsplit(url)
    except ValueError as cause:
        raise Dms3Error("argument_invalid", "its address is no URL") from cause


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Dms3Error("argument_invalid", f"{name[:80]!r} is no name of an object")
    return name


def _check_size(data: bytes) -> None:
    if len(data) > PLACE_OBJECT_BYTES_MAX:
        why = f"An object has at most {PLACE_OBJECT_BYTES_MAX} bytes, not {len(data)}."
        raise Dms3Error("argument_invalid", why, hint="Cut it into several.")


async def _bounded(found: Any) -> bytes | None:
    """What a place gave, unless no object of ours can be that long."""
    data: bytes | None = await found
    if data is not None and len(data) > PLACE_OBJECT_BYTES_MAX:
        raise Dms3Error("peer_unreachable", "what lies there is longer than what was written")
    return data
