"""What is asked of machine "gossip": bodies that every node of an overlay is to hear once.

Source: docs/gossip.md; docs/plans/0006-overlay.md. Types only; `gossip/` is the machine. What a
body means, and whether it is good, is its topic's owner's affair: the machine that
`TOPICS` names is asked `NAME.heard` before a body is passed on.

| call | arguments | answer |
|---|---|---|
| `gossip.spread` | Spread | None when it is taken; `not_found` when this node is not there |
| `gossip.figures` | None | GossipFigures |
| `OWNER.heard` | HeardGossip | True, False, or a Failure |
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.ids import OverlayId, PeerId

TOPICS = {"warrants": "validation", "presence": "dht"}
"""Topic -> the machine that judges what is heard of it."""

UNJUDGED = (
    "cancelled",
    "internal",
    "limit_reached",
    "method_unknown",
    "node_busy",
    "node_stopping",
    "not_found",
    "not_ready",
    "timed_out",
)
"""Codes of a Failure by which an owner says that it could not judge now: nobody is blamed."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Have every node of `overlay` hear `body`, which belongs to `topic`.

    At most GOSSIP_BODY_BYTES_MAX. This node does not hear it: it knows it.
    """

    overlay: OverlayId
    topic: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeardGossip:
    """`peer` brought `body`. Answer True (new and good: passed on), False (not passed on), Failure.

    A Failure is the sender's fault and is held against `peer`, unless its code is in UNJUDGED: an
    honest node passes on only what its own owner has found good. So what depends on time or on
    what a node happens to know is False, never a Failure. A body may be heard again after a
    restart, or long after it was heard first.
    """

    overlay: OverlayId
    topic: str
    peer: PeerId
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OverlayGossip:
    """How an overlay is gossiped in: its live nodes known, partners, bodies kept, bytes of them."""

    overlay: OverlayId
    nodes: int
    links: int
    kept: int
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class GossipFigures:
    """Counts since the start.

    `spread`: bodies of this node; `delivered`: heard from others and found good; `refused`: found
    good for nothing; `received`: bodies that came; `duplicates`: those of them that were known;
    `asked`: bodies asked for; `told`: ids told; `dropped`: (why, how many), in order of why.
    """

    spread: int
    delivered: int
    refused: int
    received: int
    duplicates: int
    asked: int
    told: int
    dropped: tuple[tuple[str, int], ...]
    overlays: tuple[OverlayGossip, ...]
