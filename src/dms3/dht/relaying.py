"""Questions of other machines, put to nodes that the dht finds and connects to.

Source: `core/overlay.py`, AskNodes and AskNear. Of a location the nearest nodes are looked up, and
remembered for a while, as for puts. Knows nothing of what is asked: who answers how is judged by
the machine that asked. A node may be reached twice by one question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import OverlayId, PeerId, RequestId, short
from dms3.core.limits import DHT_ASK_US, NEIGHBOURS_MAX, RELAYED_BYTES_MAX, RELAYED_NODES_MAX
from dms3.core.machine import Effect, Now, Reply
from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import LOCATION_BYTES, Asked, AskNear, AskNodes, NodeAt, Shun
from dms3.dht.asking import Asking, Foreign, OnBytes
from dms3.dht.lookup import Nearest
from dms3.dht.lookups import Lookups
from dms3.dht.neighbourhood import Neighbourhoods
from dms3.dht.presence import Standing, node_location
from dms3.dht.shares import Shares

_GONE = ("timed_out", "peer_unreachable")
_LATE = Failure("timed_out", "The node did not answer before enough others had.")


@dataclass(slots=True)
class _Relayed:
    """A question on its way to `nodes`; `good`: answers that are no Failure."""

    nodes: Sequence[NodeAt]
    question: Foreign
    enough: int
    deadline_us: int
    near: bool = False
    members: int = 0
    around: Sequence[NodeAt] = ()
    good: int = 0
    answers: dict[PeerId, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Near:
    """A question to the nodes near a location, as it came."""

    asked: AskNear
    request: RequestId
    deadline_us: int

    @property
    def target(self) -> int:
        """The location as a number."""
        return int.from_bytes(self.asked.target, "big")


class Relaying:
    """Arguments: `own`, this node; `shares` of its tables; `standing`; `asking`, `lookups`."""

    def __init__(
        self, own: PeerId, shares: Shares, standing: Standing, asking: Asking, lookups: Lookups
    ) -> None:
        self._at = int.from_bytes(node_location(own), "big")
        self._own = own
        self._shares = shares
        self._tables = shares.tables
        self._standing = standing
        self._asking = asking
        self._lookups = lookups
        self._neighbourhoods = Neighbourhoods()
        self._open: dict[RequestId, _Relayed | None] = {}  # None: its nodes are looked up
        self._waiting: dict[OverlayId, list[_Near]] = {}  # for a lookup in a small overlay

    @property
    def open(self) -> int:
        """Questions whose askers still wait."""
        return len(self._open)

    def ask(self, asked: AskNodes, request: RequestId, now: Now) -> list[Effect]:
        """Put the question to these nodes; raises Dms3Error when it is too much."""
        _check(len(asked.nodes), asked.body)
        question = Foreign(asked.protocol, asked.body, asked.overlay)
        nodes = list({node.peer: node for node in asked.nodes if node.peer != self._own}.values())
        deadline_us = now.mono_us + asked.patience_us
        relayed = _Relayed(nodes, question, asked.enough, deadline_us, members=len(nodes))
        return self._put(relayed, request, now)

    def ask_near(self, asked: AskNear, request: RequestId, now: Now) -> list[Effect]:
        """Put it to the nodes nearest to a location; raises Dms3Error for what cannot be."""
        _check(asked.count, asked.body)
        if asked.overlay not in self._tables:
            why = f"This node is not in overlay {short(asked.overlay)}."
            raise Dms3Error("not_found", why)
        if len(asked.target) != LOCATION_BYTES:
            raise Dms3Error("argument_invalid", f"A location has {LOCATION_BYTES} bytes.")
        self._open[request] = None
        return self._near(_Near(asked, request, now.mono_us + asked.patience_us), now)

    def shun(self, asked: Shun, request: RequestId, _: Now) -> list[Effect]:
        """Ask these no more in an overlay, and count them no more."""
        self._shares.shun(asked.overlay, asked.peers)
        return [Reply(request, None)]

    def withdrawn(self, request: RequestId) -> list[Effect]:
        """Nobody waits for `request` any more."""
        if request not in self._open:
            return []
        del self._open[request]
        return self._asking.drop(owner_of(request))

    def leave(self, overlay: OverlayId) -> None:
        """Its neighbourhoods are of no use."""
        self._neighbourhoods.leave(overlay)
        self._shares.leave(overlay)

    # Small parts

    def _near(self, near: _Near, now: Now) -> list[Effect]:
        """Ask the nodes that are remembered, or look them up first.

        In a small overlay one lookup answers for all that is asked meanwhile.
        """
        overlay, target = near.asked.overlay, near.target
        known = len(self._tables[overlay])
        count = max(BUCKET_SIZE, near.asked.count)
        wide = count if count > BUCKET_SIZE else 0
        around = self._neighbourhoods.covering(overlay, target, now.mono_us, known, wide)
        if around is not None:
            nodes = [node for _, node in around.nearest(target)]
            return self._to_nearest(near, nodes, now)
        small = known < BUCKET_SIZE
        if small and overlay in self._waiting:
            self._waiting[overlay].append(near)
            return []
        if small:
            self._waiting[overlay] = []

        def found(nearest: Nearest, at: Now) -> list[Effect]:
            if 2 * len(nearest.nodes) >= min(known, BUCKET_SIZE):  # else the network is away
                self._neighbourhoods.add(
                    overlay, target, nearest.nodes, nearest.radius, at.mono_us, known
                )
            effects: list[Effect] = []
            if near.request in self._open:
                effects += self._to_nearest(near, nearest.nodes, at)
            for each in self._waiting.pop(overlay, ()) if small else ():
                if each.request in self._open and each.deadline_us > at.mono_us:
                    effects += self._near(each, at)
                elif each.request in self._open:
                    effects += self._to_nearest(each, (), at)
            return effects

        patience_us = max(1, (near.deadline_us - now.mono_us) // 2)
        return self._lookups.nearest(
            overlay, near.asked.target, now, found, count=count, patience_us=patience_us
        )

    def _to_nearest(self, wanted: _Near, nodes: Sequence[NodeAt], now: Now) -> list[Effect]:
        asked, target = wanted.asked, wanted.target
        nodes = [node for node in nodes if self._shares.counts(asked.overlay, node.peer)]
        reach = self._at ^ target
        nearer = sum(_location(node) ^ target < reach for node in nodes)
        near = self._standing.is_member and nearer < asked.count
        chosen = nodes[: asked.count]
        question = Foreign(asked.protocol, asked.body, asked.overlay)
        relayed = _Relayed(chosen, question, asked.enough, wanted.deadline_us, near, len(chosen))
        relayed.around = nodes
        self._shares.meet(nodes)
        return self._put(relayed, wanted.request, now)

    def _put(self, relayed: _Relayed, request: RequestId, now: Now) -> list[Effect]:
        self._open[request] = relayed
        if not relayed.nodes:
            return self._end(request, relayed)
        effects: list[Effect] = []
        patience_us = max(1, min(DHT_ASK_US, relayed.deadline_us - now.mono_us))
        if relayed.question.overlay is None:
            patience_us = max(1, relayed.deadline_us - now.mono_us)  # whoever asks knows how long
        for node in relayed.nodes:
            effects += self._asking.ask_foreign(
                node,
                relayed.question,
                now,
                self._heard(node.peer, request, relayed),
                patience_us=patience_us,
                group=owner_of(request),
            )
        return effects

    def _heard(self, peer: PeerId, request: RequestId, relayed: _Relayed) -> OnBytes:
        def heard(answer: bytes | Failure, _: Now) -> list[Effect]:
            relayed.answers[peer] = answer
            if isinstance(answer, bytes):
                relayed.good += 1
            elif answer.code in _GONE:
                relayed.members -= 1
                self._neighbourhoods.gone(peer)
            all_heard = len(relayed.answers) == len(relayed.nodes)
            if all_heard or 0 < relayed.enough <= relayed.good:
                return self._end(request, relayed)
            return []

        return heard

    def _end(self, request: RequestId, relayed: _Relayed) -> list[Effect]:
        del self._open[request]
        effects = self._asking.drop(owner_of(request))
        answers = tuple(
            (node.peer, relayed.answers.get(node.peer, _LATE)) for node in relayed.nodes
        )
        overlay, around = relayed.question.overlay, relayed.around
        needed = 0 if overlay is None else self._shares.needed(overlay, around)
        asked = Asked(answers, relayed.near, relayed.members, needed)
        return [*effects, Reply(request, asked)]


def owner_of(request: RequestId) -> int:
    """The number under which what `request` asks for is dropped; 0 is nobody's."""
    return request + 1


def _check(count: int, body: bytes) -> None:
    if not 0 <= count <= RELAYED_NODES_MAX:
        why = f"At most {RELAYED_NODES_MAX} nodes are asked at once."
        raise Dms3Error("argument_invalid", why)
    if len(body) > RELAYED_BYTES_MAX:
        why = f"A question has at most {RELAYED_BYTES_MAX} bytes, this one {len(body)}."
        raise Dms3Error("argument_invalid", why)


def _location(node: NodeAt) -> int:
    return int.from_bytes(node_location(node.peer), "big")


assert RELAYED_NODES_MAX <= NEIGHBOURS_MAX, "a lookup finds no more"
