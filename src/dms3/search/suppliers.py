"""Whom a fetch may ask, and how each has behaved so far in this fetch.

Source: docs/architecture.md, "Private by default". A supplier is a connected peer with one granted
space; for what is public also a provider, who needs no grant, and last the overlay itself. Pure
bookkeeping: sends nothing.
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
NOWHERE = SpaceId(b"")
"""In place of a space: what is asked for is public."""

OVERLAY: Key = (PeerId(b""), NOWHERE)
"""The supplier that is no peer: whoever holds the block for the overlay."""

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
        self._public: dict[Key, Supplier] = {}

    def add_public(self, key: Key) -> None:
        """A provider is connected, or the overlay may be asked."""
        if key not in self._public:
            self._public[key] = Supplier(Source(*key, b"", b""))

    def ban(self, peer: PeerId) -> None:
        """A peer has lied: ask it nothing more."""
        self.peer_up(peer)

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
        for known in (self._all, self._public):
            for key in [key for key in known if key[0] == peer]:
                del known[key]

    def peer_down(self, peer: PeerId) -> None:
        """A peer has gone."""
        for supplier in self._of(peer):
            supplier.gone = True

    def choose(self, lacking: frozenset[Key], now: Now) -> Supplier | None:
        """The least busy supplier not in `lacking`, or None: nobody, or nobody just now.

        Who has granted something is asked before providers, and they before the overlay: what
        these have not is asked of the next ones, but not while one of them may still have it.
        """
        for some in self._orders():
            able = [each for each in some if not each.gone and each.key not in lacking]
            free = [each for each in able if each.busy_until_us <= now.mono_us]
            if free:
                return min(free, key=lambda each: (each.asked, each.key))
            if any(not each.strikes for each in able):
                return None
        return None

    def hopeless(self, lacking: frozenset[Key], *, begun: bool) -> bool:
        """Whether nobody could have the block, now or in a moment.

        `begun`: some blocks have come, so a supplier that has gone is expected back.
        """
        known = [*self._all.values(), *self._public.values()]
        return all(
            supplier.key in lacking or (supplier.gone and not begun) for supplier in known
        ) and not (begun and not known)

    def _orders(self) -> list[list[Supplier]]:
        """Suppliers in the order in which they are asked."""
        providers = [each for each in self._public.values() if each.key != OVERLAY]
        overlay = [each for each in self._public.values() if each.key == OVERLAY]
        return [list(self._all.values()), providers, overlay]

    def released(self, key: Key) -> None:
        """A question to a supplier is over."""
        supplier = self._find(key)
        if supplier is not None and supplier.asked:
            supplier.asked -= 1

    def served(self, key: Key) -> None:
        """A supplier has sent a right block."""
        supplier = self._find(key)
        if supplier is not None:
            supplier.strikes = 0

    def failed(self, key: Key, failure: Failure, now: Now) -> Verdict:
        """Note what a supplier answered instead of a block."""
        supplier = self._find(key)
        if failure.code == "not_found" or (key == OVERLAY and failure.code == "timed_out"):
            return Verdict.LACKS
        if supplier is None:
            return Verdict.AGAIN
        if key == OVERLAY or failure.code in _BUSY:
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
            for supplier in (*self._all.values(), *self._public.values())
            if not supplier.gone and supplier.busy_until_us > now.mono_us
        ]
        return min(busy) if busy else None

    def _of(self, peer: PeerId) -> list[Supplier]:
        known = (*self._all.items(), *self._public.items())
        return [supplier for key, supplier in known if key[0] == peer]

    def _find(self, key: Key) -> Supplier | None:
        return self._all.get(key) or self._public.get(key)
