"""The gate before every route: Host, Origin, credentials, body limits, security headers.

Source: docs/api.md, "Who may ask"; OWASP on DNS rebinding and cross-site requests. A page of a
foreign site must not reach a node that listens on loopback. It knows no command.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Iterable
from enum import StrEnum
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dms3.api.answers import problem, raw_headers, with_headers
from dms3.api.sessions import Sessions
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    API_BODY_BYTES_MAX,
    API_BODY_SECONDS_MAX,
    API_CHUNK_SECONDS_MAX,
    UPLOAD_BYTES_MAX,
)

CALLER = "dms3.caller"  # key in an ASGI scope
LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
OPEN_PATHS = (
    *("/", "/login", "/docs", "/openapi.json"),
    *("/static/style.css", "/static/page.js", "/static/icon.svg", "/favicon.ico"),
    *("/healthz", "/readyz", "/metrics"),
)
UPLOAD_PATH = "/api/v1/blob"
UPLOAD_HINT = "Upload large input with PUT /api/v1/blob and give the id it answers."
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Under no-referrer browsers send `Origin: null` with the page's own forms, which is refused.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_HEADERS = raw_headers(HEADERS)


class Caller(StrEnum):
    """Who asks, by the credential of the request."""

    TOKEN = "token"  # noqa: S105 - the kind of caller, not a token
    PAGE = "page"
    NOBODY = "nobody"


class Guard:
    """ASGI middleware around `app`.

    Arguments: `token`, the API token; `sessions` of browsers; `hosts`, names beside loopback under
    which the node may be addressed; `refuse`, how an HTTP request that is refused is answered.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        sessions: Sessions,
        hosts: Iterable[str] = (),
        refuse: Callable[[Scope, Dms3Error], Response] = lambda _, error: problem(error),
    ) -> None:
        assert len(token) >= 32, f"an API token of {len(token)} characters can be guessed"
        self._app = app
        self._token = _digest(token)
        self._sessions = sessions
        self._refuse = refuse
        self._hosts = {*LOOPBACK_HOSTS, *(host.lower().strip("[]") for host in hosts)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request through with its caller noted in the scope, or answer it here."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        is_http = scope["type"] == "http"
        guarded = with_headers(send, _HEADERS) if is_http else send
        try:
            scope[CALLER] = self._admit(scope, headers)
            if is_http:
                receive = self._bounded(scope, headers, receive)
        except Dms3Error as refusal:
            if is_http:
                await self._refuse(scope, refusal)(scope, receive, guarded)
            else:
                await receive()  # websocket.connect
                await send({"type": "websocket.close", "code": 1008, "reason": refusal.code})
            return
        await self._app(scope, receive, guarded)

    def _admit(self, scope: Scope, headers: Headers) -> Caller:
        self._check_host(headers)
        self._check_origin(scope, headers)
        caller = self._caller(scope, headers)
        if caller is Caller.NOBODY and scope["path"] not in OPEN_PATHS:
            raise Dms3Error(
                "unauthorized",
                "This needs the token of the node or a browser that is logged in.",
                hint="The token is in the file api.token of the node's home folder.",
            )
        if (
            caller is Caller.PAGE
            and scope["type"] == "http"
            and scope["method"] not in SAFE_METHODS
            and "origin" not in headers
        ):
            raise Dms3Error("origin_refused", "A change from a page has to name its Origin.")
        return caller

    def _check_host(self, headers: Headers) -> None:
        given = headers.getlist("host")
        if len(given) != 1 or host_name(given[0]) not in self._hosts:
            raise Dms3Error(
                "origin_refused",
                f"This node is not called {', '.join(given)[:80]!r}.",
                hint="Address it as 127.0.0.1 or localhost.",
            )

    def _check_origin(self, scope: Scope, headers: Headers) -> None:
        own = f"{'https' if scope['scheme'] in ('https', 'wss') else 'http'}://{headers['host']}"
        origins = headers.getlist("origin")
        if any(origin.lower() != own.lower() for origin in origins):
            raise Dms3Error(
                "origin_refused",
                f"A page from {', '.join(origins)[:80]} may not use this node.",
                hint="Open the node's own page, or call it from a program with its token.",
            )
        site = headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin") and scope["path"] not in OPEN_PATHS:
            raise Dms3Error("origin_refused", f"A {site} request may not use this node.")

    def _caller(self, scope: Scope, headers: Headers) -> Caller:
        given = headers.get("authorization")
        if given is not None:
            kind, _, token = given.partition(" ")
            if kind.lower() == "bearer" and hmac.compare_digest(
                _digest(token.strip()), self._token
            ):
                return Caller.TOKEN
            raise Dms3Error(
                "unauthorized",
                "The token is not that of this node.",
                hint="It is in the file api.token of the node's home folder.",
            )
        session = session_of(scope, headers)
        return Caller.PAGE if session and self._sessions.valid(session) else Caller.NOBODY

    def _bounded(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        upload = scope["path"] == UPLOAD_PATH and scope["method"] == "PUT"
        limit = UPLOAD_BYTES_MAX if upload else API_BODY_BYTES_MAX
        if content_length(headers) > limit:
            raise too_large(limit, UPLOAD_HINT)
        return BoundedBody(receive, limit, whole=not upload)


class BoundedBody:
    """A `receive` that counts the body and does not wait for ever for the next piece of it."""

    def __init__(
        self, receive: Receive, limit: int, *, whole: bool, hint: str = UPLOAD_HINT
    ) -> None:
        self._receive = receive
        self._hint = hint
        self._limit = limit
        self._seen = 0
        self._more = True
        self._whole = whole  # the time-out is for the whole body, not for each piece
        self._deadline = asyncio.get_running_loop().time() + API_BODY_SECONDS_MAX

    async def __call__(self) -> Message:
        """The next message of the request; raises `body_slow` and `body_too_large`."""
        if not self._more:
            return await self._receive()  # waits for the client to go away
        now = asyncio.get_running_loop().time()
        deadline = self._deadline if self._whole else now + API_CHUNK_SECONDS_MAX
        try:
            async with asyncio.timeout_at(deadline):
                message = await self._receive()
        except TimeoutError:
            self._more = False
            raise Dms3Error(
                "body_slow", "The body did not arrive in time.", hint="Send it again, faster."
            ) from None
        self._seen += len(message.get("body", b""))
        self._more = bool(message.get("more_body", False))
        if self._seen > self._limit:
            self._more = False
            raise too_large(self._limit, self._hint)
        return message


def session_cookie(scope: Scope) -> str:
    """The name of the session cookie: cookies of one host are shared by all its ports."""
    server = scope.get("server")
    return f"dms3_{server[1] if server and server[1] else 80}"


def session_of(scope: Scope, headers: Headers) -> str:
    """The session that the browser presents, or ""."""
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    morsel = cookies.get(session_cookie(scope))
    return morsel.value if morsel else ""


def host_name(host: str) -> str:
    """The name in a Host header, lower case, without port and brackets."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        return name.lower() if bracket and (not port or port.startswith(":")) else ""
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()


def content_length(headers: Headers) -> int:
    """The announced size of the body in bytes, 0 without one; raises `body_malformed`."""
    given = headers.get("content-length", "0")
    if not (given.isascii() and given.isdigit()):
        raise Dms3Error("body_malformed", f"Content-Length is {given[:32]!r}, not a number.")
    return int(given) if len(given) < 20 else UPLOAD_BYTES_MAX + 1


def too_large(limit: int, hint: str) -> Dms3Error:
    """The refusal of a body of more than `limit` bytes."""
    return Dms3Error("body_too_large", f"The body is larger than {limit} bytes.", hint=hint)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
