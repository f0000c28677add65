"""What the fronts ask of a running node about a person's chains, as a Protocol.

Source: docs/chains.md. `node/chain_answers.py` implements it. No behaviour is defined here.
"""

from __future__ import annotations

from typing import Any, Protocol


class ChainServices(Protocol):
    """Own chains and those of the person's other devices; answers are JSON values."""

    async def list(self) -> dict[str, Any]:
        """Every chain that lies here."""
        ...

    async def show(self, dapp: str, device: str | None, after: int, limit: int) -> dict[str, Any]:
        """The records of a chain behind a place."""
        ...

    async def revoke(self, dapp: str, device: str) -> dict[str, Any]:
        """Take back the key of a device."""
        ...

    async def figures(self, dapp: str | None) -> dict[str, Any]:
        """What this node holds of one app or of all, and how it keeps up with its neighbours."""
        ...

    async def reconcile(self, dapp: str) -> dict[str, Any]:
        """The figures of an app, after a comparison with a neighbour was begun."""
        ...

    async def restore(self, dapp: str) -> dict[str, Any]:
        """The chains of an app, after everything that could be brought was."""
        ...
