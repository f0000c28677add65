"""How the answers of the `chain` commands look on a terminal.

Source: docs/chains.md. As `cli/views.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dms3.cli.lines import Line, View, counted, size

_STANDING = {
    "writable": "",
    "asking": "; other nodes are asked how long it is, and nothing is written before",
    "closed": "; it goes on in another app",
    "foreign": "; of another device of yours",
}


def _chains(data: Mapping[str, Any]) -> list[Line]:
    lines = [line for one in data["chains"] for line in _chain(one)]
    return lines or [[("You have written nothing in any app yet.", "")]]


def _chain(one: Mapping[str, Any]) -> list[Line]:
    about = f"  {one['seq'] + 1} actions{_STANDING[one['standing']]}"
    return [
        [(one["dapp"], "bold"), (about, "")],
        [(f"  agent {one['agent']}, device {one['device']}", "dim")],
    ]


def _records(data: Mapping[str, Any]) -> list[Line]:
    lines = _chain(data)
    for one in data["records"]:
        action = one["action"]
        kind = action.get("entry_kind") or action.get("link_kind") or ""
        hidden = ", private" if action.get("private") else ""
        lines += [[(f"  {action['seq']:>5}  {action['kind']} {kind}{hidden}", "")]]
        if one["entry"] is not None:
            lines += [[(f"         {json.dumps(one['entry'], ensure_ascii=False)[:300]}", "")]]
        lines += [[(f"         {action['hash']}", "dim")]]
    if data["next"] is not None:
        lines += [[(f"More: --after {data['next']}", "dim")]]
    return lines


def _revoked(data: Mapping[str, Any]) -> list[Line]:
    what = f"What device {data['device']} writes in {data['dapp']} from now on is not yours."
    return [[(what, "")], [(f"action {data['action']}", "dim")]]


def _figures(data: Mapping[str, Any]) -> list[Line]:
    lines = [line for one in data["apps"] for line in _of_app(one)]
    return lines or [[("No app is installed.", "")]]


def _of_app(one: Mapping[str, Any]) -> list[Line]:
    ops = counted(sum(one["held"]["states"].values()), "op")
    held = one["held"]["states"].items()
    states = ", ".join(f"{count:,} {_OP_STATES.get(state, state)}" for state, count in held)
    lines: list[Line] = [
        [(one["dapp"], "bold"), (f"  {ops} held, {size(one['held']['bytes'])}", "")]
    ]
    if states:
        lines += [[(f"  {states}", "dim")]]
    if not one["whole"]:
        return [*lines, [("  what is held is still being counted", "yellow")]]
    rounds = counted(one["rounds"], "comparison")
    failed = f", {one['failed']} without an answer" if one["failed"] else ""
    ranges = counted(one["differing"], "range")
    lines += [[(f"  {rounds} with neighbours{failed}; the last found {ranges} different", "")]]
    done = f"brought {one['brought']}, offered {one['offered']}, dropped {one['dropped']}"
    lines += [[(f"  {done}", "")]]
    missed = [f"{one[name]} {why}" for name, why in _NOT_TAKEN.items() if one[name]]
    if missed:
        lines += [[(f"  not taken: {', '.join(missed)}", "dim")]]
    if one["short"]:
        short = f"  {counted(one['short'], 'op')} may be short of holders; neighbours are asked"
        lines += [[(short, "yellow")]]
    return lines


_OP_STATES = {
    "pending": "waiting",
    "system": "being checked by the rules that all apps have",
    "app": "being checked by the rules of the app",
    "integrated": "checked and held",
    "rejected": "refused, kept as evidence",
    "abandoned": "given up without a verdict",
}
_NOT_TAKEN = {
    "refused": "for which there was no room",
    "barred": "of agents that are blocked",
    "far": "that do not lie near",
    "absent": "that nobody gave",
}

CHAIN_VIEWS: Mapping[str, View] = {
    "chain list": _chains,
    "chain show": _records,
    "chain figures": _figures,
    "chain reconcile": _of_app,
    "chain restore": _chains,
    "chain revoke": _revoked,
}
"""Command name -> its view."""
