"""Back-end of places: a locker at a delivery service of this person.

Source: docs/storage.md, "A delivery service"; the login is that of the dm3 reference (a challenge
is signed with the profile's key). The service sees sealed objects, their sizes, and when they are
read and written. No token or key is in an error.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import (
    DM3_TOKEN_CHARS_MAX,
    PLACE_LIST_NAMES_MAX,
    PLACE_OBJECT_BYTES_MAX,
    PLACE_SECONDS_MAX,
)
from dms3.dm3.canonical import parse
from dms3.dm3.keys import ProfileKeys
from dms3.storage.operations import Place

_ANSWER_BYTES_MAX = max(PLACE_OBJECT_BYTES_MAX, PLACE_LIST_NAMES_MAX * 128) + 1
_HEX = frozenset("0123456789abcdef")
_FULL = (413, 429, 507)


@dataclass(frozen=True, slots=True)
class Account:
    """As whom to log in: a name that means this person, and the keys of the profile."""

    name: str
    keys: ProfileKeys = field(repr=False)


WhoAmI = Callable[[], Awaitable[Account]]
"""As whom this node logs in now; raises Dms3Error while it cannot be said."""


class ServicePlace:
    """The locker of `who` at the service whose URL is `base`."""

    def __init__(self, base: str, who: WhoAmI) -> None:
        import httpx  # noqa: PLC0415  # 60 ms of a start, for a kind that few nodes use

        self._errors: tuple[type[Exception], ...] = (httpx.HTTPError, httpx.InvalidURL)
        self._slow: type[Exception] = httpx.TimeoutException
        self._client = httpx.AsyncClient(
            timeout=PLACE_SECONDS_MAX, trust_env=False, follow_redirects=False
        )
        self._base = base
        self._who = who
        self._account: Account | None = None
        self._token = ""
        self._logging_in = asyncio.Lock()

    async def put(self, name: str, data: bytes) -> None:
        """Replace an object; durable at the service when this returns."""
        await self._ask("PUT", f"/{name}", data)

    async def get(self, name: str) -> bytes | None:
        """An object, or None."""
        return await self._ask("GET", f"/{name}")

    async def names(self, after: str) -> tuple[str, ...]:
        """A page of names."""
        found = _json(await self._ask("GET", f"?after={quote(after)}"))
        names = found.get("names") if isinstance(found, dict) else None
        if not isinstance(names, list) or not all(map(_is_name, names)):
            raise Dms3Error("peer_unreachable", "what answers is no delivery service with lockers")
        return tuple(names)

    async def delete(self, name: str) -> None:
        """Remove an object."""
        await self._ask("DELETE", f"/{name}")

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def _ask(self, method: str, path: str, data: bytes | None = None) -> bytes | None:
        """The body of a success, None for what is not there; logs in when that is asked for."""
        for last in (False, True):
            account, token = await self._session()
            url = f"{self._base}/storage/objects/{quote(account.name, safe='')}{path}"
            status, body = await self._send(method, url, data, token)
            if status != 401:
                break
            if last:
                raise Dms3Error("unauthorized", "it takes no login of this person")
            if self._token == token:
                self._token = ""
        if status == 404 and method == "GET":
            return None
        _check(status, body)
        return body

    async def _session(self) -> tuple[Account, str]:
        async with self._logging_in:
            if self._account is None or not self._token:
                account = await self._who()
                url = f"{self._base}/auth/{quote(account.name, safe='')}"
                challenge = await self._text("GET", url)
                answer = {"challenge": challenge, "signature": account.keys.sign(challenge)}
                self._token = await self._text("POST", url, json.dumps(answer).encode())
                self._account = account
            return self._account, self._token

    async def _text(self, method: str, url: str, data: bytes | None = None) -> str:
        """A challenge or a session: one line of text as JSON."""
        status, body = await self._send(method, url, data)
        if status in (400, 401, 404):
            why = "it knows no account of this person; carry with it first"
            raise Dms3Error("unauthorized", why, hint="Use `dms3 message carry`, then try again.")
        _check(status, body)
        text = _json(body)
        if not isinstance(text, str) or not 0 < len(text) <= DM3_TOKEN_CHARS_MAX:
            raise Dms3Error("peer_unreachable", "what answers is no delivery service")
        if not text.isascii() or not text.isprintable():
            raise Dms3Error("peer_unreachable", "what answers is no delivery service")
        return text

    async def _send(
        self, method: str, url: str, data: bytes | None, token: str = ""
    ) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if data is not None:
            kind = "application/octet-stream" if method == "PUT" else "application/json"
            headers["Content-Type"] = kind
        try:
            asked = self._client.stream(method, url, content=data, headers=headers)
            async with asked as response:
                body = bytearray()
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > _ANSWER_BYTES_MAX:
                        raise Dms3Error("peer_unreachable", "it answers without end")
        except self._slow as cause:
            raise Dms3Error("timed_out", "it does not answer") from cause
        except self._errors as cause:
            raise Dms3Error("peer_unreachable", "no connection, or it was cut") from cause
        return response.status_code, bytes(body)


def open_service(place: Place, who: WhoAmI) -> ServicePlace:
    """The back-end of a `service` place; raises `argument_invalid`.

    Its address: the service's URL, `https://SERVER/dm3`. Its secret: empty, so that `who` logs in,
    or {"name": NAME, "seed": 64 HEX CHARACTERS}, the keys of a profile of this person.
    """
    parts = urlsplit(place.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Dms3Error("argument_invalid", "its address is no URL of a delivery service")
    if place.secret:
        account = _account(place.secret)

        async def given() -> Account:
            return account

        who = given
    return ServicePlace(place.url.rstrip("/"), who)


def _account(secret: str) -> Account:
    try:
        found = json.loads(secret)
    except ValueError:
        found = None
    name, seed = (found.get("name"), found.get("seed")) if isinstance(found, dict) else ("", "")
    if isinstance(name, str) and name and _is_name(seed):
        return Account(name, ProfileKeys.of_seed(bytes.fromhex(str(seed))))
    why = 'its secret is not {"name": NAME, "seed": 64 characters of hex}'
    raise Dms3Error("argument_invalid", why)


def _check(status: int, body: bytes) -> None:
    if 200 <= status < 300:
        return
    if status in _FULL:
        raise Dms3Error("limit_reached", _words(body) or "it is full")
    if status == 400:
        raise Dms3Error("argument_invalid", _words(body) or "it refuses the question")
    raise Dms3Error("peer_unreachable", f"it answered with status {status}")


def _words(body: bytes) -> str:
    """What the service says of a refusal: one printable clause."""
    try:
        found = _json(body)
    except Dms3Error:
        return ""
    text = found.get("error") if isinstance(found, dict) else None
    if not isinstance(text, str) or not text.isprintable():
        return ""
    return text[:200].rstrip(".")


def _json(body: bytes | None) -> Any:
    try:
        return parse(body or b"", _ANSWER_BYTES_MAX)
    except DecodeError as error:
        raise Dms3Error("peer_unreachable", "what answers is no delivery service") from error


def _is_name(value: object) -> bool:
    """Whether `value` is 32 bytes in hex: the name of an object, or a seed."""
    return isinstance(value, str) and len(value) == 64 and set(value) <= _HEX
