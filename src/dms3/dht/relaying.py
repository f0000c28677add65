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
from dms3.core.limits import DHT_ASK_US, RELAYED_BYTES_MAX, RELAYED_NODES_MAX
from dms3.core.machine import Effect, Now, Reply
from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import LOCATION_BYTES, Asked, AskNear, AskNodes, NodeAt
from dms3.dht.asking import Asking, Foreign, OnBytes
from dms3.dht.lookup import Nearest
from dms3.dht.lookups import Lookups
from dms3.dht.neighbourhood import Neighbourhoods
from dms3.dht.presence import Standing, node_location
from dms3.dht.tables import Tables

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
    good: int = 0
    answers: dict[PeerId, Any] = field(default_factory=dict)


class Relaying:
    """Arguments: `own`, this node; `tables`; `standing`; `asking` and `lookups`, which are used."""

    def __init__(
        self, own: PeerId, tables: Tables, standing: Standing, asking: Asking, lookups: Lookups
    ) -> None:
        self._at = int.from_bytes(node_location(own), "big")
        self._own = own
        self._tables = tables
        self._standing = standing
        self._asking = asking
        self._lookups = lookups
        self._neighbourhoods = Neighbourhoods()
        self._open: dict[RequestId, _Relayed | None] = {}  # None: its nodes are looked up

    @property
    def open(self) -> int:
        """Questions whose askers still wait."""
        return len(self._open)

    def ask(self, asked: AskNodes, request: RequestId, now: Now) -> list[Effect]:
        """Put the question to these nodes; raises Dms3Error when it is too much."""
        _check(len(asked.nodes), asked.body)
        question = Foreign(asked.protocol, asked.body)
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
        known = len(self._tables[asked.overlay])
        target = int.from_bytes(asked.target, "big")
        deadline_us = now.mono_us + asked.patience_us
        around = self._neighbourhoods.covering(asked.overlay, target, now.mono_us, known)
        if around is not None:
            nodes = [node for _, node in around.nearest(target)]
            return self._to_nearest(asked, nodes, request, deadline_us, now)

        def found(nearest: Nearest, at: Now) -> list[Effect]:
            self._neighbourhoods.add(
                asked.overlay, target, nearest.nodes, nearest.radius, at.mono_us, known
            )
            return self._to_nearest(asked, nearest.nodes, request, deadline_us, at)

        self._open[request] = None
        return self._lookups.nearest(
            asked.overlay,
            asked.target,
            now,
            found,
            patience_us=max(1, asked.patience_us // 2),
            owner=owner_of(request),
        )

    def withdrawn(self, request: RequestId) -> list[Effect]:
        """Nobody waits for `request` any more."""
        if request not in self._open:
            return []
        del self._open[request]
        return self._lookups.drop(owner_of(request)) + self._asking.drop(owner_of(request))

    def leave(self, overlay: OverlayId) -> None:
        """Its neighbourhoods are of no use."""
        self._neighbourhoods.leave(overlay)

    # Small parts

    def _to_nearest(
        self,
        asked: AskNear,
        nodes: Sequence[NodeAt],
        request: RequestId,
        deadline_us: int,
        now: Now,
    ) -> list[Effect]:
        target = int.from_bytes(asked.target, "big")
        reach = self._at ^ target
        nearer = sum(_location(node) ^ target < reach for node in nodes)
        near = self._standing.is_member and nearer < asked.count
        chosen = nodes[: asked.count]
        question = Foreign(asked.protocol, asked.body, asked.overlay)
        relayed = _Relayed(chosen, question, asked.enough, deadline_us, near, len(chosen))
        return self._put(relayed, request, now)

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
        return [*effects, Reply(request, Asked(answers, relayed.near, relayed.members))]


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


assert RELAYED_NODES_MAX <= BUCKET_SIZE, "a lookup finds no more"
