"""Presences by gossip: in a small overlay everybody knows everybody within seconds.

Source: docs/gossip.md; docs/wire.md, "/dms3/gossip/1". A node that is new in a small overlay, or
has moved, has its presence spread; who hears it asks the node, which enters the table by its
answer, as always. In larger ones nodes meet by looking each other up. A node without a machine
"gossip" spreads nothing: that machine asks for the overlays first.
"""

from __future__ import annotations

from dms3.core.errors import Failure
from dms3.core.gossip import HeardGossip, Spread
from dms3.core.ids import OverlayId, PeerId, RequestId, Token, short
from dms3.core.limits import (
    ID_WORK_BITS,
    NEIGHBOURS_MAX,
    PRESENCE_HEARD_BURST_US,
    PRESENCE_HEARD_COST_US,
    PRESENCE_NEWS_US,
    PRESENCE_TOLD_US,
)
from dms3.core.machine import Call, Effect, Now, Reply
from dms3.core.overlay import PUBLIC
from dms3.core.pace import Pace
from dms3.core.verdict import Invalid
from dms3.dht.admitting import Door
from dms3.dht.asking import Asking
from dms3.dht.membership import Membership
from dms3.dht.presence import Presence, Proven, Standing
from dms3.dht.tables import Tables
from dms3.p2p.reach import Reach, reach_of_text

TOPIC = "presence"
PREFIX = "told:"
SMALL_NODES_MAX = 2 * NEIGHBOURS_MAX
_FORGED = Failure("presence_forged", "That is no presence of a member of this overlay.")


class Heard:
    """Arguments: the parts of machine "dht" that it asks."""

    def __init__(
        self,
        tables: Tables,
        standing: Standing,
        asking: Asking,
        membership: Membership,
        door: Door,
    ) -> None:
        self._tables = tables
        self._standing = standing
        self._asking = asking
        self._membership = membership
        self._door = door
        self._pace = Pace(PRESENCE_HEARD_COST_US, PRESENCE_HEARD_BURST_US)
        self._told: dict[OverlayId, bytes] = {}  # the own presence, as it was spread last
        self._due_us: int | None = None

    # Telling

    def overlays(self, _: None, request: RequestId, now: Now) -> list[Effect]:
        """Which overlays there are: machine "gossip" asks, and spreads presences from now on."""
        if self._due_us is None:
            self._due_us = now.mono_us + PRESENCE_TOLD_US
        return [Reply(request, tuple(self._tables))]

    def next_timer(self) -> int | None:
        """When to look next whether the own presence is news."""
        return self._due_us

    def on_timer(self, now: Now) -> list[Effect]:
        """Spread what others do not know."""
        if self._due_us is None or self._due_us > now.mono_us:
            return []
        self._due_us = now.mono_us + PRESENCE_TOLD_US
        effects: list[Effect] = []
        for overlay, table in self._tables.items():
            own = self._standing.presence(overlay, now.wall_us)
            small = 0 < len(table) <= SMALL_NODES_MAX
            if overlay != PUBLIC and own and small and self._told.get(overlay) != own:
                self._told[overlay] = own
                token = Token(f"{PREFIX}{overlay.hex()}")
                effects.append(Call("gossip.spread", Spread(overlay, TOPIC, own), token))
        return effects

    def answered(self, token: Token, body: object, _: Now) -> list[Effect]:
        """Whether it was taken; what was not is spread the next time."""
        if isinstance(body, Failure):
            self._told.pop(OverlayId(bytes.fromhex(token.removeprefix(PREFIX))), None)
        return []

    def leave(self, overlay: OverlayId) -> None:
        """This node is in `overlay` no more."""
        self._told.pop(overlay, None)
        self._pace.forget(PeerId(overlay))

    # Hearing

    def heard(self, told: HeardGossip, request: RequestId, now: Now) -> list[Effect]:
        """Judge a presence and ask its node; see HeardGossip for the answers."""
        overlay = told.overlay
        if overlay not in self._tables:
            away = Failure("not_found", f"This node is not in overlay {short(overlay)}.")
            return [Reply(request, away)]
        found = self._door.open(told.body, overlay, now.wall_us)
        if isinstance(found, Invalid):
            return [Reply(request, _FORGED)]
        if not isinstance(found, Proven) or not self._is_news(found, overlay, now):
            return [Reply(request, False)]
        address = self._asking.connections.address(told.peer)
        node = found.node(Reach.EVERYWHERE if address is None else reach_of_text(address))
        met = [] if node is None else self._membership.heard(overlay, node, now)
        return [*met, Reply(request, True)]

    def _is_news(self, found: Proven, overlay: OverlayId, now: Now) -> bool:
        """Whether it is passed on: of a small overlay, new, and not one too many."""
        presence: Presence = found.presence
        old = now.wall_us - presence.since_us > PRESENCE_NEWS_US
        large = len(self._tables[overlay]) > SMALL_NODES_MAX
        if old or large or found.owes_work(ID_WORK_BITS):
            return False
        return not self._pace.wait_us(PeerId(overlay), 1, now)
