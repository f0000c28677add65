"""The peers a fetch may ask, and how each has behaved so far in this fetch.

Source: docs/architecture.md, "Private by default". A supplier is a connected peer with one granted
space. Pure bookkeeping: sends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dms3.core.errors import Failure
from dms3.core.ids import PeerId, SpaceId
from dms3.core.limits import FETCH_BUSY_US, FETCH_STRIKES_MAX
from dms3.core.machine import Now
from dms3.search.operations import Source

Key = tuple[PeerId, SpaceId]
_BUSY = ("limit_reached", "node_busy", "not_yet_valid")


class Verdict(StrEnum):
    """What a failed question means for the block that was asked for."""

    LACKS = "lacks"  # this supplier has no such block
    AGAIN = "again"  # ask anybody again, the same one included


@dataclass(slots=True, eq=False)
class Supplier:
    """One source; `asked` blocks are under way, `gone` until it connects again."""

    source: Source
    asked: int = 0
    strikes: int = 0
    busy_until_us: int = 0
    gone: bool = False

    @property
    def key(self) -> Key:
        """What names it."""
        return (self.source.peer, self.source.space)


class Suppliers:
    """The suppliers of one fetch."""

    def __init__(self) -> None:
        self._all: dict[Key, Supplier] = {}

    def update(self, sources: Sequence[Source], banned: dict[PeerId, None]) -> None:
        """Take the present sources; those that are no longer among them are gone."""
        present: dict[Key, Supplier] = {}
        for source in sources:
            if source.peer in banned:
                continue
            key = (source.peer, source.space)
            if key in present:
                continue  # an older grant of the same space
            held = self._all.get(key)
            if held is not None and held.source == source:
                present[key] = held
            else:
                present[key] = Supplier(source, asked=held.asked if held is not None else 0)
        self._all = present

    def peer_up(self, peer: PeerId) -> None:
        """A peer has come back: what it did before counts no more."""
        for key in [key for key in self._all if key[0] == peer]:
            del self._all[key]

    def peer_down(self, peer: PeerId) -> None:
        """A peer has gone."""
        for supplier in self._of(peer):
            supplier.gone = True

    def choose(self, lacking: frozenset[Key], now: Now) -> Supplier | None:
        """The least busy supplier not in `lacking`, or None."""
        free = [
            supplier
            for supplier in self._all.values()
            if not supplier.gone
            and supplier.busy_until_us <= now.mono_us
            and supplier.key not in lacking
        ]
        return min(free, key=lambda supplier: (supplier.asked, supplier.key)) if free else None

    def hopeless(self, lacking: frozenset[Key], *, begun: bool) -> bool:
        """Whether nobody could have the block, now or in a moment.

        `begun`: some blocks have come, so a supplier that has gone is expected back.
        """
        return all(
            supplier.key in lacking or (supplier.gone and not begun)
            for supplier in self._all.values()
        ) and not (begun and not self._all)

    def released(self, key: Key) -> None:
        """A question to a supplier is over."""
        supplier = self._all.get(key)
        if supplier is not None and supplier.asked:
            supplier.asked -= 1

    def served(self, key: Key) -> None:
        """A supplier has sent a right block."""
        supplier = self._all.get(key)
        if supplier is not None:
            supplier.strikes = 0

    def failed(self, key: Key, failure: Failure, now: Now) -> Verdict:
        """Note what a supplier answered instead of a block."""
        supplier = self._all.get(key)
        if failure.code == "not_found":
            return Verdict.LACKS
        if supplier is None:
            return Verdict.AGAIN
        if failure.code in _BUSY:
            supplier.busy_until_us = now.mono_us + FETCH_BUSY_US
        elif failure.code == "timed_out":
            supplier.strikes += 1
            supplier.gone = supplier.strikes >= FETCH_STRIKES_MAX
        else:
            supplier.gone = True  # refused, unreachable, speaks no such protocol
        return Verdict.AGAIN

    def next_free_us(self, now: Now) -> int | None:
        """When the next busy supplier may be asked again."""
        busy = [
            supplier.busy_until_us
            for supplier in self._all.values()
            if not supplier.gone and supplier.busy_until_us > now.mono_us
        ]
        return min(busy) if busy else None

    def _of(self, peer: PeerId) -> list[Supplier]:
        return [supplier for key, supplier in self._all.items() if key[0] == peer]
