"""What the fronts ask of a running node about apps and what they wrote, as Protocols.

Source: docs/dapps.md. `node/dapps.py` and `node/dapps_entries.py` implement them. No behaviour is
defined here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, Protocol

from dms3.node.table import BlobOrPath, Step


class DappServices(Protocol):
    """Apps; answers are JSON values."""

    def install(
        self, what: str, files: Sequence[BlobOrPath], name: str | None, proof: Any
    ) -> AsyncIterator[Step]:
        """Install an app, or its new functions and page; steps, the result last."""
        ...

    async def list(self) -> dict[str, Any]:
        """Installed apps, and those that come with dms3."""
        ...

    async def show(self, dapp: str) -> dict[str, Any]:
        """What an app is."""
        ...

    async def call(self, dapp: str, function: str, arguments: Any) -> dict[str, Any]:
        """What an exposed function returns."""
        ...

    async def link(self, dapp: str) -> dict[str, Any]:
        """A link to the page of an app."""
        ...

    async def token(self, dapp: str) -> dict[str, Any]:
        """A token that is good for this app alone."""
        ...

    async def remove(self, dapp: str) -> dict[str, Any]:
        """Stop an app and forget its files."""
        ...

    def migrate(
        self, dapp: str, what: str, files: Sequence[BlobOrPath], proof: Any
    ) -> AsyncIterator[Step]:
        """Go on in another version of an app; steps, the result last."""
        ...

    def publish(self, dapp: str) -> AsyncIterator[Step]:
        """Let anybody find and install an app; steps, the result last."""
        ...

    async def discover(self, query: str, limit: int) -> dict[str, Any]:
        """Apps that others have published."""
        ...

    async def grant(
        self, dapp: str, functions: Sequence[str], to: str | None, until: str | None
    ) -> dict[str, Any]:
        """Let a contact, or whoever gets the capability, call functions."""
        ...

    async def grants(self, dapp: str) -> dict[str, Any]:
        """Who may call what."""
        ...

    async def revoke(self, dapp: str, grant: str) -> dict[str, Any]:
        """Take a grant back."""
        ...

    async def sessions(self, dapp: str) -> dict[str, Any]:
        """What is being signed together with others."""
        ...

    async def decide(self, session: str, what: Literal["accept", "decline"]) -> dict[str, Any]:
        """Sign it, or do not."""
        ...

    # What pages of apps need (api/dapps.py).

    def known(self, dapp: str) -> bool:
        """Whether an app is called so."""
        ...

    def enter(self, dapp: str, code: str) -> str | None:
        """A session for a code that `link` made; None when it is not good."""
        ...

    def admitted(self, secret: str) -> str | None:
        """The name of the app that a session or token is good for."""
        ...

    async def about(self, dapp: str) -> dict[str, Any]:
        """What a page may know of its app."""
        ...

    async def page(self, dapp: str, path: str) -> bytes:
        """A file of the page; raises `not_found`."""
        ...


class EntryServices(Protocol):
    """What apps wrote; answers are JSON values."""

    def put(
        self, dapp: str, kind: str, content: Any, *, private: bool, wait: int
    ) -> AsyncIterator[Step]:
        """Write an entry; wait so many seconds until enough others hold it; the result last."""
        ...

    async def get(self, hash_: str, dapp: str | None, *, latest: bool) -> dict[str, Any]:
        """Bring an entry or action."""
        ...

    async def links(
        self, base: str, dapp: str | None, tag: str, kind: str, limit: int
    ) -> dict[str, Any]:
        """What is linked from somewhere."""
        ...

    async def history(self, agent: str, dapp: str | None, after: int, limit: int) -> dict[str, Any]:
        """What an agent did."""
        ...

    async def journey(self, hash_: str, dapp: str | None) -> dict[str, Any]:
        """Where an action has got to."""
        ...
