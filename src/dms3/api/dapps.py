"""Pages of apps, each on an origin of its own, with a secret that is good for this app alone.

Source: docs/dapps.md, "The page"; docs/api.md, "Pages of apps". `http://NAME.localhost:PORT` serves
the folder `page/` of the app NAME, and calls its functions for whoever has its session or token.
Everything else of the node is refused there. The node's own page and API are `api/guard.py`.
"""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from mimetypes import guess_type
from pathlib import Path
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from dms3.api.answers import (
    DisconnectedError,
    answer,
    problem,
    raw_headers,
    while_connected,
    with_headers,
)
from dms3.api.bodies import json_object
from dms3.api.events import EventsQuery, EventStream, parse_events_query
from dms3.api.guard import (
    LOOPBACK_HOSTS,
    UPLOAD_HINT,
    BoundedBody,
    content_length,
    host_name,
    too_large,
)
from dms3.core.errors import Dms3Error
from dms3.core.limits import API_BODY_BYTES_MAX, SECOND_US, SESSION_US_MAX
from dms3.node.services import NodeServices
from dms3.node.services_dapp import DappServices

SUFFIX = ".localhost"
TOKEN_PREFIX = "dapp-"  # noqa: S105 - what begins a token, so that it is known as one of an app
API = "/api/v1/dapp/"
EVENTS = "/api/v1/events"
MODULE = "/dapp.js"
_MODULE = Path(__file__).with_name("dapp.js").read_bytes()
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; media-src 'self' blob:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)
_HEADERS = raw_headers(
    {
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "X-DNS-Prefetch-Control": "off",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cache-Control": "no-store",
    }
)
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}
_ENTERED = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta http-equiv="refresh" content="0;url=/"><title>Opening</title></head>
<body><p><a href="/">Open the app</a></p></body></html>
"""
_SHUT = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{name}</title></head>
<body><h1>{name}</h1><p>This page opens with a link that works once. Take it from Apps on the page
of your node, or from the command line: <code>dms3 dapp open {name}</code></p></body></html>
"""


class DappDoor:
    """ASGI: what is for an app goes to `pages`, everything else to `main`."""

    def __init__(self, main: ASGIApp, pages: ASGIApp) -> None:
        self._main = main
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on by its Host, or by the kind of its token."""
        if scope["type"] in ("http", "websocket") and _is_for_dapp(Headers(scope=scope)):
            await self._pages(scope, receive, send)
        else:
            await self._main(scope, receive, send)


def _is_for_dapp(headers: Headers) -> bool:
    hosts = headers.getlist("host")
    if len(hosts) == 1 and host_name(hosts[0]).endswith(SUFFIX):
        return True
    return _bearer(headers).startswith(TOKEN_PREFIX)


class DappPages:
    """ASGI: the pages of all apps of `node`, and their functions."""

    def __init__(self, node: NodeServices) -> None:
        self._node = node

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for an app."""
        if scope["type"] == "websocket":
            await receive()  # websocket.connect
            await send({"type": "websocket.close", "code": 1008, "reason": "forbidden"})
            return
        headers = Headers(scope=scope)
        guarded = with_headers(send, _HEADERS)
        try:
            if content_length(headers) > API_BODY_BYTES_MAX:
                raise too_large(API_BODY_BYTES_MAX, UPLOAD_HINT)
            body = BoundedBody(receive, API_BODY_BYTES_MAX, whole=True)
            response = await self._answer(Request(scope, body))
        except Dms3Error as error:
            response = problem(error)
        except (ClientDisconnect, DisconnectedError):
            response = problem(Dms3Error("cancelled", "The client went away."))
        await response(scope, receive, guarded)

    async def _answer(self, request: Request) -> Response:
        dapps = self._node.dapps
        _check_origin(request)
        if request.headers.get("service-worker", "").lower() == "script":
            raise Dms3Error(
                "forbidden",
                "A page of an app has no service worker.",
                hint="It would outlive the app, and serve the pages of the next one of its name.",
            )
        token, named = _bearer(request.headers), _has_suffix(request)
        name = host_name(request.headers["host"]).removesuffix(SUFFIX)
        if named and not dapps.known(name):
            raise Dms3Error(
                "origin_refused",
                f"This node has no app {name[:40]!r}.",
                hint="dms3 dapp list names those that are installed.",
            )
        if token:
            known = token.startswith(TOKEN_PREFIX)
            admitted = dapps.admitted(token.removeprefix(TOKEN_PREFIX)) if known else None
            if admitted is None or (named and admitted != name):
                raise _unauthorized("The token is not one of this app, or the node was restarted.")
            _check_loopback(request)
            return await self._serve(request, dapps, admitted)
        path = request.scope["path"]
        if path == "/login":
            return _login(request, dapps, name)
        if path == MODULE:
            return Response(_MODULE, media_type="text/javascript")
        if dapps.admitted(_session_of(request)) != name:
            if path.startswith("/api/"):
                raise _unauthorized("The session of this page has ended.")
            return HTMLResponse(_SHUT.format(name=name), 401)
        return await self._serve(request, dapps, name)

    async def _serve(self, request: Request, dapps: DappServices, name: str) -> Response:
        """What whoever is admitted to the app `name` may have."""
        path, method = request.scope["path"], request.method
        if path.startswith("/api/"):
            if (method, path) == ("POST", f"{API}call"):
                return await _call(request, dapps, name)
            if (method, path) == ("GET", f"{API}show"):
                return answer(await dapps.about(name))
            if (method, path) == ("GET", EVENTS):
                return _events(self._node, request, name)
            raise Dms3Error(
                "forbidden",
                f"The page of {name} may call its own functions only; {path[:80]} is not for it.",
                hint="What it needs of the node its functions have to give it (docs/dapps.md).",
            )
        if method not in ("GET", "HEAD"):
            raise Dms3Error("method_unknown", f"{path[:80]} is not for {method}.", hint="Use GET.")
        found = await dapps.page(name, path.removeprefix("/") or "index.html")
        return Response(found, media_type=_media_type(path or "/index.html"))


async def _call(request: Request, dapps: DappServices, name: str) -> Response:
    given = await json_object(request)
    for key in given:
        if key not in ("dapp", "function", "arguments"):
            raise Dms3Error("argument_invalid", f"A call has no parameter {key[:40]!r}.")
    if given.get("dapp", name) != name:
        raise Dms3Error(
            "forbidden",
            f"The page of {name} may not call the app {str(given['dapp'])[:40]!r}.",
            hint="Apps meet through agents: send asks the app of another agent.",
        )
    function = given.get("function")
    if not isinstance(function, str):
        raise Dms3Error("argument_invalid", "A call names its function.")
    called = dapps.call(name, function, given.get("arguments", {}))
    return answer(await while_connected(request.receive, called))


def _events(node: NodeServices, request: Request, name: str) -> Response:
    asked = parse_events_query(request.url.query, request.headers.get("last-event-id", ""))
    return EventStream(node, EventsQuery(asked.since, (), name))


def _login(request: Request, dapps: DappServices, name: str) -> Response:
    (code,) = parse_qs(request.url.query).get("code", [""])[:1]
    session = dapps.enter(name, code)
    if session is None:
        return HTMLResponse(_SHUT.format(name=name), 403)
    # A redirect would belong to the page that was left, and a strict cookie would not go with it.
    response = HTMLResponse(_ENTERED)
    response.set_cookie(
        _cookie(request.scope),
        session,
        max_age=SESSION_US_MAX // SECOND_US,
        httponly=True,
        samesite="strict",
        path="/",
    )
    return response


def _check_origin(request: Request) -> None:
    """No page of another origin, be it another app's, uses this one."""
    headers = request.headers
    if len(headers.getlist("host")) != 1:
        raise Dms3Error("origin_refused", "A request names one Host.")
    own = f"http://{headers['host']}".lower()
    origins = headers.getlist("origin")
    if any(origin.lower() != own for origin in origins):
        raise Dms3Error(
            "origin_refused", f"A page from {', '.join(origins)[:80]} may not use this app."
        )
    site = headers.get("sec-fetch-site", "none")
    if site not in ("none", "same-origin") and request.scope["path"] != "/login":
        raise Dms3Error("origin_refused", f"A {site} request may not use this app.")
    changes = request.method not in ("GET", "HEAD")
    if changes and not origins and not _bearer(headers):
        raise Dms3Error("origin_refused", "A change from a page has to name its Origin.")


def _check_loopback(request: Request) -> None:
    name = host_name(request.headers["host"])
    if name not in LOOPBACK_HOSTS and not name.endswith(SUFFIX):
        raise Dms3Error(
            "origin_refused",
            f"This node is not called {name[:80]!r}.",
            hint="Address it as 127.0.0.1 or localhost.",
        )


def _has_suffix(request: Request) -> bool:
    return host_name(request.headers["host"]).endswith(SUFFIX)


def _bearer(headers: Headers) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _cookie(scope: Scope) -> str:
    """The name of the cookie: hosts share cookies among their ports."""
    server = scope.get("server")
    return f"dms3_dapp_{server[1] if server and server[1] else 80}"


def _session_of(request: Request) -> str:
    try:
        cookies = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return ""
    morsel = cookies.get(_cookie(request.scope))
    return morsel.value if morsel else ""


def _media_type(path: str) -> str:
    name = path.rpartition("/")[2] or "index.html"
    suffix = name[name.rfind(".") :] if "." in name else ""
    return _TYPES.get(suffix) or guess_type(name)[0] or "application/octet-stream"


def _unauthorized(why: str) -> Dms3Error:
    return Dms3Error("unauthorized", why, hint="Open the app again: dms3 dapp open NAME")
