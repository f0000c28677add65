"""Meeting points: how the members of an app's overlay find each other through the public overlay.

Source: docs/architecture.md, "Overlays"; BitTorrent's "announce", BEP 5. Each member puts a
provider record under the overlay's meeting point, and asks there who else has, at first every
second, then ever more rarely, as long as its table is small. A record only says whom to ask: who
is a member answers in the overlay and shows its presence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dms3.core.cid import RAW, Cid
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import (
    MEETING_LIFE_US,
    MEETING_US_MAX,
    MEETING_US_MIN,
    NODE_CHECKS_MAX,
    PUT_PATIENCE_US,
)
from dms3.core.machine import Effect, Entropy, Now
from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import PUBLIC, NodeAt, Placed
from dms3.dht.asking import Asking
from dms3.dht.gathering import Fetched, Gathering
from dms3.dht.holding import Holding, mark_of
from dms3.dht.lookups import Lookups
from dms3.dht.messages import Get
from dms3.dht.placing import Parcel, Placing
from dms3.dht.presence import Standing
from dms3.dht.providers import NAME, decode_provider, dialable, issue_provider
from dms3.dht.tables import Tables
from dms3.libp2p.peer_id import NodeKey
from dms3.p2p.reach import Reach, reach_of_text

Met = Callable[[OverlayId, Sequence[NodeAt], Now], list[Effect]]
"""Told of nodes that say that they are in an overlay."""


def meeting_point(overlay: OverlayId, secret: bytes = b"") -> Cid:
    """The CID under which members of `overlay` put their provider records; nothing has it.

    `secret`: of a hidden overlay: whoever does not know it learns neither which overlay meets there
    nor where to look for its members.
    """
    name = hashlib.sha256(b"dms3 hidden meeting: " + secret).digest() if secret else overlay
    return Cid.of(RAW, b"dms3 meeting point: " + name)


@dataclass(frozen=True, slots=True)
class Means:
    """What meetings are held with."""

    tables: Tables
    standing: Standing
    asking: Asking
    lookups: Lookups
    holding: Holding
    placing: Placing


@dataclass(slots=True)
class _Point:
    """The meeting point of one overlay: when to go there next, and how long to rest then."""

    at: Cid
    due_us: int
    rest_us: int = MEETING_US_MIN
    put_us: int | None = None  # when the own record was put last
    busy: bool = False


class Meeting:
    """The meeting points of all overlays of the node with `key` but the public one."""

    def __init__(self, key: NodeKey, means: Means, entropy: Entropy, met: Met) -> None:
        self._key = key
        self._means = means
        self._entropy = entropy
        self._met = met
        self._points: dict[OverlayId, _Point] = {}

    def join(self, overlay: OverlayId, secret: bytes, now: Now) -> None:
        """Look for members of `overlay` from now on, if there is a public overlay to look in."""
        known = self._means.holding.type_of(NAME) is not None
        if overlay != PUBLIC and PUBLIC in self._means.tables and known:
            self._points[overlay] = _Point(meeting_point(overlay, secret), now.mono_us)

    def leave(self, overlay: OverlayId) -> None:
        """No more."""
        self._points.pop(overlay, None)

    def announce(self, now: Now) -> None:
        """This node can be reached elsewhere: say so, and look again."""
        for point in self._points.values():
            point.due_us, point.rest_us, point.put_us = now.mono_us, MEETING_US_MIN, None

    def next_timer(self) -> int | None:
        """When to go to a meeting point next."""
        return min((each.due_us for each in self._points.values() if not each.busy), default=None)

    def on_timer(self, now: Now) -> list[Effect]:
        """Go to those that are due."""
        effects: list[Effect] = []
        for overlay, point in list(self._points.items()):
            if not point.busy and point.due_us <= now.mono_us:
                effects += self._go(overlay, point, now)
        return effects

    # One visit: say that this node is there, and look who else is

    def _go(self, overlay: OverlayId, point: _Point, now: Now) -> list[Effect]:
        said = point.put_us is not None and now.mono_us - point.put_us < MEETING_LIFE_US // 2
        effects = [] if said else self._say(point, now)
        return effects + self._look(overlay, point, now)

    def _say(self, point: _Point, now: Now) -> list[Effect]:
        if not self._means.standing.is_member or self._means.placing.full:
            return []

        def placed(result: Placed, _: Now) -> list[Effect]:
            if not any(count > 1 for count in result.holders):
                point.put_us = None  # it is only here: nobody else will find it
            return []

        point.put_us = now.mono_us
        addresses = self._means.standing.addresses
        content = issue_provider(self._key, point.at, addresses, now.wall_us, MEETING_LIFE_US)
        mark = mark_of(content.value)
        parcel = Parcel(NAME, content.key, mark, content.value, content.until_us)
        deadline_us = now.mono_us + PUT_PATIENCE_US
        _, effects = self._means.placing.put(PUBLIC, [parcel], deadline_us, now, placed)
        return effects

    def _look(self, overlay: OverlayId, point: _Point, now: Now) -> list[Effect]:
        if len(self._means.tables[overlay]) >= BUCKET_SIZE:
            self._rest(point, now)
            return []
        kind = self._means.holding.type_of(NAME)
        assert kind is not None, "else there are no meeting points"
        gathering = Gathering(kind, Get(NAME, point.at.binary))
        held, _ = self._means.holding.values(PUBLIC, kind, gathering.get.key, b"", now)

        def fetched(found: Fetched, at: Now) -> list[Effect]:
            self._rest(point, at)
            if self._points.get(overlay) is not point:
                return []  # it was left meanwhile
            values = dict.fromkeys([*(value for _, value in found.values), *held])
            return self._met(overlay, self._fit(list(values)), at)

        point.busy = True
        return self._means.lookups.values(PUBLIC, gathering, now, fetched)

    def _rest(self, point: _Point, now: Now) -> None:
        point.busy = False
        point.due_us = now.mono_us + point.rest_us
        point.rest_us = min(2 * point.rest_us, MEETING_US_MAX)

    def _fit(self, records: Sequence[bytes]) -> list[NodeAt]:
        """Some of those that the records name, chosen by lot, where a stranger's word may lead."""
        remotes = [node.addresses[0] for node in self._means.asking.connections.askable()]
        near = max(map(reach_of_text, remotes), default=Reach.EVERYWHERE)
        nodes: list[NodeAt] = []
        for record in map(decode_provider, records):
            fit = dialable(record.addresses, near)
            if fit and record.peer != self._key.peer_id:
                nodes.append(NodeAt(PeerId(record.peer), fit))
        chosen: list[NodeAt] = []
        while nodes and len(chosen) < NODE_CHECKS_MAX:
            drawn = int.from_bytes(self._entropy.draw(2), "big") % len(nodes)
            chosen.append(nodes.pop(drawn))
        return chosen
