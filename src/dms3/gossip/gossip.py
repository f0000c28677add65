"""Machine "gossip": a body that is spread is heard once by every node of its overlay.

Source: docs/gossip.md; `core/gossip.py` lists what it is asked. Partners (`links.py`) are told ids
(`telling.py`), ask for the bodies that they lack (`fetching.py`), and compare what they keep
(`comparing.py`). A body goes on only when its topic's owner has found it good. Nothing is kept over
a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dms3.core.admission import STRANGER, Admission
from dms3.core.codec import encode
from dms3.core.desk import Desk, Operation
from dms3.core.errors import DecodeError, Dms3Error, Failure, Retry
from dms3.core.gossip import (
    TOPICS,
    UNJUDGED,
    GossipFigures,
    HeardGossip,
    OverlayGossip,
    Spread,
)
from dms3.core.ids import OverlayId, PeerId, RequestId, short
from dms3.core.limits import (
    GOSSIP_BODY_BYTES_MAX,
    GOSSIP_BURST_US,
    GOSSIP_COMPARE_WEIGHT,
    GOSSIP_COST_US,
    GOSSIP_LINKS_MIN,
    GOSSIP_LOOK_US,
    GOSSIP_OUTBOX_MAX,
    GOSSIP_SEARCH_US_MAX,
    GOSSIP_SEARCHES_MAX,
    GOSSIP_SOON_US,
    GOSSIP_STRANGE_US_MAX,
    GOSSIP_UNKNOWN_MAX,
    GOSSIP_WEIGHED_BYTES,
)
from dms3.core.machine import (
    Answered,
    Called,
    Effect,
    Entropy,
    Event,
    Now,
    PeerDown,
    PeerUp,
    Received,
    Requested,
    View,
)
from dms3.core.overlay import LOCATION_BYTES, PUBLIC, FindNodes, Neighbours, distance
from dms3.core.pace import Pace
from dms3.gossip.comparing import FULL, Comparing, Means
from dms3.gossip.fetching import Fetching
from dms3.gossip.grounds import LIED, MALFORMED, Counts, Grounds
from dms3.gossip.links import Links
from dms3.gossip.memory import Memory
from dms3.gossip.messages import (
    ID_BYTES,
    MINORS,
    PROTOCOL,
    Channel,
    decode_news,
    decode_question,
    fitting,
    id_of,
    split,
)
from dms3.gossip.telling import Telling

__all__ = ["MINORS", "NAME", "PROTOCOL", "Gossip"]

NAME = "gossip"
_LOOK = "look"
_TOP = 8 * LOCATION_BYTES - 1  # the bit of a distance that says: in the other half
_TOO_OFTEN = Failure("limit_reached", "You ask too often; wait a moment.", Retry.LATER)
_ELSEWHERE = Failure("not_found", "This node is not in that overlay.", Retry.OTHER_PEER)
_REFUSALS = {"too_fast": _TOO_OFTEN, "not_admitted": STRANGER, "partners_full": FULL}
_NO_ROOM = Failure("limit_reached", "Too much is being spread; try again later.", Retry.LATER)


class Gossip:
    """The machine of a node.

    `topics`: topic -> the machine that judges it; `quiet`: overlays in which nothing is spread;
    `admission`: who may hear what is said in closed ones, as the dht of the node has it.
    """

    def __init__(
        self,
        entropy: Entropy,
        topics: Mapping[str, str] = TOPICS,
        quiet: Sequence[OverlayId] = (PUBLIC,),
        admission: Admission | None = None,
    ) -> None:
        self._grounds = Grounds(entropy)
        self._desk: Desk = self._grounds.desk
        self._counts = self._grounds.counts
        self._topics = dict(topics)
        self._quiet = tuple(quiet)
        self._pace = Pace(GOSSIP_COST_US, GOSSIP_BURST_US)
        self._memory = Memory(self._counts.dropped)
        self._telling = Telling(self._grounds)
        self._links = Links(self._grounds, admission or Admission(), self._linked)
        self._fetching = Fetching(self._grounds, self._brought, self._missed)
        means = Means(
            self._grounds,
            self._links,
            self._memory,
            tuple(sorted(self._topics)),
            self._heard_of,
            lambda peer, channel, names: self._telling.tell([peer], channel, names),
        )
        self._comparing = Comparing(means)
        self._looked_us = 0
        self._searches: dict[OverlayId, tuple[int, int]] = {}  # for members: rest, and when next
        self._rest_us = GOSSIP_SOON_US  # until the next look
        self._strange_us = 0  # when a look for an unknown overlay may be taken again...
        self._strange_rest_us = GOSSIP_SOON_US  # ...and how long that was put off last
        self._unknown: dict[RequestId, Spread] = {}  # spreads whose overlay is being looked up
        self._operations: dict[str, Operation] = {
            "spread": self._spread,
            "figures": self._figures,
        }

    @property
    def counts(self) -> Counts:
        """What was spread, heard and dropped since the start."""
        return self._counts

    # The machine

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Look which overlays there are."""
        del view
        self._desk.now = now
        self._look()
        return self._desk.take()

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Commands, answers, what peers tell and ask, connections."""
        self._desk.now = now
        match event:
            case Answered(token, body):
                self._desk.answered(token, body)
            case Called():
                self._desk.carry_out(NAME, self._operations, event)
            case Received(peer, _, body):
                self._told(peer, body)
            case Requested():
                self._requested(event)
            case PeerUp(peer):
                if self._links.up(peer):
                    self._look_soon()
            case PeerDown(peer):
                self._down(peer)
        return self._desk.take()

    def on_timer(self, now: Now) -> list[Effect]:
        """Batches, comparisons, looks."""
        self._desk.now = now
        self._desk.ring()
        return self._desk.take()

    def next_timer(self) -> int | None:
        """The earliest alarm."""
        return self._desk.next_alarm()

    # Overlays and partners

    def _look(self) -> None:
        """Ask which overlays this node is in, and who is there; soon again when that is new."""
        self._looked_us = self._desk.now.mono_us
        self._memory.expire(self._looked_us)
        self._desk.after(_LOOK, self._rest_us, self._look)
        self._rest_us = min(2 * self._rest_us, GOSSIP_LOOK_US)
        self._desk.call("dht.overlays", None, self._overlays)

    def _overlays(self, body: Any) -> None:
        if isinstance(body, Failure):
            return
        here = [overlay for overlay in body if overlay not in self._quiet]
        for overlay in self._links.overlays:
            if overlay not in here:
                self._leave(overlay)
        for overlay in here:
            if not self._links.has(overlay):
                self._strange_rest_us = GOSSIP_SOON_US  # there are new ones, as was said
            self._look_at(overlay)

    def _look_at(self, overlay: OverlayId, then: Callable[[], None] | None = None) -> None:
        def found(body: Any) -> None:
            if isinstance(body, Neighbours):
                self._links.look(overlay, body)
                self._comparing.begin(overlay)
                self._search(overlay, body)
            if then is not None:
                then()

        self._desk.call("dht.neighbours", overlay, found)

    def _search(self, overlay: OverlayId, around: Neighbours) -> None:
        """Few are known, or nobody far away: look up places at the greatest distances."""
        own = int.from_bytes(around.at, "big")
        far = any(distance(around.at, place) >> _TOP for _, place, _ in around.nodes)
        if far and len(around.nodes) >= GOSSIP_LINKS_MIN:
            return
        rest_us, due_us = self._searches.get(overlay, (GOSSIP_SOON_US, 0))
        if due_us <= self._desk.now.mono_us:
            rest_us = min(2 * rest_us, GOSSIP_SEARCH_US_MAX)
            self._searches[overlay] = rest_us, self._desk.now.mono_us + rest_us
            for magnitude in range(_TOP, _TOP - GOSSIP_SEARCHES_MAX, -1):
                target = (own ^ 1 << magnitude).to_bytes(LOCATION_BYTES, "big")
                found = FindNodes(overlay, target)
                self._desk.call("dht.find", found, lambda _: self._look_soon())

    def _look_for_unknown(self) -> None:
        """A peer speaks of an unknown overlay, which may be a new one: look, but ever more rarely.

        Anybody can name overlays without end; a new one is found by the next look at the latest.
        """
        if self._strange_us <= self._desk.now.mono_us:
            self._strange_rest_us = min(2 * self._strange_rest_us, GOSSIP_STRANGE_US_MAX)
            self._strange_us = self._desk.now.mono_us + self._strange_rest_us
            self._look_soon()

    def _look_soon(self) -> None:
        """Look before the time: partners are missing, or an overlay may be new."""
        self._rest_us = GOSSIP_SOON_US
        due_us = self._looked_us + GOSSIP_SOON_US
        self._desk.after(_LOOK, max(0, due_us - self._desk.now.mono_us), self._look)

    def _leave(self, overlay: OverlayId) -> None:
        self._searches.pop(overlay, None)
        self._links.leave(overlay)
        self._comparing.leave(overlay)
        for topic in self._topics:
            channel = Channel(overlay, topic)
            self._memory.drop(channel)
            self._telling.leave(channel)
            self._fetching.leave(channel)

    def _linked(self, overlay: OverlayId, peer: PeerId) -> None:
        self._comparing.with_peer(overlay, peer)

    def _down(self, peer: PeerId) -> None:
        self._pace.forget(peer)
        self._telling.gone(peer)
        self._fetching.gone(peer)
        if self._links.down(peer):
            self._look_soon()

    # What this node spreads

    def _spread(self, spread: Spread, request: RequestId) -> None:
        if spread.topic not in self._topics:
            raise Dms3Error("argument_invalid", f"There is no topic {spread.topic!r}.")
        if not 0 < len(spread.body) <= GOSSIP_BODY_BYTES_MAX:
            why = f"A body has 1 to {GOSSIP_BODY_BYTES_MAX} bytes, this one {len(spread.body)}."
            raise Dms3Error("argument_invalid", why)
        if spread.overlay in self._quiet:
            raise Dms3Error("argument_invalid", "Nothing is spread in the public overlay.")
        if self._links.has(spread.overlay):
            self._desk.reply(request, self._take(spread))
            return
        if len(self._unknown) >= GOSSIP_UNKNOWN_MAX:
            self._desk.reply(request, _NO_ROOM)
            return
        self._unknown[request] = spread

        def looked() -> None:
            del self._unknown[request]
            known = self._links.has(spread.overlay)
            self._desk.reply(request, self._take(spread) if known else _away(spread.overlay))

        self._look_at(spread.overlay, looked)

    def _take(self, spread: Spread) -> Failure | None:
        channel = Channel(spread.overlay, spread.topic)
        name = id_of(channel, spread.body)
        if self._memory.knows(channel, name):
            return None
        if self._telling.waiting >= GOSSIP_OUTBOX_MAX:
            return _NO_ROOM
        self._counts.spread += 1
        self._memory.hear(channel, name, self._desk.now.mono_us)
        self._pass_on(channel, name, spread.body)
        return None

    def _pass_on(self, channel: Channel, name: bytes, body: bytes) -> None:
        self._memory.keep(channel, name, body, self._desk.now.mono_us)
        self._telling.tell(self._links.of(channel.overlay), channel, [name])

    # What peers tell

    def _told(self, peer: PeerId, body: bytes) -> None:
        try:
            news = decode_news(body)
        except DecodeError:
            self._grounds.blame(peer, MALFORMED)
            return
        names = split(news.ids)
        why = self._unheard(peer, OverlayId(news.overlay), news.topic, len(names))
        if why:
            self._counts.dropped(why, len(names))
            return
        channel = Channel(OverlayId(news.overlay), news.topic)
        self._telling.knows(peer, channel, names)
        self._heard_of(peer, channel, names)

    def _unheard(self, peer: PeerId, overlay: OverlayId, topic: str, count: int) -> str:
        """Why what `peer` tells is not listened to; "" when it is."""
        if self._pace.wait_us(peer, count, self._desk.now):
            return "too_fast"
        if topic not in self._topics:
            return "topic_unknown"
        if not self._links.has(overlay):
            if overlay not in self._quiet:
                self._look_for_unknown()
            return "overlay_unknown"
        if not self._links.admits(overlay, peer):
            return "not_admitted"
        return "" if self._links.takes(overlay, peer) else "partners_full"

    def _heard_of(self, peer: PeerId, channel: Channel, names: Sequence[bytes]) -> bool:
        """`peer` has these bodies: ask for those that are unknown; whether there are any."""
        fresh = [name for name in names if not self._memory.knows(channel, name)]
        if fresh:
            self._fetching.offered(peer, channel, fresh)
        return bool(fresh)

    def _brought(self, channel: Channel, name: bytes, peer: PeerId, body: bytes) -> None:
        """A body has come: its owner says what it is worth."""
        self._memory.hear(channel, name, self._desk.now.mono_us)
        heard = HeardGossip(channel.overlay, channel.topic, peer, body)

        def judged(verdict: Any) -> None:
            self._judged(channel, name, heard, verdict)
            self._fetching.judged(channel)

        self._desk.call(f"{self._topics[channel.topic]}.heard", heard, judged)

    def _missed(self, channel: Channel) -> None:
        self._comparing.differs(channel.overlay)

    def _judged(self, channel: Channel, name: bytes, heard: HeardGossip, verdict: Any) -> None:
        if verdict is True:
            self._counts.delivered += 1
            if self._links.has(channel.overlay):
                self._pass_on(channel, name, heard.body)
        elif not isinstance(verdict, Failure):
            self._counts.refused += 1
        elif verdict.code in UNJUDGED:
            self._counts.dropped("unjudged")
            self._memory.forget(channel, name)
        else:
            self._counts.dropped("false")
            self._grounds.blame(heard.peer, LIED)

    # What peers ask

    def _requested(self, event: Requested) -> None:
        peer, request = event.peer, event.request
        try:
            question = decode_question(event.body)
        except DecodeError as error:
            self._desk.reply(request, Failure(MALFORMED, error.message))
            self._grounds.blame(peer, MALFORMED)
            return
        names = split(question.want)
        overlay = OverlayId(question.overlay)
        why = self._unheard(peer, overlay, question.topic, len(names) or GOSSIP_COMPARE_WEIGHT)
        if why:
            self._counts.dropped(f"question_{why}")
            self._desk.reply(request, _REFUSALS.get(why, _ELSEWHERE))
            return
        channel = Channel(overlay, question.topic)
        if question.mark:
            answer, per_id = self._comparing.answer(channel, question.mark), ID_BYTES
        else:
            found = (self._memory.body(channel, name) for name in names)
            bodies = [body for body in found if body is not None]
            answer, per_id = encode(fitting(bodies)), GOSSIP_WEIGHED_BYTES
        self._pace.charge(peer, len(answer) // per_id, self._desk.now)
        self._desk.reply(request, answer)

    # Figures

    def _figures(self, _: Any, request: RequestId) -> None:
        counts = self._counts
        self._desk.reply(
            request,
            GossipFigures(
                counts.spread,
                counts.delivered,
                counts.refused,
                counts.received,
                counts.duplicates,
                counts.asked,
                counts.told,
                tuple(sorted(counts.why.items())),
                tuple(self._overlay_figures(each) for each in self._links.overlays),
            ),
        )

    def _overlay_figures(self, overlay: OverlayId) -> OverlayGossip:
        sizes = [self._memory.sizes(Channel(overlay, topic)) for topic in self._topics]
        kept = sum(count for _, count, _ in sizes)
        size = sum(each for _, _, each in sizes)
        nodes, links = self._links.size(overlay), len(self._links.of(overlay))
        return OverlayGossip(overlay, nodes, links, kept, size)


def _away(overlay: OverlayId) -> Failure:
    return Failure("not_found", f"This node is not in overlay {short(overlay)}.")
