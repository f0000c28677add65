"""A file in the spool as content that can be streamed: what a command made for whoever asked.

Source: docs/api.md, "Files". Read to its end it is gone: it was made for one reader.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from dms3.io.spool import Spool


class Spooled:
    """The upload `name`; raises `not_found` when it is not there."""

    def __init__(self, spool: Spool, name: str, file_name: str = "") -> None:
        self._spool = spool
        self._id = name
        self.size = spool.size(name)
        self.name = file_name

    async def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `end` (exclusive) in pieces."""
        pieces = self._spool.read(self._id)
        place = 0
        while place < end:
            piece = await asyncio.to_thread(_next, pieces)
            if not piece:
                break
            part = piece[max(0, start - place) : end - place]
            place += len(piece)
            if part:
                yield part
        if end >= self.size:
            await asyncio.to_thread(self._spool.remove, self._id)


def _next(pieces: Iterator[bytes]) -> bytes:
    return next(pieces, b"")
