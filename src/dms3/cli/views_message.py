"""What a person reads after a command about messages.

Source: docs/interfaces.md, "Command line"; see `cli/views.py`. Programs use `--json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dms3.cli.lines import Line, View, counted, got, size

_STATES = {
    "halted": ("waits: there is nowhere to send it yet", "yellow"),
    "queued": ("on its way", "yellow"),
    "sent": ("sent", "dim"),
    "delivered": ("delivered", "dim"),
    "read": ("read", "green"),
    "failed": ("not sent", "bold red"),
    "held": ("cannot be verified yet", "yellow"),
    "received": ("new", "bold"),
}
_NAME_CHARS = 24
_LAST_SECOND = 253_402_300_799  # of the year 9999: an import may bring any instant


def _sent(data: Mapping[str, Any]) -> list[Line]:
    text, style = _STATES[data["state"]]
    return [[(text.capitalize() + ".", style), (f"  {data['hash']}", "dim")]]


def moment(moment_us: int) -> str:
    """An instant of the wall clock, UTC, to the minute."""
    second = min(moment_us // 1_000_000, _LAST_SECOND)
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d %H:%M}"


def _rows(messages: Sequence[Mapping[str, Any]], other: str) -> list[Line]:
    lines: list[Line] = []
    for row in messages:
        lines += _row(row, "you" if row["mine"] else other or short(row["from"]))
    return lines


def _row(row: Mapping[str, Any], who: str) -> list[Line]:
    said, style = _STATES[row["state"]]
    head: Line = [(moment(row["order_us"]), "dim"), (f"  {who}", "bold")]
    if row["mine"] or row["state"] != "read":
        head.append((f"  {said}", style))
    if row["edited"]:
        head.append(("  edited", "dim"))
    lines = [head]
    if row["reply"]:
        lines += [[(f"  > {row['reply']['text']}", "dim")]]
    text = "(deleted)" if row["deleted"] else row["text"]
    lines += [[(f"  {line}", "dim" if row["deleted"] else "")] for line in text.splitlines()]
    for number, one in enumerate(row["attachments"]):
        lines += [[(f"  [{number}] {one['name']}", ""), (f"  {size(one['bytes'])}", "dim")]]
    if row["reactions"]:
        lines += [[("  " + " ".join(one["text"] for one in row["reactions"]), "")]]
    for why in (row["problem"], row["information"]):
        if why:
            lines += [[(f"  {why}", "yellow")]]
    return lines


def short(name: str) -> str:
    """A name that fits into a line: the beginning of one that is a key."""
    first, dot, rest = name.partition(".")
    return name if len(first) <= _NAME_CHARS else f"{first[:8]}...{dot}{rest}"


def _conversation(data: Mapping[str, Any]) -> list[Line]:
    person = data["person"]
    lines: list[Line] = _warnings(person)
    lines += _rows(data["messages"], person["name"])
    if data["before"]:
        lines += [[(f"Earlier: --before {data['before']}", "dim")]]
    return lines or [[(f"No messages with {person['name']} yet.", "")]]


def _inbox(data: Mapping[str, Any]) -> list[Line]:
    lines = _rows(data["messages"], "")
    return lines or [[("Nothing new.", "")]]


def _warnings(person: Mapping[str, Any]) -> list[Line]:
    if not person["changed"]:
        return []
    text = f"The keys of {person['name']} are others than before. Compare the fingerprint: "
    return [[(text, "bold red"), (f"dms3 message profile {person['name']}", "")]]


def _conversations(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for one in data["conversations"]:
        person, last = one["person"], one["last"]
        unread = f"  {one['unread']} new" if one["unread"] else ""
        stranger = "  asks to write to you" if person["standing"] == "request" else ""
        lines += [[(person["name"], "bold"), (unread, "green"), (stranger, "yellow")]]
        lines += _warnings(person)
        if last:
            text = "(deleted)" if last["deleted"] else last["text"].partition("\n")[0]
            lines += [[(f"  {moment(last['order_us'])}  {text[:100]}", "dim")]]
    if data["requests"]:
        lines += [[(f"{counted(data['requests'], 'stranger')}: ", ""), ("dms3 message people", "")]]
    hint = 'No messages yet. Write one: dms3 message send NAME "..."'
    return lines or [[(hint, "")]]


def _opened(data: Mapping[str, Any]) -> list[Line]:
    return [[(f"{counted(data['read'], 'message')} marked as read.", "")]]


def _fetch(data: Mapping[str, Any]) -> list[Line]:
    return [[(f"{counted(data['new'], 'new message')}.", "")]]


VOUCHERS = {
    "card": "by a card of theirs",
    "ens": "by the Ethereum Name Service",
    "dms3": "first come, by the public overlay",
    "address": "by the name itself, which is the key",
    "": "this is you",
}


def _profile(data: Mapping[str, Any]) -> list[Line]:
    vouched = VOUCHERS.get(data["vouched"], data["vouched"])
    lines: list[Line] = [[(data["name"], "bold"), (f"  {vouched}", "")]]
    if data["changed"]:
        lines += [[("The keys are others than before.", "bold red")]]
    if data["fingerprint"]:
        verified = "compared" if data["verified"] else "not compared yet"
        lines += [
            [("  fingerprint  ", "dim"), (data["fingerprint"], "bold"), (f"  {verified}", "")]
        ]
    lines += [[("  name         ", "dim"), (name, "")] for name in data["names"]]
    lines += [
        [("  service      ", "dim"), (one["name"], ""), (f"  {one['url']}", "dim")]
        for one in data["services"]
    ]
    return lines + ([[(data["problem"], "yellow")]] if data["problem"] else [])


def _people(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for one in data["people"]:
        checked = "  compared" if one["verified"] else ""
        lines += [[(one["name"], "bold"), (f"  {one['standing']}{checked}", "")]]
        lines += [[(f"  {one['fingerprint'] or 'no profile yet'}", "dim")], *_warnings(one)]
    return lines or [[("Nobody yet.", "")]]


_DECIDED = {"contact": "is a contact", "request": "is a stranger", "blocked": "is blocked"}


def _decided(data: Mapping[str, Any]) -> list[Line]:
    checked = ", the fingerprint compared" if data["verified"] else ""
    return [[(data["name"], "bold"), (f" {_DECIDED[data['standing']]}{checked}.", "")]]


def _forgotten(data: Mapping[str, Any]) -> list[Line]:
    return [[(data["name"], "bold"), (" is forgotten; the messages stay.", "")]]


def _service(one: Mapping[str, Any]) -> list[Line]:
    here = "this node" if one["own"] else one["url"]
    state = ("reachable", "green") if one["reachable"] else ("not reachable", "yellow")
    lines: list[Line] = [[(one["name"], "bold"), (f"  {here}  ", ""), state]]
    return lines + ([[(f"  {one['problem']}", "yellow")]] if one["problem"] else [])


def _services(data: Mapping[str, Any]) -> list[Line]:
    lines = [line for one in data["services"] for line in _service(one)]
    return lines or [[("Nobody carries messages for you; they come from node to node.", "")]]


def _uncarry(one: Mapping[str, Any]) -> list[Line]:
    return [[(one["name"], "bold"), (" carries nothing for you any more.", "")]]


def _settings(data: Mapping[str, Any]) -> list[Line]:
    told = "are told" if data["receipts"] else "are not told"
    taken = "are taken" if data["requests"] else "are not taken"
    return [
        [(f"Senders {told} what you received and read.", "")],
        [(f"Messages of strangers {taken}.", "")],
    ]


def _import(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [
        [
            (f"{counted(data['new'], 'new message')}", "bold"),
            (f" of {data['messages']:,}", ""),
            (f", {data['held']:,} cannot be verified yet" if data["held"] else "", "yellow"),
        ]
    ]
    lines += [[(f"  line {one['line']}: {one['reason']}", "yellow")] for one in data["refused"]]
    return lines


def _keys(data: Mapping[str, Any]) -> list[Line]:
    return [[("Your keys are those of the wallet now. Fingerprint: ", ""),
             (data["fingerprint"], "bold")]]  # fmt: skip


MESSAGE_VIEWS: Mapping[str, View] = {
    **{f"message {verb}": _sent for verb in ("send", "edit", "delete", "react")},
    **{f"message {verb}": _decided for verb in ("accept", "block", "unblock", "verified")},
    "message forget": _forgotten,
    "message conversation": _conversation,
    "message conversations": _conversations,
    "message inbox": _inbox,
    "message opened": _opened,
    "message fetch": _fetch,
    "message attachment": got,
    "message profile": _profile,
    "message people": _people,
    "message services": _services,
    "message carry": _service,
    "message uncarry": _uncarry,
    "message settings": _settings,
    "message export": got,
    "message import": _import,
    "message keys-from-wallet": _keys,
}
"""Command name -> its view."""
