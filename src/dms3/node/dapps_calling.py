"""Functions of apps being called: by the person, by the node itself, by agents of others.

Source: docs/dapps.md, "What functions can ask"; IPS paper, appendix B. What a function asks
meanwhile is answered by `node/dapps_host.py`. Awaits nothing but what it is given, so the test kit
drives it on simulated time (`testing/tasks.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from dms3.chain.operations import Incoming, Session
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import OverlayId
from dms3.core.limits import CALLS_OF_APP_MAX
from dms3.core.multibase import encode_base32
from dms3.node import dapps_shown as shown
from dms3.node.dapps_host import Budget, Ground, HostCall
from dms3.node.dapps_running import App, Call, Person, agent_key, proof_of
from dms3.node.dapps_sandbox import CALLBACK, OWN, UNRESTRICTED, Asked, Function, Sandbox
from dms3.node.table import unknown


class Known(Protocol):
    """The apps that there are."""

    def app(self, name: str) -> App:
        """The app called `name`; raises `not_found`."""
        ...

    def of_overlay(self, overlay: OverlayId) -> App:
        """The app with that DNA; raises `not_found`."""
        ...


@dataclass(frozen=True, slots=True)
class Here:
    """The node: its person, the operations of its machines, its sandbox, a line for the log."""

    person: Person
    call: Call
    sandbox: Sandbox
    log: Callable[[str, str], None]


class Calls:
    """Calls of the functions of `known` apps, as many at once as `slots` lets in."""

    def __init__(
        self, here: Here, known: Known, slots: AbstractAsyncContextManager[object]
    ) -> None:
        self._here = here
        self._known = known
        self._slots = slots
        self._under_way: Counter[OverlayId] = Counter()  # asked by id alone

    @asynccontextmanager
    async def _place(self, app: App) -> AsyncIterator[None]:
        """A place for a call of `app`; raises `node_busy` when it has its share of them."""
        if self._under_way[app.overlay] >= CALLS_OF_APP_MAX:
            raise Dms3Error(
                "node_busy",
                f"{CALLS_OF_APP_MAX} calls of {app.name} are under way.",
                hint="Ask again when some of them have ended.",
            )
        self._under_way[app.overlay] += 1
        try:
            async with self._slots:
                yield
        finally:
            self._under_way[app.overlay] -= 1

    def check_grantable(self, app: App, function: str) -> None:
        """Raises `method_unknown`, or `argument_invalid` when no grant is for this function."""
        access = self._exposed(app, function).access
        if access in (OWN, UNRESTRICTED):
            whose = "for you alone" if access == OWN else "open to everybody"
            raise Dms3Error(
                "argument_invalid",
                f"{function} of {app.name} is {whose}.",
                hint='Only functions with @expose("transferable") or @expose("assigned") need one.',
            )

    async def call(self, app: App, function: str, arguments: Any) -> Any:
        """What an exposed function returns to the person of this node."""
        app.check_ready()
        self._exposed(app, function)
        async with self._place(app):
            return await self._run(app, function, arguments, Budget())

    def _exposed(self, app: App, function: str) -> Function:
        found = app.declared.functions.get(function)
        if found is None or found.access == CALLBACK:
            names = [one.name for one in app.declared.exposed()]
            raise unknown(f"function of {app.name}", function, names, code="method_unknown")
        return found

    async def _run(
        self,
        app: App,
        function: str,
        arguments: Any,
        budget: Budget,
        *,
        callback: bool = False,
    ) -> Any:
        """Run a function of `app` with what it asks of the node; raises what it fails with."""
        if not isinstance(arguments, dict):
            raise Dms3Error(
                "argument_invalid",
                f"The arguments of {function} are an object by name.",
                hint="""For example '{"text": "hello"}'.""",
            )
        here = self._here

        async def nested(other: str, name: str, given: Any) -> Any:
            target = self._known.app(other) if other else app
            target.check_ready()
            found = self._exposed(target, name)
            if target is not app:
                _check_open(app, target, found)
            return await self._run(target, name, given, budget.deeper())

        ground = Ground(
            app.name,
            app.parts.dna,
            partial(agent_key, app, here.person),
            app.rotated,
            nested,
            partial(here.log, app.name),
            proof_of(app),
        )
        host = HostCall(here.call, ground, budget)
        asked = Asked(function, arguments, app.who(here.person), host, callback=callback)
        try:
            value = await here.sandbox.call(app.parts, asked)
        except Dms3Error as error:
            if host.refused is not None and host.refused.code == error.code:
                error.about = host.refused.about  # which rule: the function has passed it on
            raise
        if host.unfinished:
            raise Dms3Error(
                "function_failed",
                f"{function} of {app.name} ended without bundleClose; nothing of it was written.",
            )
        if host.written and not callback:
            await self.callback(app, "post_commit", {"records": host.written})
        return value

    async def callback(self, app: App, name: str, arguments: Mapping[str, Any]) -> Any:
        """What the app's own `name` says when the node calls it; None when it has no such."""
        if not app.declared.has_callback(name):
            return None
        try:
            return await self._run(app, name, dict(arguments), Budget(), callback=True)
        except Dms3Error as error:
            self._here.log(app.name, f"{name}: {error}")
            return None

    # The port: what machine "source" asks

    async def serve(self, operation: str, arguments: Any) -> Any:
        """Operations of port "dapps" (`chain/operations.py`)."""
        match operation, arguments:
            case "receive", Incoming():
                return await self._receive(arguments)
            case "countersign", Session():
                return await self._countersign(arguments)
        return Failure("method_unknown", f"Apps have no operation {operation!r} like this.")

    async def _receive(self, question: Incoming) -> Any:
        app = self._known.of_overlay(question.overlay)
        app.check_ready()
        if not question.function:
            return await self._received(app, question)
        self._check_access(self._exposed(app, question.function), question)
        async with self._place(app):
            return await self._run(app, question.function, question.body, Budget())

    def _check_access(self, function: Function, question: Incoming) -> None:
        if question.root == self._here.person.root or function.access == UNRESTRICTED:
            return
        if function.access == OWN:
            raise Dms3Error("forbidden", f"{function.name} is for the person of this node alone.")
        if not question.granted:
            raise Dms3Error(
                "grant_missing",
                f"{function.name} needs a capability.",
                hint="Ask the person behind the agent for one.",
            )

    async def _received(self, app: App, question: Incoming) -> Any:
        if not app.declared.has_callback("receive"):
            raise Dms3Error("method_unknown", f"The app {app.name} takes no questions of others.")
        given = {"sender": encode_base32(question.sender), "body": question.body}
        async with self._place(app):
            return await self._run(app, "receive", given, Budget(), callback=True)

    async def _countersign(self, session: Session) -> bool | None:
        app = self._known.of_overlay(session.overlay)
        answer = await self.callback(app, "countersign", {"session": shown.session(session)})
        return answer if isinstance(answer, bool) else None


def _check_open(app: App, target: App, function: Function) -> None:
    """Raise `forbidden` unless any agent may call `function`: apps do not trust each other."""
    if function.access != UNRESTRICTED:
        raise Dms3Error(
            "forbidden",
            f"{app.name} may not call {function.name} of {target.name}: it is not open to others.",
            hint='Only functions with @expose("unrestricted") are called by other apps.',
        )
