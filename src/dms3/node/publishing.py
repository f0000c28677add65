"""Public spaces for people: publish, unpublish, and hits of public search.

Source: docs/interfaces.md, `store publish`, `search --scope public`; docs/publishing.md. Shapes
what machines "publishing" and "public" answer; used by `node/documents.py` and
`node/searching.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from dms3.core.cid import Cid
from dms3.core.errors import Dms3Error
from dms3.core.ids import OverlayId, SpaceId
from dms3.core.overlay import HOLDERS_MIN, PUBLIC
from dms3.libp2p.peer_id import peer_id_text
from dms3.node.services_store import SearchAsked
from dms3.node.table import Progress, Result, Step
from dms3.search.condition import parse_conditions
from dms3.search.kind import check_kind
from dms3.search.operations_public import (
    FoundIn,
    Publication,
    PublicFound,
    PublicHit,
    Publish,
    SearchPublic,
    Unpublished,
)
from dms3.search.query import Query, parse_query
from dms3.search.snippet import make_snippet

if TYPE_CHECKING:
    from dms3.node.networks import Networks
    from dms3.node.networks_book import Joined
    from dms3.node.node import Node

LEAVING = ("withdraw", "drop")
"""Stages of a space that is public no longer."""

_LOOK_SECONDS = 0.25  # between two reports of progress
LEFT = (
    "Copies may remain on other nodes for up to 48 hours, and wherever somebody made one. "
    "This node no longer serves it."
)


async def publish(node: Node, name: str, network: str | None = None) -> AsyncIterator[Step]:
    """Make my space `name` public, or that of a network; progress, and last how it stands.

    Raises `not_found`, `already_exists` for a space that is published elsewhere.
    """
    space = await node.library.space(name)
    overlay = PUBLIC if network is None else networks_of(node).book.find(network).network.id
    answers: list[Publication | Dms3Error] = []

    async def ask() -> None:
        try:
            answers.append(await node.call("publishing.publish", Publish(space, name, overlay)))
        except Dms3Error as error:
            answers.append(error)

    asked = node.group.create_task(ask())
    try:
        while not asked.done():
            await asyncio.wait([asked], timeout=_LOOK_SECONDS)
            one = (await publications(node)).get(space)
            if one is not None and not asked.done():
                yield Progress(one.blocks, None, "blocks", _progress(one))
    finally:
        asked.cancel()  # the space is published all the same
    (answer,) = answers
    if isinstance(answer, Dms3Error):
        raise answer
    yield Result(publication(answer, network_name(node, answer)))


async def unpublish(node: Node, name: str) -> dict[str, Any]:
    """Serve my space `name` to strangers no more; raises `not_found`."""
    space = await node.library.space(name)
    before = (await publications(node)).get(space)
    network = None if before is None else network_name(node, before)
    done: Unpublished = await node.call("publishing.unpublish", space)
    return {
        "space": name,
        "was_public": done.was_public,
        "network": network,
        "told": done.told,
        "left": LEFT,
        "summary": _taken_back(name, network, was_public=done.was_public),
    }


def _taken_back(name: str, network: str | None, *, was_public: bool) -> str:
    if not was_public:
        return f"The space {name} is not published."
    return f"The space {name} is not {_where(network)} any more."


def _where(network: str | None) -> str:
    return "public" if network is None else f"in the network {network}"


async def publications(node: Node) -> dict[SpaceId, Publication]:
    """The public spaces of this node, and those that are being withdrawn."""
    rows: tuple[Publication, ...] = await node.call("publishing.spaces")
    return {row.space: row for row in rows}


async def public_spaces(node: Node) -> frozenset[SpaceId]:
    """The spaces that anybody may read at this moment."""
    rows = await publications(node)
    return frozenset(space for space, one in rows.items() if is_public(one))


def is_public(one: Publication) -> bool:
    """Whether anybody may read it, and not the members of a network alone."""
    return one.stage not in LEAVING and one.overlay == PUBLIC


def networks_of(node: Node) -> Networks:
    """The networks of a node."""
    assert node.networks is not None, "networks are a part of every node"
    return node.networks


def network_name(node: Node, one: Publication) -> str | None:
    """What the network is called in which a space is published; None: the public overlay."""
    if one.overlay == PUBLIC:
        return None
    joined = networks_of(node).book.get(one.overlay)
    return one.overlay.hex()[:12] if joined is None else joined.name


async def unpublish_all(node: Node, network: str) -> None:
    """Take back what I published in a network."""
    overlay = networks_of(node).book.find(network).network.id
    for space, one in (await publications(node)).items():
        if one.overlay == overlay and one.stage not in LEAVING:
            await node.call("publishing.unpublish", space)


def publication(one: Publication, network: str | None = None) -> dict[str, Any]:
    """How a public space stands, or one of the `network` of that name."""
    return {
        "space": one.name,
        "id": one.space.hex(),
        "public": is_public(one),
        "network": network,
        "stage": one.stage,
        "waiting": one.waiting,
        "documents": one.documents,
        "bytes": one.bytes,
        "blocks": one.blocks,
        "block_bytes": one.block_bytes,
        "providers": one.providers,
        "holders": {"least": one.least, "wanted": one.wanted, "goal": HOLDERS_MIN},
        "nodes": one.nodes,
        "index": None if one.index is None else str(one.index),
        "since_us": one.since_us,
        "summary": summary(one, network),
    }


def summary(one: Publication, network: str | None = None) -> str:
    """How it stands, in a sentence or two."""
    what = _where(network)
    if one.stage in LEAVING:
        return f"The space {one.name} is not {what} any more; other nodes are being told."
    if one.stage != "done":
        why = f": {one.waiting}" if one.waiting else ""
        return (
            f"The space {one.name} will be {what} as soon as that can be done{why}. "
            "Nothing has to be done for it: this node goes on by itself."
        )
    held = f"each part is held by {one.least} of {HOLDERS_MIN} nodes"
    if one.least >= HOLDERS_MIN:
        return f"The space {one.name} is {what}; {held} or more."
    if one.wanted < HOLDERS_MIN:
        return (
            f"The space {one.name} is {what}; {held}: the network has only {one.wanted}. "
            "It is put on more as they come."
        )
    return f"The space {one.name} is {what}; {held} so far. It is put on more later."


async def search_public(node: Node, asked: SearchAsked) -> dict[str, Any]:
    """Hits in public spaces of others, as `node/searching.py` shapes the answer of a scope."""
    return await _search_in(node, asked, PUBLIC, None)


async def search_network(node: Node, asked: SearchAsked, joined: Joined) -> dict[str, Any]:
    """The same in one network; what is found there is asked for in no other place."""
    overlay = joined.network.id
    found = await _search_in(node, asked, overlay, joined.name)
    if found["hits"]:
        cids = tuple(Cid.parse(hit["cid"]) for hit in found["hits"])
        await node.call("fetch.in_network", FoundIn(overlay, cids))
    return found


async def _search_in(
    node: Node, asked: SearchAsked, overlay: OverlayId, network: str | None
) -> dict[str, Any]:
    query = parse_query(asked.query)
    kind = None if asked.kind is None else check_kind(asked.kind)
    question = SearchPublic(
        query, asked.limit, kind, parse_conditions(asked.where), overlay=overlay
    )
    found: PublicFound = await node.call("public.search", question)
    missed = [
        {"space": plain_text(one.name), "code": one.code, "message": plain_text(one.message)}
        for one in found.missed
    ]
    return {
        "hits": [_hit(hit, query, network) for hit in found.hits],
        "total": found.total,
        "containers": {
            "opened": found.opened,
            "skipped": found.skipped,
            "unreachable": len(missed),
        },
        "unreachable": missed,
    }


def plain_text(text: str) -> str:
    """What a peer wrote, without what would steer a terminal or turn a line around; as long."""
    return "".join(char if char.isprintable() else " " for char in text)


def _hit(hit: PublicHit, query: Query, network: str | None) -> dict[str, Any]:
    shown = make_snippet(plain_text(hit.beginning), query)
    return {
        "cid": str(hit.cid),
        "title": plain_text(hit.title),
        "snippet": shown.text,
        "marks": [list(mark) for mark in shown.marks],
        "score": hit.score,
        "kind": plain_text(hit.kind),
        "space": plain_text(hit.name),
        "node": peer_id_text(hit.peer),
        "root": hit.root.hex(),
        **({"public": True} if network is None else {"network": network}),
    }


def _progress(one: Publication) -> str:
    told = {
        "index": "building the index",
        "blocks": "putting blocks",
        "providers": "saying who serves them",
        "manifest": "announcing the space",
    }
    return one.waiting or told.get(one.stage, "")
