"""How the answers of the `warrant` commands look on a terminal.

Source: docs/chains.md, "Convicted". As `cli/views.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dms3.cli.lines import Line, View

_STANDING = {
    "convicted": "convicted: nothing more of it is taken here",
    "blocked": "blocked by you: nothing more of it is taken here",
    "pardoned": "pardoned by you",
}


def _list(data: Mapping[str, Any]) -> list[Line]:
    lines = [line for one in data["warrants"] for line in _one(one)]
    return lines or [[("Nothing is known here against anybody.", "")]]


def _one(one: Mapping[str, Any]) -> list[Line]:
    issuer = one["issuer"]
    said = f"first said by agent {issuer}" if issuer else "found out by this node"
    lines: list[Line] = [
        [(one["dapp"], "bold"), (f"  {_STANDING[one['standing']]}", "")],
        [(f"  {_whose(one)}agent {one['agent']}", "dim")],
    ]
    if one["kind"]:
        lines += [[(f"  {one['words']}", "")], [(f"  {said}", "dim")]]
    if one["why"]:
        lines += [[(f"  You said: {one['why']}", "")]]
    return lines


def _whose(one: Mapping[str, Any]) -> str:
    """Whose agent it is, where that is known: "erin's "."""
    person = one.get("person")
    if not person or not (person["you"] or person["name"]):
        return ""
    return "your own " if person["you"] else f"{person['name']}'s "


def _shown(data: Mapping[str, Any]) -> list[Line]:
    lines = _one(data)
    if data["warrant"]:
        lines += [[(f"  warrant {data['warrant']}", "dim")]]
    for action in data["actions"]:
        kind = action.get("entry_kind") or action.get("link_kind") or ""
        lines += [
            [(f"  {action['seq']:>5}  {action['kind']} {kind}", "")],
            [(f"         {action['hash']}", "dim")],
        ]
    if data["actions"]:
        look = f"dms3 entry journey {data['actions'][0]['hash']} --dapp {data['dapp']}"
        lines += [[(f"What it wrote: {look}", "dim")]]
    if data["standing"] != "pardoned":
        again = f"dms3 warrant pardon {data['dapp']} {data['agent']}"
        lines += [[(f"To take from it again: {again}", "dim")]]
    return lines


WARRANT_VIEWS: Mapping[str, View] = {
    "warrant list": _list,
    "warrant show": _shown,
    "warrant block": _shown,
    "warrant pardon": _shown,
}
"""Command name -> its view."""
