"""Files as the fronts stream them, to a node and out of it, as Protocols.

Source: docs/architecture.md, "Layers". `node/content.py`, `node/attaching.py` and `io/spool.py`
implement them. No behaviour is defined here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol


class Content(Protocol):
    """A file that can be streamed, found here or fetched from peers."""

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        ...

    @property
    def name(self) -> str:
        """Its file name for saving, or "" when it has none."""
        ...

    def read(self, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` to `end` (exclusive) in pieces; raises `content_unavailable` on the way."""
        ...


class Upload(Protocol):
    """What the spool answers (`io/spool.py`)."""

    @property
    def id(self) -> str:
        """32 hex characters."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...
