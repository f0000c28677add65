"""HTTP to somebody else's service: where it may lie, how long it may take, how much it may answer.

Source: RFC 9110; docs/attacks.md, "A name that points into my network". Names are resolved here and
every address is looked at before a byte leaves. Follows no redirect, keeps no cookie, uses no
proxy, unpacks nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpcore

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    COURIER_ANSWER_BYTES_MAX,
    COURIER_CONNECT_SECONDS_MAX,
    COURIER_SECONDS_MAX,
)

Allowed = Callable[[str], bool]
"""Whether this node may talk to a service at that IP address (a text without brackets)."""

_SCHEMES = ("http", "https")
_CONNECTIONS_MAX = 64
_IDLE_MAX = 8


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: `token` goes into the Authorization header, `body` is JSON."""

    method: str
    url: str
    body: bytes | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)


class RefusedAddressError(Exception):
    """The service lies where this node does not go; the text says where."""


async def addresses_of(host: str, port: int, allowed: Allowed) -> list[str]:
    """Every address of `host`; raises RefusedAddressError when one of them is not allowed.

    One is enough: whoever names a public and a private address wants the second to be tried.
    """
    try:
        ipaddress.ip_address(host)
        found = [host]
    except ValueError:
        loop = asyncio.get_running_loop()
        rows = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = list(dict.fromkeys(str(row[4][0]) for row in rows))
    for address in found:
        if not allowed(address):
            raise RefusedAddressError(address)
    return found


class _Backend(httpcore.AsyncNetworkBackend):
    """Opens connections to allowed addresses only."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the library's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = OSError("no address")
        try:
            found = await addresses_of(host, port, self._allowed)
        except OSError as cause:
            raise httpcore.ConnectError(f"{host} has no address") from cause
        for address in found:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as cause:
                failure = cause
        raise failure


class Door:
    """Connections to services; `close` at the end."""

    def __init__(self, allowed: Allowed) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=_CONNECTIONS_MAX,
            max_keepalive_connections=_IDLE_MAX,
            keepalive_expiry=30,
            network_backend=_Backend(allowed),
        )

    async def close(self) -> None:
        """End every connection."""
        await self._pool.aclose()

    async def ask(self, asked: Asked) -> tuple[int, bytes]:
        """Status and body of the answer; raises as `open`."""
        async with self.open(asked) as (status, pieces):
            body = b""
            async for piece in pieces:
                body += piece
                if len(body) > COURIER_ANSWER_BYTES_MAX:
                    raise misbehaved(
                        asked.url, f"answers more than {COURIER_ANSWER_BYTES_MAX} bytes"
                    )
            return status, body

    @asynccontextmanager
    async def open(self, asked: Asked) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Status and body of the answer, piece by piece, within COURIER_SECONDS_MAX.

        Raises `peer_unreachable`, `timed_out`, `peer_refused` for an address that is refused,
        `peer_misbehaved` for what is no HTTP or points elsewhere.
        """
        check_url(asked.url)
        headers = [("Accept", "application/json"), ("Accept-Encoding", "identity")]
        if asked.body is not None:
            headers.append(("Content-Type", "application/json"))
        if asked.token:
            headers.append(("Authorization", f"Bearer {asked.token}"))
        seconds = {"connect": COURIER_CONNECT_SECONDS_MAX, "pool": COURIER_SECONDS_MAX}
        seconds |= dict.fromkeys(("read", "write"), COURIER_SECONDS_MAX)
        place = where(asked.url)
        try:
            async with (
                asyncio.timeout(COURIER_SECONDS_MAX),
                self._pool.stream(
                    asked.method,
                    asked.url,
                    headers=headers,
                    content=asked.body,
                    extensions={"timeout": seconds},
                ) as response,
            ):
                if 300 <= response.status < 400:
                    raise misbehaved(asked.url, "sends us elsewhere, which is not followed")
                yield response.status, response.aiter_stream()
        except RefusedAddressError as refused:
            raise Dms3Error(
                "peer_refused",
                f"The service {place} lies at {refused}, an address that is no public one.",
                hint="Such services are used only where the whole network is local.",
            ) from refused
        except (TimeoutError, httpcore.TimeoutException) as cause:
            raise Dms3Error("timed_out", f"The service {place} did not answer in time.") from cause
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as cause:
            raise misbehaved(asked.url, "does not answer as HTTP does") from cause
        except (httpcore.NetworkError, OSError) as cause:
            raise Dms3Error(
                "peer_unreachable", f"The service {place} cannot be reached: {_reason(cause)}."
            ) from cause


def check_url(url: str) -> None:
    """Raise `peer_refused` for what is no URL of a service."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in _SCHEMES and parts.hostname and (parts.port or 1)
        plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    except ValueError:
        fits = plain = False
    if not fits or not plain:
        raise Dms3Error(
            "peer_refused",
            f"{url[:80]!r} is no URL of a delivery service.",
            hint="It looks like https://ds.example.org/dm3.",
        )


def where(url: str) -> str:
    """The part of a URL that may be shown: no path, no query."""
    return urlsplit(url).netloc[:120]


def misbehaved(url: str, what: str) -> Dms3Error:
    """The error for an answer that is none."""
    return Dms3Error("peer_misbehaved", f"The service {where(url)} {what}.")


def _reason(cause: BaseException) -> str:
    text = str(cause) or type(cause).__name__
    return "".join(char if char.isprintable() else " " for char in text)[:120].rstrip(".")
