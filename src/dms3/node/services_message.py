"""What the fronts ask of a running node about messages, as a Protocol.

Source: docs/messages.md. `node/messages.py` implements it. No behaviour is defined here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from dms3.node.services_content import Content
from dms3.node.table import BlobOrPath, Step


class MessageServices(Protocol):
    """Messages with people; answers are JSON values."""

    async def send(
        self, to: str, text: str, attach: Sequence[BlobOrPath], reply: str | None
    ) -> dict[str, Any]:
        """A new message, or an answer to the one with hash `reply`."""
        ...

    async def edit(self, message: str, text: str) -> dict[str, Any]:
        """Other words for a message of mine."""
        ...

    async def delete(self, message: str) -> dict[str, Any]:
        """Ask that a message of mine is shown no longer."""
        ...

    async def react(self, message: str, text: str) -> dict[str, Any]:
        """A sign on a message."""
        ...

    async def inbox(self, since: int, limit: int) -> dict[str, Any]:
        """Messages of others by arrival, those with a number above `since`."""
        ...

    async def conversation(
        self, name: str, before: int | None, around: str | None, limit: int
    ) -> dict[str, Any]:
        """The last messages with a person, those before a number, or on both sides of a hash."""
        ...

    async def conversations(self, limit: int) -> dict[str, Any]:
        """Everybody messages were exchanged with, the latest first."""
        ...

    async def opened(self, name: str) -> dict[str, Any]:
        """The messages of a person are on a screen."""
        ...

    async def fetch(self) -> dict[str, Any]:
        """Ask every own service."""
        ...

    async def attachment(self, message: str, number: int) -> dict[str, Any]:
        """A file in a message."""
        ...

    async def content(self, message: str, number: int) -> Content:
        """The bytes of a file in a message."""
        ...

    async def profile(self, name: str | None) -> dict[str, Any]:
        """Who a name is; None: this person."""
        ...

    async def people(self) -> dict[str, Any]:
        """Everybody known by messages."""
        ...

    async def decide(self, name: str, what: str) -> dict[str, Any]:
        """accept, block, unblock or forget somebody, or note them as verified."""
        ...

    async def services(self) -> dict[str, Any]:
        """Who carries my messages."""
        ...

    async def carry(self, name: str) -> dict[str, Any]:
        """Use a delivery service."""
        ...

    async def uncarry(self, name: str) -> dict[str, Any]:
        """Leave one."""
        ...

    async def settings(self, receipts: str | None, requests: str | None) -> dict[str, Any]:
        """The settings, after a change ("yes" or "no")."""
        ...

    async def adopt(self, address: str, signature: str, nonce: str | None) -> dict[str, Any]:
        """Use the keys of a wallet's signature."""
        ...

    def export(self) -> AsyncIterator[Step]:
        """Everything as one file; steps, the result last."""
        ...

    def bring_in(self, file: BlobOrPath) -> AsyncIterator[Step]:
        """Take in what was exported; steps, the result last."""
        ...
