"""How the answers of the `network` commands look on a terminal.

Source: docs/networks.md. As `cli/views.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dms3.cli.lines import Line, View, counted, size, until

_KINDS = {"public": "what is public", "app": "app", "network": "network"}


def _network(one: Mapping[str, Any]) -> list[Line]:
    where = ", on local networks only" if one["local"] else ""
    lines: list[Line] = [
        [(one["name"], "bold"), (f"  {one['words']}{where}", "")],
        [(f"  {one['id']}", "dim")],
    ]
    if one["problem"]:
        return [*lines, [(f"  {one['problem']}", "yellow")]]
    if one["apps"]:
        names = ", ".join(each["name"] or each["root"][:12] for each in one["admins"])
        lines += [[(f"  {one['needed']} of these put somebody out: {names}", "")]]
        lines += [[(f"  by what they find out in {', '.join(one['apps'])}", "")]]
    people, nodes = counted(one["members"], "member"), counted(one["nodes"], "node")
    ends = f"; you are in{until(one['until_us'])}" if one["until_us"] and _ends(one) else ""
    lines += [[(f"  {people} here now, at {nodes}{ends}", "")]]
    spaces = ", ".join(space["name"] for space in one["spaces"])
    return [*lines, [(f"  you published {spaces}", "")]] if spaces else lines


def _ends(one: Mapping[str, Any]) -> bool:
    """Whether somebody else has to prolong it: other proofs are made anew by the node."""
    return one["membrane"] in ("invite", "member")


def _networks(data: Mapping[str, Any]) -> list[Line]:
    lines = [line for one in data["networks"] for line in _network(one)]
    lines = lines or [[("You are in no network. Make one: dms3 network create NAME", "")]]
    lines += [[("Overlays of this node", "bold")]]
    for one in data["overlays"]:
        about = f"  {_KINDS[one['kind']]} {one['name']}".rstrip()
        held = f"{counted(one['nodes'], 'node')}, {size(one['bytes'])} held"
        lines += [[(f"{about}: {held}", "")]]
        lines += [[(f"    {_held(row)}", "dim")] for row in one["holds"] if row["values"]]
    return lines


def _held(row: Mapping[str, Any]) -> str:
    """What is held of one content type, and how far away it may be."""
    held = f"{row['type']}: {row['values']:,}, {size(row['bytes'])}"
    if row["radius"] is None:
        return held
    within = f", the nearest {row['radius']:.2%} of the space" if row["radius"] < 1 else ""
    return f"{held} of {size(row['quota_bytes'])}{within}"


def _invitation(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [[(data["invitation"], "")]]
    if not data["complete"]:
        missing = counted(data["needed"] - data["signed"], "more admin")
        return [*lines, [(f"It has to be signed by {missing}: dms3 network sign", "yellow")]]
    ends = until(data["until_us"]) if data["until_us"] else ""
    return [*lines, [(f"For {data['to'][:12]}...{ends}: dms3 network join", "dim")]]


def _members(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for one in data["members"]:
        name = "you" if one["you"] else one["name"] or one["root"][:12]
        about = " (admin)" if one["admin"] else ""
        lines += [[(f"{name}{about}", "bold"), (f"  {one['root']}", "dim")]]
        lines += [[(f"  {each['peer_id']}", "dim")] for each in one["nodes"]]
    lines = lines or [[("Nobody is there just now.", "")]]
    for one in data["put_out"]:
        name = one["name"] or one["root"][:12]
        warned = counted(one["by"], "admin")
        lines += [[(f"put out: {name}, of whom {warned} warned", "yellow")]]
    return lines


def _left(data: Mapping[str, Any]) -> list[Line]:
    return [[(f"You have left {data['name']}.", "")]]


NETWORK_VIEWS: Mapping[str, View] = {
    "network create": _network,
    "network join": _network,
    "network list": _networks,
    "network members": _members,
    "network invite": _invitation,
    "network sign": _invitation,
    "network leave": _left,
}
"""Command name -> its view."""
