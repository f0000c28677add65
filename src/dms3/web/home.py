"""Home: how the node is in one sentence, what needs attention, what is running, what is new.

Source: docs/page.md, "Home". Shows `dms3 status` and `dms3 doctor --quick`; what is new comes from
the event stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.requests import Request

from dms3.core.database import StoredEvent
from dms3.core.limits import PAGE_EVENTS_MAX, PAGE_TALKS_MAX
from dms3.web.site import Shown, Site, View
from dms3.web.templating import counted

NEW_SHOWN_MAX = 5
WORK_NAMES = {
    "store add": "Importing",
    "store verify": "Checking everything that is kept",
    "store publish": "Publishing",
    "store unpublish": "Taking back from the public",
    "store backup": "Backing up",
    "store restore": "Restoring",
    "store recover": "Recovering",
    "store import": "Reading a CAR file",
    "store export": "Writing a CAR file",
    "entry put": "Writing, and waiting until others hold it",
    "dapp install": "Installing an app",
    "dapp migrate": "Going on in another version of an app",
    "dapp publish": "Publishing an app",
    "message store-in": "Moving conversations",
    "message export": "Writing conversations to a file",
    "message import": "Reading conversations from a file",
}
"""What the long commands do, as a person says it."""


async def gather(site: Site, _request: Request) -> Shown:
    """Health, the checks that did not pass, what runs, and what others shared lately."""
    status = await site.ask("status")
    checks = (await site.ask("doctor", quick=True))["checks"] if site.has("doctor") else []
    spaces = (await site.ask("store", "list"))["spaces"]
    last = status.get("last_event", 0)
    events = await site.node.events(max(0, last - PAGE_EVENTS_MAX), PAGE_EVENTS_MAX)
    waiting = await _waiting(site)
    data = {
        "health": health_sentence(status, waiting["unread"]),
        "messages": waiting,
        "attention": [check for check in checks if check["verdict"] != "pass"],
        "checks": len(checks),
        "running": [work | {"what": what(work)} for work in site.running()["running"]],
        "fetching": fetching(events),
        "new": shared_lately(events, spaces),
        "first": not any(space.get("documents") or not space["mine"] for space in spaces),
    }
    return Shown(data, "dms3 status", {"spaces": spaces, "status": status})


async def _waiting(site: Site) -> dict[str, int]:
    """How many messages nobody looked at yet, and how many people ask to be let in."""
    if not site.has("message", "conversations"):
        return {"unread": 0, "requests": 0}
    found = await site.ask("message", "conversations", limit=PAGE_TALKS_MAX)
    mine = [one for one in found["conversations"] if one["person"]["standing"] == "contact"]
    return {"unread": sum(one["unread"] for one in mine), "requests": found["requests"]}


def health_sentence(status: Mapping[str, Any], unread: int = 0) -> str:
    """How the node is, in one sentence for people."""
    if status.get("locked"):
        return "This node is locked. Unlock it with: dms3 unlock"
    if not status.get("ready"):
        return "This node is starting."
    count = status["peers"]["connected"]
    nodes = f"Connected to {counted(count, 'node')}" if count else "Connected to nobody"
    documents = status["documents"]
    verb = "is" if documents == 1 else "are"
    wait = f" {counted(unread, 'message waits', 'messages wait')}." if unread else ""
    return f"{nodes}.{wait} {counted(documents, 'document')} {verb} kept here."


def what(work: Mapping[str, Any]) -> str:
    """What a running command does: "Importing into letters"."""
    name: str = WORK_NAMES.get(work["command"], work["command"])
    if not work["space"]:
        return name
    return f"{name} {'into ' if work['command'] == 'store add' else ''}{work['space']}"


def fetching(events: Iterable[StoredEvent]) -> list[dict[str, Any]]:
    """The fetches that have begun and not ended, by their latest progress."""
    open_ones: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.topic == "fetch.progress":
            open_ones[str(event.data["root"])] = dict(event.data)
        elif event.topic in ("fetch.done", "fetch.failed"):
            open_ones.pop(str(event.data["root"]), None)
    return list(open_ones.values())


def shared_lately(
    events: Iterable[StoredEvent], spaces: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The latest spaces that others shared and have not taken back, the newest first."""
    held = {space["space"]: space for space in spaces if not space["mine"] and "space" in space}
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        space = held.get(str(event.data.get("space"))) if event.topic == "grant.received" else None
        if space is not None:
            found[space["space"]] = {
                "name": space["name"],
                "owner": space["owner"],
                "root": space["root"],
                "at_us": event.wall_us,
            }
    return list(reversed(found.values()))[:NEW_SHOWN_MAX]


VIEW = View("/", "Home", "home.html", gather, key="h")
