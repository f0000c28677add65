"""The node's home page: health in a sentence, search, documents by space. No script.

Source: docs/api.md, "The page". Rendered from the same commands as everything else; the session it
needs comes from a single-use code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from markupsafe import Markup, escape
from starlette.responses import RedirectResponse, Response

from dms3.api.answers import answer
from dms3.api.guard import CALLER, Caller, session_cookie, session_of
from dms3.api.sessions import Sessions
from dms3.api.templating import Pages, static
from dms3.api.unlocking import add_unlocking, locked_page
from dms3.core.errors import Dms3Error
from dms3.core.limits import PAGE_HITS_MAX, SECOND_US, SESSION_US_MAX
from dms3.node.services import NodeServices
from dms3.node.table import Result, Table

SCOPES = ("local", "peers", "all")


def add_page(
    app: FastAPI, node: NodeServices, table: Table, sessions: Sessions, pages: Pages
) -> None:
    """Add the page, its style and its login to `app`."""
    add_unlocking(app, node, pages)

    async def home(request: Request) -> Response:
        if request.scope[CALLER] is Caller.NOBODY:
            return pages.html(request, "login.html", 401, expired=False)
        status = await node.status()
        if status.get("locked"):
            return locked_page(pages, request)
        query = request.query_params.get("q", "").strip()
        chosen = request.query_params.get("scope", "")
        scope = chosen if chosen in SCOPES else SCOPES[0]
        return pages.html(
            request,
            "home.html",
            health=health_sentence(status),
            name=status.get("name") or "This node",
            spaces=await _spaces(node, table, status),
            scopes=SCOPES,
            **await _shown(node, table, query, scope),
        )

    async def login(request: Request) -> Response:
        session = sessions.exchange(request.query_params.get("code", ""))
        if session is None:
            return pages.html(request, "login.html", 403, expired=True)
        response = RedirectResponse("/", 303)
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

    async def style() -> Response:
        return Response(static("style.css"), media_type="text/css")

    for path, endpoint, method in (
        ("/", home, "GET"),
        ("/login", login, "GET"),
        ("/logout", logout, "POST"),
        ("/api/v1/login", login_link, "POST"),
        ("/static/style.css", style, "GET"),
    ):
        app.add_api_route(path, endpoint, methods=[method], include_in_schema=False)


def health_sentence(status: Mapping[str, Any]) -> str:
    """How the node is, in one sentence for people."""
    if status.get("locked"):
        return "This node is locked. Unlock it with: dms3 unlock"
    if not status.get("ready"):
        return "This node is starting."
    count = status["peers"]["connected"]
    people = {0: "Connected to nobody", 1: "Connected to 1 node"}.get(
        count, f"Connected to {count} nodes"
    )
    documents = status["documents"]
    kept = "1 document is" if documents == 1 else f"{documents} documents are"
    return f"{people}. {kept} kept here."


async def _spaces(node: NodeServices, table: Table, status: Mapping[str, Any]) -> Sequence[Any]:
    """The spaces as `store list` shows them; none while the node is locked."""
    if not status.get("ready"):
        return ()
    async for step in table.find("store", "list").run(node, {}):
        if isinstance(step, Result):
            return list(step.data["spaces"])
    return ()


async def _shown(node: NodeServices, table: Table, query: str, scope: str) -> dict[str, Any]:
    """What the template shows of a search; an empty `query` is none."""
    found: Mapping[str, Any] = {}
    problem = ""
    if query:
        try:
            found = await _search(node, table, query, scope)
        except Dms3Error as error:
            problem = str(error)
    return {
        "query": query,
        "scope": scope,
        "hits": [_hit(hit) for hit in found.get("hits", ())],
        "total": found.get("total", 0),
        "milliseconds": found.get("milliseconds", 0),
        "problem": problem,
    }


async def _search(node: NodeServices, table: Table, query: str, scope: str) -> Mapping[str, Any]:
    """The result of the `search` command; Dms3Error when it is refused."""
    search = table.find("search")
    wanted = {"query": query, "scope": scope, "limit": PAGE_HITS_MAX}
    known = {parameter.name for parameter in search.parameters}
    given = {name: value for name, value in wanted.items() if name in known}
    async for step in search.run(node, search.bind(given, paths=False)):
        if isinstance(step, Result):
            return step.data
    return {}


def _hit(hit: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "title": hit.get("title") or str(hit["cid"])[:12],
        "cid": str(hit["cid"]),
        "kind": hit.get("kind", ""),
        "space": hit.get("space", ""),
        "node": hit.get("node", ""),
        "snippet": marked(str(hit.get("snippet", "")), hit.get("marks") or ()),
    }


def marked(text: str, marks: Sequence[Sequence[int]]) -> Markup:
    """`text` escaped, with the (start, end) places of `marks` in <mark>."""
    parts: list[Markup] = []
    place = 0
    for start, end in marks:
        if place <= start < end <= len(text):
            parts += [escape(text[place:start]), Markup("<mark>{}</mark>").format(text[start:end])]
            place = end
    return Markup("").join([*parts, escape(text[place:])])
