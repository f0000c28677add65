"""Machine "dht": who is in the overlays, who is near what, and what is held for everybody.

Source: docs/architecture.md, "Overlays"; `core/overlay.py` lists the operations. Puts the parts
together: `membership.py` keeps the tables, `lookups.py` finds, `placing.py` puts, `taking.py` and
`holding.py` hold, `upkeep.py` puts again, `answering.py` answers peers, `commands.py` the node,
`meeting.py` brings members of an app together, `relaying.py` asks for other machines.
Whatever is under way lives in memory: callers that must know the end ask again after a restart.
"""

from __future__ import annotations

from collections.abc import Sequence

from dms3.chain.operations_validation import Recall
from dms3.core.admission import Admission
from dms3.core.errors import Dms3Error
from dms3.core.ids import OverlayId, RequestId, Token, short
from dms3.core.limits import OVERLAYS_MAX, REPUT_US
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Effect,
    Entropy,
    Event,
    Now,
    PeerDown,
    PeerUp,
    Reply,
    Requested,
    View,
    Withdrawn,
)
from dms3.core.overlay import LOCATION_BYTES, PUBLIC, RANK_MAX, ContentType, JoinOverlay, location
from dms3.dht import answering, asking, commands, heard, placing, shares, taking
from dms3.dht.admitting import Door
from dms3.dht.holding import Holding
from dms3.dht.lookups import Lookups
from dms3.dht.meeting import Means, Meeting
from dms3.dht.membership import Membership
from dms3.dht.presence import Standing, Verified, node_location
from dms3.dht.relaying import Relaying
from dms3.dht.tables import Tables
from dms3.dht.upkeep import Upkeep
from dms3.libp2p.peer_id import NodeKey

NAME = "dht"


class Dht:
    """The machine of the node with `key`.

    `types`: the content types it knows; `member`: whether it takes part (see Standing); `reput_us`:
    how often what it holds is offered again; `overlays`: those it is in from the start;
    `verified`: presences checked already, which nodes of a simulation share. `admission` knows who
    may be answered about closed overlays: other machines ask it.
    """

    def __init__(
        self,
        key: NodeKey,
        types: Sequence[ContentType],
        entropy: Entropy,
        *,
        member: bool,
        reput_us: int = REPUT_US,
        overlays: Sequence[OverlayId] = (PUBLIC,),
        verified: Verified | None = None,
    ) -> None:
        own = self._own = key.peer_id
        self._entropy = entropy
        self._verified = verified or Verified()
        self.admission = Admission()
        self._recalled = 0
        self._door = Door(self._verified, self.admission)
        self._tables = Tables(own, overlays)
        self._shares = shares.Shares(own, self._tables)
        self._standing = Standing(key, member=member)
        self._asking = asking.Asking(own, self._tables, self._standing, self._door)
        self._lookups = Lookups(own, self._tables, self._asking)
        self._holding = Holding(node_location(own), types)
        self._taking = taking.Taking(self._holding, self._is_near)
        self._placing = placing.Placing(
            own, self._asking, self._lookups, self._taking, lambda _: self._standing.is_member
        )
        self._upkeep = Upkeep(self._holding, self._taking, self._placing, self._asking, reput_us)
        self._membership = Membership(
            own, self._tables, self._asking, self._lookups, entropy, self._door
        )
        means = Means(
            self._tables, self._standing, self._asking, self._lookups, self._holding, self._placing
        )
        self._meeting = Meeting(key, means, entropy, self._membership.met)
        self._heard = heard.Heard(
            self._tables, self._standing, self._asking, self._membership, self._door
        )
        self._relaying = Relaying(own, self._shares, self._standing, self._asking, self._lookups)
        held = answering.Held(self._holding, self._taking, self._upkeep)
        self._answering = answering.Answering(
            self._tables, held, self._asking, self._standing, self._door
        )
        self._commands = commands.Commands(
            commands.Parts(
                own,
                self._tables,
                self._standing,
                self._lookups,
                self._holding,
                self._taking,
                self._placing,
                self._upkeep,
                self._shares,
            )
        )
        self._commands.operations.update(
            join=self._join,
            leave=self._leave,
            ask=self._relaying.ask,
            ask_near=self._relaying.ask_near,
            shun=self._relaying.shun,
            members=self._members,
            warned=self._warned,
            standing=self._own_standing,
            heard=self._heard.heard,
            overlays=self._heard.overlays,
        )

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Read tables and holdings; join again when the known nodes are of long ago."""
        self._view = view
        self._holding.load(view)
        effects = self._taking.on_start()
        for table in self._tables.values():
            effects += table.load(view, self._verified, now)
        self._upkeep.start(self._entropy, now)
        self._membership.start(now)
        return effects + self._membership.go_on(now) + self._shares.go_on(now)

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Commands, peers' questions, answers, connections."""
        effects: list[Effect] = []
        match event:
            case Requested():
                effects = self._answering.requested(event, now)
            case Answered():
                effects = self._answered(event, now)
            case Called(operation, arguments, request):
                effects = self._commands.called(operation, arguments, request, now)
                if operation == "listening":
                    self._membership.announce()
                    self._meeting.announce(now)
            case PeerUp(peer, address, inbound):
                effects = self._asking.on_up(peer, address, now, inbound=inbound)
                effects += self._membership.on_up(peer, address, now)
            case PeerDown(peer):
                self._asking.on_down(peer)
                self._answering.on_down(peer)
                self.admission.on_down(peer)
            case Withdrawn(request):
                effects = self._answering.withdrawn(request)
                effects += self._commands.withdrawn(request)
                effects += self._relaying.withdrawn(request)
        effects += self._membership.go_on(now)
        return effects + self._shares.go_on(now) + self._recalls()

    def on_timer(self, now: Now) -> list[Effect]:
        """Whatever is due in any part."""
        return [
            *self._asking.on_timer(now),
            *self._lookups.on_timer(now),
            *self._placing.on_timer(now),
            *self._taking.on_timer(),
            *self._upkeep.on_timer(now),
            *self._membership.on_timer(now),
            *self._meeting.on_timer(now),
            *self._heard.on_timer(now),
            *self._shares.go_on(now),
        ]

    def next_timer(self) -> int | None:
        """The earliest of what is due in any part."""
        parts = (
            self._asking,
            self._lookups,
            self._placing,
            self._taking,
            self._upkeep,
            self._membership,
            self._meeting,
            self._heard,
            self._shares,
        )
        due = [us for part in parts if (us := part.next_timer()) is not None]
        return min(due, default=None)

    # Overlays come and go

    def _join(self, asked: JoinOverlay | OverlayId, request: RequestId, now: Now) -> list[Effect]:
        """Take part in an overlay, if this node does not yet."""
        join = asked if isinstance(asked, JoinOverlay) else JoinOverlay(asked)
        overlay = join.overlay
        if len(overlay) != LOCATION_BYTES:
            raise Dms3Error("argument_invalid", f"An overlay has {LOCATION_BYTES} bytes.")
        effects: list[Effect] = [Reply(request, None)]
        if overlay not in self._tables:
            self._check_room()
        ticket = self._door.join(join, now.wall_us)
        if apps := self._door.apps(overlay):
            effects.append(Call("validation.heed", apps, Token(f"heed:{overlay.hex()}")))
        if ticket is not None:
            self._standing.enter(overlay, ticket, local=join.local)
        if overlay in self._tables:
            return effects
        effects += self._tables.add(overlay, join.duty).load(self._view, self._verified, now)
        effects += self._put_out(overlay)
        if not join.local:
            self._meeting.join(overlay, join.secret, now)
        return effects + self._membership.join(overlay, join.nodes, now)

    def _check_room(self) -> None:
        if len(self._tables) >= OVERLAYS_MAX:
            why = f"This node is in {OVERLAYS_MAX} overlays, the most that it can be in."
            raise Dms3Error("limit_reached", why, hint="Remove an app that you do not use.")

    def _leave(self, overlay: OverlayId, request: RequestId, _: Now) -> list[Effect]:
        """Take part no more: its table is forgotten, what is asked there fails."""
        effects: list[Effect] = [Reply(request, None)]
        if overlay == PUBLIC or overlay not in self._tables:
            return effects
        effects += self._tables.pop(overlay).forget(self._view)
        self._door.leave(overlay)
        self._standing.leave(overlay)
        self._membership.leave(overlay)
        self._meeting.leave(overlay)
        self._relaying.leave(overlay)
        self._heard.leave(overlay)
        return effects + self._asking.leave(overlay)

    def _answered(self, event: Answered, now: Now) -> list[Effect]:
        parts = (
            (asking.PREFIXES, self._asking.on_answered),
            (answering.LOAD, self._answering.answered),
            (placing.PREFIX, self._placing.loaded),
            (taking.PREFIX, self._taking.answered),
            (commands.GET, self._commands.loaded),
            (shares.PREFIX, self._shares.answered),
            (heard.PREFIX, self._heard.answered),
        )
        for prefix, answered in parts:
            if event.token.startswith(prefix):
                return answered(event.token, event.body, now)
        return []  # the answer to a report says nothing

    def _members(self, overlay: OverlayId, request: RequestId, now: Now) -> list[Effect]:
        """The presences of those that are there, of this node's neighbours first, and its own."""
        if overlay not in self._tables:
            raise Dms3Error("not_found", f"This node is not in overlay {short(overlay)}.")
        table, at = self._tables[overlay], node_location(self._own)
        others = table.presences(at, len(table), now.wall_us)
        own = self._standing.presence(overlay, now.wall_us)
        return [Reply(request, (*others, own) if own else others)]

    # Whom warrants put out

    def _warned(self, app: OverlayId, request: RequestId, _: Now) -> list[Effect]:
        """Warrants in `app` put somebody out, or do so no more: look again who is in."""
        overlays = [each for each in self.admission.heeding(app) if each in self._tables]
        return [Reply(request, None), *(one for each in overlays for one in self._put_out(each))]

    def _recalls(self) -> list[Effect]:
        """Have it looked up who was warned of among those that have come."""
        effects: list[Effect] = []
        for apps, root in self._door.newcomers():
            self._recalled += 1
            token = Token(f"recall:{self._recalled}")
            effects.append(Call("validation.recall", Recall(apps, root), token))
        return effects

    def _put_out(self, overlay: OverlayId) -> list[Effect]:
        self._door.put_out(overlay)
        table = self._tables[overlay]
        return table.sift(lambda each: self._door.bars(overlay, each.presence.agent) is None)

    def _own_standing(self, overlay: OverlayId, request: RequestId, _: Now) -> list[Effect]:
        """Why this node's own person is put out of an overlay, or ""."""
        table = self._tables.get(overlay)
        return [Reply(request, self._door.own_fault(overlay, table.peers() if table else ()))]

    def _is_near(self, overlay: OverlayId, key: bytes) -> bool:
        """Whether this node is to hold what lies under `key`, as far as its table says."""
        return self._tables[overlay].rank(location(key), RANK_MAX) < RANK_MAX
