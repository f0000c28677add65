"""Apps: those that are installed and could be, one of them, and the journey of what was written.

Source: docs/page.md, "Apps". Shows `dms3 dapp list`, `dapp show`, `chain show`, `dapp grants`,
`dapp sessions` and `entry journey`. What others wrote against the rules comes from the events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.requests import Request

from dms3.core.database import StoredEvent
from dms3.core.errors import Dms3Error
from dms3.core.limits import PAGE_ACTIONS_MAX, PAGE_EVENTS_MAX
from dms3.core.multibase import encode_base32
from dms3.web.site import Shown, Site, View
from dms3.web.templating import shell

REFUSED_SHOWN_MAX = 10
FOUND_SHOWN_MAX = 20
TEXT_CHARS_SHOWN = 2_000  # of one text in an entry: a screen
ROWS_SHOWN = 50  # of one list in an entry
_IDENTIFIER = re.compile(r"[a-z2-7]{40,80}|[0-9a-f]{32,128}")
KINDS = {
    "dna": "Began here",
    "proof": "Was let in",
    "agent": "Key",
    "create": "Wrote",
    "update": "Changed",
    "delete": "Deleted",
    "link": "Linked",
    "unlink": "Unlinked",
    "open": "Came from another app",
    "close": "Went on in another app",
    "countersign": "Signed together",
    "warrant": "Warned of an agent",
}
"""What an action does, in words."""
OPS = {
    "record": "the action itself, near its hash",
    "entry": "the entry, near its hash",
    "activity": "the place in its author's chain, near the author",
    "agent": "the key, near its person",
    "update": "that it changes something, near what it changes",
    "delete": "that it deletes something, near what it deletes",
    "link": "the link, near what it leads from",
    "unlink": "that a link is gone, near what it led from",
}
"""What each part of an action is about, in words."""
STATES = {
    "pending": ("warn", "waits"),
    "system": ("warn", "being checked: the rules that all apps have"),
    "app": ("warn", "being checked: the rules of this app"),
    "integrated": ("on", "checked and held"),
    "rejected": ("fail", "refused"),
    "abandoned": ("fail", "given up: no verdict could be reached"),
}
"""Where an op stands at this node, in words."""
ACCESS = {
    "own": "only you",
    "unrestricted": "everybody who has the app",
    "transferable": "whoever has a capability of yours",
    "assigned": "whom you gave a capability",
}
"""Who may call a function, in words."""
STANDINGS = {
    "writable": "",
    "asking": "Nothing can be written until others have said how long this chain is.",
    "closed": "This chain is closed: nothing can be written to it any more.",
    "foreign": "This is the chain of another device: it can be read, and not be written.",
}
"""What a chain's standing means for who wants to write."""
SESSION_STATES = {
    "proposed": "proposed",
    "locked": "signed by you, waits for the others",
    "complete": "in force",
    "declined": "declined",
    "expired": "not signed in time",
}
"""How a countersigning stands, in words."""
OPEN_SESSIONS = ("proposed", "locked")


async def gather(site: Site, request: Request) -> Shown:
    """The apps that are here, those that come with dms3, and with `?find=WORDS` those of others."""
    data = dict(await site.ask("dapp", "list"))
    find = request.query_params.get("find")
    data["dapps"] = [one | {"waiting": await _count_waiting(site, one)} for one in data["dapps"]]
    if find is None:
        return Shown(data | {"found": None}, "dms3 dapp list", {"find": ""})
    words = find.strip()
    data["found"] = await _discover(site, words)
    command = shell("dapp", "discover", *([words] if words else []))
    return Shown(data, command, {"find": words})


async def _discover(site: Site, words: str) -> dict[str, Any]:
    """What others have published; `problem` where nobody could be asked."""
    try:
        found = await site.ask("dapp", "discover", query=words, limit=FOUND_SHOWN_MAX)
    except Dms3Error as error:
        return {"dapps": [], "problem": f"{error.message} {error.hint}".strip()}
    return {"dapps": found["dapps"], "problem": ""}


async def _count_waiting(site: Site, app: Mapping[str, Any]) -> int:
    """How many countersignings of an app wait for the person."""
    if app["state"] != "ready" or not site.has("dapp", "sessions"):
        return 0
    sessions = (await site.ask("dapp", "sessions", dapp=app["name"]))["sessions"]
    return sum(waits_for(one, app["agent"]) for one in sessions)


def waits_for(session: Mapping[str, Any], agent: str | None) -> bool:
    """Whether a countersigning waits for the signature of `agent`."""
    return (
        session["state"] == "proposed"
        and agent in session["parties"]
        and agent not in session["signed"]
        and session["proposer"] != agent
    )


async def gather_one(site: Site, request: Request) -> Shown:
    """One app: what it is, its functions, my chain, grants, sessions, what was refused."""
    name = request.path_params["dapp"]
    app = await site.ask("dapp", "show", dapp=name)
    ready = app["state"] == "ready"
    before = _number(request.query_params.get("before", ""))
    data: dict[str, Any] = {
        "app": app,
        "mine": await _mine(site, app, before) if ready else None,
        "grants": (await site.ask("dapp", "grants", dapp=name))["grants"] if ready else [],
        "sessions": (await site.ask("dapp", "sessions", dapp=name))["sessions"] if ready else [],
        "refused": refused(await _events(site), app["dna"], app["agent"]),
    }
    for one in data["sessions"]:
        one["waits_for_me"] = waits_for(one, app["agent"])
    names = await _names(site)
    values = {
        **_words(),
        "title": app["title"],
        "known": [names[one] for one in app["members"] if one in names],
        "before": before,
        "contacts": await _contacts(site),
    }
    return Shown(data, shell("dapp", "show", name), values)


async def _mine(site: Site, app: Mapping[str, Any], before: int | None) -> dict[str, Any]:
    """The latest records of my chain, the last one first; those before `before` (seq)."""
    last = app["chain"]["seq"] if app["chain"] else -1
    end = last if before is None else min(last, before - 1)
    if end < 0:
        return {"records": [], "next": None, "standing": "writable"}
    after = max(-1, end - PAGE_ACTIONS_MAX)
    shown = await site.ask(
        "chain", "show", dapp=app["name"], after=after, limit=min(PAGE_ACTIONS_MAX, end - after)
    )
    return {
        "records": list(reversed(shown["records"])),
        "next": after + 1 if after >= 0 else None,
        "standing": shown["standing"],
    }


async def _events(site: Site) -> Sequence[StoredEvent]:
    """The latest events."""
    last: int = (await site.ask("status")).get("last_event", 0)
    return await site.node.events(max(0, last - PAGE_EVENTS_MAX), PAGE_EVENTS_MAX)


def refused(events: Iterable[StoredEvent], dna: str, agent: str | None) -> list[dict[str, Any]]:
    """What this node lately refused of an app because a rule was broken, the newest first."""
    found = []
    for event in events:
        data = event.data
        if event.topic != "chain.rejected" or _as_text(data.get("app")) != dna:
            continue
        author = _as_text(data.get("agent"))
        found.append(
            {
                "rule": str(data.get("rule", "")),
                "line": data.get("line", 0),
                "detail": str(data.get("detail", "")),
                "entry": data.get("entry"),
                "action": data.get("action"),
                "author": author,
                "mine": author == agent,
                "at_us": event.wall_us,
            }
        )
    return list(reversed(found))[:REFUSED_SHOWN_MAX]


def _as_text(key: object) -> str:
    """A key that an event has in hexadecimal, as commands show it."""
    try:
        return encode_base32(bytes.fromhex(str(key)))
    except ValueError:
        return ""


async def gather_journey(site: Site, request: Request) -> Shown:
    """An action: what it says, who holds it and signed for it, how it stands at this node."""
    name, hash_ = request.path_params["dapp"], request.path_params["hash"]
    app = await site.ask("dapp", "show", dapp=name)
    journey = await site.ask("entry", "journey", hash=hash_, dapp=name)
    record = await site.ask("entry", "get", hash=journey["action"], dapp=name)
    mine = journey["author"] == app["agent"]
    data = {
        "app": {key: app[key] for key in ("name", "title", "agent", "uptime", "members")},
        "journey": journey,
        "record": {"action": record["action"], "entry": record["entry"]},
        "live": record["live"],
        "updates": record["updates"],
        "mine": mine,
        "summary": summary(journey, app["uptime"], len(app["members"])),
    }
    values = {**_words(), "names": await _names(site), "title": app["title"]}
    return Shown(data, shell("entry", "journey", hash_, dapp=name), values)


def summary(journey: Mapping[str, Any], wanted: int, met: int) -> str:
    """How far an action has got, in one sentence; `met`: how many others have the app."""
    verdict = journey["verdict"]
    if verdict["verdict"] == "invalid":
        return (
            f"It breaks the rule {verdict['rule']} of this app, so nobody who checks it holds it."
        )
    far = journey["published"]
    if far is None:
        return "It is of somebody else; who holds all of it is known to its author."
    signers = {signer for op in far["ops"] for signer in op["signers"]}
    if far["complete"]:
        return _held(far["ops"], wanted, len(signers))
    if signers:
        done = sum(bool(op["enough"]) for op in far["ops"])
        parts = f"{done} of {len(far['ops'])} parts are held by enough"
        return f"On its way: {_nodes(len(signers))} signed so far, {parts}."
    who = (
        f"{_nodes(met)} can be asked to hold it, and will be" if met else "nobody else was met yet"
    )
    return f"It is kept here; {who}."


def _held(ops: Sequence[Mapping[str, Any]], wanted: int, signers: int) -> str:
    """Why those who hold all parts of an action are enough."""
    reasons = {op["enough"] for op in ops}
    if reasons == {"uptime"}:
        least = min(op["uptime"] for op in ops)
        return f"Enough nodes hold it: uptime {least:.1f} of {wanted}."
    who = "All who lie near it hold it" if "near" in reasons else "Everybody holds it"
    return f"{who}: {_nodes(signers)} signed a receipt."


def is_identifier(text: str) -> bool:
    """Whether a text of an entry is a hash, a key or the like, which people do not read."""
    return _IDENTIFIER.fullmatch(text) is not None


def enough(op: Mapping[str, Any], wanted: int) -> str:
    """Why those who signed for a part are enough, or how many are missing."""
    if op["enough"] == "everybody":
        return f"everybody of {max(op['members'], len(op['signers']))}"
    if op["enough"] == "near":
        return "all who lie near it"
    return f"uptime {op['uptime']:.1f} of {wanted}"


def _nodes(count: int) -> str:
    return f"{count} {'node' if count == 1 else 'nodes'}"


def _words() -> dict[str, Any]:
    """What the templates say things with."""
    return {
        "kinds": KINDS,
        "ops": OPS,
        "states": STATES,
        "access": ACCESS,
        "standings": STANDINGS,
        "session_states": SESSION_STATES,
        "open_sessions": OPEN_SESSIONS,
        "enough": enough,
        "is_identifier": is_identifier,
        "text_max": TEXT_CHARS_SHOWN,
        "rows_max": ROWS_SHOWN,
    }


async def _names(site: Site) -> dict[str, str]:
    """Peer ids to the names of their people; mine is "you"."""
    found = {str((await site.ask("status")).get("peer_id")): "you"}
    if site.has("peer", "list"):
        peers = (await site.ask("peer", "list"))["peers"]
        found |= {peer["peer_id"]: peer["name"] for peer in peers if peer["name"]}
    return found


async def _contacts(site: Site) -> list[str]:
    if not site.has("contact", "list"):
        return []
    return sorted(one["name"] for one in (await site.ask("contact", "list"))["contacts"])


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


VIEW = View("/apps", "Apps", "apps.html", gather, key="a")
APP = View("/apps/{dapp}", "App", "apps_one.html", gather_one, under="/apps", listed=False)
JOURNEY = View(
    "/apps/{dapp}/{hash}",
    "Journey",
    "apps_journey.html",
    gather_journey,
    under="/apps",
    listed=False,
)
