"""Room for connections: beyond the bound, one that nobody asked for is closed.

Source: docs/architecture.md, "How nodes meet". Wanted peers (`p2p/wanted.py`) are never closed, and
the transport hears who they are. Part of machine "peers".
"""

from __future__ import annotations

from dms3.core.ids import PeerId, RequestId
from dms3.core.limits import CONNECTIONS_UNNEEDED_MAX
from dms3.core.machine import Effect, Now, Reply
from dms3.p2p.grounds import Grounds
from dms3.p2p.port import HangUp, Keep


class Room:
    """Which connections are worth their place. It dials nobody."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._known = grounds.known
        self._wanted = grounds.wanted
        self._leaving: set[PeerId] = set()  # told to go, to make room

    def make(self) -> list[Effect]:
        """Beyond the bound, the least useful connection that nobody asked for is closed."""
        if len(self._known.up) <= CONNECTIONS_UNNEEDED_MAX:
            return []
        needed = self._wanted.peers() | self._leaving
        spare = [peer for peer in self._known.up if peer not in needed]
        if len(spare) <= CONNECTIONS_UNNEEDED_MAX:
            return []
        victim = min(spare, key=lambda peer: (self._known.usefulness(peer), peer))
        self._leaving.add(victim)
        why = "this node has connections enough"
        return [self._grounds.order("make_room", HangUp(victim, why))]

    def gone(self, peer: PeerId) -> None:
        """The connection has closed."""
        self._leaving.discard(peer)

    def keep(self) -> list[Effect]:
        """The transport lets wanted peers in whatever the crowd; it hears of every change."""
        news = self._wanted.news()
        return [] if news is None else [self._grounds.order("keep", Keep(news))]

    def release(self, peer: PeerId, request: RequestId, _now: Now) -> list[Effect]:
        """Another part of the node dialled `peer` and needs it no more."""
        keep = peer not in self._known.up or self._known.is_inbound(peer) or peer in self._wanted
        done = Reply(request, None)
        if keep:
            return [done]
        return [done, self._grounds.order("release", HangUp(peer, "it is not needed any more"))]
