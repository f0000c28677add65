"""Listening: uvicorn inside our own TaskGroup, with its signal handlers off.

Source: docs/architecture.md, "One process, one loop". Bounds what uvicorn does not: the size of a
request's head and the time it takes to arrive.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    API_BODY_BYTES_MAX,
    API_CONNECTIONS_MAX,
    API_HEADER_BYTES_MAX,
    API_HEADER_SECONDS_MAX,
    API_STOP_SECONDS_MAX,
    PUBLIC_CONNECTIONS_MAX,
    PUBLIC_CONNECTIONS_PER_HOST_MAX,
)
from dms3.core.loopback import network_of

BACKLOG = 128


@dataclass(frozen=True, slots=True)
class Listening:
    """Where a server listens, after port 0 was resolved."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address as a URL without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Door:
    """What is special about a listener.

    `option`: the setting that chooses its port. `connections`: open at once, `per_host` of them
    from one address that is not this machine (0: as many as there are).
    """

    option: str = "--api-listen"
    connections: int = API_CONNECTIONS_MAX
    per_host: int = 0


PRIVATE = Door()
PUBLIC = Door("--public", PUBLIC_CONNECTIONS_MAX, PUBLIC_CONNECTIONS_PER_HOST_MAX)


@contextlib.asynccontextmanager
async def serve(
    app: ASGIApp, host: str, port: int, door: Door = PRIVATE
) -> AsyncIterator[Listening]:
    """Serve `app` on `host`:`port` (0: a free port) for as long as the block runs.

    Raises `port_in_use` or `argument_invalid` before the block begins. At its end requests that
    still run get `API_STOP_SECONDS_MAX`, then they are cancelled.
    """
    listener = await _bind(host, port, door.option)
    name = listener.getsockname()
    server = _Server(
        uvicorn.Config(
            app,
            http=_counting(door.per_host) if door.per_host else _BoundedHead,
            ws="websockets-sansio",
            ws_max_size=API_BODY_BYTES_MAX,
            loop="none",
            lifespan="off",
            log_config=None,
            log_level="critical",  # the boundary in api/http.py reports; uvicorn's log is global
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=door.connections,
            timeout_graceful_shutdown=API_STOP_SECONDS_MAX,
        )
    )
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(server.serve(sockets=[listener]))
            await server.listening.wait()
            try:
                yield Listening(name[0], name[1])
            finally:
                server.should_exit = True
                await running
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _bind(host: str, port: int, option: str) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as cause:
        raise Dms3Error(
            "argument_invalid", f"{host} is not a host this machine knows.", hint="Try 127.0.0.1."
        ) from cause
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as cause:
        listener.close()
        if cause.errno == errno.EADDRINUSE:
            raise Dms3Error(
                "port_in_use",
                f"Port {port} on {host} is in use by another program.",
                hint=f"Stop that program, or choose another port with {option} HOST:PORT.",
            ) from cause
        raise Dms3Error(
            "argument_invalid",
            f"The node cannot listen on {host}:{port}: {cause.strerror}.",
            hint="Use an address of this machine and a port above 1023.",
        ) from cause
    return listener


class _Server(uvicorn.Server):
    """uvicorn's server without signal handlers, which tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the node."""
        yield


class _BoundedHead(HttpToolsProtocol):
    """A connection whose request head is bounded in bytes and in time."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
        """A first request is expected soon."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """No timer outlives its connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head; one that is too large is refused."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._start_timer()
        super().data_received(data)
        if self._in_head and self._head_bytes > API_HEADER_BYTES_MAX:
            self._stop_timer()
            self.send_400_response("The head of the request is too large.")

    def on_headers_complete(self) -> None:
        """The head is there: what follows is the body's affair."""
        self._in_head = False
        self._head_bytes = 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next byte belongs to the next head."""
        self._in_head = True
        super().on_message_complete()

    def _start_timer(self) -> None:
        self._head_timer = self.loop.call_later(API_HEADER_SECONDS_MAX, self._too_slow)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def _counting(per_host: int) -> type[_BoundedHead]:
    """Connections of one listener, at most `per_host` of which come from one foreign address."""
    opened: Counter[str] = Counter()

    class Counted(_BoundedHead):
        _host = ""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
            """Take it, or close it at once."""
            super().connection_made(transport)
            peer = transport.get_extra_info("peername")
            host = network_of(str(peer[0])) if peer else ""
            if not host:
                return
            if opened[host] >= per_host:
                transport.close()
                return
            self._host = host
            opened[host] += 1

        def handle_websocket_upgrade(self) -> None:
            """From here on it is counted where the application sees it (api/public.py)."""
            self._leave()
            super().handle_websocket_upgrade()

        def connection_lost(self, exc: Exception | None) -> None:
            """Its place is free again."""
            super().connection_lost(exc)
            self._leave()

        def _leave(self) -> None:
            if self._host:
                opened[self._host] -= 1
                if not opened[self._host]:
                    del opened[self._host]
                self._host = ""

    return Counted
