"""Home: how the node is in one sentence, what needs attention, what is running.

Source: docs/page.md, "Home". Shows `dms3 status` and `dms3 doctor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from dms3.web.site import Shown, Site, View
from dms3.web.templating import counted


async def gather(site: Site, _request: Request) -> Shown:
    """Health, the checks that did not pass, the spaces."""
    status = await site.ask("status")
    checks = (await site.ask("doctor"))["checks"]
    attention = [check for check in checks if check["verdict"] != "pass"]
    data = {"health": health_sentence(status), "attention": attention, "status": status}
    return Shown(data, "dms3 status")


def health_sentence(status: Mapping[str, Any]) -> str:
    """How the node is, in one sentence for people."""
    if status.get("locked"):
        return "This node is locked. Unlock it with: dms3 unlock"
    if not status.get("ready"):
        return "This node is starting."
    count = status["peers"]["connected"]
    nodes = f"Connected to {counted(count, 'node')}" if count else "Connected to nobody"
    documents = status["documents"]
    verb = "is" if documents == 1 else "are"
    return f"{nodes}. {counted(documents, 'document')} {verb} kept here."


VIEW = View("/", "Home", "home.html", gather, key="h")
