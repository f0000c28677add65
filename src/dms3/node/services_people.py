"""What the fronts ask of a running node about people and the nodes of others, as a Protocol.

Source: docs/interfaces.md, `id`, `contact` and `peer`. `node/people.py` implements it. No behaviour
is defined here.
"""

from __future__ import annotations

from typing import Any, Protocol


class PeopleServices(Protocol):
    """The person, their contacts and the nodes of others; answers are JSON values."""

    async def words(self) -> dict[str, Any]:
        """The twelve words."""
        ...

    async def words_written(self) -> dict[str, Any]:
        """Keep that the person has written the words down."""
        ...

    async def card(self) -> dict[str, Any]:
        """This node's contact card."""
        ...

    async def add(self, card: str) -> dict[str, Any]:
        """The contact that the text of a card makes."""
        ...

    async def contacts(self) -> dict[str, Any]:
        """All contacts."""
        ...

    async def remove(self, name: str) -> dict[str, Any]:
        """The contact that was removed, and how many of their grants were taken back."""
        ...

    async def peers(self) -> dict[str, Any]:
        """Known and connected nodes."""
        ...

    async def world(self) -> dict[str, Any]:
        """What this node thinks of the nodes it knows."""
        ...

    async def gossip(self) -> dict[str, Any]:
        """What is spread in the overlays."""
        ...

    async def connect(self, address: str) -> dict[str, Any]:
        """A connection to the node at a multiaddr, or to a known peer id."""
        ...

    async def ping(self, peer: str) -> dict[str, Any]:
        """The round-trip time to a connected peer id or contact."""
        ...
