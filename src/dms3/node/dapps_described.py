"""What an app is, as JSON values: manifest, functions, chain, what this node holds of it.

Source: docs/interfaces.md, `dapp show`. Decides nothing; used by `node/dapps_answers.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from dms3.chain.manifest import parse_manifest
from dms3.chain.operations import ChainHead
from dms3.chain.operations_validation import OpFigures
from dms3.core.multibase import encode_base32
from dms3.core.overlay import OverlayFigures
from dms3.libp2p.peer_id import peer_id_text
from dms3.node import dapps_shown as shown
from dms3.node.dapps_folder import MANIFEST, SHIPPED, shipped
from dms3.node.dapps_running import App
from dms3.node.dapps_sandbox import Function
from dms3.node.dapps_signatures import fields
from dms3.node.node import Node


async def whole(node: Node, app: App, address: str) -> dict[str, Any]:
    """What an app is, and what this node holds of it."""
    figures: OpFigures = await node.call("validation.figures", app.overlay)
    head: ChainHead | None = app.head
    if app.state == "ready":
        head = await node.call("source.head", app.overlay)
    manifest = app.parts.manifest
    every: Sequence[OverlayFigures] = await node.call("dht.figures")
    seen = [each for one in every if one.overlay == app.overlay for each in one.nodes]
    lines = app.parts.functions.decode().split("\n")
    return {
        **row(app, address),
        "functions": [_function(lines, one) for one in app.declared.exposed()],
        "members": [peer_id_text(each.peer) for each in seen],
        "uptime": app.parts.dna.r,
        "level": manifest.level,
        "entries": [kind.name for kind in manifest.entries],
        "links": [kind.name for kind in manifest.links],
        "membrane": manifest.membrane,
        "rules": [
            {"rule": one.name, "line": one.line, "about": one.doc} for one in app.declared.rules
        ],
        "chain": None if head is None else shown.head(head),
        "held": {"states": dict(figures.states), "bytes": figures.bytes},
        "source": app.row.source,
        "installed_us": app.row.installed_us,
        "changed_us": app.row.changed_us,
    }


def row(app: App, address: str) -> dict[str, Any]:
    """An app in a list of apps; `address`: of its page."""
    manifest = app.parts.manifest
    return {
        "name": app.name,
        "title": manifest.title or manifest.name,
        "description": manifest.description,
        "version": manifest.version,
        "dna": encode_base32(app.overlay),
        "agent": None if app.head is None else encode_base32(app.head.agent),
        "state": app.state,
        "problem": app.problem,
        "progress": app.progress.text if app.state == "starting" and app.progress else "",
        "page": address,
        "functions": [
            {"function": one.name, "access": one.access, "about": one.doc}
            for one in app.declared.exposed()
        ],
    }


def _function(lines: Sequence[str], one: Function) -> dict[str, Any]:
    """A function with what it is given; `parameters` None: its arguments are JSON."""
    found = fields(lines, one.name, one.line)
    return {
        "function": one.name,
        "access": one.access,
        "about": one.doc,
        "parameters": None if found is None else [dataclasses.asdict(each) for each in found],
    }


def shipped_rows() -> list[dict[str, str]]:
    """The apps that come with dms3."""
    found = []
    for name in shipped():
        manifest = parse_manifest((SHIPPED / name / MANIFEST).read_text())
        about = {"title": manifest.title, "description": manifest.description}
        found.append({"name": manifest.name, **about})
    return found
