"""Search over the scopes: this node, peers, public spaces, as one ranking for people.

Source: docs/interfaces.md, `search`. Asks the library and the machines "sharing" and "public" side
by side and joins their answers; used by `node/documents.py`. It ranks nothing itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from dms3.core.errors import Dms3Error, first_error
from dms3.core.ids import PeerId, SpaceId
from dms3.core.limits import SEARCH_HITS_MAX
from dms3.libp2p.peer_id import peer_id_text
from dms3.node import publishing
from dms3.node.finding import Question
from dms3.node.message_search import MESSAGES, place_messages
from dms3.node.node import Node
from dms3.node.publishing import plain_text
from dms3.node.services_store import SearchAsked
from dms3.p2p.contacts import Contact
from dms3.search.operations import Grants, PeersFound, SearchPeers
from dms3.search.query import parse_query
from dms3.search.snippet import find_marks


async def search(node: Node, asked: SearchAsked) -> dict[str, Any]:
    """Hits of this node and of peers in one ranking, with what was opened and what was not."""
    if not 1 <= asked.limit <= SEARCH_HITS_MAX:
        raise Dms3Error("argument_invalid", f"The limit is 1 to {SEARCH_HITS_MAX} hits.")
    begun_us = node.clock.now().mono_us
    await _check_where(node, asked)
    answers = []
    try:
        async with asyncio.TaskGroup() as group:
            if asked.scope in ("local", "all"):
                answers.append(group.create_task(_search_here(node, asked)))
            if asked.scope in ("peers", "all"):
                answers.append(group.create_task(_search_peers(node, asked)))
            if asked.scope in ("peers", "all") and asked.space is None:
                for joined in publishing.networks_of(node).entered():
                    searching = publishing.search_network(node, asked, joined)
                    answers.append(group.create_task(searching))
            if asked.scope in ("public", "all") and asked.space is None:
                answers.append(group.create_task(publishing.search_public(node, asked)))
    except* Dms3Error as failures:  # a query that is refused is refused here and there
        raise first_error(failures) from None
    parts = [answer.result() for answer in answers]
    hits = _merged(parts)
    containers = {
        key: sum(part["containers"][key] for part in parts)
        for key in ("opened", "skipped", "unreachable")
    }
    return {
        "hits": await _with_owners(node, hits[: asked.limit]),
        "total": sum(part["total"] for part in parts),
        "containers": containers,
        "unreachable": [one for part in parts for one in part["unreachable"]],
        "milliseconds": (node.clock.now().mono_us - begun_us) / 1_000,
    }


async def _check_where(node: Node, asked: SearchAsked) -> None:
    """Return when there is such a scope and, here or shared with me, such a space."""
    if asked.scope == "cloud":
        raise Dms3Error(
            "argument_invalid",
            "There is no cloud to search in this version yet.",
            hint="Use --scope local, peers, public or all.",
        )
    if asked.scope == "public" and asked.space is not None:
        raise Dms3Error(
            "argument_invalid",
            "Public spaces are searched all at once: their names are not unique.",
            hint="Leave out --space.",
        )
    if asked.space is None:
        return
    if asked.scope != "local":
        grants: Grants = await node.call("sharing.grants")
        if any(received.name == asked.space for received in grants.received):
            return
    await node.library.space(asked.space)  # says that there is none


async def _search_here(node: Node, asked: SearchAsked) -> dict[str, Any]:
    spaces = {row.space: row.name for row in await node.library.spaces()}
    wanted = (*spaces, MESSAGES)
    if asked.space is not None:
        wanted = tuple(space for space, name in spaces.items() if name == asked.space)
    question = Question(asked.query, wanted, asked.kind, asked.where, asked.limit)
    found, _ = await node.library.search(question)
    here = peer_id_text(node.identity.peer)
    hits = [
        {
            "cid": str(hit.cid),
            "title": hit.title,
            "snippet": hit.snippet,
            "marks": [list(mark) for mark in hit.marks],
            "score": hit.score,
            "kind": hit.kind,
            "space": spaces.get(hit.space, ""),
            "node": here,
            "source": hit.source,
            "bytes": hit.bytes,
        }
        for hit in found.hits
    ]
    hits = await place_messages(node.store, hits)
    return _part(hits, found.total, found.opened, found.skipped, [])


async def _search_peers(node: Node, asked: SearchAsked) -> dict[str, Any]:
    grants: Grants = await node.call("sharing.grants")
    names = {received.space: received.name for received in grants.received}
    query = parse_query(asked.query)
    wanted: list[SpaceId | None] = [None]
    if asked.space is not None:
        wanted = [space for space, name in sorted(names.items()) if name == asked.space]
    hits: list[dict[str, Any]] = []
    total = opened = skipped = 0
    unreachable = []
    for space in wanted:
        question = SearchPeers(asked.query, asked.limit, asked.kind, asked.where, space)
        found: PeersFound = await node.call("sharing.search", question)
        granted = tuple(one.hit.cid for one in found.hits)
        if granted:  # asking strangers for them would reveal them
            await node.call("fetch.private", granted)
        hits += [
            {
                "cid": str(one.hit.cid),
                "title": plain_text(one.hit.title),
                "snippet": plain_text(one.hit.snippet),
                "marks": [list(mark) for mark in find_marks(plain_text(one.hit.snippet), query)],
                "score": one.hit.score,
                "kind": plain_text(one.hit.kind),
                "space": names.get(one.space, ""),
                "node": peer_id_text(one.peer),
            }
            for one in found.hits
        ]
        total, opened = total + found.total, opened + found.opened
        skipped += found.skipped
        unreachable += [
            {"space": one.name, "code": one.code, "message": plain_text(one.message)}
            for one in found.unreached
        ]
    return _part(hits, total, opened, skipped, unreachable)


async def _with_owners(node: Node, hits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Hits with the name of whose they are, "" where the person of this node does not know them.

    Which node has published something is that node's own word; its root has signed for it.
    """
    if not hits:
        return hits
    contacts: Sequence[Contact] = await node.call("peers.contact_list")
    names = {each.root.hex(): each.name for each in contacts}
    names |= {peer_id_text(PeerId(each.peer)): each.name for each in contacts}
    own = node.identity
    names |= {own.root.hex(): own.name, peer_id_text(own.peer): own.name}
    return [hit | {"owner": names.get(hit.get("root", hit["node"]), "")} for hit in hits]


def _merged(parts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Hits of all scopes, best first; what is public and was found elsewhere too, only there."""
    known = {hit["cid"] for part in parts for hit in part["hits"] if not _is_found(hit)}
    hits = [
        hit
        for part in parts
        for hit in part["hits"]
        if not (_is_found(hit) and hit["cid"] in known)
    ]
    return sorted(hits, key=lambda hit: -hit["score"])


def _is_found(hit: dict[str, Any]) -> bool:
    """Whether it was found in public or in a network, and not with somebody who shares it."""
    return "public" in hit or "network" in hit


def _part(
    hits: list[dict[str, Any]],
    total: int,
    opened: int,
    skipped: int,
    unreachable: list[dict[str, Any]],
) -> dict[str, Any]:
    return {
        "hits": hits,
        "total": total,
        "containers": {"opened": opened, "skipped": skipped, "unreachable": len(unreachable)},
        "unreachable": unreachable,
    }
