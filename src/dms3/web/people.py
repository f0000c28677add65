"""People: my card as text and picture, whose cards I have, whose node can be reached now.

Source: docs/page.md, "People". Shows `dms3 contact list`, `contact card` and `peer list`.
"""

from __future__ import annotations

import io
from typing import Any

import segno
from markupsafe import Markup
from starlette.requests import Request

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
    return Shown(data, "dms3 contact list", {"picture": picture(card["card"])})


def picture(card: str) -> Markup:
    """The card as a QR code in SVG, without style or script."""
    out = io.BytesIO()
    code = segno.make(card.upper(), error="l", micro=False)
    code.save(
        out, kind="svg", xmldecl=False, svgns=True, omitsize=True, border=2, svgclass=None,
        lineclass=None, title="My contact card",
    )  # fmt: skip
    return Markup(out.getvalue().decode())  # noqa: S704 - segno's own drawing, no text of others


VIEW = View("/people", "People", "people.html", gather, key="p")
