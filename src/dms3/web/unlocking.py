"""The page of a locked node: a form for the passphrase, for browsers that are logged in.

Source: docs/api.md, "The page". `api/guard.py` has checked session and Origin before. No script,
and the passphrase is in the body only.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from starlette.responses import RedirectResponse, Response

from dms3.core.errors import Dms3Error
from dms3.node.services import NodeServices
from dms3.web.templating import Pages

FORM = "application/x-www-form-urlencoded"


def locked_page(pages: Pages, request: Request, status: int = 200, problem: str = "") -> Response:
    """The page with the form, and what was wrong with the last attempt."""
    return pages.html(request, "locked.html", status, problem=problem)


def add_unlocking(app: FastAPI, node: NodeServices, pages: Pages) -> None:
    """Add the route that takes the form."""

    async def unlock(request: Request) -> Response:
        try:
            await node.unlock(_passphrase(request, await request.body()))
        except Dms3Error as error:
            return locked_page(pages, request, error.http_status, str(error))
        return RedirectResponse("/", 303)

    app.add_api_route("/unlock", unlock, methods=["POST"], include_in_schema=False)


def _passphrase(request: Request, body: bytes) -> str:
    """The passphrase in the body of the form; raises `body_malformed`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        fields = parse_qs(body.decode("ascii"), True, max_num_fields=1, errors="strict")
        [passphrase] = fields["passphrase"]
    except (ValueError, KeyError):
        kind = ""
    if kind != FORM:
        raise Dms3Error("body_malformed", "This is not the form of the page.")
    return passphrase
