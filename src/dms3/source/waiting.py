"""Own actions on their way to others: what is to be asked for, what is asked, when the rest is due.

Source: docs/chains.md, "Published". Kept in memory alone; what waits is also a row (`holding.py`).
It asks nobody and decides nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from dms3.chain.operations_validation import Record
from dms3.core.cid import Cid
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import PUBLISH_ACTIONS_MAX, PUBLISH_NODES_MAX
from dms3.source.holding import OpRow, PublishRow
from dms3.source.parcels import Parcel, Place

_EARLY_MAX = 2 * PUBLISH_NODES_MAX  # whose receipts come before it is known that they were asked
_LOOKED_AT = 256  # actions, for ops that can travel together


@dataclass(slots=True)
class Item:
    """An action on its way. `todo`: ops to be asked for in this round; `flying`: being asked.

    `record`, `places`: it and its ops as they travel, while a round is near.
    """

    row: PublishRow
    ids: tuple[bytes, ...]
    due_us: int = 0  # when the next round begins; 0 while there is one
    todo: set[int] = field(default_factory=set)
    flying: set[int] = field(default_factory=set)
    record: Record | None = None
    places: tuple[Place, ...] = ()
    busy: bool = False  # most were asked too much in this round
    asked: set[PeerId] = field(default_factory=set)  # who lies near it: their receipts count
    early: dict[PeerId, set[int]] = field(default_factory=dict)  # of whom that is not known yet

    @property
    def alone(self) -> bool:
        """Whether nobody was there to ask."""
        return not any(op.members for op in self.row.ops)

    @property
    def round_over(self) -> bool:
        """Whether nothing of this round is left."""
        return not self.todo and not self.flying

    def is_due(self, peer: PeerId, index: int) -> bool:
        """Whether a receipt of `peer` counts now; of one that may have been asked: in a moment."""
        if peer in self.asked:
            return True
        room = peer in self.early or len(self.early) < _EARLY_MAX
        if index in self.flying and room:
            self.early.setdefault(peer, set()).add(index)
        return False

    def signers(self, index: int) -> set[PeerId]:
        """Who has signed for op number `index`."""
        return {PeerId(each) for each in self.row.ops[index].signers}

    def put_by(self) -> None:
        """What travels is made again when it is wanted: many may wait for long."""
        self.record, self.places = None, ()


class Waiting:
    """The actions, by hash; `len` tells how many."""

    def __init__(self) -> None:
        self._items: dict[Cid, Item] = {}
        self._ready: dict[OverlayId, dict[Cid, Item]] = {}  # those with ops to ask for
        self._due: list[tuple[int, Cid]] = []
        self._op_of: dict[bytes, tuple[Cid, int]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, action: Cid) -> bool:
        return action in self._items

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    @property
    def room(self) -> int:
        """For how many other actions there is room."""
        return max(0, PUBLISH_ACTIONS_MAX - len(self._items))

    @property
    def full(self) -> bool:
        """Whether no other action has room."""
        return not self.room

    def find(self, action: Cid) -> Item | None:
        """The action with that hash, if it is on its way."""
        return self._items.get(action)

    def op(self, name: bytes) -> tuple[Cid, int] | None:
        """Of which action, and its which one, the op of that name is."""
        return self._op_of.get(name)

    def add(self, item: Item) -> None:
        """One more; its first round begins."""
        self._items[item.row.action] = item
        for index, name in enumerate(item.ids):
            self._op_of[name] = (item.row.action, index)
        self.begin(item)

    def remove(self, item: Item) -> None:
        """It is on its way no more."""
        del self._items[item.row.action]
        self._ready.get(OverlayId(item.row.overlay), {}).pop(item.row.action, None)
        for name in item.ids:
            self._op_of.pop(name, None)

    # Rounds

    def begin(self, item: Item) -> None:
        """A round: whatever too few hold is to be asked for."""
        item.due_us, item.busy = 0, False
        item.early.clear()
        item.todo = {index for index, op in enumerate(item.row.ops) if not op.enough}
        self._ready.setdefault(OverlayId(item.row.overlay), {})[item.row.action] = item

    def rest(self, item: Item, until_us: int) -> None:
        """Its next round begins then (monotonic)."""
        item.due_us = until_us
        item.put_by()
        heapq.heappush(self._due, (until_us, item.row.action))

    def begin_due(self, now_us: int) -> None:
        """Begin the rounds that are due."""
        while self._due and self._due[0][0] <= now_us:
            due_us, action = heapq.heappop(self._due)
            item = self._items.get(action)
            if item is not None and item.due_us == due_us:  # else it was hurried
                self.begin(item)

    def begin_alone(self, overlay: OverlayId | None = None) -> None:
        """Begin those that had nobody to go to and rest; None: of all overlays."""
        for item in self._items.values():
            if item.due_us and item.alone and overlay in (None, item.row.overlay):
                self.begin(item)

    @property
    def next_us(self) -> int | None:
        """When the next round begins."""
        return self._due[0][0] if self._due else None

    def overlays(self) -> list[OverlayId]:
        """Those in which something is to be asked for."""
        return sorted(overlay for overlay, items in self._ready.items() if items)

    def ready(self, overlay: OverlayId) -> list[Item]:
        """Actions with ops to ask for, in order; of very many the first."""
        return list(islice(self._ready.get(overlay, {}).values(), _LOOKED_AT))

    # Questions

    def send(self, parcel: Parcel) -> None:
        """Its ops are asked for."""
        for place in parcel.places:
            item = self._items[place.action]
            item.todo.discard(place.index)
            item.flying.add(place.index)
            if not item.todo:
                self._ready[parcel.overlay].pop(place.action, None)

    def land(self, parcel: Parcel) -> Iterator[tuple[Item, list[tuple[int, Place]]]]:
        """They are asked for no more: each action, with the number of each op in the parcel."""
        landed: dict[Cid, list[tuple[int, Place]]] = {}
        for number, place in enumerate(parcel.places):
            item = self._items.get(place.action)
            if item is not None:
                item.flying.discard(place.index)
                landed.setdefault(place.action, []).append((number, place))
        for action, places in landed.items():
            yield self._items[action], places


def with_ops(row: PublishRow, changed: dict[int, OpRow]) -> tuple[OpRow, ...]:
    """The ops of `row`, some of them changed."""
    return tuple(changed.get(index, op) for index, op in enumerate(row.ops))
