"""Settings of messages: who carries them, where they are kept, devices, what others are told.

Source: docs/page.md, "Messages". Shows `dms3 message services`, `message storage`,
`message devices` and `message settings`.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from dms3.web.site import Shown, Site, View

_ACCOUNT = "your account, how much there is and when it changes"
SEES = {
    "local": (
        "On this machine",
        "A delivery service keeps a message until each of your devices has it, or seven days.",
    ),
    "overlay": ("In the public overlay", "Nodes of people you do not know see sizes and times."),
    "ipfs": ("At an IPFS node", "It sees how large the pieces are and when they came."),
    "s3": ("In an S3 bucket", f"The provider sees {_ACCOUNT}."),
    "webdav": ("At a WebDAV server", f"The server sees {_ACCOUNT}."),
    "opendal": ("In a cloud drive", f"The provider sees {_ACCOUNT}."),
    "service": ("At a delivery service", "It sees your name, how much there is, when it changes."),
}
"""Kinds of storage: what they are called, and what whoever keeps the pieces learns."""
NEEDS = {
    "ipfs": ("url",),
    "s3": ("url", "secret"),
    "webdav": ("url", "secret"),
    "opendal": ("url", "secret"),
    "service": ("url",),
}
"""What must be given for a kind; nothing for the others."""


async def gather(site: Site, _request: Request) -> Shown:
    """Services, storage, devices and settings of messages, as far as this node has them."""
    data: dict[str, Any] = {
        "services": (await site.ask("message", "services"))["services"],
        "settings": await site.ask("message", "settings"),
        "storage": await _asked(site, "storage"),
        "devices": (await _asked(site, "devices") or {}).get("devices", []),
        "names": await site.ask("name", "list") if site.has("name", "list") else None,
    }
    return Shown(data, "dms3 message services", {"sees": SEES, "needs": NEEDS})


async def _asked(site: Site, what: str) -> dict[str, Any] | None:
    return dict(await site.ask("message", what)) if site.has("message", what) else None


VIEW = View(
    "/settings/messages",
    "Settings of messages",
    "carrying.html",
    gather,
    under="/settings",
    listed=False,
)
