"""How content looks in a browser: media types of files, and the pages of folders.

Source: IPFS path gateway specification, "Content-Type" and "Generated HTML with directory index".
What a type lets a browser do is limited by the policy that `api/ipfs.py` sends with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from dms3.api.answers import dumps
from dms3.api.blobs import picture_type
from dms3.core.dag_pb import Link
from dms3.node.gateway import Found

SNIFF_BYTES = 512  # WHATWG MIME Sniffing looks at 1,445; text shows itself earlier
LISTING = 1
"""Goes into the ETag of pages of folders: raise it when they look different."""

_TYPES = {
    "html": "text/html", "htm": "text/html", "css": "text/css", "js": "text/javascript",
    "mjs": "text/javascript", "json": "application/json", "xml": "application/xml",
    "txt": "text/plain; charset=utf-8", "md": "text/markdown; charset=utf-8", "csv": "text/csv",
    "pdf": "application/pdf", "zip": "application/zip", "gz": "application/gzip",
    "wasm": "application/wasm", "svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg",
    "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp", "avif": "image/avif",
    "ico": "image/x-icon", "mp3": "audio/mpeg", "ogg": "audio/ogg", "wav": "audio/wav",
    "mp4": "video/mp4", "webm": "video/webm", "woff2": "font/woff2", "ttf": "font/ttf",
}  # fmt: skip


def media_type(name: str, head: bytes) -> str:
    """The type of a file by its name, else by its first SNIFF_BYTES."""
    stem, dot, ending = name.rpartition(".")
    if dot and stem and ending.lower() in _TYPES:
        return _TYPES[ending.lower()]
    picture = picture_type(head[:16])
    if picture is not None:
        return picture
    try:
        head.decode()
    except UnicodeDecodeError as error:
        if error.reason != "unexpected end of data" or len(head) < SNIFF_BYTES:
            return "application/octet-stream"
    return "application/octet-stream" if b"\0" in head else "text/plain; charset=utf-8"


def disposition(kind: str, name: str) -> str:
    """A Content-Disposition header: `kind` is "inline" or "attachment"."""
    plain = "".join(char if " " <= char <= "~" and char not in '"\\' else "_" for char in name)
    return (
        f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='', errors='replace')}"
    )


def listing_json(found: Found, links: Sequence[Link], more: bool) -> bytes:
    """The entries of a folder for programs; sizes are those of all blocks below an entry."""
    entries = [{"name": link.name, "cid": str(link.cid), "size": link.size} for link in links]
    return dumps({"cid": str(found.cid), "entries": entries, "more": more})


def listing_page(path: str, found: Found, links: Sequence[Link], more: bool) -> bytes:
    """The entries of a folder for people; every name is text, whatever it holds."""
    rows = [
        f'<tr><td><a href="./{quote(link.name, safe="")}">{escape(link.name)}</a></td>'
        f'<td class="size">{link.size:,}</td>'
        f'<td><a href="/ipfs/{link.cid}">{link.cid}</a></td></tr>'
        for link in links
    ]
    if more:
        rows.append("<tr><td colspan=3>There are more; a CAR has them all.</td></tr>")
    above = '<p><a href="../">Up</a></p>' if len(found.roots) > 1 else ""
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(path)}</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<style>body{{font:1rem/1.5 system-ui;margin:2rem;overflow-wrap:anywhere}}
td{{padding:.1rem 1rem .1rem 0;vertical-align:top}}.size{{text-align:right}}</style></head>
<body><h1>{escape(path)}</h1>{above}
<table><thead><tr><th scope="col">Name</th><th scope="col">Bytes of blocks</th>
<th scope="col">CID</th></tr></thead><tbody>{"".join(rows)}</tbody></table>
<p><a href="?format=car">Everything as a CAR</a> · <a href="?format=json">as JSON</a></p>
</body></html>
"""
    return page.encode(errors="replace")
