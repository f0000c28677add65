"""Search: what was found, where it was looked for, how long it took.

Source: docs/page.md, "Search". Shows `dms3 search`.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from dms3.core.limits import PAGE_HITS_MAX
from dms3.web.site import Shown, Site, View
from dms3.web.templating import shell


async def gather(site: Site, request: Request) -> Shown:
    """The answer to the question in the search box; nothing when it is empty."""
    words = request.query_params.get("q", "").strip()
    scope = request.query_params.get("scope", "")
    scope = scope if scope in site.scopes else site.scopes[0]
    asked: dict[str, Any] = {"query": words, "scope": scope, "limit": PAGE_HITS_MAX}
    found = await site.ask("search", **asked) if words else {"hits": []}
    return Shown(found, shell("search", words or "WORDS", scope=scope), {"query": words})


VIEW = View("/search", "Search", "search.html", gather, key="s", listed=False)
