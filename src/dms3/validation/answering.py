"""What partners ask to have the same as this node: ranges compared, ops by id, receipts once more.

Source: docs/wire.md, "/dms3/chain/1". Nothing is kept between two questions of a partner. Ops that
this node lacks, as a partner says, are brought from it and judged here.
"""

from __future__ import annotations

from typing import Any

from dms3.chain.messages import OpResult, Published, Reconcile, Reconciled, Vouch
from dms3.core.codec import encode
from dms3.core.desk import Desk
from dms3.core.errors import Failure, Retry
from dms3.core.ids import OverlayId, PeerId, RequestId
from dms3.core.limits import TOLD_OF_ONE_MAX, TOLD_OPEN_MAX
from dms3.core.overlay import NodeAt, RankNear, location
from dms3.validation.deciding import Deciding
from dms3.validation.fetching import Fetching, Haul
from dms3.validation.holding import Holding

_NOT_READY = Failure("limit_reached", "This node still reads what it holds.", Retry.LATER)


class Answering:
    """Answers from `holding`."""

    def __init__(
        self, desk: Desk, holding: Holding, deciding: Deciding, fetching: Fetching
    ) -> None:
        self._desk = desk
        self._located = holding.located
        self._holding = holding
        self._deciding = deciding
        self._fetching = fetching
        self._open: dict[PeerId, int] = {}  # bringings for what a partner told
        self._hauls: dict[OverlayId, Haul] = {}

    def haul(self, overlay: OverlayId) -> Haul:
        """What came because partners said that this node lacks it, since the start."""
        return self._hauls.setdefault(overlay, Haul())

    def reconcile(
        self, peer: PeerId, overlay: OverlayId, asked: Reconcile, request: RequestId
    ) -> None:
        """Say what is held in the ranges, and bring what this node lacks."""
        tree = self._located.tree(overlay)
        if tree is None:
            self._desk.reply(request, _NOT_READY)
            return
        told = tuple(tree.told(one) for one in asked.ranges)
        wanted = self._bring(peer, overlay, asked.lacks)
        self._desk.reply(request, encode(Reconciled(told, wanted)))

    def vouch(self, overlay: OverlayId, asked: Vouch, request: RequestId) -> None:
        """Sign for what is held and lies so near that it stays."""
        rows = [self._holding.op(overlay, op) for op in asked.ops]
        targets = tuple(location(row.basis) for row in rows if row is not None)

        def ranked(ranks: Any) -> None:
            if isinstance(ranks, Failure):
                self._desk.reply(request, ranks)
                return
            near = iter(ranks)
            stays = [row is not None and next(near).holds for row in rows]
            pairs = zip(asked.ops, stays, strict=True)
            results = tuple(self._word(overlay, op, stays=each) for op, each in pairs)
            self._desk.reply(request, encode(Published(results)))

        self._desk.call("dht.rank", RankNear(overlay, targets), ranked)

    def _word(self, overlay: OverlayId, op: bytes, *, stays: bool) -> OpResult:
        if not stays:
            return OpResult("far")
        if not self._holding.is_valid(overlay, op):
            return OpResult("pending")
        return OpResult("held", self._deciding.receipt(overlay, op))

    def _bring(self, peer: PeerId, overlay: OverlayId, lacks: tuple[bytes, ...]) -> int:
        """Begin to bring what is wanted of it; how much that is."""
        wanted = [each for each in lacks if self._fetching.wants(overlay, each)]
        full = len(self._open) >= TOLD_OPEN_MAX or self._open.get(peer, 0) >= TOLD_OF_ONE_MAX
        if full or not wanted:
            return 0
        self._open[peer] = self._open.get(peer, 0) + 1

        def done(haul: Haul) -> None:
            self.haul(overlay).add(haul)
            self._open[peer] -= 1
            if not self._open[peer]:
                del self._open[peer]

        self._fetching.bring(overlay, NodeAt(peer, ()), wanted, done)
        return len(wanted)
