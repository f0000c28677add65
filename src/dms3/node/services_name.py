"""What the fronts ask of a running node about names, as a Protocol.

Source: docs/names.md. `node/name_answers.py` implements it. No behaviour is defined here.
"""

from __future__ import annotations

from typing import Any, Protocol


class NameServices(Protocol):
    """Who names are, and the person's own; answers are JSON values."""

    async def show(self, name: str, *, fresh: bool) -> dict[str, Any]:
        """Who a name is, and who says so."""
        ...

    async def own(self) -> dict[str, Any]:
        """My names."""
        ...

    async def claim(self, name: str) -> dict[str, Any]:
        """A first-come name that is mine now."""
        ...

    async def add(self, name: str, *, primary: bool) -> dict[str, Any]:
        """A name of ENS that counts among mine now."""
        ...

    async def use(self, name: str) -> dict[str, Any]:
        """My names, the primary one first."""
        ...

    async def drop(self, name: str) -> dict[str, Any]:
        """My names that are left."""
        ...

    async def forget(self, name: str) -> dict[str, Any]:
        """Whether the key of a first-come name was known."""
        ...
