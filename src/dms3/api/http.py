"""The private listener: every command of the table as a route, and the node's page beside them.

Source: docs/api.md; RFC 9457 (errors). Routes and OpenAPI are generated from the table, so nothing
here names a command. This module is the HTTP boundary: what nobody expected ends here.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from dms3 import __version__
from dms3.api import blobs, bodies, dapps, events, reference
from dms3.api.answers import (
    NDJSON,
    DisconnectedError,
    answer,
    dumps,
    error_data,
    internal,
    problem,
    while_connected,
)
from dms3.api.guard import CALLER, Caller, Guard
from dms3.api.routes import Described, add_route, describe
from dms3.api.running import Running
from dms3.api.sessions import Sessions
from dms3.core.errors import Dms3Error
from dms3.node.services import NodeServices
from dms3.node.table import Command, Item, Progress, Step, Table, unknown
from dms3.web.page import VIEWS, add_page
from dms3.web.site import Site, refusal_page
from dms3.web.templating import Pages

PREFIX = "/api/v1"
Report = Callable[[str, BaseException], None]
"""Called with a path and what went wrong there that nobody expected: log it."""


@dataclass(frozen=True, slots=True)
class Front:
    """A node's private listener: its ASGI `app`, the `sessions` of its page, what describes it."""

    app: ASGIApp
    sessions: Sessions
    described: Callable[[], FastAPI] = field(repr=False)

    def login_path(self) -> str:
        """Path and query of a URL that logs a browser in, once and within a minute."""
        return f"/login?code={self.sessions.code()}"


def build_front(
    node: NodeServices,
    table: Table,
    *,
    token: str,
    sessions: Sessions,
    hosts: Iterable[str] = (),
    report: Report,
) -> Front:
    """The private listener of `node` with the commands of `table`.

    `token`: what `HOME/api.token` holds. `hosts`: names of the node beside loopback ones.
    """
    app = _application()
    app.add_exception_handler(Dms3Error, _on_error)
    app.add_exception_handler(DisconnectedError, _on_disconnect)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)  # in the middle of a body
    app.add_exception_handler(HTTPException, _on_http_error(table))
    app.add_exception_handler(Exception, _on_unexpected)
    running = Running()
    routes = [_command(node, command, running) for command in table]
    routes += [*_files(node), *_events(node, running)]
    for route in routes:
        add_route(app, route.method, route.path, route.endpoint)
    _add_websocket(app, node)
    _add_probes(app, node)
    pages = Pages()

    @cache
    def described() -> FastAPI:
        return describe(_application(), routes)

    reference.add_reference(app, pages, described)
    add_page(app, Site(node, table, pages, VIEWS, running.shown), sessions)
    guard = Guard(
        Boundary(app, report),
        token=token,
        sessions=sessions,
        hosts=hosts,
        refuse=refusal_page(pages),
    )
    door = dapps.DappDoor(guard, Boundary(dapps.DappPages(node), report))
    return Front(door, sessions, described)


def _application() -> FastAPI:
    return FastAPI(
        title="dms3",
        version=__version__,
        summary="The API of one dms3 node.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )


def _command(node: NodeServices, command: Command, running: Running) -> Described:
    async def endpoint(request: Request) -> Response:
        given = await bodies.json_object(request)
        owner = request.scope[CALLER] is Caller.TOKEN
        if command.needs_token and not owner:
            raise Dms3Error(
                "forbidden",
                f"{command.name} needs the token of the node, not the session of a page.",
                hint=f"Use the command line: {command.example}",
            )
        arguments = command.bind(given, paths=owner)
        steps = command.run(node, arguments)
        if command.streams:
            steps = running.track(command, arguments, steps)
        if NDJSON in request.headers.get("accept", ""):
            return _Lines(steps)
        return answer(await while_connected(request.receive, _last(steps)))

    def about() -> dict[str, Any]:
        return {
            "operation_id": command.name.replace(" ", "_"),
            "tags": [command.noun],
            "summary": command.summary,
            "description": command.description or command.summary,
            "responses": reference.responses(),
            "openapi_extra": reference.request_of(command),
        }

    return Described("POST", PREFIX + command.path, endpoint, about)


def _files(node: NodeServices) -> Iterator[Described]:
    async def put(request: Request) -> Response:
        return await blobs.answer_put(node, request)

    async def get(request: Request) -> Response:
        return await blobs.answer_get(node, request, request.path_params["cid"])

    async def delete(request: Request) -> Response:
        return await blobs.answer_delete(node, request.path_params["cid"])

    for path, endpoint, method, name, words in (
        ("/blob", put, "PUT", "blob_put", "Upload a file; its id is a PATH for commands"),
        ("/blob/{cid}", get, "GET", "blob_get", "A file by its content identifier, with ranges"),
        ("/blob/{cid}", get, "HEAD", "blob_head", "Size and name of a file"),
        ("/blob/{cid}", delete, "DELETE", "blob_delete", "Forget an upload by its id"),
    ):
        yield Described(method, PREFIX + path, endpoint, partial(_about_file, name, words))


def _about_file(name: str, words: str) -> dict[str, Any]:
    return {
        "operation_id": name,
        "tags": ["blob"],
        "summary": words,
        "responses": reference.file_responses(name),
        "openapi_extra": reference.upload_body() if name == "blob_put" else reference.OF_CID,
    }


def _events(node: NodeServices, running: Running) -> Iterator[Described]:
    async def get(request: Request) -> Response:
        return await events.answer_events(node, request, running)

    async def now(_request: Request) -> Response:
        return answer(running.shown())

    def about_events() -> dict[str, Any]:
        return {
            "operation_id": "events",
            "tags": ["events"],
            "summary": "Events as they happen: server-sent events, or a WebSocket",
            "responses": reference.event_responses(),
            "openapi_extra": reference.event_parameters(),
        }

    def about_running() -> dict[str, Any]:
        return {
            "operation_id": "running",
            "tags": ["events"],
            "summary": "The long work that clients wait for, and how far it is",
            "responses": reference.responses(),
        }

    yield Described("GET", PREFIX + "/events", get, about_events)
    yield Described("GET", PREFIX + "/running", now, about_running)


def _add_websocket(app: FastAPI, node: NodeServices) -> None:
    async def websocket(socket: WebSocket) -> None:
        await events.answer_websocket(node, socket)

    app.router.add_websocket_route(PREFIX + "/events", websocket)


def _add_probes(app: FastAPI, node: NodeServices) -> None:
    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("alive\n")

    async def readyz(_request: Request) -> Response:
        reason = node.ready()
        return PlainTextResponse(f"{reason or 'ready'}\n", 503 if reason else 200)

    async def metrics(_request: Request) -> Response:
        return Response(await node.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    for path, endpoint in (("/healthz", healthz), ("/readyz", readyz), ("/metrics", metrics)):
        add_route(app, "GET", path, endpoint)


async def _last(steps: AsyncGenerator[Step]) -> Mapping[str, Any]:
    """Data of the last step; items on the way are gathered under "items" when there are any."""
    items: list[Mapping[str, Any]] = []
    data: Mapping[str, Any] = {}
    async with aclosing(steps):
        async for step in steps:
            if isinstance(step, Item):
                items.append(step.data)
            elif not isinstance(step, Progress):
                data = step.data
    return {**data, "items": items} if items else data


class _Lines(Response):
    """One JSON line per step; the first one is there before the answer begins."""

    media_type = NDJSON

    def __init__(self, steps: AsyncGenerator[Step]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._steps = steps

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines; the command is cancelled when the client goes away."""
        try:
            await while_connected(receive, self._pump(scope, send))
        except DisconnectedError:
            return

    async def _pump(self, scope: Scope, send: Send) -> None:
        begun = False
        try:
            async with aclosing(self._steps) as steps:
                async for step in steps:
                    if not begun:
                        await send(self._start())
                        begun = True
                    await send(_line(_step_data(step)))
        except Dms3Error as error:
            if not begun:
                raise
            await send(_line({"error": error_data(error)}))
        except Exception as error:
            if not begun:
                raise
            scope["dms3.report"](error)
            await send(_line({"error": error_data(internal())}))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _start(self) -> Message:
        return {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }


def _step_data(step: Step) -> dict[str, Any]:
    if isinstance(step, Progress):
        return {
            "progress": {
                "done": step.done,
                "total": step.total,
                "unit": step.unit,
                "text": step.text,
            }
        }
    return {"item" if isinstance(step, Item) else "data": step.data}


def _line(data: dict[str, Any]) -> Message:
    return {"type": "http.response.body", "body": dumps(data) + b"\n", "more_body": True}


class Boundary:
    """Reports what nobody expected of `app`, which answers the client before, if it can."""

    def __init__(self, app: ASGIApp, report: Report) -> None:
        self._app = app
        self._report = report

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; `scope["dms3.report"]` reports from inside an answer."""
        path = scope["path"]
        scope["dms3.report"] = lambda error: self._report(path, error)
        try:
            await self._app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - the HTTP boundary
            self._report(path, error)


async def _on_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Dms3Error)
    return problem(error)


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return problem(Dms3Error("cancelled", "The client went away."))


async def _on_unexpected(_request: Request, _error: Exception) -> Response:
    return problem(internal())


def _on_http_error(table: Table) -> Callable[[Request, Exception], Any]:
    paths = [PREFIX + command.path for command in table]

    async def handler(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = request.url.path
        if error.status_code == 405:
            method = "POST" if path in paths else "another method"
            refusal = Dms3Error(
                "method_unknown", f"{path[:80]} is not for {request.method}.", hint=f"Use {method}."
            )
        else:
            refusal = unknown("route", path, paths, code="method_unknown")
        response = problem(refusal)
        response.status_code = error.status_code
        return response

    return handler
