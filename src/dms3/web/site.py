"""What every view of the page has: its command, its JSON twin, its empty and its error state.

Source: docs/page.md, "How it is built". A view asks the table of commands, as command line and
API do, so the page shows and does nothing that they cannot. It knows no view by name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from dms3.api.answers import answer, problem
from dms3.api.guard import CALLER, Caller
from dms3.core.errors import Dms3Error
from dms3.node.services import NodeServices
from dms3.node.table import Result, Table
from dms3.web.templating import Pages
from dms3.web.unlocking import locked_page

SCOPE_LABELS = {"local": "mine", "peers": "peers", "public": "public", "all": "all"}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a view has to show.

    `data`: JSON values, the view's JSON twin and the template's variables. `command`: what shows
    the same in a shell. `values`: more variables for the template, of any type.
    """

    data: Mapping[str, Any]
    command: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class View:
    """One view: where it is, what it is called, the template that shows what `gather` found.

    `key`: the letter that leads there after `g`. `listed`: whether the navigation names it;
    `under`: the path of the view that it marks instead.
    """

    path: str
    title: str
    template: str
    gather: Callable[[Site, Request], Awaitable[Shown]]
    key: str = ""
    listed: bool = True
    under: str = ""


class Site:
    """The views of one node's page over its table of commands."""

    def __init__(
        self,
        node: NodeServices,
        table: Table,
        pages: Pages,
        views: Sequence[View],
        running: Callable[[], Mapping[str, Any]],
    ) -> None:
        """`running`: what `GET /api/v1/running` answers."""
        self.node = node
        self.table = table
        self.pages = pages
        self.views = tuple(views)
        self.running = running

    def has(self, noun: str, verb: str = "") -> bool:
        """Whether the table has the command: buttons for what is not there are not shown."""
        return any((command.noun, command.verb) == (noun, verb) for command in self.table)

    def choices(self, noun: str, verb: str, parameter: str) -> tuple[str, ...]:
        """The words that a parameter of a command takes, () when it takes any."""
        for one in self.table.find(noun, verb).parameters:
            if one.name == parameter:
                return one.choices
        return ()

    @property
    def scopes(self) -> tuple[str, ...]:
        """Where the search box can look, as the search command has it."""
        found = self.choices("search", "", "scope") if self.has("search") else ()
        return tuple(scope for scope in SCOPE_LABELS if scope in found) or ("local",)

    async def ask(self, noun: str, verb: str = "", /, **arguments: Any) -> Mapping[str, Any]:
        """The result of a command; raises what the command raises."""
        command = self.table.find(noun, verb)
        async for step in command.run(self.node, command.bind(arguments, paths=False)):
            if isinstance(step, Result):
                return step.data
        return {}

    async def respond(self, view: View, request: Request) -> Response:
        """The view, as HTML or as its JSON twin."""
        if request.scope[CALLER] is Caller.NOBODY:
            return self.pages.html(request, "login.html", 401, expired=False)
        status = await self.node.status()
        if status.get("locked") and not wants_json(request):
            return locked_page(self.pages, request)
        try:
            shown = await view.gather(self, request)
        except Dms3Error as error:
            if wants_json(request):
                raise
            failed = replace(view, template="failed.html")
            return self.html(request, failed, status, _failed(error), error.http_status)
        if wants_json(request):
            return answer(shown.data)
        return self.html(request, view, status, shown)

    def html(
        self,
        request: Request,
        view: View,
        status: Mapping[str, Any],
        shown: Shown,
        code: int = 200,
    ) -> Response:
        """The HTML of a view, within navigation, search box and footer."""
        query = request.query_params
        scope = query.get("scope", "")
        return self.pages.html(
            request,
            view.template,
            code,
            **{**shown.data, **shown.values},
            view=view,
            views=[one for one in self.views if one.listed],
            me=status.get("name") or "This node",
            command=shown.command,
            twin=str(request.url.include_query_params(format="json").query),
            q=query.get("q", ""),
            scopes=[(one, SCOPE_LABELS[one]) for one in self.scopes],
            scope=scope if scope in self.scopes else self.scopes[0],
            has=self.has,
            words_written=status.get("words_written", True),
            last_event=status.get("last_event", ""),  # asked for before the view was made
        )


def _failed(error: Dms3Error) -> Shown:
    return Shown({"problem": error.message, "hint": error.hint}, "dms3 doctor")


def wants_json(request: Request) -> bool:
    """Whether the JSON twin is asked for: `?format=json`, or `Accept` names JSON and no HTML."""
    if request.query_params.get("format") == "json":
        return True
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/html" not in accept


def refusal_page(pages: Pages) -> Callable[[Scope, Dms3Error], Response]:
    """How a refused request is answered: with a page where a person looks, else with a problem."""

    def refuse(scope: Scope, error: Dms3Error) -> Response:
        request = Request(scope)
        looks = scope["method"] == "GET" and "text/html" in request.headers.get("accept", "")
        if not looks or request.url.path.startswith("/api/"):
            return problem(error)
        if error.code == "unauthorized":
            return pages.html(request, "login.html", 401, expired=False)
        return pages.html(
            request, "refused.html", error.http_status, problem=error.message, hint=error.hint
        )

    return refuse
