"""What a person reads of the commands that run here and not in a node (`cli/local.py`).

Source: docs/interfaces.md, "Start" and "Command line". As `cli/views.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dms3.cli.lines import Line, View, counted
from dms3.core.units import size_text

_SIZES = ("overlay_blocks", "upload_max", "delivery_size", "delivery_quota", "delivery_total")


def _up(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [[("page     ", "dim"), (data["url"], "bold")]]
    if data["locked"]:
        return [*lines, [("Locked: unlock it on the page or with dms3 unlock.", "yellow")]]
    return [*lines, [("address  ", "dim"), (data["address"] or "", "")]]


def _open(data: Mapping[str, Any]) -> list[Line]:
    return [[(data["url"], "bold")]]


def _config_show(data: Mapping[str, Any]) -> list[Line]:
    rows = data.get("settings")
    if rows is None:
        rows = [{"setting": key, "value": value, "origin": ""} for key, value in data.items()]
    lines: list[Line] = []
    for row in rows:
        value = row["value"]
        text = size_text(value) if row["setting"] in _SIZES else _setting(value)
        line = [(f"{row['setting']:<16} ", "dim"), (text, "bold")]
        lines += [[*line, (f"  ({row['origin']})" if row["origin"] else "", "dim")]]
    return lines


def _setting(value: Any) -> str:
    """A value of config.toml, as people write it."""
    if value in ("", [], ()):
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _dev(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [[("network  ", "dim"), (data["network"], "")]]
    for node in data["nodes"]:
        lines += [
            [(node["name"], "bold"), (f"  API {node['api']}  --home {node['home']}", "")],
            [(f"  {node['address']}", "dim")],
        ]
    return [*lines, [("Ctrl-C stops them.", "")]]


def check_line(check: Mapping[str, Any]) -> Line:
    """One row of the tour's table."""
    verdict = ("ok    ", "green") if check["ok"] else ("FAIL  ", "bold red")
    name, detail, took = f"{check['name']:<45}", check["detail"], f"{check['seconds']:7.2f} s"
    return [verdict, (name, ""), (took, "dim"), (f"  {detail}", "")]


def _demo(data: Mapping[str, Any]) -> list[Line]:
    passed = sum(check["ok"] for check in data["checks"])
    seconds = sum(check["seconds"] for check in data["checks"])
    text = f"{passed} of {counted(len(data['checks']), 'check')} passed in {seconds:.1f} s"
    return [[(text, "bold green" if data["ok"] else "bold red")]]


LOCAL_VIEWS: Mapping[str, View] = {
    "up": _up,
    "open": _open,
    "config show": _config_show,
    "dev": _dev,
    "demo": _demo,
}
