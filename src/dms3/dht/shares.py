"""How much of the time the nodes of the tables are there, and so how many are to hold a key.

Source: docs/chains.md, "Published"; `core/neighbourhood.py` has the rule. The peer book knows; it
is asked now and then, so that a rank costs no round trip. Who is not known yet counts as a
newcomer does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from dms3.core.ids import OverlayId, PeerId, Token
from dms3.core.limits import (
    HOLDERS_SLACK,
    SHARES_ASKED_MAX,
    SHARES_US,
    UPTIME_NEWCOMER_PPM,
)
from dms3.core.machine import Call, Effect, Now
from dms3.core.overlay import NodeAt, Rank
from dms3.dht.presence import node_location
from dms3.dht.tables import Tables

PREFIX = "shares:"
_NEWCOMER = UPTIME_NEWCOMER_PPM / 1_000_000


class Shares:
    """The uptimes of the nodes of `tables`, as the peer book said last; `own`: this node."""

    def __init__(self, own: PeerId, tables: Tables) -> None:
        self.tables = tables
        self._at = int.from_bytes(node_location(own), "big")
        self._shares: dict[PeerId, float] = {}
        self._shunned: dict[OverlayId, frozenset[PeerId]] = {}
        self._met: dict[PeerId, None] = {}  # by lookups, in no table perhaps; the oldest first
        self._fresh: dict[PeerId, None] = {}  # of these, those to be asked about now
        self._queue: list[PeerId] = []  # to be asked about in this round, the next one last
        self._asked: tuple[Token, tuple[PeerId, ...]] | None = None
        self._due_us: int | None = None
        self._count = 0

    def of(self, peer: PeerId) -> float:
        """The uptime of `peer`, a share of one."""
        return self._shares.get(peer, _NEWCOMER)

    def shun(self, overlay: OverlayId, peers: Iterable[PeerId]) -> None:
        """Other machines have nothing to do with these in an overlay, and with no others of it."""
        self._shunned[overlay] = frozenset(peers)

    def counts(self, overlay: OverlayId, peer: PeerId) -> bool:
        """Whether anything is expected of `peer` in an overlay."""
        return peer not in self._shunned.get(overlay, ())

    def leave(self, overlay: OverlayId) -> None:
        """This node takes part no more."""
        self._shunned.pop(overlay, None)

    def meet(self, nodes: Iterable[NodeAt]) -> None:
        """A lookup has found `nodes`: the peer book is asked about those that are new."""
        for node in nodes:
            self._met.pop(node.peer, None)
            if node.peer not in self._shares and len(self._fresh) < SHARES_ASKED_MAX:
                self._fresh[node.peer] = None
            if len(self._met) >= SHARES_ASKED_MAX:
                del self._met[next(iter(self._met))]
            self._met[node.peer] = None

    def needed(self, overlay: OverlayId, nodes: Iterable[NodeAt]) -> int:
        """How many of `nodes`, nearest first, are to hold a key of `overlay`."""
        return self.tables.duty(overlay).needed(self.of(node.peer) for node in nodes)

    def rank(self, overlay: OverlayId, target: bytes) -> Rank:
        """How near this node is to location `target`, and how near one has to be."""
        at = int.from_bytes(target, "big")
        duty = self.tables.duty(overlay)
        live = self.tables[overlay].live(target)
        counted = ((node, place) for node, place in live if self.counts(overlay, node.peer))
        near = list(islice(counted, duty.most + HOLDERS_SLACK))
        needed = duty.needed(self.of(node.peer) for node, _ in near)
        return Rank(sum(place ^ at < self._at ^ at for _, place in near), needed)

    def go_on(self, now: Now) -> list[Effect]:
        """Ask the peer book for the next of them, if it is time."""
        if self._asked is not None:
            return []
        if self._fresh:
            fresh, self._fresh = self._fresh, {}
            return [self._ask(tuple(fresh))]
        if self._due_us is not None and self._due_us > now.mono_us:
            return []
        if not self._queue:
            known = {peer for table in self.tables.values() for peer in table.peers()}
            known.update(self._met)
            self._queue = sorted(known, reverse=True)
            self._shares = {peer: self._shares[peer] for peer in self._shares if peer in known}
        if not self._queue:
            self._due_us = None
            return []
        return [self._ask(tuple(self._queue[-SHARES_ASKED_MAX:]))]

    def answered(self, token: Token, body: Any, now: Now) -> list[Effect]:
        """What the peer book says; without its word those before count on."""
        if self._asked is None or self._asked[0] != token:
            return []
        peers, self._asked = self._asked[1], None
        if isinstance(body, tuple):
            self._shares.update(zip(peers, body, strict=True))
        if self._queue[-len(peers) :] == list(peers):
            del self._queue[-len(peers) :]
            if not self._queue:
                self._due_us = now.mono_us + SHARES_US
        return self.go_on(now)

    def next_timer(self) -> int | None:
        """When the next round is due."""
        return self._due_us if self._asked is None else None

    def _ask(self, peers: Sequence[PeerId]) -> Effect:
        self._count += 1
        self._asked = Token(f"{PREFIX}{self._count}"), tuple(peers)
        return Call("peers.uptime", self._asked[1], self._asked[0])
