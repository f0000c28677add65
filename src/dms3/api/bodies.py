"""The JSON object in the body of a request, read strictly: no key twice, no NaN.

Source: docs/api.md; RFC 8259. How large a body may be is `api/guard.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from dms3.core.errors import Dms3Error


async def json_object(request: Request) -> Mapping[str, Any]:
    """The JSON object in the body; an empty body is an empty object. Raises `body_malformed`."""
    body = await request.body()
    if not body:
        return {}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Dms3Error(
            "body_malformed",
            f"The body is {kind[:60] or 'of no type'}, not application/json.",
            hint="Send the parameters as a JSON object with Content-Type: application/json.",
        )
    try:
        value = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_no_doubles)
    except (ValueError, RecursionError) as cause:
        raise Dms3Error("body_malformed", f"The body is not JSON: {cause}"[:200]) from cause
    if not isinstance(value, dict):
        raise Dms3Error("body_malformed", "The body is not a JSON object of parameters.")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found
