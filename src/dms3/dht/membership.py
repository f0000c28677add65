"""Being in an overlay: joining it, meeting who comes, and keeping the routing table true.

Source: Kademlia (Maymounkov, Mazieres 2002), sections 2.3 (join, refresh) and 2.2. Asks, through
`asking.py` and `lookups.py`; what it learns is in the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dms3.core.errors import Failure
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import (
    JOIN_US,
    NEIGHBOUR_CHECK_US,
    NEIGHBOUR_QUIET_US,
    NEIGHBOURS_MAX,
    NODE_CHECK_US,
    NODE_CHECKS_MAX,
    NODE_QUIET_US,
    REFRESH_US,
)
from dms3.core.machine import Effect, Entropy, Now
from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import LOCATION_BYTES, PUBLIC, NodeAt
from dms3.crypto.certificate import is_node_peer_id
from dms3.dht.admitting import Door
from dms3.dht.asking import Asking
from dms3.dht.lookup import Nearest
from dms3.dht.lookups import Lookups
from dms3.dht.messages import Find, Question
from dms3.dht.presence import node_location
from dms3.dht.reading import Answer, Told
from dms3.dht.routing import Table

_JITTER_PARTS = 1 << 16


@dataclass(slots=True)
class _Care:
    """What is due for one table."""

    table: Table
    refresh_us: int
    check_us: int
    near_us: int | None = None  # when silent neighbours are looked for; None: never
    join_us: int | None = None  # when to look for this node's own location again
    joined_us: int | None = None  # when it last looked for itself; None: not yet
    joined_size: int = 0  # of the table after that
    looking: bool = False
    nodes: tuple[NodeAt, ...] = ()  # to ask first
    unsaid: bool = False  # this node has new addresses that nobody was told yet
    sparse: list[int] = field(default_factory=list)  # magnitudes still to be looked up
    checking: dict[PeerId, None] = field(default_factory=dict)


class Membership:
    """Arguments: `own`, this node; `tables` by overlay; `asking` and `lookups`; `entropy`.

    `door`: who may be asked whether it is in an overlay.
    """

    def __init__(
        self,
        own: PeerId,
        tables: Mapping[OverlayId, Table],
        asking: Asking,
        lookups: Lookups,
        entropy: Entropy,
        door: Door,
    ) -> None:
        self._at = node_location(own)
        self._door = door
        self._tables = tables
        self._asking = asking
        self._lookups = lookups
        self._entropy = entropy
        self._cares: dict[OverlayId, _Care] = {}

    def start(self, now: Now) -> None:
        """Begin: a table that is still good is refreshed in its turn, another one at once."""
        for overlay in self._tables:
            self._care_for(overlay, now)

    def join(self, overlay: OverlayId, nodes: Sequence[NodeAt], now: Now) -> list[Effect]:
        """Begin with one more overlay: ask `nodes` and who is connected whether they are there."""
        care = self._care_for(overlay, now)
        care.nodes = tuple(nodes)
        return self._meet_all(overlay, care, now)

    def leave(self, overlay: OverlayId) -> None:
        """Care for it no more."""
        self._cares.pop(overlay, None)

    def met(self, overlay: OverlayId, nodes: Sequence[NodeAt], now: Now) -> list[Effect]:
        """`nodes` may be in `overlay`: ask them, while few are known."""
        care = self._cares.get(overlay)
        return [] if care is None else self._meet(overlay, care, nodes, now)

    def heard(self, overlay: OverlayId, node: NodeAt, now: Now) -> list[Effect]:
        """`node` has said that it is in a small `overlay`: ask it, however many are known."""
        care = self._cares.get(overlay)
        if care is None or node.peer in care.table:
            return []
        return self._check(overlay, care, node, now)

    def _care_for(self, overlay: OverlayId, now: Now) -> _Care:
        table = self._tables[overlay]
        check_us = now.mono_us + NODE_CHECK_US
        care = _Care(table, now.mono_us + self._part_of(REFRESH_US), check_us)
        if table.in_date(now.wall_us) >= BUCKET_SIZE:
            care.joined_us, care.joined_size = now.mono_us, len(table)
        if overlay != PUBLIC:  # what lies there is put again all the time
            care.near_us = now.mono_us + self._part_of(NEIGHBOUR_CHECK_US)
        self._cares[overlay] = care
        return care

    @property
    def open(self) -> int:
        """Nodes whose answers are awaited."""
        return sum(len(care.checking) for care in self._cares.values())

    def announce(self) -> None:
        """This node can be reached elsewhere, or only now: a small overlay is told at once.

        In a larger one it gets about with what is asked anyway.
        """
        for care in self._cares.values():
            care.unsaid = len(care.table) < BUCKET_SIZE

    def on_up(self, peer: PeerId, address: str, now: Now) -> list[Effect]:
        """Somebody is connected: while few nodes are known, ask whether it is in the overlay."""
        node = NodeAt(peer, (address,))
        effects: list[Effect] = []
        for overlay, care in self._cares.items():
            if peer in care.table and self._door.is_closed(overlay):
                effects += self._check(overlay, care, node, now)  # it answers when it knows us
            elif self._door.may_meet(overlay, node, now.wall_us):
                effects += self._meet(overlay, care, [node], now)
        return effects

    def go_on(self, now: Now) -> list[Effect]:
        """What an event has made possible: meet newcomers, join when the table has grown."""
        effects: list[Effect] = []
        for overlay, care in self._cares.items():
            room = NODE_CHECKS_MAX - len(care.checking)
            for node in care.table.candidates(room, care.checking):
                effects += self._check(overlay, care, node, now)
            care.join_us = _join_us(care, now)
            if care.join_us is not None and care.join_us <= now.mono_us:
                effects += self._join(overlay, care, now)
        return effects

    def on_timer(self, now: Now) -> list[Effect]:
        """Look up what is sparse, and ask those that were silent for long."""
        effects = self.go_on(now)
        for overlay, care in self._cares.items():
            if care.check_us <= now.mono_us:
                care.check_us = now.mono_us + NODE_CHECK_US
                before_us = now.mono_us - NODE_QUIET_US
                room = max(0, NODE_CHECKS_MAX - len(care.checking))
                for node in care.table.silent(before_us, now.wall_us, room):
                    effects += self._check(overlay, care, node, now)
                effects += self._meet_all(overlay, care, now)
            if care.near_us is not None and care.near_us <= now.mono_us:
                care.near_us = now.mono_us + NEIGHBOUR_CHECK_US
                effects += self._check_near(overlay, care, now)
            if care.refresh_us <= now.mono_us:
                effects += self._join(overlay, care, now)
        return effects

    def next_timer(self) -> int | None:
        """When the next of that is due."""
        first: int | None = None
        for care in self._cares.values():
            for due_us in (care.refresh_us, care.check_us, care.near_us, care.join_us):
                if due_us is not None and (first is None or due_us < first):
                    first = due_us
        return first

    # Joining and refreshing

    def _join(self, overlay: OverlayId, care: _Care, now: Now) -> list[Effect]:
        """Look up this node's own location, then every sparse part of the table."""
        care.refresh_us = now.mono_us + REFRESH_US // 2 + self._part_of(REFRESH_US)
        if care.looking or not len(care.table):
            return []
        care.joined_us, care.joined_size, care.join_us = now.mono_us, len(care.table), None
        care.unsaid = False

        def found(near: Nearest, at: Now) -> list[Effect]:
            care.looking = False
            everybody = near.complete and near.radius is None  # a small overlay has no more nodes
            care.sparse = [] if everybody else care.table.sparse()
            return self._look_next(overlay, care, at)

        care.looking = True
        return self._lookups.nearest(overlay, self._at, now, found)

    def _look_next(self, overlay: OverlayId, care: _Care, now: Now) -> list[Effect]:
        """Look up a random location in the next sparse part, one after another."""
        if not care.sparse:
            care.joined_size = len(care.table)
            return []
        drawn = self._entropy.draw(LOCATION_BYTES)
        target = care.table.target_in(care.sparse.pop(), drawn)

        def found(_: Nearest, at: Now) -> list[Effect]:
            care.looking = False
            return self._look_next(overlay, care, at)

        care.looking = True
        return self._lookups.nearest(overlay, target, now, found)

    # Meeting nodes

    def _meet_all(self, overlay: OverlayId, care: _Care, now: Now) -> list[Effect]:
        """Ask the nodes that were named at the beginning, and who is connected."""
        fit = [
            node
            for node in self._asking.connections.askable()
            if self._door.may_meet(overlay, node, now.wall_us)
        ]
        return self._meet(overlay, care, [*care.nodes, *fit], now)

    def _meet(
        self, overlay: OverlayId, care: _Care, nodes: Sequence[NodeAt], now: Now
    ) -> list[Effect]:
        """Ask those of `nodes` that are not known, while few are."""
        effects: list[Effect] = []
        if len(care.table) < BUCKET_SIZE:
            for node in nodes:
                if is_node_peer_id(node.peer) and node.peer not in care.table:
                    effects += self._check(overlay, care, node, now)
        return effects

    def _check_near(self, overlay: OverlayId, care: _Care, now: Now) -> list[Effect]:
        """Ask neighbours that were silent for a while: what the dead held is to be held again."""
        effects: list[Effect] = []
        room = max(0, NODE_CHECKS_MAX - len(care.checking))
        before_us = now.mono_us - NEIGHBOUR_QUIET_US
        for node in care.table.unheard(before_us, NEIGHBOURS_MAX)[:room]:
            effects += self._check(overlay, care, node, now)
        return effects

    def _check(self, overlay: OverlayId, care: _Care, node: NodeAt, now: Now) -> list[Effect]:
        """Ask `node` who is near us: when it answers and shows its presence, it may enter.

        Whom it names is of interest while few are known; else one is enough.
        """
        if node.peer in care.checking or len(care.checking) >= NODE_CHECKS_MAX:
            return []
        care.checking[node.peer] = None

        def checked(answer: Answer | Failure, at: Now) -> list[Effect]:
            del care.checking[node.peer]
            if not isinstance(answer, Told):
                return []
            return self._meet(overlay, care, [other for _, other in answer.nodes], at)

        few = len(care.table) < BUCKET_SIZE
        find = Find(self._at) if few else Find(self._at, 1)
        return self._asking.ask(node, Question(overlay, find=find), now, checked)

    def _part_of(self, us: int) -> int:
        """A random part of `us`, so that nodes do not move in step."""
        return us * int.from_bytes(self._entropy.draw(2), "big") // _JITTER_PARTS


def _join_us(care: _Care, now: Now) -> int | None:
    """When to look for oneself because the table is small and has changed; None: no need."""
    size = len(care.table)
    if not size or care.looking or (size == care.joined_size and not care.unsaid):
        return None
    if care.joined_us is None or care.unsaid:
        return now.mono_us
    return care.joined_us + JOIN_US if size < BUCKET_SIZE else None
