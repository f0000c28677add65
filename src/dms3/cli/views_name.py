"""What a person reads after a command about names, places of messages, and delivery services.

Source: docs/interfaces.md, "Command line"; see `cli/views.py`. Programs use `--json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dms3.cli.lines import Line, View, counted, size
from dms3.cli.views_message import VOUCHERS, moment


def _name(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [[(data["name"], "bold"), (f"  {VOUCHERS[data['vouched']]}", "")]]
    if data["fingerprint"]:
        lines += [[("  fingerprint  ", "dim"), (data["fingerprint"], "bold")]]
    else:
        lines += [[("  has no profile: nobody can write to it yet", "yellow")]]
    lines += [[("  account      ", "dim"), (data["address"], "")]] if data["address"] else []
    lines += [[("  also called  ", "dim"), (one, "")] for one in data["aliases"]]
    lines += [[("  carried by   ", "dim"), (one, "")] for one in data["services"]]
    if data["letters"]:
        unusual = ", ".join(data["letters"])
        lines += [[(f"  Letters that may be taken for others: {unusual}", "yellow")]]
    return lines


def _own(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [
        [(name, "bold" if name == data["primary"] else "")]
        + ([("  what you write is from this name", "dim")] if name == data["primary"] else [])
        for name in data["names"]
    ]
    lines += [[("  as a delivery service  ", "dim"), (data["service_name"], "")]]
    if data.get("record"):
        lines += [[("  text record network.dm3.profile of an ENS name:", "dim")]]
        lines += [[(f"  {data['record']}", "")]]
    elif data.get("problem"):
        lines += [[(f"  no record for an ENS name now: {data['problem']}", "yellow")]]
    return lines


def _forgotten(data: Mapping[str, Any]) -> list[Line]:
    done = "is forgotten: the next answer is believed" if data["forgotten"] else "was not known"
    return [[(data["name"], "bold"), (f" {done}.", "")]]


def _storage(data: Mapping[str, Any]) -> list[Line]:
    where = f"  {data['url']}" if data["url"] else ""
    lines: list[Line] = [
        [(data["kind"], "bold"), (where, "")],
        [(f"  {counted(data['items'], 'item')}, {size(data['bytes'])}", "dim")],
    ]
    if data["pending"]:
        lines += [[(f"  {counted(data['pending'], 'item')} on the way there", "yellow")]]
    if data["moving"] is not None:
        lines += [[(f"  moving: {data['moving']:.0%}", "yellow")]]
    if data["problem"]:
        lines += [[(f"  {data['problem']}", "yellow")]]
    others = [one for one in data.get("offered", ()) if one["kind"] != data["kind"]]
    lines += [[(f"  {one['kind']:<8} ", "bold"), (one["text"], "dim")] for one in others]
    return lines


def _earlier(data: Mapping[str, Any]) -> list[Line]:
    return [[(f"{counted(data['came'], 'earlier message')} came.", "")]]


def _devices(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for one in data["devices"]:
        here = "  this one" if one["this"] else ""
        seen = f"  wrote {moment(one['seen_us'])}" if one["seen_us"] else "  has not written yet"
        lines += [[(one["name"], "bold"), (f"  {one['id'][:12]}", ""), (seen + here, "dim")]]
    return lines or [[("No device has written anything yet.", "")]]


def _removed(data: Mapping[str, Any]) -> list[Line]:
    return [
        [(data["name"], "bold"), (" is removed; new messages are sealed with other keys.", "")],
        [("A device that has the twelve words is still you.", "yellow")],
    ]


def _status(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [
        [(data["name"], "bold"), (f"  {data['url']}", "")],
        [
            (f"  {counted(data['accounts'], 'account')}, ", ""),
            (f"{counted(data['messages'], 'message')} waiting, {size(data['bytes'])}", ""),
        ],
        [
            (f"  {data['accepted']:,} taken, {data['duplicates']:,} came twice, ", "dim"),
            (f"{data['acknowledged']:,} picked up since the start", "dim"),
        ],
    ]
    lines += [[(f"  refused {count:,}: {why}", "yellow")] for why, count in data["refused"].items()]
    return lines


_RULES = {
    "minNonce": "transactions at least",
    "minBalance": "wei at least",
    "minTokenBalance": "units of a token at least",
}


def _rules(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for one in data["services"]:
        lines += [[(one["name"], "bold")]]
        lines += [[(f"  {one['problem']}", "yellow")]] if one.get("problem") else []
        asked = _asked(one["rules"] or {})
        if not asked and not one.get("problem"):
            lines += [[("  strangers need nothing", "dim")]]
        lines += asked
    return lines or [[("No delivery service carries messages for you.", "")]]


def _asked(rules: Mapping[str, Any]) -> list[Line]:
    """What the account of a stranger must have."""
    lines: list[Line] = []
    for rule, words in _RULES.items():
        wanted = rules.get(rule)
        if isinstance(wanted, Mapping):
            text = f"{words}, at {wanted['address']}"
            lines += [[(f"  {wanted['amount']} ", "bold"), (text, "")]]
        elif wanted:
            lines += [[(f"  {wanted} ", "bold"), (words, "")]]
    return lines


NAME_VIEWS: Mapping[str, View] = {
    **{f"name {verb}": _name for verb in ("show", "claim", "add")},
    **{f"name {verb}": _own for verb in ("list", "use", "drop")},
    "name forget": _forgotten,
    "message storage": _storage,
    "message store-in": _storage,
    "message earlier": _earlier,
    "message devices": _devices,
    "message remove-device": _removed,
    "delivery status": _status,
    "delivery rules": _rules,
}
"""Command name -> its view."""
