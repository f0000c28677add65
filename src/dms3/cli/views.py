"""What a person reads after a command: a few sentences and rows instead of every field.

Source: docs/interfaces.md, "Command line". Each view turns the data of one command into lines of
styled pieces; `cli/output.py` prints them, coloured on a terminal, plain elsewhere. Programs use
`--json`, where nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Piece = tuple[str, str]  # text and the style of it ("" for none)
Line = list[Piece]
View = Callable[[Mapping[str, Any]], list[Line]]

SKIPS_SHOWN_MAX = 8
FOREVER_YEAR = 9000  # a grant without an end carries the last date there is
_UNITS = ("B", "kB", "MB", "GB", "TB")


def shown(view: View, data: Mapping[str, Any]) -> list[Line] | None:
    """The lines of `view`, or None for data of another version in which it misses something."""
    try:
        return view(data)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError):
        return None


def size(count: int) -> str:
    """`count` bytes as people write it: 393 kB."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}" if value < 1000 else f"{value:.0f} {_UNITS[unit]}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """`3 documents`, `1 document`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def until(moment_us: int) -> str:
    """`until 2027-03-01`, or nothing for a grant without an end."""
    if moment_us >= int(datetime(FOREVER_YEAR, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000:
        return ""
    return f" until {datetime.fromtimestamp(moment_us // 1_000_000, UTC):%Y-%m-%d}"


def _search(data: Mapping[str, Any]) -> list[Line]:
    opened = data["containers"]["opened"]
    lines: list[Line] = [
        [
            (counted(data["total"], "document"), "bold"),
            (f" in {data['milliseconds']:.1f} ms, {counted(opened, 'container')} opened", "dim"),
        ]
    ]
    for number, hit in enumerate(data["hits"], 1):
        where = hit.get("source") or f"at {hit['node'][:12]}..."
        lines += [
            [],
            [(f"{number}. ", "dim"), (hit["title"], "bold"), (f"  {hit['kind']}", "dim")],
            [("   ", ""), *_marked(hit["snippet"], hit.get("marks") or [])],
            [(f"   {hit.get('hash') or hit['cid']}  {hit['space'] or 'message'}, {where}", "dim")],
        ]
    for missed in data["unreachable"]:
        lines += [[(f"Not searched: {missed['space']}: {missed['message']}", "yellow")]]
    return lines


def _marked(text: str, marks: Sequence[Sequence[int]]) -> Line:
    pieces: Line = []
    end = 0
    for start, stop in marks:
        pieces += [(text[end:start], ""), (text[start:stop], "bold green")]
        end = stop
    return [*pieces, (text[end:], "")]


def _store_add(data: Mapping[str, Any]) -> list[Line]:
    kept, skipped = data["kept_count"], data["skipped_count"] - data["kept_count"]
    others = f", {counted(kept, 'other file')} kept (found by name)"
    lines: list[Line] = [
        [
            (f"{counted(data['documents'], 'document')} imported", "bold"),
            (f" ({size(data['bytes'])}), {data['unchanged']:,} unchanged", ""),
            (others if kept else "", ""),
            (f", {skipped:,} skipped" if skipped else "", ""),
        ]
    ]
    shown = [one for one in data["skipped"] if not one["kept"]][:SKIPS_SHOWN_MAX]
    lines += [[(f"  {one['path']}: {one['reason']}", "dim")] for one in shown]
    if skipped > len(shown):
        more = skipped - len(shown)
        lines += [[(f"  and {more:,} more; --json lists them", "dim")]]
    if data["root"]:
        lines += [[("root ", "dim"), (data["root"], "")]]
    return lines


def _store_list(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    listed = data.get("listed")
    for space in data["spaces"]:
        if listed is not None and not (space["mine"] and space["name"] == listed):
            continue
        if space["mine"]:
            held = f"{counted(space['documents'], 'document')}, {size(space['bytes'])}"
            lines += [[(space["name"], "bold"), (f"  yours: {held}", "")]]
            lines += [[(f"  {_reader(one)}", "dim")] for one in space["readers"]]
            if space.get("publication"):
                lines += [[(f"  {space['publication']['summary']}", "dim")]]
        else:
            owner = space["owner"] or space["root"][:12] + "..."
            here = "" if space["connected"] else ", not connected now"
            ends = until(space["until_us"])
            lines += [[(space["name"], "bold"), (f"  shared by {owner}{ends}{here}", "")]]
    for one in data.get("documents", ()):
        facts = f"  {one['kind']}, {size(one['bytes'])}  "
        lines += [[(one["name"], "bold"), (facts, ""), (one["cid"], "dim")]]
    if data.get("next"):
        lines += [[(f"More: --after {data['next']}", "dim")]]
    return lines


def _store_recent(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for one in data["documents"]:
        facts = f"  {one['kind']}, {size(one['bytes'])}, in {one['space']}  "
        lines += [[(one["name"], "bold"), (facts, ""), (one["cid"], "dim")]]
    if data["next"]:
        lines += [[(f"More: --before {data['next']}", "dim")]]
    return lines or [[("No documents yet. Add a folder: dms3 store add FOLDER", "")]]


def _store_containers(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [[(counted(len(data["containers"]), "container"), "bold")]]
    for one in data["containers"]:
        held = f"{counted(one['documents'], 'document')}, {size(one['bytes'])}"
        room = f"room for {one['room']:,} more" if one["room"] else "full"
        lines += [[(f"{one['space']}, {one['kind']}", "bold"), (f"  {held}, {room}", "")]]
    return lines


def _reader(reader: Mapping[str, Any]) -> str:
    name = reader["name"] or reader["root"][:12] + "..."
    state = "" if reader["delivered"] else "; waits until that node is connected"
    if reader["refused"]:
        state = f"; refused: {reader['refused']}"
    return f"{name} can read and search it{until(reader['until_us'])}{state}"


def _store_share(data: Mapping[str, Any]) -> list[Line]:
    told = "can now" if data["new"] else "already can"
    ends = until(data["until_us"])
    return [[(f"{data['with']} {told} read and search {data['space']}{ends}.", "")]]


def _store_publish(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [[(data["summary"], "bold")]]
    if data["stage"] == "done":
        held = f"{counted(data['documents'], 'document')}, {size(data['bytes'])}"
        lines += [
            [(f"{held}; {counted(data['blocks'], 'block')} put", "dim")],
            [(_readers_of(data), "dim")],
        ]
    return lines


def _readers_of(data: Mapping[str, Any]) -> str:
    network = data.get("network")
    who = "Anybody" if network is None else f"The members of {network}"
    return f"{who} can find, read and copy it from now on."


def _store_unpublish(data: Mapping[str, Any]) -> list[Line]:
    if not data["was_public"]:
        return [[(f"The space {data['space']} is not public.", "")]]
    return [[(f"The space {data['space']} is not public any more. {data['left']}", "")]]


def _store_unshare(data: Mapping[str, Any]) -> list[Line]:
    line = (
        f"{data['with']} can no longer read {data['space']}; copies already made may still exist."
    )
    return [[(line, "")]]


def _store_backup(data: Mapping[str, Any]) -> list[Line]:
    held = f"{counted(data['documents'], 'document')} ({size(data['bytes'])})"
    new = f"{size(data['written_bytes'])} were new"
    return [
        [(f"Backed up into {data['folder']}: ", ""), (held, "bold"), (f", of which {new}.", "")],
        [(f"generation {data['generation']}; your twelve words open it", "dim")],
    ]


def _store_restore(data: Mapping[str, Any]) -> list[Line]:
    made = datetime.fromtimestamp(data["made_us"] // 1_000_000, UTC)
    held = f"{counted(data['documents'], 'document')} ({size(data['bytes'])})"
    lines: list[Line] = [
        [(f"{held} of {data['name']}", "bold"), (f" restored into {data['home']},", "")],
        [(f"as they were on {made:%Y-%m-%d at %H:%M} UTC. Everything was read back.", "")],
    ]
    lines += [[(f"  {one['what']}: {one['reason']}", "yellow")] for one in data["damaged"]]
    return lines


def _store_remove(data: Mapping[str, Any]) -> list[Line]:
    return [[(f"{counted(data['removed'], 'document')} removed.", "")]]


def _store_folder(data: Mapping[str, Any]) -> list[Line]:
    entries = data["entries"]
    lines: list[Line] = [[(counted(data["count"], "entry", "entries"), "bold")]]
    for one in entries:
        lines += [[(one["name"], "bold"), (f"  {size(one['size'])}  ", ""), (one["cid"], "dim")]]
    if data["count"] > len(entries):
        lines += [[(f"Shown: {len(entries):,}; --limit shows more.", "dim")]]
    return lines


def _store_verify(data: Mapping[str, Any]) -> list[Line]:
    looked = f"{counted(data['blocks'], 'block')} ({size(data['bytes'])})"
    if not data["damaged"]:
        whole = f"{looked} and {counted(data['documents'], 'document')} are whole."
        return [[(whole, "green")]]
    lines: list[Line] = [[(f"{looked} read; {len(data['damaged'])} damaged:", "bold red")]]
    return lines + [[(f"  {one['what']}: {one['reason']}", "")] for one in data["damaged"]]


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
    if public["under_way"]:
        lines += [[(f"Being published or withdrawn: {', '.join(public['under_way'])}.", "")]]
    return lines


_VERDICTS = {"pass": "green", "warn": "yellow", "fail": "bold red"}


def _doctor(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    for check in data["checks"]:
        style = _VERDICTS[check["verdict"]]
        lines += [[(f"{check['verdict']}  ", style), (f"{check['name']}: {check['detail']}", "")]]
        if check["fix"]:
            lines += [[(f"      {check['fix']}", "bold")]]
    return lines


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


def _unlock(data: Mapping[str, Any]) -> list[Line]:
    return [
        [("Unlocked. ", "bold green"), (f"This is {data['name']}, node {data['peer_id']}.", "")]
    ]


def _id_confirm(data: Mapping[str, Any]) -> list[Line]:
    written = "are" if data["words_written"] else "are not"
    return [[(f"Noted: the twelve words {written} written down.", "green")]]


def _id_protect(_: Mapping[str, Any]) -> list[Line]:
    return [[("Protected: from the next start on the node asks for the passphrase.", "")]]


def _peer_connect(data: Mapping[str, Any]) -> list[Line]:
    return [[("Connected to ", ""), (data["peer_id"], "bold"), (f" at {data['address']}.", "")]]


def _peer_ping(data: Mapping[str, Any]) -> list[Line]:
    return [[(data["peer_id"], "bold"), (f" answered in {data['milliseconds']:.1f} ms.", "")]]


def _open(data: Mapping[str, Any]) -> list[Line]:
    return [[(data["url"], "bold")]]


def _config_show(data: Mapping[str, Any]) -> list[Line]:
    rows = data.get("settings")
    if rows is None:
        rows = [{"setting": key, "value": value, "origin": ""} for key, value in data.items()]
    lines: list[Line] = []
    for row in rows:
        line = [(f"{row['setting']:<16} ", "dim"), (_setting(row["value"]), "bold")]
        lines += [[*line, (f"  ({row['origin']})" if row["origin"] else "", "dim")]]
    return lines


def _setting(value: Any) -> str:
    """A value of config.toml, as people write it."""
    if value in ("", [], ()):
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _words(data: Mapping[str, Any]) -> list[Line]:
    words = data["words"].split()
    return [[("  ".join(f"{n:2}. {w:<10}" for n, w in part), "")] for part in _rows(words)]


def _rows(words: Sequence[str], across: int = 4) -> list[list[tuple[int, str]]]:
    numbered = list(enumerate(words, 1))
    return [numbered[at : at + across] for at in range(0, len(numbered), across)]


def got(data: Mapping[str, Any]) -> list[Line]:
    """A file that was written."""
    return [[(f"{data['file']}", "bold"), (f"  {size(data['size'])}", "")]]


def _up(data: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = [[("page     ", "dim"), (data["url"], "bold")]]
    if data["locked"]:
        return [*lines, [("Locked: unlock it on the page or with dms3 unlock.", "yellow")]]
    return [*lines, [("address  ", "dim"), (data["address"] or "", "")]]


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


VIEWS: Mapping[str, View] = {
    "up": _up,
    "open": _open,
    "config show": _config_show,
    "dev": _dev,
    "demo": _demo,
    "status": _status,
    "doctor": _doctor,
    "search": _search,
    "store add": _store_add,
    "store import": _store_add,
    "store export": got,
    "store list": _store_list,
    "store recent": _store_recent,
    "store containers": _store_containers,
    "store get": got,
    "store folder": _store_folder,
    "store remove": _store_remove,
    "store share": _store_share,
    "store unshare": _store_unshare,
    "store publish": _store_publish,
    "store unpublish": _store_unpublish,
    "store verify": _store_verify,
    "store backup": _store_backup,
    "store restore": _store_restore,
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
"""Command name -> its view; a command without one shows its fields."""
