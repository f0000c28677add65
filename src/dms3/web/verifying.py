"""Who somebody is: their names, who vouches for them, and keys to compare by word or by picture.

Source: docs/page.md, "Messages". Shows `dms3 message profile`. Each side compares the other's keys
as they are, not a mixture of both, which a third party could aim at with half of the work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from starlette.requests import Request

from dms3.crypto.words import ENTROPY_BYTES, words_of_entropy
from dms3.node.name_answers import unusual_letters
from dms3.web.drawing import picture
from dms3.web.messages import VOUCHERS
from dms3.web.site import Shown, Site, View
from dms3.web.templating import handle, shell

SPOKEN_WORDS = 8
"""88 bits of a fingerprint: too many to make keys for, few enough to be read out."""
CODE = "DMS3-KEYS:"
_DIGITS = re.compile(r"[0-9a-f]{32}")


async def gather(site: Site, request: Request) -> Shown:
    """The person `?name=` and this one, each with what the keys look like."""
    name = request.query_params.get("name", "").strip()
    mine = await site.ask("message", "profile")
    if not name:
        data: dict[str, Any] = {"person": None, "mine": mine, "standing": ""}
        return Shown(data, "dms3 message profile", _values(mine, None))
    found = await site.ask("message", "profile", name=name)
    people = (await site.ask("message", "people"))["people"]
    names = {found["name"], *found["names"]}
    standings = [one["standing"] for one in people if names & {one["name"], *one["names"]}]
    standing = standings[0] if standings else ""
    command = shell("message", "profile", name)
    data = {"person": found, "mine": mine, "standing": standing}
    return Shown(data, command, _values(mine, found))


def _values(mine: Mapping[str, Any], found: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "vouchers": VOUCHERS,
        "letters": unusual_letters(found["name"]) if found else [],
        "label": handle(found["name"]) if found else "",
        "own": looks(mine["fingerprint"], "Your keys"),
        "theirs": looks(found["fingerprint"], "Their keys") if found else None,
    }


def looks(fingerprint: str, title: str) -> dict[str, Any] | None:
    """A fingerprint (8 groups of 4 hex digits) as words, code and picture; None without one."""
    digits = fingerprint.replace(" ", "").lower()
    if not _DIGITS.fullmatch(digits):
        return None
    words = words_of_entropy(bytes.fromhex(digits)[:ENTROPY_BYTES]).split()[:SPOKEN_WORDS]
    code = CODE + digits.upper()
    drawn: Markup = picture(code, title)
    return {"groups": fingerprint.split(), "words": words, "code": code, "picture": drawn}


VIEW = View(
    "/messages/person", "Who is it?", "person.html", gather, under="/messages", listed=False
)
