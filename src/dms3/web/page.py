"""The page: its views as routes, its files, its login.

Source: docs/page.md. Rendered from the same commands as everything else; the session it needs
comes from a single-use code. What a view shows is in its own module.
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dms3.api.answers import answer
from dms3.api.guard import CALLER, Caller, session_cookie, session_of
from dms3.api.routes import add_route
from dms3.api.sessions import Sessions
from dms3.core.errors import Dms3Error
from dms3.core.limits import SECOND_US, SESSION_US_MAX
from dms3.web import (
    apps,
    carrying,
    documents,
    home,
    messages,
    network,
    people,
    searching,
    settings,
    verifying,
)
from dms3.web.site import Site, View
from dms3.web.templating import Pages
from dms3.web.unlocking import add_unlocking

VIEWS: tuple[View, ...] = (
    home.VIEW,
    messages.VIEW,
    documents.VIEW,
    people.VIEW,
    apps.VIEW,
    network.VIEW,
    settings.VIEW,
    documents.DOCUMENT,
    apps.APP,
    apps.JOURNEY,
    verifying.VIEW,
    carrying.VIEW,
    searching.VIEW,
)
"""In the order of the navigation."""


def add_page(app: FastAPI, site: Site, sessions: Sessions) -> None:
    """Add the page, its files and its login to `app`."""
    pages = site.pages
    for view in site.views:
        _add_view(app, site, view)
    for name in pages.names:
        _add_static(app, pages, name)
    _add_icon(app, pages)
    add_unlocking(app, site.node, pages)
    _add_login(app, sessions, pages)
    settings.add_settings(app, site, sessions)


def _add_view(app: FastAPI, site: Site, view: View) -> None:
    async def show(request: Request) -> Response:
        return await site.respond(view, request)

    add_route(app, "GET", view.path, show)


def _add_static(app: FastAPI, pages: Pages, name: str) -> None:
    async def static(_request: Request) -> Response:
        return pages.static(name)

    add_route(app, "GET", f"/static/{name}", static)


def _add_icon(app: FastAPI, pages: Pages) -> None:
    """What a browser asks for where no page names an icon: an answer of the API, or an error."""

    async def icon(_request: Request) -> Response:
        return RedirectResponse(pages.address("icon.svg"), 307)

    add_route(app, "GET", "/favicon.ico", icon)


def _add_login(app: FastAPI, sessions: Sessions, pages: Pages) -> None:
    async def login(request: Request) -> Response:
        session = sessions.exchange(request.query_params.get("code", ""))
        if session is None:
            return pages.html(request, "login.html", 403, expired=True)
        # After the #: no server is told it, and unlike a cookie no other port.
        response = RedirectResponse(f"/#proof={sessions.proof(session)}", 303)
        response.set_cookie(
            session_cookie(request.scope),
            session,
            max_age=SESSION_US_MAX // SECOND_US,
            httponly=True,
            samesite="strict",
            path="/",
        )
        return response

    async def login_link(request: Request) -> Response:
        if request.scope[CALLER] is not Caller.TOKEN:
            raise Dms3Error("forbidden", "Only the token of the node makes login links.")
        return answer({"path": f"/login?code={sessions.code()}"})

    async def logout(request: Request) -> Response:
        sessions.end(session_of(request.scope, request.headers))
        response = RedirectResponse("/", 303)
        response.delete_cookie(session_cookie(request.scope), path="/")
        return response

    for path, endpoint, method in (
        ("/login", login, "GET"),
        ("/logout", logout, "POST"),
        ("/api/v1/login", login_link, "POST"),
    ):
        add_route(app, method, path, endpoint)
