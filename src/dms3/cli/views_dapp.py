"""What a person reads after the commands of apps: `dapp` and `entry`.

Source: docs/dapps.md. As `cli/views.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dms3.cli.lines import Line, View, counted, size

WORDS_MAX = 160  # of content on one line


def _made(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [[(f"{data['folder']}", "bold"), (" is a new app:", "")]]
    lines += [[(f"  {name}", "dim")] for name in data["files"]]
    lines += [[("Install it on a node: ", ""), (f"dms3 dapp install {data['folder']}", "bold")]]
    return lines


def _installed(data: Mapping[str, Any]) -> list[Line]:
    told = "has new functions and page" if data.get("changed") else "is installed"
    lines: list[Line] = [[(data["name"], "bold"), (f" {told}.", "")]]
    return lines + _app(data)


def _shown(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [[(data["title"], "bold"), (f"  {data['name']}, {data['state']}", "dim")]]
    lines += [[(data["description"], "")]] if data["description"] else []
    lines += _app(data)
    for rule in data["rules"]:
        lines += [
            [(f"  rule {rule['rule']}", ""), (f"  line {rule['line']}: {rule['about']}", "dim")]
        ]
    if data["chain"]:
        chain = data["chain"]
        lines += [
            [
                (f"  your chain: {counted(chain['seq'] + 1, 'action')}, ", ""),
                (chain["standing"], ""),
            ]
        ]
    held = sum(data["held"]["states"].values())
    lines += [[(f"  held here: {counted(held, 'op')}, {size(data['held']['bytes'])}", "dim")]]
    return lines


def _app(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    if data["problem"]:
        lines += [[(f"  {data['problem']}", "yellow")]]
    if data["page"]:
        lines += [[(f"  page: dms3 dapp open {data['name']}", "")]]
    for one in data["functions"]:
        call = f"  dms3 dapp call {data['name']} {one['function']}"
        lines += [[(call, ""), (f"  {one['about']}", "dim")]]
    return lines


def _list(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for one in data["dapps"]:
        state = "" if one["state"] == "ready" else f", {one['state']}"
        count = counted(len(one["functions"]), "function")
        lines += [[(one["name"], "bold"), (f"  {one['title']}, {count}{state}", "")]]
        lines += [[(f"  {one['problem']}", "yellow")]] if one["problem"] else []
    others = [one["name"] for one in data["shipped"] if not one["installed"]]
    if not lines:
        lines = [[("No app is installed. ", ""), ("dms3 dapp install guestbook", "bold")]]
    if others:
        lines += [[(f"Apps that come with dms3: {', '.join(others)}", "dim")]]
    return lines


def _called(data: Mapping[str, Any]) -> list[Line]:
    value = data["value"]
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        return [[(_brief(one), "")] for one in value]
    return [[(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), "")]]


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= WORDS_MAX else f"{text[:WORDS_MAX]}..."


def _opened(data: Mapping[str, Any]) -> list[Line]:
    return [[(data["url"], "bold")], [("The link works once and for a minute.", "dim")]]


def _token(data: Mapping[str, Any]) -> list[Line]:
    about = f"Good for the functions of {data['dapp']} until the node stops: POST {data['api']}"
    return [[(data["token"], "bold")], [(about, "dim")]]


def _removed(data: Mapping[str, Any]) -> list[Line]:
    text = " is removed. What you wrote in it stays with whoever holds it; install it to go on."
    return [[(data["dapp"], "bold"), (text, "")]]


def _published(data: Mapping[str, Any]) -> list[Line]:
    return [
        [(data["dapp"], "bold"), (" can be found and installed by anybody: ", "")],
        [(f"  dms3 dapp install {data['cid']}", "")],
        [(f"  {data['publication']['summary']}", "dim")],
    ]


def _discovered(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for one in data["dapps"]:
        here = ", installed here" if one["installed"] else ""
        lines += [
            [(one["title"], "bold"), (f"  {one['name']} {one['version']}{here}", "dim")],
            *([[(f"  {one['description']}", "")]] if one["description"] else []),
            [(f"  dms3 dapp install {one['cid']}", "dim")],
        ]
    for missed in data["unreachable"]:
        lines += [[(f"Not searched: {missed['space']}: {missed['message']}", "yellow")]]
    return lines or [[("Nobody has published such an app.", "")]]


def _proof(data: Mapping[str, Any]) -> list[Line]:
    text = json.dumps(data["proof"], separators=(",", ":"))
    return [[(text, "")], [(f"For {data['to'][:12]}...: dms3 dapp install --proof", "dim")]]


def _granted(data: Mapping[str, Any]) -> list[Line]:
    whom = data["name"] or "whoever has the capability"
    return [
        [(f"{whom} may call {', '.join(data['functions'])}. Hand this to them:", "")],
        [(data["capability"], "bold")],
        [(f"Take it back: dms3 dapp revoke DAPP {data['grant']}", "dim")],
    ]


def _grants(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for one in data["grants"]:
        whom = one["name"] or "whoever has the capability"
        lines += [[(one["grant"], "bold"), (f"  {whom}: {', '.join(one['functions'])}", "")]]
    return lines or [[("No grants.", "")]]


def _revoked(data: Mapping[str, Any]) -> list[Line]:
    return [[(f"The grant {data['grant']} is taken back.", "")]]


def _sessions(data: Mapping[str, Any]) -> list[Line]:
    lines = [line for one in data["sessions"] for line in _session(one)]
    return lines or [[("Nothing waits to be signed.", "")]]


def _session(one: Mapping[str, Any]) -> list[Line]:
    signed = f"{len(one['signed'])} of {len(one['parties'])} have signed"
    return [
        [(one["session"], "bold"), (f"  {one['kind']}, {one['state']}, {signed}", "")],
        [(f"  {_brief(one['content'])}", "")],
        [(f"  until {_when(one['until_us'])}", "dim")],
    ]


def _put(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [[("entry  ", "dim"), (data["entry"], "bold")]]
    lines += [[(f"action {data['action']}", "dim")], *_signed(data["published"])]
    if data["published"] and not data["published"]["complete"]:
        look = f"dms3 entry journey {data['action']} --dapp {data['dapp']}"
        lines += [[(f"It is written, and others are asked for it by this node: {look}", "yellow")]]
    return lines


def _signed(published: Mapping[str, Any] | None) -> list[Line]:
    """Who signed for each part of an own action, and why that is enough."""
    lines: list[Line] = []
    for one in published["ops"] if published else ():
        signed = counted(len(one["signers"]), "node")
        why = f"uptimes of {one['uptime']:.1f} together"
        known = {
            "uptime": f"enough: {why}",
            "everybody": "all there are",
            "near": "all who lie near it",
        }
        why = known.get(one["enough"], f"not yet enough: {why}")
        told = f"signed for by {signed}, {why}" if one["signers"] else "signed for by nobody yet"
        lines += [[(f"  {one['op']}: {told}", "")]]
    return lines


def _record(data: Mapping[str, Any]) -> list[Line]:
    action = data["action"]
    who = _who(data, action["author"])
    about = f"{action['kind']} by {who}, {_when(action['time'])}, in {data['dapp']}"
    lines: list[Line] = [[(json.dumps(data["entry"], ensure_ascii=False), "bold")]]
    lines += [[(about, "")], *_verdict(data["verdict"], data)]
    if not data["live"] and data["verdict"]["verdict"] == "valid":
        lines += [[("It was deleted by its author.", "yellow")]]
    if data["updates"]:
        lines += [[(f"It was updated {counted(len(data['updates']), 'time')}: --latest", "")]]
    return lines


def _verdict(verdict: Mapping[str, Any], data: Mapping[str, Any]) -> list[Line]:
    if verdict["verdict"] != "invalid":
        asked = f"{counted(data['holders'], 'node')} {'says' if data['holders'] == 1 else 'say'}"
        return [[(f"{verdict['verdict']}, as {asked}", "dim")]]
    line = f", line {verdict['line']}" if verdict["line"] else ""
    return [[(f"It breaks the rule {verdict['rule']}{line}: {verdict['detail']}", "red")]]


def _links(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for one in data["links"]:
        tag = f" {one['tag']!r}" if one["tag"] else ""
        lines += [[(one["to"], "bold"), (f"  {one['kind']}{tag}", "")]]
        lines += [[(f"  by {one['author']}, {_when(one['time'])}, in {one['dapp']}", "dim")]]
    return lines or [[("Nothing is linked from there.", "")]]


def _history(data: Mapping[str, Any]) -> list[Line]:
    asked = counted(data["holders"], "node")
    lines: list[Line] = [
        [
            (_who(data, data["agent"]), "bold"),
            (f"  {data['state']} in {data['dapp']}, say {asked}", ""),
        ]
    ]
    for one in data["actions"]:
        kind = one.get("entry_kind") or one.get("link_kind") or ""
        lines += [[(f"  {one['seq']:>5}  {one['kind']} {kind}", ""), (f"  {one['hash']}", "dim")]]
    if data["next"] is not None:
        lines += [[(f"More: --after {data['next']}", "dim")]]
    return lines


def _journey(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [[(data["action"], "bold")]]
    lines += [[(f"  by {_who(data, data['author'])}", "")]]
    if data.get("blocked"):
        look = f"dms3 warrant show {data['author']}"
        lines += [[(f"Its author is {data['blocked']} here: {look}", "yellow")]]
    lines += _verdict(data["verdict"], data)
    for one in data["here"]:
        why = f": {one['why']}" if one["why"] else ""
        broken = f", rule {one['rule']}, line {one['line']}" if one["rule"] else ""
        lines += [[(f"  here: {one['op']} {one['state']}{broken}{why}", "")]]
    return [*lines, *_signed(data["published"])]


def _who(data: Mapping[str, Any], agent: str) -> str:
    """Whose agent, where that is known: "alice (agent cfac5...)"."""
    person = data.get("person") or {"name": "", "you": False}
    name = "you" if person["you"] else person["name"]
    return f"{name} (agent {agent})" if name else f"agent {agent}"


def _when(moment_us: int) -> str:
    return f"{datetime.fromtimestamp(moment_us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


DAPP_VIEWS: Mapping[str, View] = {
    "dapp new": _made,
    "dapp install": _installed,
    "dapp migrate": _installed,
    "dapp show": _shown,
    "dapp list": _list,
    "dapp call": _called,
    "dapp open": _opened,
    "dapp token": _token,
    "dapp remove": _removed,
    "dapp publish": _published,
    "dapp discover": _discovered,
    "dapp invite": _proof,
    "dapp grant": _granted,
    "dapp grants": _grants,
    "dapp revoke": _revoked,
    "dapp sessions": _sessions,
    **{f"dapp {verb}": _session for verb in ("accept", "decline")},
    "entry put": _put,
    "entry get": _record,
    "entry links": _links,
    "entry history": _history,
    "entry journey": _journey,
}
"""Command name -> its view."""
