"""Convicted agents, for people and programs: what the `warrant` commands do.

Source: docs/chains.md, "Convicted". Implements `WarrantServices` of node/services_warrant.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dms3.chain.action import decode_signed, plain
from dms3.chain.operations_validation import Block, Pardon, Warranted
from dms3.chain.warrant import decode_evidence
from dms3.core.errors import Dms3Error
from dms3.core.multibase import encode_base32
from dms3.node.agent_people import people_of
from dms3.node.dapps import Dapps
from dms3.node.dapps_names import agent_of
from dms3.node.dapps_running import App
from dms3.node.node import Node


class WarrantAnswers:
    """The services over a running `node`."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def _dapps(self) -> Dapps:
        assert self._node.dapps is not None, "apps are a part of every node"
        return self._node.dapps

    async def list(self, dapp: str | None) -> dict[str, Any]:
        """All that this node has convicted and its person blocks, by app."""
        apps = self._dapps.apps() if dapp is None else [self._dapps.app(dapp)]
        known = [(app, one) for app in apps for one in await self._known(app)]
        roots = await self._dapps.behind.of((app.overlay, one.agent) for app, one in known)
        people = await people_of(self._node)
        return {
            "warrants": [
                shown(app.name, one, people.row(roots.get(one.agent))) for app, one in known
            ]
        }

    async def show(self, agent: str, dapp: str | None) -> dict[str, Any]:
        """One agent, with the actions of the evidence; raises `not_found`."""
        key = agent_of(agent)
        apps = self._dapps.apps() if dapp is None else [self._dapps.app(dapp)]
        for app in apps:
            for one in await self._known(app):
                if one.agent == key:
                    roots = await self._dapps.behind.of([(app.overlay, key)])
                    person = (await people_of(self._node)).row(roots.get(key))
                    return {**shown(app.name, one, person), "actions": _actions(one)}
        raise Dms3Error(
            "not_found",
            f"Nothing is known here against agent {agent[:64]}.",
            hint="See dms3 warrant list.",
        )

    async def block(self, dapp: str, agent: str, why: str) -> dict[str, Any]:
        """Take nothing more of it."""
        app, key = self._dapps.app(dapp), agent_of(agent)
        await self._node.call("validation.block", Block(app.overlay, key, why))
        return await self.show(agent, dapp)

    async def pardon(self, dapp: str, agent: str) -> dict[str, Any]:
        """Take from it again."""
        app, key = self._dapps.app(dapp), agent_of(agent)
        await self._node.call("validation.pardon", Pardon(app.overlay, key))
        return await self.show(agent, dapp)

    async def _known(self, app: App) -> tuple[Warranted, ...]:
        found: tuple[Warranted, ...] = await self._node.call("validation.warrants", app.overlay)
        return found


def shown(dapp: str, one: Warranted, person: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What is known against an agent; `words` says it to people. `issuer` "": this node.

    `person`: who is behind it; None: not known here.
    """
    return {
        "dapp": dapp,
        "agent": encode_base32(one.agent),
        "person": person,
        "standing": one.standing,
        "kind": one.kind,
        "words": words(one),
        "seq": one.seq,
        "rule": one.rule,
        "line": one.line,
        "detail": one.detail,
        "why": one.why,
        "actions": [str(each) for each in one.actions],
        "issuer": encode_base32(one.issuer) if one.issuer else "",
        "warrant": None if one.warrant is None else str(one.warrant),
        "found": one.found_us,
    }


def words(one: Warranted) -> str:
    """What the evidence shows, in one sentence."""
    if one.kind == "fork":
        return f"It signed two different actions at place {one.seq} of its chain."
    if one.kind == "rule":
        line = f", line {one.line}" if one.line else ""
        return f"Its action {one.seq} breaks the rule {one.rule}{line}: {one.detail}."
    return "There is no evidence against it."


def _actions(one: Warranted) -> list[dict[str, Any]]:
    if not one.evidence:
        return []
    return [plain(decode_signed(each)) for each in decode_evidence(one.evidence).actions]
