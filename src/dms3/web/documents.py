"""Documents: spaces and who may read them, what came last, one document, what lies where.

Source: docs/page.md, "Documents". Shows `dms3 store list`, `store recent`, `store containers` and
`store get`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from dms3.api.blobs import picture_type
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    INLINE_IMAGE_BYTES_MAX,
    PAGE_DOCUMENTS_MAX,
    PAGE_PREVIEW_BYTES_MAX,
    SECOND_US,
)
from dms3.node.documents import parse_cid
from dms3.node.publishing import LEAVING
from dms3.web.site import Shown, Site, View
from dms3.web.templating import shell

RECENT_SHOWN = 8
FOREVER_US = 250_000_000_000 * SECOND_US  # a grant without an end carries the last date there is


async def gather(site: Site, request: Request) -> Shown:
    """All spaces with the latest documents and the containers, or the one `?space=` names."""
    name = request.query_params.get("space")
    if name is not None:
        return await _one_space(site, request, name)
    data = dict(await site.ask("store", "list"))
    data["spaces"] = [_placed(one) for one in data["spaces"]]
    recent = await site.ask("store", "recent", limit=RECENT_SHOWN)
    data["recent"] = recent["documents"]
    data |= await site.ask("store", "containers")
    return Shown(data, "dms3 store list", await _values(site))


async def _one_space(site: Site, request: Request, name: str) -> Shown:
    owner = request.query_params.get("owner", "")
    spaces = (await site.ask("store", "list"))["spaces"]
    same = [one for one in spaces if one["name"] == name and _owned(one, owner)]
    if not same:
        raise Dms3Error(
            "not_found",
            f"There is no space {name[:64]!r}, neither yours nor shared with you.",
            hint="It may have been taken back. Documents lists the spaces there are.",
        )
    space = _placed(same[0])
    data: dict[str, Any] = {"space": space}
    if not space["mine"]:
        command = shell("search", "WORDS", space=name, scope="peers")
        return Shown(data, command, {**await _values(site), "before": None})
    before = request.query_params.get("before", "")
    asked: dict[str, Any] = {"space": name, "limit": PAGE_DOCUMENTS_MAX}
    if before.isascii() and before.isdigit():
        asked["before"] = int(before)
    data |= await site.ask("store", "recent", **asked)
    command = shell("store", "recent", space=name, before=asked.get("before"))
    return Shown(data, command, {**await _values(site), "before": asked.get("before")})


def _owned(space: Mapping[str, Any], owner: str) -> bool:
    return bool(space["mine"]) if not owner else space.get("root") == owner


def _placed(space: Mapping[str, Any]) -> dict[str, Any]:
    """A space with the `network` whose members can read it; None: it is published in none."""
    published = space.get("publication") or {}
    here = published.get("stage") not in LEAVING
    return {**space, "network": published.get("network") if here else None}


async def _values(site: Site) -> dict[str, Any]:
    """What the dialogs need: whom one can share with, and in which networks one can publish."""
    contacts = await site.ask("contact", "list") if site.has("contact", "list") else {}
    listed = await site.ask("network", "list") if site.has("network", "list") else {}
    return {
        "contacts": contacts.get("contacts", []),
        "networks": [one["name"] for one in listed.get("networks", [])],
        "forever_us": FOREVER_US,
    }


@dataclass(frozen=True, slots=True)
class Preview:
    """What can be shown of a file inside the page: `kind` is "text", "picture" or "none"."""

    kind: str
    text: str = ""
    cut: bool = False


async def gather_one(site: Site, request: Request) -> Shown:
    """One document: what it is, where it lies here, its beginning."""
    cid = request.path_params["cid"]
    found = dict(await site.ask("store", "get", cid=cid))
    given = request.query_params.get("name", "")  # what a search said of a document of somebody
    mine = found.get("documents") or []
    first = mine[0] if mine else {}
    shown = await preview(site, cid)
    data = found | {"title": first.get("title") or found.get("name") or given or cid[:12]}
    data["preview"] = shown.kind
    values = {**await _values(site), "shown": shown, "mine": mine, "given": given}
    return Shown(data, shell("store", "get", cid), values)


async def preview(site: Site, cid: str) -> Preview:
    """The beginning of a text, or that it is a picture; never anything a browser would run."""
    content = await site.node.content(parse_cid(cid))
    end = min(content.size, PAGE_PREVIEW_BYTES_MAX)
    head = b"".join([piece async for piece in content.read(0, end)])
    if picture_type(head[:16]) and content.size <= INLINE_IMAGE_BYTES_MAX:
        return Preview("picture")
    if not head or b"\0" in head:
        return Preview("none")
    text = head.decode("utf-8", "replace")
    if text.count("\ufffd") * 20 > len(text):
        return Preview("none")
    return Preview("text", text.rstrip("\ufffd"), content.size > end)


VIEW = View("/documents", "Documents", "documents.html", gather, key="d")
DOCUMENT = View(
    "/documents/{cid}", "Document", "document.html", gather_one, under="/documents", listed=False
)
