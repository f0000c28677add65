"""What apps wrote, for people and programs: what the `entry` commands do.

Source: docs/dapps.md; docs/interfaces.md, `entry`. A hash says nothing of its app: without one all
installed apps are asked. Implements `EntryServices` of node/services_dapp.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

from dms3.chain.operations import Change, Commit, Committed, Published
from dms3.chain.operations_validation import (
    Activity,
    Found,
    GetActivity,
    GetLinks,
    GetRecord,
    LinkRecord,
    OpState,
    Warranted,
)
from dms3.core.cid import Cid
from dms3.core.errors import Dms3Error
from dms3.core.limits import ENTRIES_LISTED_MAX, ENTRY_WAIT_SECONDS_MAX
from dms3.core.verdict import Valid
from dms3.node import dapps_shown as shown
from dms3.node.agent_people import people_of
from dms3.node.dapps import Dapps
from dms3.node.dapps_names import agent_of, hash_of, place_of
from dms3.node.dapps_running import App
from dms3.node.dapps_waiting import holders
from dms3.node.node import Node
from dms3.node.table import Progress, Result, Step


class EntryAnswers:
    """The services over a running `node`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def _dapps(self) -> Dapps:
        assert self._node.dapps is not None, "apps are a part of every node"
        return self._node.dapps

    async def put(
        self, dapp: str, kind: str, content: Any, *, private: bool, wait: int
    ) -> AsyncIterator[Step]:
        """Write an entry; steps while others are waited for, the result last.

        Raises `content_invalid` with the rule that it breaks.
        """
        if not 0 <= wait <= ENTRY_WAIT_SECONDS_MAX:
            why = f"--wait is 0 to {ENTRY_WAIT_SECONDS_MAX} seconds, not {wait}."
            raise Dms3Error("argument_invalid", why)
        app = self._dapps.app(dapp)
        app.check_ready()
        declared = app.parts.dna.entry_kind(kind)
        hidden = private or (declared is not None and declared.private)
        change = Change("create", kind, content, private=hidden)
        commit = Commit(app.overlay, (change,))
        with holders(self._node) if wait else nullcontext() as signed:
            done: Committed = await self._node.call("source.commit", commit)
            data = {"dapp": app.name, **shown.committed(done, 0), "published": None}
            if signed is not None:
                async for far in signed.of(done.actions[0], wait):
                    data["published"] = shown.published(far)
                    yield _held(far)
        yield Result(data)

    async def get(self, hash_: str, dapp: str | None, *, latest: bool) -> dict[str, Any]:
        """The record under a hash; raises `not_found`."""
        app, found = await self._found(hash_of(hash_), dapp, latest=latest)
        return {"dapp": app.name, "person": await self._person(app, found), **shown.found(found)}

    async def links(
        self, base: str, dapp: str | None, tag: str, kind: str, limit: int
    ) -> dict[str, Any]:
        """Live links of a hash, an agent or an anchor."""
        _check_limit(limit)
        rows: list[dict[str, Any]] = []
        for app in self._apps(dapp):
            asked = GetLinks(app.overlay, place_of(base), kind, tag.encode(), limit=limit)
            links: tuple[LinkRecord, ...] = await self._node.call("validation.links", asked)
            rows += [{"dapp": app.name, **shown.link(one)} for one in links]
        return {"base": base, "links": rows[:limit]}

    async def history(self, agent: str, dapp: str | None, after: int, limit: int) -> dict[str, Any]:
        """What an agent did in an app, in order; without `agent` that of this node."""
        _check_limit(limit)
        for app in self._apps(dapp):
            key = agent_of(agent) if agent else app.head.agent if app.head else b""
            asked = GetActivity(app.overlay, key, after, limit=limit)
            found: Activity = await self._node.call("validation.activity", asked)
            if found.state != "empty" or dapp is not None:
                more = len(found.actions) == limit
                last = found.actions[-1].action.seq if found.actions and more else None
                roots = await self._dapps.behind.of([(app.overlay, key)])
                person = (await people_of(self._node)).row(roots.get(key))
                about = {"dapp": app.name, "person": person}
                return {**about, **shown.activity(found), "next": last}
        raise Dms3Error("not_found", f"No installed app knows the agent {agent[:64]}.")

    async def journey(self, hash_: str, dapp: str | None) -> dict[str, Any]:
        """Where an action has got to: at this node, and of an own one at others."""
        wanted = hash_of(hash_)
        app, found = await self._found(wanted, dapp, latest=False)
        action = found.records[0].signed
        states: tuple[OpState, ...] = await self._node.call("validation.trace", action.hash)
        data: dict[str, Any] = {
            "dapp": app.name,
            "action": str(action.hash),
            "entry": None if action.action.entry is None else str(action.action.entry),
            "author": shown.record(found.records[0])["action"]["author"],
            "person": await self._person(app, found),
            "verdict": shown.verdict(found.verdict),
            "holders": found.holders,
            "here": [shown.op_state(one) for one in states],
            "blocked": await self._blocked(app, action.action.author),
            "published": None,
        }
        if app.head is not None and action.action.author == app.head.agent:
            far: Published = await self._node.call("source.published", action.hash)
            data["published"] = shown.published(far)
        return data

    async def _person(self, app: App, found: Found) -> dict[str, Any] | None:
        """Who wrote a record: one that holds names them truly, for others it is looked up."""
        if not found.records:
            return None
        action = found.records[0].signed.action
        root: bytes | None = action.root
        if not isinstance(found.verdict, Valid):
            known = await self._dapps.behind.of([(app.overlay, action.author)])
            root = known.get(action.author)
        return (await people_of(self._node)).row(root)

    async def _blocked(self, app: App, agent: bytes) -> str:
        """How its author stands here: "" for one against whom nothing is known."""
        known: tuple[Warranted, ...] = await self._node.call("validation.warrants", app.overlay)
        return next((one.standing for one in known if one.agent == agent), "")

    def _apps(self, dapp: str | None) -> list[App]:
        apps = self._dapps.apps() if dapp is None else [self._dapps.app(dapp)]
        if not apps:
            raise Dms3Error("not_found", "No app is installed.", hint="dms3 dapp install guestbook")
        return apps

    async def _found(self, wanted: Cid, dapp: str | None, *, latest: bool) -> tuple[App, Found]:
        apps = self._apps(dapp)
        for local in (True, False):
            for app in apps:
                asked = GetRecord(app.overlay, wanted, latest=latest, local=local)
                found: Found | None = await self._node.call("validation.get", asked)
                if found is None or not found.records:
                    continue
                if not local or isinstance(found.verdict, Valid):
                    return app, found  # others may hold a valid one of what was refused here
        raise Dms3Error(
            "not_found",
            f"Nobody who was asked has {wanted}.",
            hint="Is it of one of your apps? See dms3 dapp list.",
        )


def _held(far: Published) -> Progress:
    """Of how many parts of an action enough have signed that they hold them."""
    enough = sum(bool(each.enough) for each in far.ops)
    return Progress(enough, len(far.ops), "parts", "Others check it and sign that they hold it")


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= ENTRIES_LISTED_MAX:
        raise Dms3Error("argument_invalid", f"The limit is not 1 to {ENTRIES_LISTED_MAX}.")
