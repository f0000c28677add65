"""The io port "web": what lies at a URL that a name's record leads to, within bounds.

Source: `dm3/outside.py`. Connections are those of the door it is given, which looks at every
address before it connects and follows no redirect. What comes is checked by whoever knows its hash.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from dms3.core.errors import Dms3Error, Failure
from dms3.core.limits import WEB_SECONDS_MAX
from dms3.dm3.outside import FetchUrl

Open = Callable[
    [str, str, bytes | None], AbstractAsyncContextManager[tuple[int, AsyncIterator[bytes]]]
]
"""(method, URL, JSON body) -> status and body of the answer; raises Dms3Error."""

_FOUND = 200
_BROKEN = 500


class Web:
    """The port over the door `open_`."""

    def __init__(self, open_: Open) -> None:
        self._open = open_

    async def serve(self, operation: str, arguments: Any) -> Any:
        """Carry out an operation named in `dm3/outside.py`."""
        if operation != "fetch" or not isinstance(arguments, FetchUrl):
            return Failure("method_unknown", f"There is no operation {operation!r} of this port.")
        try:
            async with asyncio.timeout(WEB_SECONDS_MAX):
                return await self._fetch(arguments)
        except TimeoutError as cause:
            why = f"{shown(arguments.url)} did not answer in {WEB_SECONDS_MAX} s."
            raise Dms3Error("timed_out", why) from cause

    async def _fetch(self, wanted: FetchUrl) -> bytes:
        async with self._open("GET", wanted.url, None) as (status, pieces):
            if status != _FOUND:
                code = "peer_unreachable" if status >= _BROKEN else "content_unavailable"
                raise Dms3Error(code, f"{shown(wanted.url)} answers with status {status}.")
            body = bytearray()
            async for piece in pieces:
                body += piece
                if len(body) > wanted.bytes_max:
                    why = f"{shown(wanted.url)} answers more than {wanted.bytes_max} bytes."
                    raise Dms3Error("content_invalid", why)
            return bytes(body)


def shown(url: str) -> str:
    """A URL as errors show it: printable, and no longer than a line."""
    return "".join(char if char.isprintable() else "?" for char in url[:120])
