"""The push connection to a delivery service: told at once that something came, instead of asking.

Source: dm3, the reference's socket.io endpoint (path /socket.io, websocket, auth in the handshake);
Socket.IO protocol 5. What is pushed is not read: it only says that a fetch is worth its while.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import aiohttp.abc
import socketio
import socketio.packet

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    COURIER_CONNECT_SECONDS_MAX,
    PUSH_BACKOFF_SECONDS_MAX,
    PUSH_BACKOFF_SECONDS_MIN,
)
from dms3.io.courier_http import Allowed, RefusedAddressError, addresses_of, check_url
from dms3.messaging.operations import Listen

Arrived = Callable[[str], Awaitable[None]]
"""Told the name of a service that has something, or that can be asked again."""

_UNTIED = "/ds"  # the reference's services lie there and have their socket at the root


class _Packet(socketio.packet.Packet):  # type: ignore[misc]  # untyped
    """A packet that is none, or announces attachments, is an event nobody listens to.

    The library keeps as many attachments as are announced, and logs each error as a bug.
    """

    def decode(self, encoded_packet: Any) -> int:
        """0: no attachments follow."""
        try:
            if isinstance(encoded_packet, str) and not super().decode(encoded_packet):
                return 0
        except (ValueError, RecursionError):
            pass
        self.packet_type, self.namespace, self.data = socketio.packet.EVENT, None, ["dropped"]
        return 0


class _Resolver(aiohttp.abc.AbstractResolver):
    """Gives allowed addresses only."""

    def __init__(self, allowed: Allowed) -> None:
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[aiohttp.abc.ResolveResult]:
        """Rows as aiohttp wants them."""
        del family
        try:
            found = await addresses_of(host, port, self._allowed)
        except RefusedAddressError as refused:
            raise OSError(f"{refused} is no public address") from refused
        return [
            aiohttp.abc.ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Nothing is held."""


async def listen(wanted: Listen, allowed: Allowed, arrived: Arrived) -> None:
    """Hold a push connection to `wanted.url` until it is refused, with back-off; for a task.

    `arrived` is told at each connection too: something may have come in between. It returns when
    the service does not know the token any more, after `arrived`: the next fetch logs in again.
    """
    loop = asyncio.get_running_loop()
    pause = PUSH_BACKOFF_SECONDS_MIN
    while True:
        begun = loop.time()
        if await _hold(wanted, allowed, arrived):
            await _tell(wanted.service, arrived)
            return
        if loop.time() - begun > PUSH_BACKOFF_SECONDS_MAX:
            pause = PUSH_BACKOFF_SECONDS_MIN  # it was a good one
        await asyncio.sleep(pause)
        pause = min(2 * pause, PUSH_BACKOFF_SECONDS_MAX)


async def _tell(service: str, arrived: Arrived) -> None:
    with contextlib.suppress(Dms3Error):  # the node is busy or stops: it asks by itself later
        await arrived(service)


async def _hold(wanted: Listen, allowed: Allowed, arrived: Arrived) -> bool:
    """One connection from beginning to end; whether the service refused the token."""
    end: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    news = asyncio.Event()

    def finish(*, refused: bool) -> None:
        if not end.done():
            end.set_result(refused)

    async def on_message(*_: Any) -> None:
        news.set()

    async def on_refused(*_: Any) -> None:
        finish(refused=True)

    async def on_end(*_: Any) -> None:
        finish(refused=False)

    async def tell() -> None:
        while True:
            await news.wait()
            news.clear()
            await _tell(wanted.service, arrived)

    async with _client(allowed) as client:
        client.on("message", on_message)
        client.on("unauthorized", on_refused)
        client.on("disconnect", on_end)
        try:
            await _connect(client, wanted, allowed)
        except socketio.exceptions.ConnectionError:
            return bool(client.failed_namespaces)  # the service was there and said no
        except (Dms3Error, RefusedAddressError, OSError, aiohttp.ClientError, ValueError):
            return False
        news.set()
        async with asyncio.TaskGroup() as group:
            telling = group.create_task(tell())
            refused = await end
            telling.cancel()
        return refused


async def _connect(client: socketio.AsyncClient, wanted: Listen, allowed: Allowed) -> None:
    check_url(wanted.url)
    parts = urlsplit(wanted.url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    await addresses_of(host, port, allowed)  # addresses in numbers ask no resolver
    path = parts.path.rstrip("/").removesuffix(_UNTIED)
    await client.connect(
        urlunsplit((parts.scheme, parts.netloc, "", "", "")),
        auth={"account": {"ensName": wanted.name}, "token": wanted.token},
        transports=["websocket"],
        socketio_path=f"{path}/socket.io",
        wait_timeout=COURIER_CONNECT_SECONDS_MAX,
    )


@asynccontextmanager
async def _client(allowed: Allowed) -> AsyncIterator[socketio.AsyncClient]:
    connector = aiohttp.TCPConnector(resolver=_Resolver(allowed), use_dns_cache=False)
    watch = aiohttp.TraceConfig()
    watch.on_request_redirect.append(_refuse)
    timeout = aiohttp.ClientTimeout(sock_connect=COURIER_CONNECT_SECONDS_MAX)
    silent = logging.getLogger("dms3.push")
    silent.disabled = True  # what the library would log names tokens and envelopes
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[watch],
    ) as session:
        client = socketio.AsyncClient(
            reconnection=False,
            serializer=_Packet,
            logger=silent,
            engineio_logger=silent,
            handle_sigint=False,
            http_session=session,
        )
        try:
            yield client
        finally:
            await client.disconnect()


async def _refuse(*_: Any) -> None:
    """Follow no redirect: it may lead to an address in numbers, which asks no resolver."""
    raise aiohttp.ClientConnectionError("sends us elsewhere, which is not followed")
