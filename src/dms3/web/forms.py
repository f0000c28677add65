"""The fields of the page's own HTML forms, read strictly.

Source: WHATWG URL, "application/x-www-form-urlencoded". `api/guard.py` has checked session, Origin
and size before. What is secret travels in such a form: in a body, never in an address.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

from dms3.core.errors import Dms3Error

FORM = "application/x-www-form-urlencoded"


async def fields(request: Request, *names: str) -> dict[str, str]:
    """The values of exactly the fields `names`, each there once; raises `body_malformed`."""
    body = await request.body()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    found: list[tuple[str, str]] = []
    if kind == FORM:
        try:
            text = body.decode("ascii")
            found = parse_qsl(text, True, max_num_fields=len(names), errors="strict")
        except ValueError:
            found = []
    if sorted(name for name, _ in found) != sorted(names):
        raise Dms3Error("body_malformed", "This is not the form of the page.")
    return dict(found)
