"""Partners in each overlay: at every magnitude of distance, and those that chose this node.

Source: docs/gossip.md; HyParView (Leitao, Pereira, Rodrigues 2007) keeps partners alike: few, both
ways, replaced when their connection breaks. Who is in an overlay, machine "dht" says. Connected
nodes come first; what was dialled here is given back (Call "peers.release").
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dms3.core.admission import Admission
from dms3.core.errors import Failure
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import (
    GOSSIP_CONNECTIONS_MAX,
    GOSSIP_DIAL_US,
    GOSSIP_DIALS_MAX,
    GOSSIP_FULL_US,
    GOSSIP_GUESTS_MAX,
    GOSSIP_LINKS_MIN,
)
from dms3.core.overlay import Neighbours, NodeAt, distance
from dms3.gossip.grounds import Grounds
from dms3.p2p.port import DialRequest

Linked = Callable[[OverlayId, PeerId], None]
"""Told of a partner that this node has chosen, once it is connected."""


@dataclass(slots=True)
class _Circle:
    """One overlay: where this node lies, who is there, and the partners."""

    at: bytes = b""
    nodes: dict[PeerId, tuple[NodeAt, bytes]] = field(default_factory=dict)  # with its location
    chosen: dict[PeerId, None] = field(default_factory=dict)
    guests: dict[PeerId, None] = field(default_factory=dict)
    full: dict[PeerId, int] = field(default_factory=dict)  # who had no room, and when


class Links:
    """Of all overlays; `admission`: who may hear of closed ones; `linked` is told of partners."""

    def __init__(self, grounds: Grounds, admission: Admission, linked: Linked) -> None:
        self._desk = grounds.desk
        self._admission = admission
        self._entropy = grounds.entropy
        self._linked = linked
        self._circles: dict[OverlayId, _Circle] = {}
        self._up: dict[PeerId, None] = {}
        self._unfit: dict[PeerId, None] = {}  # connected, and of no use here
        self._dialing: dict[PeerId, None] = {}
        self._ours: dict[PeerId, None] = {}  # connected because they were dialled here

    # Looking

    @property
    def overlays(self) -> tuple[OverlayId, ...]:
        """Those that this node is in."""
        return tuple(self._circles)

    def has(self, overlay: OverlayId) -> bool:
        """Whether this node is in `overlay`."""
        return overlay in self._circles

    def of(self, overlay: OverlayId) -> list[PeerId]:
        """The partners there, of a closed overlay those that are admitted."""
        circle = self._circles.get(overlay)
        partners = [] if circle is None else [*circle.chosen, *circle.guests]
        return [peer for peer in partners if self.admits(overlay, peer)]

    def chosen(self, overlay: OverlayId) -> list[PeerId]:
        """The partners that this node has chosen."""
        circle = self._circles.get(overlay)
        return [] if circle is None else list(circle.chosen)

    def node(self, overlay: OverlayId, peer: PeerId) -> NodeAt:
        """Where a partner can be reached, as far as that is known."""
        circle = self._circles.get(overlay)
        known = None if circle is None else circle.nodes.get(peer)
        return NodeAt(peer, ()) if known is None else known[0]

    def admits(self, overlay: OverlayId, peer: PeerId) -> bool:
        """Whether `peer` may hear what is said in `overlay`."""
        return self._admission.admits(overlay, peer, self._desk.now.wall_us)

    def size(self, overlay: OverlayId) -> int:
        """How many live nodes are known there."""
        circle = self._circles.get(overlay)
        return 0 if circle is None else len(circle.nodes)

    @property
    def dialled(self) -> int:
        """Connections that were dialled here, or are being dialled."""
        return len(self._ours) + len(self._dialing)

    # Changes

    def look(self, overlay: OverlayId, around: Neighbours) -> None:
        """The live nodes of `overlay`, as the dht knows them now."""
        circle = self._circles.setdefault(overlay, _Circle())
        circle.at = around.at
        circle.nodes = {node.peer: (node, place) for node, place, _ in around.nodes}
        since_us = self._desk.now.mono_us - GOSSIP_FULL_US
        circle.full = {peer: at for peer, at in circle.full.items() if at > since_us}
        gone = [peer for peer in circle.chosen if peer not in circle.nodes]
        for peer in gone:
            del circle.chosen[peer]
        self._fill(overlay, circle)
        self._release(gone)

    def leave(self, overlay: OverlayId) -> None:
        """This node is there no more."""
        circle = self._circles.pop(overlay, None)
        if circle is not None:
            self._release(list(circle.chosen))

    def takes(self, overlay: OverlayId, peer: PeerId) -> bool:
        """Whether what `peer` says about `overlay` is listened to: it is a partner from now on."""
        circle = self._circles.get(overlay)
        if circle is None or peer not in self._up:
            return False
        if peer in circle.chosen or peer in circle.guests:
            return True
        if len(circle.guests) >= GOSSIP_GUESTS_MAX:
            return False
        circle.guests[peer] = None
        return True

    def full(self, overlay: OverlayId, peer: PeerId) -> None:
        """`peer` has partners enough there: another one is chosen."""
        circle = self._circles.get(overlay)
        if circle is not None and circle.chosen.pop(peer, 1) is None:
            circle.full[peer] = self._desk.now.mono_us
            self._fill(overlay, circle)
            self._release([peer])

    def unfit(self, peer: PeerId) -> None:
        """`peer` does not speak of this: it is no partner while it stays connected."""
        self._unfit[peer] = None
        for overlay, circle in self._circles.items():
            circle.guests.pop(peer, None)
            if peer in circle.chosen:
                del circle.chosen[peer]
                self._fill(overlay, circle)
        self._release([peer])

    def up(self, peer: PeerId) -> bool:
        """A connection is open; whether an overlay still has too few partners."""
        self._up[peer] = None
        if peer in self._dialing:
            self._ours[peer] = None
        few = False
        for overlay, circle in self._circles.items():
            if len(circle.chosen) < GOSSIP_LINKS_MIN:
                if peer in circle.nodes:
                    self._choose(overlay, circle, peer)
                few = few or len(circle.chosen) < min(GOSSIP_LINKS_MIN, len(circle.nodes))
                few = few or peer not in circle.nodes
        return few

    def down(self, peer: PeerId) -> bool:
        """The last connection has closed; whether a partner is lost."""
        lost = False
        for gone in (self._up, self._unfit, self._ours):
            gone.pop(peer, None)
        for circle in self._circles.values():
            circle.guests.pop(peer, None)
            if peer in circle.chosen:
                del circle.chosen[peer]
                lost = True
        return lost

    # Choosing

    def _fill(self, overlay: OverlayId, circle: _Circle) -> None:
        """Choose partners while there are too few; dial those that are not connected."""
        wanted = GOSSIP_LINKS_MIN - len(circle.chosen)
        if wanted <= 0:
            return
        for peer in self._candidates(circle):
            if wanted <= 0:
                return
            if peer in self._up:
                self._choose(overlay, circle, peer)
                wanted -= 1
            elif peer in self._dialing or self._dial(circle.nodes[peer][0]):
                wanted -= 1

    def _candidates(self, circle: _Circle) -> list[PeerId]:
        """One of each magnitude of distance, the farthest first, then another of each, and so on.

        So that no part of the overlay is by itself; of a magnitude the connected come first.
        """
        seed = self._entropy.draw(16)
        barred = (circle.chosen, circle.full, self._unfit)
        order: list[tuple[bool, bytes, PeerId]] = sorted(
            (peer not in self._up, _shuffled(seed, peer), peer)
            for peer in circle.nodes
            if not any(peer in each for each in barred)
        )
        of_magnitude: dict[int, int] = {}
        turns: list[tuple[int, int, PeerId]] = []
        for _, _, peer in order:
            magnitude = distance(circle.at, circle.nodes[peer][1]).bit_length()
            turn = of_magnitude[magnitude] = of_magnitude.get(magnitude, 0) + 1
            turns.append((turn, -magnitude, peer))
        return [peer for _, _, peer in sorted(turns)]

    def _choose(self, overlay: OverlayId, circle: _Circle, peer: PeerId) -> None:
        unfit = peer in self._unfit or peer in circle.full
        if peer not in circle.chosen and not unfit:
            circle.guests.pop(peer, None)
            circle.chosen[peer] = None
            self._linked(overlay, peer)

    def _dial(self, node: NodeAt) -> bool:
        """Dial `node`, if there is room; whether it is being dialled."""
        if len(self._dialing) >= GOSSIP_DIALS_MAX or self.dialled >= GOSSIP_CONNECTIONS_MAX:
            return False
        peer = node.peer
        self._dialing[peer] = None

        def dialed(body: Any) -> None:
            self._dialing.pop(peer, None)
            if not isinstance(body, Failure) and peer not in self._up:
                self.up(peer)  # it was there before; nobody says so twice

        self._desk.call("transport.dial", DialRequest(node.addresses, peer, GOSSIP_DIAL_US), dialed)
        return True

    def _release(self, peers: Sequence[PeerId]) -> None:
        """Give back what was dialled here and is nobody's partner any more."""
        for peer in peers:
            needed = any(peer in circle.chosen for circle in self._circles.values())
            if peer in self._ours and not needed:
                del self._ours[peer]
                self._desk.call("peers.release", peer, lambda _: None)


def _shuffled(seed: bytes, peer: PeerId) -> bytes:
    return hashlib.sha256(seed + peer).digest()
