"""How the answers of the `network` commands look on a terminal.

Source: docs/networks.md. As `cli/views.py`.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from dms3.cli.lines import Line, View, counted, size, until

_KINDS = {"public": "what is public", "app": "app", "network": "network"}


def _network(one: Mapping[str, Any]) -> list[Line]:
    where = ", on local networks only" if one["local"] else ""
    lines: list[Line] = [
        [(one["name"], "bold"), (f"  {one['words']}{where}", "")],
        [(f"  {one['id']}", "dim")],
        *_who_puts_out(one),
    ]
    if one["problem"]:
        return [*lines, [(f"  {one['problem']}", "yellow")]]
    ends = f"; you are in{until(one['until_us'])}" if one["until_us"] and _ends(one) else ""
    lines += [[(f"  {_here(one)}{ends}", "")]]
    spaces = ", ".join(space["name"] for space in one["spaces"])
    return [*lines, [(f"  you published {spaces}", "")]] if spaces else lines


def _who_puts_out(one: Mapping[str, Any]) -> list[Line]:
    """Of a network that puts people out: whose word counts there, and how many of them it takes."""
    if not one["apps"]:
        return []
    names = ", ".join(_called(each) for each in one["admins"])
    out = "puts" if one["needed"] == 1 else "put"
    where = f"  by what they find out in {one['apps_words']}"
    return [[(f"  {one['needed']} of these {out} somebody out: {names}", "")], [(where, "")]]


def _called(one: Mapping[str, Any]) -> str:
    return "you" if one.get("you") else one["name"] or one["root"][:12]


def _here(one: Mapping[str, Any]) -> str:
    """Who is there now, as far as this node has found them."""
    if one["nodes"] <= 1:
        return "no other node of a member is there now"
    return f"{counted(one['members'], 'member')} here now, at {counted(one['nodes'], 'node')}"


def _created(one: Mapping[str, Any]) -> list[Line]:
    invite = shlex.join(["dms3", "network", "invite", one["name"]])
    return [*_network(one), [(f"Invite somebody: {invite} CONTACT", "dim")]]


def _joined(one: Mapping[str, Any]) -> list[Line]:
    if one["problem"] or one["nodes"] > 1:
        return _network(one)
    look = shlex.join(["dms3", "network", "members", one["name"]])
    return [*_network(one), [(f"Its members are being looked for. To look again: {look}", "dim")]]


def _ends(one: Mapping[str, Any]) -> bool:
    """Whether somebody else has to prolong it: other proofs are made anew by the node."""
    return one["membrane"] in ("invite", "member")


def _networks(data: Mapping[str, Any]) -> list[Line]:
    lines = [line for one in data["networks"] for line in _network(one)]
    lines = lines or [[("You are in no network. Make one: dms3 network create NAME", "")]]
    lines += [[("Overlays of this node", "bold")]]
    for one in data["overlays"]:
        about = f"  {_KINDS[one['kind']]} {one['name']}".rstrip()
        held = f"{counted(one['nodes'], 'other node')}, {size(one['bytes'])} held"
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
        return [*lines, [(f"{data['next']} They run: dms3 network sign INVITATION", "yellow")]]
    ends = until(data["until_us"]) if data["until_us"] else ""
    whom = data["to_name"] or f"{data['to'][:12]}..."
    return [*lines, [(f"For {whom}{ends}: dms3 network join INVITATION", "dim")]]


def _members(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for one in data["members"]:
        about = " (admin)" if one["admin"] else ""
        lines += [[(f"{_called(one)}{about}", "bold"), (f"  {one['root']}", "dim")]]
        lines += [[(f"  {each['peer_id']}", "dim")] for each in one["nodes"]]
    lines = lines or [[("Nobody is there just now.", "")]]
    for one in data["put_out"]:
        warned = counted(one["by"], "admin")
        lines += [[(f"put out: {_called(one)}, of whom {warned} warned", "yellow")]]
    return lines


def _left(data: Mapping[str, Any]) -> list[Line]:
    return [[(f"You have left {data['name']}.", "")]]


NETWORK_VIEWS: Mapping[str, View] = {
    "network create": _created,
    "network join": _joined,
    "network list": _networks,
    "network members": _members,
    "network invite": _invitation,
    "network sign": _invitation,
    "network leave": _left,
}
"""Command name -> its view."""
