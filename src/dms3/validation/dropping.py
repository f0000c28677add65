"""Letting go of what others hold: ops that lie far from this node, when all nearer holders sign.

Source: docs/chains.md, "Repaired". An op goes when this node has not been among those who keep it
for DROP_PERIODS periods, and each of the nodes that are to hold it, all of them nearer, has given a
receipt for it just now. Who lacks it is told, so that nothing is lost by dropping. Own actions,
rejected ones and both sides of a fork stay: they are this person's, or evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from dms3.chain.messages import (
    PROTOCOL,
    ChainQuestion,
    OpResult,
    Reconcile,
    Vouch,
    decode_published,
)
from dms3.chain.receipt import check_receipt, decode_receipt
from dms3.core.cid import DAG_CBOR, Cid
from dms3.core.codec import encode
from dms3.core.desk import Desk
from dms3.core.errors import DecodeError, Failure
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import (
    CHAIN_OPS_MAX,
    DROP_KEPT_MAX,
    DROP_LOOKED_MAX,
    DROP_PERIODS,
    GOSSIP_PERIOD_US,
    GOSSIP_REST_US,
    HOLDERS_SLACK,
    RECONCILE_ASK_US,
)
from dms3.core.neighbourhood import Duty
from dms3.core.overlay import Asked, AskNodes, Neighbours, NodeAt, Rank, RankNear, location
from dms3.core.reconcile import LOCATED_BYTES
from dms3.validation.fetching import Means, ask_one
from dms3.validation.holders import MALFORMED
from dms3.validation.leftovers import Leftovers

FORGED = "receipt_forged"


@dataclass(slots=True, eq=False)
class _Place:
    """An overlay: where the walk over its ops is, and which of them lie far since when."""

    overlay: OverlayId
    duty: Duty
    at: bytes = b""
    far: dict[bytes, int] = field(default_factory=dict)  # op -> monotonic
    dropped: int = 0
    asked: int = 0


@dataclass(frozen=True, slots=True)
class _Far:
    """Ops that are all to be held by the same `holders`."""

    holders: tuple[NodeAt, ...]
    ops: tuple[bytes, ...]


class Dropping:
    """The walks over what is held."""

    def __init__(self, desk: Desk, means: Means) -> None:
        self._desk = desk
        self._holding = means.holding
        self._holders = means.holders
        self._leftovers = Leftovers(desk, means.holding)
        means.deciding.doubt = self._leftovers.doubt
        self._places: dict[OverlayId, _Place] = {}

    def open(self, overlay: OverlayId, duty: Duty) -> None:
        """Look at what is held there from now on."""
        place = self._places[overlay] = _Place(overlay, duty)
        self._later(place)

    def shut(self, overlay: OverlayId) -> None:
        """Keep everything."""
        if self._places.pop(overlay, None) is not None:
            self._desk.no_alarm(_alarm(overlay))
            self._leftovers.shut(overlay)

    def figures(self, overlay: OverlayId) -> tuple[int, int]:
        """How many ops were dropped, and for how many holders were asked."""
        place = self._places.get(overlay)
        return (0, 0) if place is None else (place.dropped, place.asked)

    # The walk

    def _later(self, place: _Place, wait_us: int = GOSSIP_PERIOD_US) -> None:
        self._desk.after(_alarm(place.overlay), wait_us, lambda: self._step(place))

    def _step(self, place: _Place) -> None:
        self._later(place)
        self._desk.call("dht.neighbours", place.overlay, lambda body: self._seen(place, body))

    def _seen(self, place: _Place, body: Any) -> None:
        """Look at the next ops, and once more at those that have been far for long enough."""
        tree = self._holding.located.tree(place.overlay)
        few = not isinstance(body, Neighbours) or len(body.nodes) < place.duty.least + HOLDERS_SLACK
        if tree is None or few or self._places.get(place.overlay) is not place:
            place.far.clear()  # nobody is far from anything
            self._rest(place)
            return
        page = tree.after(place.at, DROP_LOOKED_MAX)
        place.at = page[-1] if len(page) == DROP_LOOKED_MAX else b""
        before_us = self._desk.now.mono_us - DROP_PERIODS * GOSSIP_PERIOD_US
        due = list(islice((op for op, at in place.far.items() if at <= before_us), DROP_LOOKED_MAX))
        fresh = [each[LOCATED_BYTES:] for each in page if each[LOCATED_BYTES:] not in place.far]
        ops = [op for op in (*due, *fresh) if self._may_go(place, op)]
        rank = RankNear(place.overlay, tuple(self._where(place, op) for op in ops))
        self._desk.call(
            "dht.rank", rank, lambda ranks: self._ranked(place, body, ops, frozenset(due), ranks)
        )

    def _rest(self, place: _Place) -> None:
        if self._places.get(place.overlay) is place:
            self._later(place, GOSSIP_REST_US)

    def _may_go(self, place: _Place, op: bytes) -> bool:
        """Whether an op is neither this person's own nor evidence."""
        row = self._holding.op(place.overlay, op)
        if row is None:
            place.far.pop(op, None)
            return False
        held = self._holding.action(place.overlay, Cid.of_digest(DAG_CBOR, row.action))
        assert held is not None, "the action of an op is kept"
        forked = self._holding.author(place.overlay, held.signed.action.author).forked >= 0
        return held.state == "integrated" and not held.own and not forked

    def _where(self, place: _Place, op: bytes) -> bytes:
        row = self._holding.op(place.overlay, op)
        assert row is not None, "it was held just now"
        return location(row.basis)

    def _ranked(
        self,
        place: _Place,
        neighbours: Neighbours,
        ops: Sequence[bytes],
        due: frozenset[bytes],
        ranks: Any,
    ) -> None:
        if isinstance(ranks, Failure) or self._places.get(place.overlay) is not place:
            return
        groups: dict[tuple[PeerId, ...], _Far] = {}
        for op, rank in zip(ops, ranks, strict=True):
            if rank.keeps or self._holding.op(place.overlay, op) is None:
                place.far.pop(op, None)
            elif op in due:
                self._group(place, neighbours, groups, op, rank)
            elif len(place.far) < DROP_KEPT_MAX:
                place.far[op] = self._desk.now.mono_us
        for far in list(groups.values())[:1]:  # the others in the next periods
            self._ask(place, far)

    def _group(
        self,
        place: _Place,
        neighbours: Neighbours,
        groups: dict[tuple[PeerId, ...], _Far],
        op: bytes,
        rank: Rank,
    ) -> None:
        """Put `op` to those that the same nodes are to hold."""
        target = int.from_bytes(self._where(place, op), "big")
        near = sorted(neighbours.nodes, key=lambda each: int.from_bytes(each[1], "big") ^ target)[
            : rank.needed
        ]
        key = tuple(node.peer for node, _, _ in near)
        group = groups.get(key, _Far(tuple(node for node, _, _ in near), ()))
        if len(near) == rank.needed and len(group.ops) < CHAIN_OPS_MAX:
            groups[key] = _Far(group.holders, (*group.ops, op))

    # Asking

    def _ask(self, place: _Place, far: _Far) -> None:
        for op in far.ops:
            place.far.pop(op, None)  # found again by the walk, unless it goes
        place.asked += len(far.ops)
        body = encode(ChainQuestion(place.overlay, vouch=Vouch(far.ops)))
        asked = AskNodes(far.holders, PROTOCOL, body, patience_us=RECONCILE_ASK_US)
        self._desk.call("dht.ask", asked, lambda answer: self._answered(place, far, answer))

    def _answered(self, place: _Place, far: _Far, body: Any) -> None:
        if not isinstance(body, Asked) or self._places.get(place.overlay) is not place:
            return
        answers = dict(body.answers)
        signed: dict[bytes, int] = dict.fromkeys(far.ops, 0)
        for node in far.holders:
            vouched = self._vouched(place, far, node.peer, answers.get(node.peer))
            for op in vouched:
                signed[op] += 1
            lacks = tuple(op for op in far.ops if op not in vouched)
            if lacks and isinstance(answers.get(node.peer), bytes):
                question = ChainQuestion(place.overlay, reconcile=Reconcile(lacks=lacks))
                self._desk.call("dht.ask", ask_one(node, encode(question)), lambda _: None)
        for op in far.ops:
            if signed[op] == len(far.holders) and self._may_go(place, op):
                place.dropped += 1
                self._leftovers.doubt(place.overlay, self._holding.drop_op(place.overlay, op))

    def _vouched(self, place: _Place, far: _Far, peer: PeerId, data: Any) -> frozenset[bytes]:
        """The ops that `peer` has signed for."""
        if not isinstance(data, bytes):
            return frozenset()
        try:
            results = decode_published(data, len(far.ops)).results
        except DecodeError:
            self._holders.blame(peer, MALFORMED)
            return frozenset()
        pairs = [(op, one) for op, one in zip(far.ops, results, strict=True) if one.code == "held"]
        good = frozenset(op for op, one in pairs if _is_signed(place.overlay, op, peer, one))
        if len(good) < len(pairs):
            self._holders.blame(peer, FORGED)
        return good


def _is_signed(overlay: OverlayId, op: bytes, peer: PeerId, result: OpResult) -> bool:
    """Whether the receipt is that of `peer` for this op."""
    try:
        receipt = decode_receipt(result.receipt)
    except DecodeError:
        return False
    return receipt.peer == peer and check_receipt(receipt, overlay, op)


def _alarm(overlay: OverlayId) -> str:
    return f"drop:{overlay.hex()}"
