"""What the fronts ask of a running node about where messages are kept, as a Protocol.

Source: docs/storage.md. `node/storage_answers.py` implements it. No behaviour is defined here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

from dms3.node.table import Step


class StorageServices(Protocol):
    """Where messages are kept, and by which devices; answers are JSON values."""

    async def storage(self) -> dict[str, Any]:
        """The place in use, and others."""
        ...

    def store_in(self, kind: str, url: str, secret: str, *, lost: bool) -> AsyncIterator[Step]:
        """Move to another place; steps, the result last."""
        ...

    async def earlier(self, name: str) -> dict[str, Any]:
        """Bring older messages."""
        ...

    async def devices(self) -> dict[str, Any]:
        """The person's devices."""
        ...

    async def remove_device(self, beginning: str) -> dict[str, Any]:
        """Take a device off the list."""
        ...
