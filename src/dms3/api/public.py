"""The public listener: only the routes of the node's roles, for anybody, bounded per address.

Source: docs/api.md, "The public listener". It knows no token of the node and no page, and takes
none. What a role answers is its own module (`api/dm3.py`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dms3.api.answers import dumps
from dms3.api.guard import BoundedBody, content_length, too_large
from dms3.api.http import Boundary, Report
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    PUBLIC_BODY_BYTES_MAX,
    PUBLIC_CONNECTIONS_PER_HOST_MAX,
    PUBLIC_HOSTS_NOTED_MAX,
    PUBLIC_REQUESTS_BURST_MAX,
    PUBLIC_REQUESTS_PER_SECOND,
    SECOND_US,
)
from dms3.core.loopback import is_loopback, network_of
from dms3.delivery.rates import Rates

Refusal = Callable[[Dms3Error, Headers], Response]
"""How a refusal of a request with these headers is said."""

_SMALLER = "Send less at once."


class PublicFront:
    """ASGI application of the public listener.

    `roles`: first part of a path -> the application that answers it. `report`: told what nobody
    expected. `refusals`: first part of a path -> how a refusal is said there, where that is not as
    in dm3.
    """

    def __init__(
        self,
        roles: Mapping[str, ASGIApp],
        report: Report,
        refusals: Mapping[str, Refusal] | None = None,
    ) -> None:
        self._roles = {name: Boundary(app, report) for name, app in roles.items()}
        self._refusals = refusals or {}
        self._rates = Rates(
            PUBLIC_REQUESTS_PER_SECOND, PUBLIC_REQUESTS_BURST_MAX, PUBLIC_HOSTS_NOTED_MAX
        )
        self._sockets: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it to the role it is for."""
        if scope["type"] not in ("http", "websocket"):
            return
        headers = Headers(scope=scope)
        host = remote_host(scope, headers)
        try:
            role = self._role(scope)
            self._admit(scope, host)
            if scope["type"] == "http":
                receive = _bounded(headers, receive)
        except Dms3Error as refusal:
            await self._refuse(scope, receive, send, refusal)
            return
        if scope["type"] == "http":
            await role(scope, receive, _Guarded(send))
            return
        self._sockets[host] += 1
        try:
            await role(scope, receive, send)
        finally:
            self._sockets[host] -= 1
            if not self._sockets[host]:
                del self._sockets[host]

    def _role(self, scope: Scope) -> ASGIApp:
        role = self._roles.get(_first(scope))
        if role is None:
            raise Dms3Error("method_unknown", "This node has no such public route.")
        return role

    def _admit(self, scope: Scope, host: str) -> None:
        """Count the request; raises `limit_reached`. A program on this machine is not counted."""
        if not host:
            return
        now_us = int(asyncio.get_running_loop().time() * SECOND_US)
        wait_us = self._rates.take(host, now_us)
        if wait_us:
            raise Dms3Error(
                "limit_reached",
                "Too many requests from your address.",
                hint=f"Ask again in {wait_us // SECOND_US + 1} s.",
            )
        if scope["type"] == "websocket" and self._sockets[host] >= PUBLIC_CONNECTIONS_PER_HOST_MAX:
            raise Dms3Error("limit_reached", "Too many connections from your address.")

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, refusal: Dms3Error) -> None:
        if scope["type"] == "websocket":
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.code})
            return
        said = self._refusals.get(_first(scope), _said_as_in_dm3)
        await said(refusal, Headers(scope=scope))(scope, receive, _Guarded(send))


def _first(scope: Scope) -> str:
    """The first part of the path."""
    return str(scope["path"].split("/", 2)[1])


class _Guarded:
    """A `send` that adds what every answer of the public listener says to browsers."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], (b"x-content-type-options", b"nosniff")]
        await self._send(message)


def remote_host(scope: Scope, headers: Headers) -> str:
    """Under which name a request is counted: its address, of IPv6 the network; "" for this machine.

    A program on this machine that names somebody else (the last of X-Forwarded-For) is the proxy
    that ends TLS; nobody else is believed.
    """
    client = scope.get("client")
    host = str(client[0]) if client else ""
    if host and is_loopback(host):
        host = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    return network_of(host)


def _bounded(headers: Headers, receive: Receive) -> Receive:
    if content_length(headers) > PUBLIC_BODY_BYTES_MAX:
        raise too_large(PUBLIC_BODY_BYTES_MAX, _SMALLER)
    return BoundedBody(receive, PUBLIC_BODY_BYTES_MAX, whole=True, hint=_SMALLER)


def _said_as_in_dm3(refusal: Dms3Error, _: Headers) -> Response:
    body = dumps({"error": refusal.message, "code": refusal.code, "hint": refusal.hint})
    headers = {"Access-Control-Allow-Origin": "*"}
    if refusal.code == "body_too_large":
        headers["Connection"] = "close"  # the rest of the body may still be under way
    return Response(body, refusal.http_status, headers, "application/json")
