"""What a person reads of the node itself, after `status` and `doctor`.

Source: docs/interfaces.md, "Command line". As `cli/views.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dms3.cli.lines import Line, View, counted, size

_VERDICTS = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def _status(data: Mapping[str, Any]) -> list[Line]:
    if data["locked"]:
        return [[("Locked. ", "bold yellow"), ("Unlock it with dms3 unlock.", "")]]
    if not data["ready"]:
        return [[("Starting.", "bold yellow")]]
    people, spaces = data["contacts"], data["spaces"]
    return [
        [
            (f"{data['name']} is ready. ", "bold green"),
            (f"Connected to {counted(data['peers']['connected'], 'node')}, ", ""),
            (f"{people['connected']} of {counted(people['known'], 'contact')} among them.", ""),
        ],
        [
            (f"{counted(data['documents'], 'document')} ({size(data['bytes'])}) ", ""),
            (f"in {counted(spaces['mine'], 'space')}; ", ""),
            (f"{counted(spaces['shared_with_me'], 'space')} shared with you.", ""),
        ],
        *_fetched(data.get("fetched") or {"documents": 0}),
        *_public(data.get("public") or {"spaces": 0, "under_way": []}),
        *[[("listens at ", "dim"), (address, "")] for address in data["addresses"]],
        [("home ", "dim"), (data["home"], ""), (f"  dms3 {data['version']}", "dim")],
    ]


def _fetched(fetched: Mapping[str, Any]) -> list[Line]:
    if not fetched["documents"]:
        return []
    kept = f"{counted(fetched['documents'], 'document')} ({size(fetched['bytes'])})"
    return [[(f"{kept} fetched from others.", "")]]


def _public(public: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    if public["spaces"]:
        lines += [[(f"{counted(public['spaces'], 'space')} public.", "")]]
    if public.get("in_networks"):
        count = counted(public["in_networks"], "space")
        lines += [[(f"{count} published in networks of yours.", "")]]
    if public["under_way"]:
        lines += [[(f"Being published or withdrawn: {', '.join(public['under_way'])}.", "")]]
    return lines


def _doctor(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for check in data["checks"]:
        style = _VERDICTS[check["verdict"]]
        lines += [[(f"{check['verdict']}  ", style), (f"{check['name']}: {check['detail']}", "")]]
        if check["fix"]:
            lines += [[(f"      {check['fix']}", "bold")]]
    return lines


SYSTEM_VIEWS: Mapping[str, View] = {
    "status": _status,
    "doctor": _doctor,
}
