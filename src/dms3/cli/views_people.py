"""What a person reads after an `id`, `contact` or `peer` command, and after `unlock`.

Source: docs/interfaces.md, "Command line". As `cli/views.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dms3.cli.lines import Line, View, counted, size

_FOUND = {
    "contact": "a contact",
    "bootstrap": "joined by your settings",
    "lan": "found on the local network",
    "exchange": "named by another node",
    "inbound": "came by itself",
    "person": "connected by you",
    "dht": "met while looking for content",
}


def _peer_list(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [[(f"{counted(data['connected'], 'node')} connected", "bold")]]
    for peer in data["peers"]:
        name = peer["name"] or "unknown person"
        if peer["connected"]:
            far = "" if peer["milliseconds"] is None else f", {peer['milliseconds']:.1f} ms"
            moved = f"in {size(peer['bytes_in'])}, out {size(peer['bytes_out'])}"
            way = "" if peer.get("direct", True) else " through another node"
            state = f"connected{way}{far}, {moved}"
        else:
            state = f"not connected: {peer['problem'] or 'no answer yet'}"
        lines += [
            [(name, "bold"), (f"  {state}", "")],
            [(f"  {peer['peer_id']}  {peer['address']}  {_FOUND[peer['found']]}", "dim")],
        ]
    return lines


def _peer_world(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for peer in data["peers"]:
        own, heard = peer["own"], peer["heard"]
        said = f"{peer['reporters']} others say something, too few to count"
        if heard is not None:
            said = f"{peer['reporters']} others say {heard['value']:.0%}"
        bad = f", {peer['points']} points of misconduct" if peer["points"] else ""
        bad = ", refused: it misbehaved" if peer["refused_until_us"] else bad
        seen = f"seen {own['value']:.0%} (confidence {own['confidence']:.0%}), {said}{bad}"
        lines += [
            [(peer["name"] or "unknown person", "bold"), (f"  {peer['uptime']:.0%} there", "")],
            [(f"  {peer['peer_id']}  {seen}", "dim")],
        ]
    return lines or [[("No other node is known yet.", "")]]


def _peer_gossip(data: Mapping[str, Any]) -> list[Line]:
    told = f"{counted(data['spread'], 'message')} spread, {data['delivered']:,} heard from others"
    lines: list[Line] = [[(told, "bold")]]
    for one in data["overlays"]:
        partners = f"{counted(one['partners'], 'partner')} of {counted(one['nodes'], 'node')}"
        kept = f"{counted(one['bodies'], 'message')} kept ({size(one['bytes'])})"
        lines += [[(f"  overlay {one['overlay'][:16]}...: {partners}, {kept}", "")]]
    dropped = ", ".join(f"{why} {count:,}" for why, count in sorted(data["dropped"].items()))
    return [*lines, [(f"  dropped: {dropped}", "dim")]] if dropped else lines


def _peer_connect(data: Mapping[str, Any]) -> list[Line]:
    return [[("Connected to ", ""), (data["peer_id"], "bold"), (f" at {data['address']}.", "")]]


def _peer_ping(data: Mapping[str, Any]) -> list[Line]:
    return [[(data["peer_id"], "bold"), (f" answered in {data['milliseconds']:.1f} ms.", "")]]


def _contact_list(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [
        [(one["name"], "bold"), (f"  root {one['root'][:16]}..., node {one['peer_id']}", "dim")]
        for one in data["contacts"]
    ]
    return lines or [[("No contacts yet. Add one: dms3 contact add CARD", "")]]


def _contact_add(data: Mapping[str, Any]) -> list[Line]:
    root = data["root"][:16]
    return [[(data["name"], "bold"), (f" is a contact now (root {root}...).", "")]]


def _contact_remove(data: Mapping[str, Any]) -> list[Line]:
    grants = counted(data["withdrawn"], "grant")
    taken = f" {grants} taken back; copies already made may still exist."
    return [[(f"{data['name']} is no contact any more.{taken if data['withdrawn'] else ''}", "")]]


def _contact_card(data: Mapping[str, Any]) -> list[Line]:
    return [[(data["card"], "")]]


def _id_show(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [[(data["name"], "bold")]]
    for key, words in (("root", "root"), ("peer_id", "node"), ("account", "account")):
        lines += [[(f"  {words:<8} ", "dim"), (data[key], "")]]
    for one in data["agents"]:
        lines += [[("  agent    ", "dim"), (one["agent"], ""), (f" in {one['dapp']}", "")]]
    return lines


def _words(data: Mapping[str, Any]) -> list[Line]:
    words = data["words"].split()
    return [[("  ".join(f"{n:2}. {w:<10}" for n, w in part), "")] for part in _rows(words)]


def _rows(words: Sequence[str], across: int = 4) -> list[list[tuple[int, str]]]:
    numbered = list(enumerate(words, 1))
    return [numbered[at : at + across] for at in range(0, len(numbered), across)]


def _id_confirm(data: Mapping[str, Any]) -> list[Line]:
    written = "are" if data["words_written"] else "are not"
    return [[(f"Noted: the twelve words {written} written down.", "green")]]


def _id_protect(_: Mapping[str, Any]) -> list[Line]:
    return [[("Protected: from the next start on the node asks for the passphrase.", "")]]


def _unlock(data: Mapping[str, Any]) -> list[Line]:
    return [
        [("Unlocked. ", "bold green"), (f"This is {data['name']}, node {data['peer_id']}.", "")]
    ]


PEOPLE_VIEWS: Mapping[str, View] = {
    "peer list": _peer_list,
    "peer world": _peer_world,
    "peer gossip": _peer_gossip,
    "peer connect": _peer_connect,
    "peer ping": _peer_ping,
    "contact list": _contact_list,
    "contact add": _contact_add,
    "contact remove": _contact_remove,
    "contact card": _contact_card,
    "id show": _id_show,
    "id words": _words,
    "id confirm": _id_confirm,
    "id protect": _id_protect,
    "unlock": _unlock,
}
