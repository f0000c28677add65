"""Ops brought by their ids from one partner that says it holds them: checked, ranked, judged here.

Source: docs/wire.md, "/dms3/chain/1"; docs/attacks.md, "Somebody in an app's overlay". An op that
was not asked for, or that its author has not signed, is the partner's lie: it is reported and asked
no more. What breaks a rule is its author's fault, found by the ordinary way of every op.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dms3.chain.messages import PROTOCOL, Bring, ChainQuestion, Fetched, decode_fetched
from dms3.chain.ops import Op, decode_op, op_id
from dms3.core.cid import DAG_CBOR, Cid
from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Failure
from dms3.core.ids import OverlayId
from dms3.core.limits import (
    ABANDONED_US,
    CHAIN_OPS_MAX,
    FETCHES_PER_PARTNER_MAX,
    GOSSIP_REST_US,
    RECONCILE_ASK_US,
)
from dms3.core.overlay import Asked, AskNodes, NodeAt, RankNear
from dms3.validation.aside import Aside
from dms3.validation.deciding import Deciding
from dms3.validation.holders import LIED, MALFORMED, Holders, Signatures
from dms3.validation.holding import Holding
from dms3.validation.judging import Judging


@dataclass(slots=True)
class Haul:
    """What came of bringing ops: `taken`, to be judged or held already; `far`, not near this node.

    `absent`: not given, whatever was said. `refused`: there is no room, or its author is not
    listened to now. `barred`: of agents that this node blocks. `failed`: the partner did not
    answer, or lied.
    """

    taken: int = 0
    far: int = 0
    absent: int = 0
    refused: int = 0
    barred: int = 0
    failed: bool = False

    def add(self, other: Haul) -> None:
        """Count what another one brought, too."""
        self.taken += other.taken
        self.far += other.far
        self.absent += other.absent
        self.refused += other.refused
        self.barred += other.barred


@dataclass(slots=True, eq=False)
class _Job:
    """Ops being brought from `node`; `flying`: questions that are not answered yet."""

    overlay: OverlayId
    node: NodeAt
    queue: deque[bytes]
    then: Callable[[Haul], None]
    haul: Haul = field(default_factory=Haul)
    flying: int = 0
    stopped: bool = False


@dataclass(frozen=True, slots=True)
class Means:
    """What it works with."""

    holding: Holding
    holders: Holders
    deciding: Deciding
    judging: Judging
    signatures: Signatures


class Fetching:
    """Brings them."""

    def __init__(self, means: Means) -> None:
        self._desk = means.deciding.desk
        self._deciding = means.deciding
        self._holding = means.holding
        self._holders = means.holders
        self._signatures = means.signatures
        self._is_open = means.judging.is_open
        self.aside = Aside()

    def wants(self, overlay: OverlayId, op_id_: bytes) -> bool:
        """Whether the op with that id is to be brought, should it lie near."""
        row = self._holding.op(overlay, op_id_)
        if row is None:
            in_hand = self._holding.in_hand.has_op(overlay, op_id_)
            return not in_hand and not self.aside.has(overlay, op_id_, self._desk.now.mono_us)
        held = self._holding.action(overlay, Cid.of_digest(DAG_CBOR, row.action))
        if held is None or held.state != "abandoned":
            return False
        return held.received_us + ABANDONED_US <= self._desk.now.wall_us

    def bring(
        self, overlay: OverlayId, node: NodeAt, ids: Sequence[bytes], then: Callable[[Haul], None]
    ) -> None:
        """Bring those of `ids` that are wanted; `then` is told once what came of it.

        What was too far is looked at again: nodes that were nearer may have gone since.
        """
        far = deque((each, at) for each in ids if (at := self.aside.far(overlay, each)))

        def look() -> None:
            if not far:
                wanted = deque(each for each in ids if self.wants(overlay, each))
                self._go_on(_Job(overlay, node, wanted, then))
                return
            some = [far.popleft() for _ in range(min(CHAIN_OPS_MAX, len(far)))]
            rank = RankNear(overlay, tuple(at for _, at in some))
            self._desk.call("dht.rank", rank, lambda ranks: ranked(some, ranks))

        def ranked(some: list[tuple[bytes, bytes]], ranks: Any) -> None:
            if not isinstance(ranks, Failure):
                for (each, _), one in zip(some, ranks, strict=True):
                    if one.keeps:
                        self.aside.near(overlay, each)
            look()

        look()

    def _go_on(self, job: _Job) -> None:
        if not self._is_open(job.overlay):
            job.stopped = True
        while job.queue and not job.stopped and job.flying < FETCHES_PER_PARTNER_MAX:
            count = min(CHAIN_OPS_MAX, len(job.queue))
            self._ask(job, [job.queue.popleft() for _ in range(count)])
        if not job.flying:
            job.then(job.haul)

    def _ask(self, job: _Job, batch: list[bytes]) -> None:
        job.flying += 1
        body = encode(ChainQuestion(job.overlay, bring=Bring(tuple(batch))))
        asked = ask_one(job.node, body)
        self._desk.call("dht.ask", asked, lambda answer: self._answered(job, batch, answer))

    def _answered(self, job: _Job, batch: list[bytes], body: Any) -> None:
        data = answer_of(body)
        ops = None if isinstance(data, Failure) else self._read(job, batch, data)
        if not ops:
            job.flying -= 1
            job.stopped = job.stopped or ops is None
            job.haul.failed = job.haul.failed or ops is None
            self._go_on(job)
            return
        rank = RankNear(job.overlay, tuple(op.location for op in ops))
        self._desk.call("dht.rank", rank, lambda ranks: self._ranked(job, ops, ranks))

    def _read(self, job: _Job, batch: list[bytes], data: bytes) -> list[Op] | None:
        """The ops of an answer; None when it is not one that an honest node gives."""
        try:
            fetched = decode_fetched(data, len(batch))
        except DecodeError:
            self._holders.blame(job.node.peer, MALFORMED)
            return None
        found = self._checked(job.overlay, batch, fetched)
        if found is None:
            self._holders.blame(job.node.peer, LIED)
            return None
        left = [each for each in batch if each not in found]
        if fetched.more and found:
            job.queue.extendleft(reversed(left))
        else:
            job.haul.absent += len(left)
        return list(found.values())

    def _checked(
        self, overlay: OverlayId, batch: list[bytes], fetched: Fetched
    ) -> dict[bytes, Op] | None:
        """The ops by their ids; None when one is not what was asked for, or not signed."""
        asked = frozenset(batch)
        found: dict[bytes, Op] = {}
        for each in fetched.ops:
            try:
                op = decode_op(each.op)
            except DecodeError:
                return None
            name = op_id(op)
            fits = name in asked and name not in found and op.signed.action.dna == overlay
            if not fits or not self._signatures.holds(op.signed):
                return None
            found[name] = op
        return found

    def _ranked(self, job: _Job, ops: list[Op], ranks: Any) -> None:
        job.flying -= 1
        if isinstance(ranks, Failure) or not self._is_open(job.overlay):
            job.stopped = job.haul.failed = True
            self._go_on(job)
            return
        pairs = sorted(zip(ops, ranks, strict=True), key=lambda pair: _order(pair[0]))
        now_us = self._desk.now.mono_us
        for op, rank in pairs:
            if not rank.keeps:
                self.aside.put_far(job.overlay, op_id(op), op.location, now_us)
                job.haul.far += 1
            elif self._bars(job.overlay, op):
                self.aside.bar(job.overlay, op_id(op), now_us)
                job.haul.barred += 1
            elif self._deciding.take(job.overlay, op, job.node.peer):
                self.aside.put(job.overlay, op_id(op), now_us + GOSSIP_REST_US)
                job.haul.refused += 1
            else:
                job.haul.taken += 1
        job.stopped = job.stopped or job.haul.refused >= CHAIN_OPS_MAX  # there is no room
        self._go_on(job)

    def _bars(self, overlay: OverlayId, op: Op) -> bool:
        """Whether nothing of its author is taken any more."""
        held = self._deciding.find(overlay, op.signed.hash)
        return held is None and self._deciding.heed.refuses(overlay, op.signed)


def answer_of(body: Any) -> bytes | Failure:
    """What the one node that was asked has answered."""
    if isinstance(body, Asked) and body.answers:
        _, data = body.answers[0]
        return data if isinstance(data, bytes) else _failure(data)
    return _failure(body)


def ask_one(node: NodeAt, body: bytes) -> AskNodes:
    """A question to one partner."""
    return AskNodes((node,), PROTOCOL, body, patience_us=RECONCILE_ASK_US)


def _failure(body: Any) -> Failure:
    return body if isinstance(body, Failure) else Failure("timed_out", "It did not answer.")


def _order(op: Op) -> tuple[bytes, int, bytes]:
    """Chains from their beginning on: what comes before is judged before."""
    return op.signed.action.author, op.signed.action.seq, op.signed.hash.digest
