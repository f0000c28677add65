"""Messages: the conversations, one of them open, what waits to be accepted.

Source: docs/page.md, "Messages". Shows `dms3 message conversations` and `message conversation`. It
changes nothing: that messages were seen is said by the page's script (`message opened`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request

from dms3.core.errors import Dms3Error
from dms3.core.limits import PAGE_MESSAGES_MAX, PAGE_TALKS_MAX
from dms3.web.site import Shown, Site, View
from dms3.web.templating import handle, shell

PICTURES = frozenset(f"image/{kind}" for kind in ("png", "jpeg", "gif", "webp", "avif", "bmp"))
"""Media types that may be shown; their first bytes are looked at again when they are."""
REACTIONS = ("+1", "-1", ":)", ":(", "thanks")
"""Reactions that are one key or click away; any other text can be typed."""
UNKNOWN = ("not_found", "argument_invalid", "timed_out", "peer_unreachable", "content_invalid")
"""What is told of a name that is nobody's, or cannot be asked about now."""
STATES = {
    "halted": "kept",
    "queued": "queued",
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "failed": "failed",
}
MEANINGS = {
    "halted": "Kept here until there is a way to this person",
    "queued": "Kept here; no delivery service of this person has taken it yet",
    "sent": "A delivery service of this person has it",
    "delivered": "It arrived at this person's node",
    "read": "It was on this person's screen",
    "failed": "It was refused for good",
}
VOUCHERS = {
    "card": "a contact card that you were given",
    "ens": "the Ethereum Name Service",
    "dms3": "the public overlay, where whoever came first has the name",
    "address": "the name itself, because it contains the key",
}
"""Who says that a name is somebody's, in words."""


async def gather(site: Site, request: Request) -> Shown:
    """The conversations and requests; with `?with=NAME` the messages with that person, too."""
    given = request.query_params
    name = given.get("with", "").strip()
    talks = (await site.ask("message", "conversations", limit=PAGE_TALKS_MAX))["conversations"]
    people = (await site.ask("message", "people"))["people"]
    data: dict[str, Any] = {
        "conversations": [one for one in talks if one["person"]["standing"] == "contact"],
        "requests": _of("request", people, talks),
        "blocked": _of("blocked", people, talks),
    }
    values: dict[str, Any] = {
        "known": await _known(site, people),
        "states": STATES,
        "meanings": MEANINGS,
        "vouchers": VOUCHERS,
        "reactions": REACTIONS,
        "name": name,
        "before": _number(given.get("before", "")),
    }
    if not name:
        return Shown(data | {"open": None}, "dms3 message conversations", values)
    before = values["before"]
    options = {"before": before, "around": given.get("at", "")}
    wanted = {key: value for key, value in options.items() if value not in (None, "")}
    data["open"] = await _opened(site, name, wanted, people)
    command = shell("message", "conversation", name, **wanted)
    return Shown(data, command, values | {"title": label(data["open"]["person"])})


async def _opened(
    site: Site, name: str, options: Mapping[str, Any], people: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The messages with somebody; `problem` where nobody of that name can be found.

    `new`: nothing was ever written from or to that person.
    """
    try:
        found = await site.ask(
            "message", "conversation", name=name, limit=PAGE_MESSAGES_MAX, **options
        )
    except Dms3Error as error:
        if error.code not in UNKNOWN:
            raise
        problem = f"{error.message} {error.hint}".strip()
        nothing: dict[str, Any] = {
            "person": None,
            "messages": [],
            "before": None,
            "after": None,
            "new": True,
        }
        return {**nothing, "problem": problem}
    who = found["person"]
    stranger = who["standing"] != "contact"
    rows = [shown_row(row, stranger=stranger) for row in found["messages"]]
    elsewhere = found["before"] is None and await _elsewhere(site)
    new = not rows and all(one["id"] != who["id"] for one in people)
    return {**found, "messages": rows, "new": new, "elsewhere": elsewhere, "problem": ""}


async def _elsewhere(site: Site) -> bool:
    """Whether older messages may lie where conversations are kept, and not here."""
    if not site.has("message", "earlier"):
        return False
    kind: str = (await site.ask("message", "storage"))["kind"]
    return kind != "local"


def shown_row(row: Mapping[str, Any], *, stranger: bool) -> dict[str, Any]:
    """A message as the template wants it: reactions counted, attachments that may be shown marked.

    `stranger`: nothing of theirs is loaded, however harmless it looks.
    """
    attachments = [
        dict(one, number=number, picture=not stranger and one["media"] in PICTURES)
        for number, one in enumerate(row["attachments"])
    ]
    counted: dict[str, dict[str, Any]] = {}
    for one in row["reactions"]:
        seen = counted.setdefault(one["text"], {"text": one["text"], "of": [], "mine": False})
        seen["of"].append("you" if one["mine"] else handle(one["from"]))
        seen["mine"] = seen["mine"] or one["mine"]
    return dict(row, attachments=attachments, reactions=list(counted.values()))


def label(person: Mapping[str, Any] | None) -> str:
    """What a person is called on the page."""
    return handle(person["name"] or person["id"]) if person else "Messages"


def _of(
    standing: str, people: Sequence[Mapping[str, Any]], talks: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Everybody of that standing, with what is known of the conversation."""
    known = {one["person"]["id"]: one for one in talks}
    nothing = {"last": None, "unread": 0, "total": 0}
    return [
        {**nothing, **known.get(one["id"], {}), "person": one}
        for one in people
        if one["standing"] == standing
    ]


async def _known(site: Site, people: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names one may want to write to: of those one has written with, and of one's contacts."""
    names = {one["name"] for one in people if one["standing"] == "contact"}
    if site.has("contact", "list"):
        names |= {one["name"] for one in (await site.ask("contact", "list"))["contacts"]}
    return sorted(names)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


VIEW = View("/messages", "Messages", "messages.html", gather, key="m")
