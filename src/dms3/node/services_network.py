"""What the fronts ask of a running node about networks, as a Protocol.

Source: docs/networks.md. `node/networks_answers.py` implements it. No behaviour is defined here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Wish:
    """Who may be in a network: `membrane` as `network create` calls it, and what that asks.

    `admins`: contacts or roots, beside the person of the node. `seed`: of a network behind one.
    `apps`: names of installed apps, whose warrants count.
    """

    membrane: str
    admins: Sequence[str] = ()
    needed: int = 1
    seed: str | None = None
    bits: int = 0
    apps: Sequence[str] = ()


class NetworkServices(Protocol):
    """Closed overlays that people made; answers are JSON values."""

    async def create(self, name: str, wish: Wish) -> dict[str, Any]:
        """Make a network and take part in it."""
        ...

    async def invite(self, name: str, who: str, days: int) -> dict[str, Any]:
        """An invitation as text."""
        ...

    async def sign(self, invitation: str) -> dict[str, Any]:
        """An invitation with one more signature."""
        ...

    async def join(self, invitation: str, name: str | None, seed: str | None) -> dict[str, Any]:
        """Take part in a network."""
        ...

    async def invite_to_app(self, dapp: str, who: str, days: int) -> dict[str, Any]:
        """A proof with which somebody may install an app."""
        ...

    async def leave(self, name: str) -> dict[str, Any]:
        """Take part no more."""
        ...

    async def list(self) -> dict[str, Any]:
        """Networks, and every overlay of this node."""
        ...

    async def members(self, name: str) -> dict[str, Any]:
        """Who is there now."""
        ...
