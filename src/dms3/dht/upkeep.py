"""Upkeep of what is held: values are offered again to whoever is nearest now, and expire in time.

Source: Kademlia, section 2.5 (republishing), with its saving: what another holder has offered
within one interval is not offered again. Goes through the table once an interval, a page at a time,
in order of location. Also mends: after a get, holders that missed the value are given it.
"""

from __future__ import annotations

from collections.abc import Sequence

from dms3.core.errors import Failure
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    DHT_ITEMS_MAX,
    MENDS_OPEN_MAX,
    PUT_PATIENCE_US,
    RECENT_OFFERS_MAX,
)
from dms3.core.machine import Effect, Entropy, Now
from dms3.core.overlay import NodeAt, Placed, location
from dms3.dht.asking import Asking, Done
from dms3.dht.holding import Holding, Place, Row
from dms3.dht.messages import Codes, PutValue, Question
from dms3.dht.placing import Parcel, Placing
from dms3.dht.reading import Answer
from dms3.dht.taking import Taking

_JITTER_PARTS = 0xFFFF


class Upkeep:
    """The rounds of one node. `interval_us`: how often each value is looked after."""

    def __init__(
        self,
        holding: Holding,
        taking: Taking,
        placing: Placing,
        asking: Asking,
        interval_us: int,
    ) -> None:
        self._holding = holding
        self._taking = taking
        self._placing = placing
        self._asking = asking
        self._radii = placing.radii
        self._interval_us = interval_us
        self._heard: dict[tuple[OverlayId, str, bytes], int] = {}
        self._cursor = b""
        self._due_us: int | None = None
        self._mends = 0

    def start(self, entropy: Entropy, now: Now) -> None:
        """Begin at a moment of its own, so that not all nodes of an overlay do at once."""
        drawn = int.from_bytes(entropy.draw(2), "big")
        self._due_us = now.mono_us + self._interval_us * drawn // _JITTER_PARTS

    def heard(self, overlay: OverlayId, kind: str, key: bytes, now: Now) -> None:
        """Another node looks after this content."""
        name = (overlay, kind, key)
        self._heard.pop(name, None)
        if len(self._heard) >= RECENT_OFFERS_MAX:
            del self._heard[next(iter(self._heard))]
        self._heard[name] = now.mono_us

    def next_timer(self) -> int | None:
        """When the next page is due."""
        return self._due_us

    def on_timer(self, now: Now) -> list[Effect]:
        """Look after the next page of values, if it is time."""
        if self._due_us is None or self._due_us > now.mono_us:
            return []
        rows = self._holding.page(self._cursor, DHT_ITEMS_MAX)
        self._cursor = rows[-1][0] if len(rows) == DHT_ITEMS_MAX else b""
        placed = [(self._holding.place_of(key), row) for key, row in rows]
        known = [(place, row) for place, row in placed if place is not None]
        effects = self._taking.expire([one for one in known if one[1].until_us <= now.wall_us])
        kept = [one for one in known if one[1].until_us > now.wall_us and self._is_mine(one, now)]
        self._due_us = now.mono_us + self._pause_us()
        return effects + self._offer(kept, now)

    def mend(
        self, overlay: OverlayId, puts: Sequence[PutValue], missed: Sequence[NodeAt], now: Now
    ) -> list[Effect]:
        """Give values that a get has brought to near nodes that did not have them."""
        effects: list[Effect] = []
        for node in missed:
            fit = tuple(put for put in puts if self._keeps(overlay, node, put, now))
            if self._mends >= MENDS_OPEN_MAX:
                break
            if fit:
                self._mends += 1
                question = Question(overlay, puts=fit)
                done = self._mended(overlay, node)
                effects += self._asking.ask(node, question, now, done)
        return effects

    def _keeps(self, overlay: OverlayId, node: NodeAt, put: PutValue, now: Now) -> bool:
        at = int.from_bytes(location(put.key), "big")
        return self._radii.takes(overlay, node.peer, put.type, at, now)

    def _mended(self, overlay: OverlayId, node: NodeAt) -> Done:
        def answered(answer: Answer | Failure, now: Now) -> list[Effect]:
            self._mends -= 1
            if isinstance(answer, Codes):
                self._radii.learn(overlay, node.peer, answer.radii, now)
            return []

        return answered

    def _is_mine(self, held: tuple[Place, Row], now: Now) -> bool:
        """Whether nobody else has looked after the value within one interval."""
        place, row = held
        since = self._heard.get((place.overlay, place.type.name, row.key))
        return since is None or now.mono_us - since >= self._interval_us

    def _pause_us(self) -> int:
        """Until the next page, so that all pages take one interval."""
        return self._interval_us * DHT_ITEMS_MAX // max(DHT_ITEMS_MAX, self._holding.rows())

    def _offer(self, kept: Sequence[tuple[Place, Row]], now: Now) -> list[Effect]:
        """Place the values again: in one put for each overlay on the page."""
        effects: list[Effect] = []
        for overlay in sorted({place.overlay for place, _ in kept}):
            parcels = [_parcel(place, row) for place, row in kept if place.overlay == overlay]
            deadline_us = now.mono_us + PUT_PATIENCE_US
            if self._placing.full:
                continue  # commands of people go first; the next round comes
            _, more = self._placing.put(
                overlay, parcels, deadline_us, now, _nothing, offer_all=True
            )
            effects += more
        return effects


def _parcel(place: Place, row: Row) -> Parcel:
    value = None if place.type.kept_as == "blocks" else row.value
    return Parcel(place.type.name, row.key, row.mark, value, row.until_us)


def _nothing(_: Placed, __: Now) -> list[Effect]:
    return []
