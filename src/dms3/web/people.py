"""People: my card, whose cards I have, who can be reached.

Source: docs/page.md, "People". Shows `dms3 contact list`.
"""

from __future__ import annotations

from starlette.requests import Request

from dms3.web.site import Shown, Site, View


async def gather(site: Site, _request: Request) -> Shown:
    """The contacts."""
    return Shown(await site.ask("contact", "list"), "dms3 contact list")


VIEW = View("/people", "People", "people.html", gather, key="p")
