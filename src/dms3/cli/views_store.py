"""What a person reads after a `store` command or a search: spaces, documents, backups, hits.

Source: docs/interfaces.md, "Command line". As `cli/views.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from dms3.cli.lines import Line, View, counted, got, size, until

SKIPS_SHOWN_MAX = 8


def _search(data: Mapping[str, Any]) -> list[Line]:
    opened = data["containers"]["opened"]
    lines: list[Line] = [
        [
            (counted(data["total"], "document"), "bold"),
            (f" in {data['milliseconds']:.1f} ms, {counted(opened, 'container')} opened", "dim"),
        ]
    ]
    for number, hit in enumerate(data["hits"], 1):
        where = hit.get("source") or f"at {hit.get('owner') or hit['node'][:12] + '...'}"
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
    left = f" {data['left']}" if data["was_public"] else ""
    return [[(f"{data['summary']}{left}", "")]]


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


STORE_VIEWS: Mapping[str, View] = {
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
}
