"""What is asked of machine "gossip": bodies that every node of an overlay is to hear once.

Source: docs/gossip.md; docs/plans/0006-overlay.md. Types only; `gossip/` is the machine. What a
body means, and whether it is good, is its topic's owner's affair: the machine that
`TOPICS` names is asked `NAME.heard` before a body is passed on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.ids import OverlayId, PeerId

TOPICS = {"ops": "validation", "warrants": "validation", "presence": "dht"}
"""Topic -> the machine that judges what is heard of it."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Have every node of `overlay` hear `body`, which belongs to `topic`."""

    overlay: OverlayId
    topic: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeardGossip:
    """`peer` brought `body`. Answer True (new and good: passed on), False (not passed on), Failure.

    A Failure is the sender's fault: it is held against `peer`.
    """

    overlay: OverlayId
    topic: str
    peer: PeerId
    body: bytes = field(repr=False)
