"""Settings: the twelve words, the passphrase, what is stored, where this node is.

Source: docs/page.md, "Settings". Shows `dms3 status` and `dms3 store list`. The words and a new
passphrase need more than a session, which other ports of this machine may have seen: the passphrase
or, where there is none, the proof that the browser got when it logged in a few minutes ago.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dms3.api.guard import CALLER, Caller, session_of
from dms3.api.routes import add_route
from dms3.api.sessions import Sessions
from dms3.core.errors import Dms3Error
from dms3.core.limits import SECOND_US, SESSION_FRESH_US_MAX
from dms3.web.forms import fields
from dms3.web.network import held
from dms3.web.site import Shown, Site, View

NOTHING: Mapping[str, Any] = {"words": None, "problem": "", "hint": "", "at": ""}


async def gather(site: Site, request: Request) -> Shown:
    """What is kept and where, whether a passphrase is asked for; never the words."""
    status = await site.ask("status")
    spaces = (await site.ask("store", "list"))["spaces"]
    listed = await site.ask("network", "list") if site.has("network", "list") else None
    data = {
        "name": status["name"],
        "root": status["root"],
        "peer_id": status["peer_id"],
        "protected": status["protected"],
        "home": status["home"],
        "api": str(request.base_url).rstrip("/"),
        "version": status["version"],
        "seconds": status["seconds"],
        "storage": {
            "documents": {"documents": status["documents"], "bytes": status["bytes"]},
            "fetched": status["fetched"],
            "overlay": status.get("overlay"),
            "held": held(listed["overlays"]) if listed else None,
            "upkeep": status.get("upkeep"),
            "free_bytes": status["free_bytes"],
        },
        "spaces": [space for space in spaces if space["mine"]],
        "backup": status.get("backup"),
    }
    return Shown(data, "dms3 status", NOTHING)


def add_settings(app: FastAPI, site: Site, sessions: Sessions) -> None:
    """Add the routes of the two forms that carry secrets."""

    async def allow(request: Request, passphrase: str, proof: str, what: str) -> None:
        """Raises `forbidden` or `passphrase_wrong` unless the owner asks."""
        session = session_of(request.scope, request.headers)
        if (await site.ask("status")).get("protected"):
            await site.node.unlock(passphrase)
        elif request.scope[CALLER] is not Caller.TOKEN and not sessions.proven(session, proof):
            minutes = SESSION_FRESH_US_MAX // SECOND_US // 60
            raise Dms3Error(
                "forbidden",
                f"{what} only in the browser that logged in, within {minutes} minutes.",
                hint="Open the page again with: dms3 open",
            )

    async def words(request: Request) -> Response:
        given = await fields(request, "passphrase", "proof")
        try:
            await allow(request, given["passphrase"], given["proof"], "The words are shown")
            shown = await site.ask("id", "words")
        except Dms3Error as error:
            return await _again(site, request, error, "words")
        return await _page(site, request, {"words": shown["words"].split()})

    async def protect(request: Request) -> Response:
        given = await fields(request, "current", "passphrase", "again", "proof")
        try:
            _same(given["passphrase"], given["again"])
            await allow(request, given["current"], given["proof"], "A passphrase is set")
            new, current = given["passphrase"], given["current"] or None
            await site.ask("id", "protect", passphrase=new, current=current)
        except Dms3Error as error:
            return await _again(site, request, error, "protect")
        return RedirectResponse("/settings#protect", 303)

    async def back(_request: Request) -> Response:
        """For whoever looks again at what a form has answered."""
        return RedirectResponse("/settings", 303)

    for path, endpoint in (("/settings/words", words), ("/settings/protect", protect)):
        add_route(app, "POST", path, endpoint)
        add_route(app, "GET", path, back)


def _same(passphrase: str, again: str) -> None:
    if passphrase != again:
        raise Dms3Error("argument_invalid", "The two new passphrases are not the same.")


async def _again(site: Site, request: Request, error: Dms3Error, at: str) -> Response:
    """The view with what was wrong, beside the form `at`."""
    values = {"problem": error.message, "hint": error.hint, "at": at}
    return await _page(site, request, values, error.http_status)


async def _page(
    site: Site, request: Request, values: Mapping[str, Any], code: int = 200
) -> Response:
    shown = await gather(site, request)
    whole = Shown(shown.data, shown.command, {**NOTHING, **values})
    return site.html(request, VIEW, await site.node.status(), whole, code)


VIEW = View("/settings", "Settings", "settings.html", gather, key="e")
