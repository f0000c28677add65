"""Routes of the private listener, which FastAPI looks at only when somebody asks for its reference.

Source: docs/api.md. FastAPI takes a millisecond to look at a route, more than a start needs to be
kept waiting for: our requests are checked by the table of commands. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Described:
    """A route and, when the reference asks, what FastAPI is told `about` it."""

    method: str
    path: str
    endpoint: Endpoint
    about: Callable[[], dict[str, Any]]


def add_route(app: Starlette, method: str, path: str, endpoint: Endpoint) -> None:
    """Add a route for `method` and no other: not HEAD beside GET, either."""
    route = Route(path, endpoint, methods=[method])
    route.methods = {method}
    app.router.routes.append(route)


def describe(app: FastAPI, routes: Iterable[Described]) -> FastAPI:
    """`app` with `routes` as the reference shows them; it serves nobody."""
    for route in routes:
        app.add_api_route(
            route.path,
            route.endpoint,
            methods=[route.method],
            response_class=Response,
            response_model=None,
            **route.about(),
        )
    return app
