"""Machine "dht" of a test network: everybody knows everybody, and nobody is looked up.

Source: docs/testing.md, "How it works"; `core/overlay.py` says what it is asked. It plays the part
of `dht/` for machines "source" and "validation": who is near, who is asked, what lies under a key.
Values lie on one board that all nodes see, also while they are parted; nodes that are asked have to
be connected. `network(..., overlay="real")` has the production dht in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from dms3.core.desk import Desk
from dms3.core.errors import Failure
from dms3.core.ids import OverlayId, PeerId, RequestId
from dms3.core.machine import (
    Answered,
    Called,
    Effect,
    Event,
    Now,
    PeerDown,
    PeerUp,
    View,
    Withdrawn,
)
from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import (
    HOLDERS_MIN,
    RANK_MAX,
    Asked,
    AskNear,
    AskNodes,
    Content,
    ContentType,
    FindNodes,
    FoundNodes,
    GetContent,
    Got,
    JoinOverlay,
    Neighbours,
    NodeAt,
    Placed,
    PutContent,
    Rank,
    RankNear,
    Shun,
    distance,
    location,
)
from dms3.core.verdict import Valid

NAME = "dht"
_Key = tuple[OverlayId, str, bytes]


class Board:
    """The values of all nodes of a test, by what they lie under."""

    def __init__(self, types: Iterable[ContentType]) -> None:
        self._types = {kind.name: kind for kind in types}
        self._values: dict[_Key, dict[bytes, bytes]] = {}

    def put(self, overlay: OverlayId, content: Content, wall_us: int) -> bool:
        """Keep a value; whether its type takes it."""
        kind = self._types[content.type]
        if not isinstance(kind.validate(content.key, content.value, wall_us), Valid):
            return False
        slots = self._values.setdefault((overlay, content.type, content.key), {})
        slot = kind.retention(content.key, content.value).slot
        held = slots.get(slot)
        slots[slot] = content.value if held is None else kind.merge(held, content.value)
        return True

    def get(self, asked: GetContent, wall_us: int) -> tuple[bytes, ...]:
        """The values that stand, in order of slot."""
        kind = self._types[asked.type]
        slots = self._values.get((asked.overlay, asked.type, asked.key), {})
        found = []
        for slot in sorted(slots):
            until_us = kind.retention(asked.key, slots[slot]).until_us
            if slot >= asked.after and (until_us is None or until_us > wall_us):
                found.append(slots[slot])
        return tuple(found)


@dataclass(slots=True, eq=False)
class _Question:
    """What is put to several: answers come in any order, and are given nearest first."""

    request: RequestId
    peers: Sequence[PeerId]
    enough: int
    near: bool
    members: int
    answers: dict[PeerId, Any] = field(default_factory=dict)


class Known:
    """Implements Machine; `everybody`: all nodes of the test, `own` among them."""

    def __init__(self, own: PeerId, everybody: Sequence[PeerId], board: Board) -> None:
        self._own = own
        self._board = board
        self._places = {peer: location(peer) for peer in everybody}
        self._up: dict[PeerId, None] = {}
        self._joined: dict[OverlayId, None] = {}
        self._shunned: dict[OverlayId, frozenset[PeerId]] = {}
        self._open: dict[RequestId, _Question] = {}
        self._desk = Desk()
        self._operations: Mapping[str, Callable[[Any, RequestId], None]] = {
            "join": self._join,
            "leave": self._leave,
            "overlays": self._overlays,
            "listening": self._nothing,
            "ask": self._ask,
            "ask_near": self._ask_near,
            "find": self._find,
            "shun": self._shun,
            "rank": self._rank,
            "neighbours": self._neighbours,
            "put": self._put,
            "get": self._get,
        }

    def on_start(self, _view: View, now: Now) -> list[Effect]:
        """Nothing is kept."""
        self._desk.now = now
        return []

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Commands, answers, connections."""
        self._desk.now = now
        match event:
            case Answered(token, body):
                self._desk.answered(token, body)
            case Called(operation, arguments, request):
                self._operations[operation](arguments, request)
            case Withdrawn(request):
                self._open.pop(request, None)
            case PeerUp(peer):
                self._up[peer] = None
            case PeerDown(peer):
                self._up.pop(peer, None)
        return self._desk.take()

    def on_timer(self, now: Now) -> list[Effect]:
        """Nothing waits."""
        self._desk.now = now
        return []

    def next_timer(self) -> int | None:
        """Never."""
        return None

    # Who is near

    def _nearest(self, target: bytes) -> list[PeerId]:
        """The connected nodes, nearest first."""
        return sorted(self._up, key=lambda peer: distance(self._places[peer], target))

    def _nearer(self, target: bytes, peers: Iterable[PeerId]) -> int:
        mine = distance(self._places[self._own], target)
        return sum(distance(self._places[peer], target) < mine for peer in peers)

    def _find(self, asked: FindNodes, request: RequestId) -> None:
        nodes = tuple(NodeAt(peer, ()) for peer in self._nearest(asked.target)[:BUCKET_SIZE])
        self._desk.reply(request, FoundNodes(nodes, 1, len(nodes)))

    def _rank(self, asked: RankNear, request: RequestId) -> None:
        ranks = (
            Rank(min(RANK_MAX, self._nearer(target, self._up)), HOLDERS_MIN)
            for target in asked.targets
        )
        self._desk.reply(request, tuple(ranks))

    def _neighbours(self, _overlay: OverlayId, request: RequestId) -> None:
        at = self._places[self._own]
        nodes = ((NodeAt(peer, ()), self._places[peer], 1.0) for peer in self._nearest(at))
        self._desk.reply(request, Neighbours(at, tuple(nodes)))

    def _shun(self, asked: Shun, request: RequestId) -> None:
        self._shunned[asked.overlay] = frozenset(asked.peers)
        self._desk.reply(request, None)

    # Questions

    def _ask(self, asked: AskNodes, request: RequestId) -> None:
        peers = [node.peer for node in asked.nodes if node.peer != self._own]
        question = _Question(request, peers, asked.enough, near=False, members=len(peers))
        self._send(question, asked.protocol, asked.body, asked.patience_us)

    def _ask_near(self, asked: AskNear, request: RequestId) -> None:
        shunned = self._shunned.get(asked.overlay, frozenset())
        nearest = [peer for peer in self._nearest(asked.target) if peer not in shunned]
        peers = nearest[: asked.count]
        near = self._nearer(asked.target, nearest) < asked.count
        question = _Question(request, peers, asked.enough, near, len(peers))
        self._send(question, asked.protocol, asked.body, asked.patience_us)

    def _send(self, question: _Question, protocol: str, body: bytes, patience_us: int) -> None:
        self._open[question.request] = question
        for peer in question.peers:
            then = partial(self._heard, question, peer)
            self._desk.request(peer, protocol, body, patience_us, then)
        self._end_when_over(question)

    def _heard(self, question: _Question, peer: PeerId, body: Any) -> None:
        question.answers[peer] = body
        self._end_when_over(question)

    def _end_when_over(self, question: _Question) -> None:
        good = sum(not isinstance(body, Failure) for body in question.answers.values())
        enough = question.enough and good >= question.enough
        if not enough and len(question.answers) < len(question.peers):
            return
        if self._open.pop(question.request, None) is not None:
            answers = question.answers
            said = tuple((peer, answers[peer]) for peer in question.peers if peer in answers)
            self._desk.reply(question.request, Asked(said, question.near, question.members))

    # Values

    def _put(self, asked: PutContent, request: RequestId) -> None:
        wall_us = self._desk.now.wall_us
        holders = min(HOLDERS_MIN, len(self._places))
        kept = (self._board.put(asked.overlay, each, wall_us) for each in asked.contents)
        self._desk.reply(request, Placed(tuple(holders if one else 0 for one in kept), holders))

    def _get(self, asked: GetContent, request: RequestId) -> None:
        values = self._board.get(asked, self._desk.now.wall_us)
        self._desk.reply(request, Got(values, None, 1 if values else 0, 1, (1,) * len(values)))

    def _join(self, asked: JoinOverlay | OverlayId, request: RequestId) -> None:
        overlay = asked.overlay if isinstance(asked, JoinOverlay) else asked
        self._joined[overlay] = None
        self._desk.reply(request, None)

    def _leave(self, overlay: OverlayId, request: RequestId) -> None:
        self._joined.pop(overlay, None)
        self._desk.reply(request, None)

    def _overlays(self, _: None, request: RequestId) -> None:
        self._desk.reply(request, tuple(self._joined))

    def _nothing(self, _arguments: Any, request: RequestId) -> None:
        self._desk.reply(request, None)
