"""Documents: spaces, what is in one, import, share.

Source: docs/page.md, "Documents". Shows `dms3 store list`.
"""

from __future__ import annotations

from starlette.requests import Request

from dms3.web.site import Shown, Site, View
from dms3.web.templating import shell


async def gather(site: Site, request: Request) -> Shown:
    """The spaces, and the documents of the one that is named."""
    space = request.query_params.get("space")
    named = {} if space is None else {"space": space}
    data = await site.ask("store", "list", **named)
    return Shown(data, shell("store", "list", space=space))


VIEW = View("/documents", "Documents", "documents.html", gather, key="d")
