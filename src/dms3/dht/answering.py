"""Questions of other nodes: paced, decoded, answered from the table and from what is held.

Source: docs/wire.md, "/dms3/dht/1"; docs/attacks.md, "Somebody in the public overlay". A question
is answered exactly once. Who asks may enter the routing table, but only by answering one of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dms3.core.cid import Cid
from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Failure, Retry
from dms3.core.ids import OverlayId, PeerId, RequestId, Token
from dms3.core.limits import (
    HOLDERS_SLACK,
    QUESTION_BURST_US,
    QUESTION_COST_US,
    QUESTIONS_LOADING_MAX,
)
from dms3.core.machine import Call, Cancel, Effect, Now, Reply, Requested
from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import HOLDERS_MIN, location
from dms3.core.pace import Pace
from dms3.core.verdict import Invalid
from dms3.dht.admitting import Door, refused
from dms3.dht.asking import LIED, MALFORMED, Asking
from dms3.dht.holding import Holding
from dms3.dht.messages import (
    Code,
    Codes,
    Get,
    Nodes,
    Offered,
    PutValue,
    Question,
    Values,
    decode_question,
)
from dms3.dht.pace import weight_of
from dms3.dht.presence import Proven, Standing
from dms3.dht.routing import Table
from dms3.dht.taking import Taking
from dms3.dht.upkeep import Upkeep

LOAD = "load:"
FLOOD = "requests_excess"
_TOO_OFTEN = Failure("limit_reached", "You ask too often; wait a moment.", Retry.LATER)
_ELSEWHERE = Failure("not_found", "This node is not in that overlay.", Retry.OTHER_PEER)
_FORGED = Failure("peer_misbehaved", "The presence that you showed does not hold.")


@dataclass(frozen=True, slots=True)
class Held:
    """What answers are made of: values, where to put new ones, and who looks after them."""

    holding: Holding
    taking: Taking
    upkeep: Upkeep


@dataclass(frozen=True, slots=True)
class _Loading:
    """A question for a block that the library reads."""

    peer: PeerId
    request: RequestId
    overlay: OverlayId
    get: Get


class Answering:
    """Arguments: `tables` by overlay; `held`; `asking`, which knows who is connected.

    `standing`: what this node says of itself; `door`: whose presences hold, and who may ask.
    """

    def __init__(
        self,
        tables: Mapping[OverlayId, Table],
        held: Held,
        asking: Asking,
        standing: Standing,
        door: Door,
    ) -> None:
        self._tables = tables
        self._held = held
        self._asking = asking
        self._standing = standing
        self._door = door
        self._pace = Pace(QUESTION_COST_US, QUESTION_BURST_US)
        self._loading: dict[Token, _Loading] = {}
        self._tokens: dict[RequestId, Token] = {}
        self._count = 0

    @property
    def open(self) -> int:
        """Questions that wait for the library."""
        return len(self._loading)

    def requested(self, event: Requested, now: Now) -> list[Effect]:
        """Answer a question, or begin to."""
        peer, request = event.peer, event.request
        if self._pace.wait_us(peer, 1, now):
            return [Reply(request, _TOO_OFTEN), self._asking.blame(peer, FLOOD)]
        try:
            question = decode_question(event.body)
        except DecodeError as error:
            failure = Failure(MALFORMED, error.message)
            return [Reply(request, failure), self._asking.blame(peer, MALFORMED)]
        overlay = OverlayId(question.overlay)
        items = len(question.offers) + len(question.puts)
        if overlay not in self._tables:
            return [Reply(request, _ELSEWHERE)]
        if self._pace.wait_us(peer, weight_of(items) - 1, now):
            return [Reply(request, _TOO_OFTEN)]
        if refused := self._refused(peer, request, overlay, question.presence, now):
            return refused
        self._asking.connections.used(peer, now)
        if question.presence:
            self._asking.connections.unshown(peer, overlay)
        return self._answer(peer, request, overlay, question, now)

    def answered(self, token: Token, body: Any, now: Now) -> list[Effect]:
        """The library's answer to a block that was asked for."""
        loading = self._loading.pop(token, None)
        if loading is None:
            return []
        del self._tokens[loading.request]
        values = (body,) if isinstance(body, bytes) else ()
        return [self._values(loading, values, more=False, now=now)]

    def withdrawn(self, request: RequestId) -> list[Effect]:
        """The peer no longer waits."""
        token = self._tokens.pop(request, None)
        if token is None:
            return []
        del self._loading[token]
        return [Cancel(token)]

    def on_down(self, peer: PeerId) -> None:
        """The last connection to a peer has closed."""
        self._pace.forget(peer)

    def _refused(
        self, peer: PeerId, request: RequestId, overlay: OverlayId, presence: bytes, now: Now
    ) -> list[Effect]:
        """Who is not a member is told why; who is not who it says is reported. Else nothing."""
        wrong = self._introduce(peer, overlay, presence, now) if presence else None
        if wrong is not None and not wrong.rule.startswith("membrane-"):
            return [Reply(request, _FORGED), *self._asking.lied(peer, overlay, LIED)]
        if wrong is not None:
            return [Reply(request, refused(wrong))]
        address = self._asking.connections.address(peer) or ""
        stranger = self._door.refusal(peer, overlay, address, now.wall_us)
        return [] if stranger is None else [Reply(request, stranger)]

    def _introduce(self, peer: PeerId, overlay: OverlayId, data: bytes, now: Now) -> Invalid | None:
        """Remember who asks, if it says so and may be asked; what is wrong with its presence."""
        proven = self._door.of_peer(data, peer, overlay, now.wall_us)
        if isinstance(proven, Proven):
            address = self._asking.connections.address(peer)
            if address is not None:
                self._tables[overlay].introduced(proven, address, now.mono_us)
        return proven if isinstance(proven, Invalid) else None

    def _answer(
        self, peer: PeerId, request: RequestId, overlay: OverlayId, question: Question, now: Now
    ) -> list[Effect]:
        if question.find is not None:
            near = self._near(overlay, question.find.target, question.find.count, peer, now)
            return [Reply(request, encode(Nodes(near, self._show(peer, overlay, now))))]
        if question.get is not None:
            return self._get(_Loading(peer, request, overlay, question.get), now)
        named: Sequence[Offered | PutValue] = (*question.offers, *question.puts)

        def taken(codes: tuple[Code, ...], at: Now) -> list[Effect]:
            radii = self._held.holding.told(overlay, [one.type for one in named])
            numbers = tuple(map(int, codes))
            return [Reply(request, encode(Codes(numbers, self._show(peer, overlay, at), radii)))]

        if not self._standing.is_member:
            return taken((Code.FAR,) * len(named), now)
        self._hear(peer, overlay, named, now)
        if question.offers:
            codes, effects = self._held.taking.offers(overlay, question.offers, now)
            return effects + taken(codes, now)

        return self._held.taking.puts(overlay, question.puts, now, taken)

    def _hear(
        self, peer: PeerId, overlay: OverlayId, named: Sequence[Offered | PutValue], now: Now
    ) -> None:
        """Note that `peer` looks after contents, if it is one of those to hold them.

        Else a stranger's empty offers would keep every holder from putting a content again.
        """
        table = self._tables[overlay]
        if peer not in table:
            return
        for one in named:
            holders = table.nearest(location(one.key), HOLDERS_MIN + HOLDERS_SLACK)
            if any(node.peer == peer for node in holders):
                self._held.upkeep.heard(overlay, one.type, one.key, now)

    def _get(self, asked: _Loading, now: Now) -> list[Effect]:
        holding, get = self._held.holding, asked.get
        kind = holding.type_of(get.type)
        if kind is None:
            return [self._values(asked, (), more=False, now=now)]
        if kind.kept_as == "rows":
            values, more = holding.values(asked.overlay, kind, get.key, get.after, now)
            return [self._values(asked, values, more=more, now=now)]
        if not holding.has(asked.overlay, kind, get.key, now):
            return [self._values(asked, (), more=False, now=now)]
        if len(self._loading) >= QUESTIONS_LOADING_MAX:
            return [Reply(asked.request, _TOO_OFTEN)]
        self._count += 1
        token = Token(f"{LOAD}{self._count}")
        self._loading[token] = asked
        self._tokens[asked.request] = token
        return [Call("library.load", Cid(get.key), token)]

    def _values(
        self, asked: _Loading, values: tuple[bytes, ...], *, more: bool, now: Now
    ) -> Effect:
        """The answer to a get; nodes only for who may have to go on."""
        kind = self._held.holding.type_of(asked.get.type)
        nodes: tuple[bytes, ...] = ()
        if not values or kind is None or kind.slots_max > 1:
            key = location(asked.get.key)
            nodes = self._near(asked.overlay, key, BUCKET_SIZE, asked.peer, now)
        presence = self._show(asked.peer, asked.overlay, now)
        return Reply(asked.request, encode(Values(values, more, nodes, presence)))

    def _near(
        self, overlay: OverlayId, target: bytes, count: int, peer: PeerId, now: Now
    ) -> tuple[bytes, ...]:
        return self._tables[overlay].presences(target, count, now.wall_us, peer)

    def _show(self, peer: PeerId, overlay: OverlayId, now: Now) -> bytes:
        """Our presence, unless the peer has it."""
        presence = self._standing.presence(overlay, now.wall_us)
        if self._asking.connections.is_shown(peer, overlay, presence, now):
            return b""
        self._asking.connections.show(peer, overlay, presence, now)
        return presence
