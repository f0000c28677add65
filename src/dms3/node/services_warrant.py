"""What the fronts ask of a running node about convicted agents, as a Protocol.

Source: docs/chains.md, "Convicted". `node/warrant_answers.py` implements it. No behaviour here.
"""

from __future__ import annotations

from typing import Any, Protocol


class WarrantServices(Protocol):
    """Agents against whom something is known here; answers are JSON values."""

    async def list(self, dapp: str | None) -> dict[str, Any]:
        """All of them, of one app or of all."""
        ...

    async def show(self, agent: str, dapp: str | None) -> dict[str, Any]:
        """One of them, with the actions of the evidence; raises `not_found`."""
        ...

    async def block(self, dapp: str, agent: str, why: str) -> dict[str, Any]:
        """How it stands after it was blocked."""
        ...

    async def pardon(self, dapp: str, agent: str) -> dict[str, Any]:
        """How it stands after it was pardoned; raises `not_found`."""
        ...
