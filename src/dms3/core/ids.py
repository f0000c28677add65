"""Names of things as types, so that two kinds of 32 bytes are never exchanged by accident.

Source: docs/vocabulary.md. Content identifiers are in `core/cid.py`.
"""

from __future__ import annotations

from typing import NewType

PeerId = NewType("PeerId", bytes)
"""A libp2p peer id in binary form (identity multihash of an Ed25519 key: 38 bytes)."""

Root = NewType("Root", bytes)
"""A person: the 32-byte Ed25519 public key of the root made from the twelve words."""

SpaceId = NewType("SpaceId", bytes)
"""A space: 32 random bytes chosen by its owner when it is made."""

OverlayId = NewType("OverlayId", bytes)
"""An overlay, the set of nodes that hold one app's or public data: 32 bytes."""

Token = NewType("Token", str)
"""Names an unfinished Call or Request of one machine; stable across restarts."""

RequestId = NewType("RequestId", int)
"""A handle, given by the driver, under which a machine answers a question put to it."""


def short(identifier: bytes) -> str:
    """The first six bytes of `identifier` in hex: for messages and logs, never for look-ups."""
    return identifier[:6].hex()
