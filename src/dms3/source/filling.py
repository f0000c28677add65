"""Which ops travel in the next questions: all together in a small overlay, place by place else.

Source: docs/chains.md, "Published". In a small overlay what comes behind a few questions is
gathered for a moment, so many actions travel in one. Decides nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator

from dms3.chain.ops import ops_of
from dms3.core.ids import OverlayId
from dms3.core.overlay import location as location_of
from dms3.source.grounds import Grounds
from dms3.source.holding import Need, count_of
from dms3.source.pacing import Pacing
from dms3.source.parcels import Parcel, Place, filled, place_of
from dms3.source.waiting import Item, Waiting


class Filling:
    """Fills parcels from what waits, as many as `pacing` lets go."""

    def __init__(self, grounds: Grounds, waiting: Waiting, pacing: Pacing) -> None:
        self._grounds = grounds
        self._waiting = waiting
        self._pacing = pacing

    def parcels(self) -> Iterator[Parcel]:
        """What can be asked now, in order of the queue; each is to be sent before the next."""
        for overlay in self._waiting.overlays():
            if self._has_room(overlay):
                yield from self._parcels_of(overlay, self._waiting.ready(overlay))

    def _has_room(self, overlay: OverlayId) -> bool:
        return self._pacing.has_room(overlay, self._grounds.desk.now.mono_us)

    def _parcels_of(self, overlay: OverlayId, items: list[Item]) -> Iterator[Parcel]:
        need = Need.of(self._grounds.app_or_none(overlay))
        small = self._pacing.small(overlay)
        if self._pacing.is_alone(overlay):
            items = items[:1]  # enough to see whether somebody is there now
        if small:
            yield from self._together(overlay, items, need)
            return
        for item in items:
            while item.todo and self._has_room(overlay):
                op = item.row.ops[min(item.todo)]
                count = need.most if small is None else count_of(op, item.row.tries, need)
                yield self._one_place(overlay, item, items, count)

    def _together(self, overlay: OverlayId, items: list[Item], need: Need) -> Iterator[Parcel]:
        """All that waits, in as few questions as hold it: everybody is asked for everything."""

        def places() -> Iterator[Place]:
            for item in items:
                made = self._places(item)
                for index in sorted(item.todo):
                    yield made[index]

        groups = filled(places())
        group = next(groups, ())
        while group and self._has_room(overlay):
            following = next(groups, ())
            if not following and self._pacing.gathers(overlay, self._grounds.desk.now.mono_us):
                return
            first = self._waiting.find(group[0].action)
            assert first is not None, "what travels is on its way"
            basis = first.row.ops[group[0].index].basis
            yield Parcel(overlay, location_of(basis), need.most, group)
            group = following

    def _one_place(self, overlay: OverlayId, item: Item, items: list[Item], count: int) -> Parcel:
        """The first op of `item` that is to do, with those of others that lie at the same place."""
        basis = item.row.ops[min(item.todo)].basis

        def places() -> Iterator[Place]:
            for each in items:
                for index in sorted(each.todo):
                    if each.row.ops[index].basis == basis:
                        yield self._places(each)[index]

        return Parcel(overlay, location_of(basis), count, next(filled(places())))

    def _places(self, item: Item) -> tuple[Place, ...]:
        """The ops of an action as they travel, made once for a round."""
        if not item.places:
            record = item.record or self._grounds.shelf.record(item.row.action)
            assert record is not None, "what is published was kept"
            ops = ops_of(record.signed, record.entry, self._grounds.sealed(record))
            action = item.row.action
            item.places = tuple(place_of(action, index, op) for index, op in enumerate(ops))
        return item.places
