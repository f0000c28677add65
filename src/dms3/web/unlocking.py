"""The page of a locked node: a form for the passphrase, for browsers that are logged in.

Source: docs/api.md, "The page". `api/guard.py` has checked session and Origin before. No script,
and the passphrase is in the body only.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from dms3.api.routes import add_route
from dms3.core.errors import Dms3Error
from dms3.node.services import NodeServices
from dms3.web.forms import fields
from dms3.web.templating import Pages


def locked_page(pages: Pages, request: Request, status: int = 200, problem: str = "") -> Response:
    """The page with the form, and what was wrong with the last attempt."""
    return pages.html(request, "locked.html", status, problem=problem)


def add_unlocking(app: FastAPI, node: NodeServices, pages: Pages) -> None:
    """Add the route that takes the form."""

    async def unlock(request: Request) -> Response:
        try:
            await node.unlock((await fields(request, "passphrase"))["passphrase"])
        except Dms3Error as error:
            return locked_page(pages, request, error.http_status, str(error))
        return RedirectResponse("/", 303)

    add_route(app, "POST", "/unlock", unlock)
