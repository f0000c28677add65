"""People: my card as text and picture, whose cards I have, whose node can be reached now.

Source: docs/page.md, "People". Shows `dms3 contact list`, `contact card` and `peer list`.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from dms3.web.drawing import picture
from dms3.web.site import Shown, Site, View


async def gather(site: Site, _request: Request) -> Shown:
    """The contacts, each with whether its node is connected, and my card."""
    found = (await site.ask("contact", "list"))["contacts"]
    peers: dict[str, Any] = {
        peer["root"]: peer for peer in (await site.ask("peer", "list"))["peers"] if peer["root"]
    }
    spaces = (await site.ask("store", "list"))["spaces"]
    contacts = []
    for contact in found:
        peer = peers.get(contact["root"], {})
        contacts.append(
            contact
            | {
                "connected": bool(peer.get("connected")),
                "milliseconds": peer.get("milliseconds"),
                "problem": peer.get("problem"),
                "reads": [
                    space["name"]
                    for space in spaces
                    for reader in space.get("readers", ())
                    if reader["root"] == contact["root"]
                ],
                "shares": [
                    space["name"] for space in spaces if space.get("root") == contact["root"]
                ],
            }
        )
    card = await site.ask("contact", "card")
    data = {"contacts": contacts, "card": card}
    return Shown(data, "dms3 contact list", {"picture": picture(card["card"], "My contact card")})


VIEW = View("/people", "People", "people.html", gather, key="p")
