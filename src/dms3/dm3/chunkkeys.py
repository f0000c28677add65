"""The keys under which the reference's chunk storage keeps lists, manifests and messages.

Source: the dm3 reference (dm3-lib-storage, "chunkStorage"); docs/dm3.md, "Formats". All follow from
one signature, so only its maker can name them. Does not say what lies under them.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.dm3.canonical import hash_text
from dms3.dm3.keys import ProfileKeys


@dataclass(frozen=True, slots=True)
class ChunkKeys:
    """The keys of one account; `manifest` is the account's own, "0x" and 64 hex digits."""

    manifest: str

    @classmethod
    def of(cls, keys: ProfileKeys, own_name: str) -> ChunkKeys:
        """Those of the person with `keys` who is called `own_name`."""
        return cls(hash_text(keys.sign(own_name)))

    def conversations(self, page: int) -> str:
        """Under what page `page` (from 0) of the list of conversations lies."""
        return hash_text(f"{self.manifest}{page}")

    def conversation(self, contact: str) -> str:
        """Under what the manifest of the conversation with `contact` (a name) lies."""
        return hash_text(f"{self.manifest}{contact}")

    def messages(self, contact: str, page: int) -> str:
        """Under what chunk `page` (from 0) of the messages with `contact` lies."""
        return hash_text(f"{self.conversation(contact)}{page}")
