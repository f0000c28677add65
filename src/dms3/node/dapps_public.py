"""Apps that anybody may find: published as a public folder with a line about it, and found again.

Source: docs/dapps.md, "Publishing". The files go into the public space "dapps" as a folder; beside
it a document of kind `dapp` names the folder, so that searches find the app and not its files.
"""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator, Collection, Mapping
from typing import Any

from dms3.core.cid import DAG_PB, Cid
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import OverlayId
from dms3.core.limits import DAPP_LISTING_BYTES_MAX, DISCOVERED_MAX
from dms3.core.multibase import encode_base32
from dms3.node import importing
from dms3.node.dapps_running import App
from dms3.node.node import Node
from dms3.node.publishing import plain_text, search_public
from dms3.node.publishing import publish as publish_space
from dms3.node.services_store import SearchAsked
from dms3.node.table import Progress, Result, Step
from dms3.search.kind import DAPP

SPACE = "dapps"
_EVERY = "dms3-app"  # a word of every listing, for a search without words


async def publish(node: Node, app: App, files: Mapping[str, bytes]) -> AsyncIterator[Step]:
    """Make the files of `app` public; progress, the result last."""
    uploads = [_upload(app.name, path, data) for path, data in sorted(files.items())]
    folder: Cid | None = None
    async for step in node.library.add(uploads, SPACE):
        if isinstance(step, importing.Progress):
            yield Progress(step.done, step.total, "files", "Importing")
        else:
            folder = step.root
    if folder is None:
        raise Dms3Error("content_invalid", f"The files of {app.name} cannot be published.")
    text = listing(app, folder).encode()
    about = importing.Upload(f"{app.name}.app.toml", len(text), lambda: iter([text]))
    async for _ in node.library.add([about], SPACE, DAPP):
        pass
    await node.call("publishing.changed")
    public: Mapping[str, Any] = {}
    async for told in publish_space(node, SPACE):
        if isinstance(told, Result):
            public = told.data
        else:
            yield told
    yield Result(
        {
            "dapp": app.name,
            "cid": str(folder),
            "dna": encode_base32(app.overlay),
            "publication": dict(public),
        }
    )


def listing(app: App, folder: Cid) -> str:
    """What searches find of an app: TOML, so that programs read it and words are found."""
    manifest = app.parts.manifest
    rows = {
        "name": manifest.name,
        "title": manifest.title or manifest.name,
        "version": manifest.version,
        "description": manifest.description,
        "folder": str(folder),
        "dna": encode_base32(app.overlay),
        "kind": _EVERY,
    }
    return "".join(f"{key} = {_quoted(value)}\n" for key, value in rows.items())


async def discover(
    node: Node, query: str, limit: int, here: Collection[OverlayId]
) -> dict[str, Any]:
    """Apps that others have published, best first; `here`: those that are installed."""
    if not 1 <= limit <= DISCOVERED_MAX:
        raise Dms3Error("argument_invalid", f"The limit is not 1 to {DISCOVERED_MAX}.")
    asked = SearchAsked(query or _EVERY, None, DAPP, (), "public", limit)
    found = await search_public(node, asked)
    installed = {encode_base32(overlay) for overlay in here}
    rows = []
    for hit in found["hits"]:
        about = await _listing_of(node, Cid.parse(hit["cid"]))
        if about is not None:
            rows.append(
                {
                    **about,
                    "installed": about["dna"] in installed,
                    "root": hit["root"],
                    "node": hit["node"],
                }
            )
    return {"dapps": rows, "unreachable": found["unreachable"]}


async def folder_of(node: Node, cid: Cid) -> Cid:
    """The folder of an app whose folder or listing is `cid`; raises `argument_invalid`."""
    if cid.codec == DAG_PB:
        return cid
    about = await _listing_of(node, cid)
    if about is None:
        raise Dms3Error(
            "argument_invalid",
            f"{cid} is no app.",
            hint="dms3 dapp discover lists the apps that others have published.",
        )
    return Cid.parse(about["cid"])


async def _listing_of(node: Node, cid: Cid) -> dict[str, str] | None:
    """What a listing says, or None when it is none: anybody may publish anything."""
    try:
        content = await node.content(cid)
        if content.size > DAPP_LISTING_BYTES_MAX:
            return None
        data = b"".join([piece async for piece in content.read(0, content.size)])
        raw = tomllib.loads(data.decode())
        said = {key: plain_text(str(raw[key])) for key in ("name", "title", "version")}
        folder = Cid.parse(str(raw["folder"]))
    except (Dms3Error, DecodeError, UnicodeDecodeError, KeyError, ValueError, RecursionError):
        return None
    about = plain_text(str(raw.get("description", "")))
    return {**said, "description": about, "cid": str(folder), "dna": str(raw.get("dna", ""))}


def _upload(name: str, path: str, data: bytes) -> importing.Upload:
    *folders, last = path.split("/")
    return importing.Upload(last, len(data), lambda: iter([data]), (name, *folders))


def _quoted(text: str) -> str:
    """`text` as a TOML string (TOML 1.0, basic strings)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    plain = "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped)
    return f'"{plain}"'
