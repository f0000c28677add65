"""Search: what was found, where it was looked for, how long it took.

Source: docs/page.md, "Search". Shows `dms3 search`; installed apps are found by their names, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from starlette.requests import Request

from dms3.core.limits import PAGE_HITS_MAX, SEARCH_HITS_MAX
from dms3.search.kind import KINDS, MESSAGE
from dms3.web.site import Shown, Site, View
from dms3.web.templating import counted, shell


async def gather(site: Site, request: Request) -> Shown:
    """The answer to the question in the search box; no answer when it is empty."""
    given = request.query_params
    words = given.get("q", "").strip()
    scope = given.get("scope", "")
    limit = _limit(given.get("limit", ""))
    asked: dict[str, Any] = {
        "scope": scope if scope in site.scopes else site.scopes[0],
        "space": given.get("space") or None,
        "kind": given.get("kind") or None,
        "limit": limit,
    }
    known = {one.name for one in site.table.find("search").parameters}
    spaces = (await site.ask("store", "list"))["spaces"]
    values: dict[str, Any] = {
        "spaces": sorted({space["name"] for space in spaces}),
        "kinds": list(KINDS),
        "asked": asked,
        "more": min(3 * limit, SEARCH_HITS_MAX),
    }
    if not words:
        return Shown(
            {"query": "", "hits": [], "apps": [], "total": 0}, 'dms3 search "WORDS"', values
        )
    options = {name: value for name, value in asked.items() if name in known and value is not None}
    found = dict(await site.ask("search", query=words, **options))
    names = await _names(site)
    people = await _people(site, found["hits"])
    found["hits"] = [
        hit | {"who": names.get(_author(hit), ""), "with": people.get(hit.get("person"), "")}
        for hit in found["hits"]
    ]
    found["query"] = words
    found["apps"] = await _apps(site, words)
    found["searched"] = searched(found["containers"], found["unreachable"])
    command = shell("search", words, **{**asked, "limit": None})
    return Shown(found, command, values)


def searched(containers: Mapping[str, int], unreachable: Sequence[Mapping[str, Any]]) -> str:
    """Where a search has looked, in a sentence: containers, and who did not answer."""
    opened, skipped = containers["opened"], containers["skipped"]
    parts = [f"{counted(opened, 'container')} opened"]
    if skipped:
        parts.append(f"{skipped:,} skipped, because nothing in them can match")
    if unreachable:
        parts.append(f"{counted(len(unreachable), 'space')} not reached")
    return ", ".join(parts) + "."


def _author(hit: Mapping[str, Any]) -> str:
    """Who a hit is of: the node that gave it, or the person that signed for a public space.

    Which node published that is its own word, and could name anybody's.
    """
    return str(hit.get("root") or hit.get("node", ""))


async def _names(site: Site) -> dict[str, str]:
    """Peer id, and root, to the name of the person; mine is "me"."""
    names = {}
    if site.has("peer", "list"):
        peers = [peer for peer in (await site.ask("peer", "list"))["peers"] if peer["name"]]
        names = {peer["peer_id"]: peer["name"] for peer in peers}
        names |= {str(peer.get("root")): peer["name"] for peer in peers if peer.get("root")}
    mine = await site.ask("id", "show")
    return names | {str(mine.get("peer_id")): "me", str(mine.get("root")): "me"}


async def _people(site: Site, hits: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the people are called whom the messages among `hits` were exchanged with, by id."""
    if not any(hit["kind"] == MESSAGE for hit in hits):
        return {}
    people = (await site.ask("message", "people"))["people"]
    return {one["id"]: one["name"] for one in people}


async def _apps(site: Site, words: str) -> list[dict[str, str]]:
    """The installed apps whose name, title or description has every word."""
    if not site.has("dapp", "list"):
        return []
    wanted = words.casefold().split()
    keys = ("name", "title", "description")
    return [
        {key: str(app[key]) for key in keys}
        for app in (await site.ask("dapp", "list"))["dapps"]
        if all(word in " ".join(app[key] for key in keys).casefold() for word in wanted)
    ]


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        return PAGE_HITS_MAX
    return min(max(1, int(text)), SEARCH_HITS_MAX)


VIEW = View("/search", "Search", "search.html", gather, key="s", listed=False)
