"""Receipts that come by themselves, for ops that were pending at their holder when it was asked.

Source: docs/wire.md, "/dms3/chain/1"; docs/chains.md, "Published". They count from nodes near the
op alone, which the answers to questions tell; a forged one is held against its peer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dms3.chain.operations import NoteReceipts
from dms3.core.cid import Cid
from dms3.core.ids import OverlayId, PeerId, RequestId
from dms3.p2p.port import Conducted
from dms3.source.grounds import Grounds
from dms3.source.holding import Need, by_uptime, with_signers
from dms3.source.pacing import Pacing
from dms3.source.parcels import signed_by
from dms3.source.waiting import Item, Waiting, with_ops

_Places = list[tuple[Cid, int]]


class Receipts:
    """Operation "receipts"; `changed` is told of an action whose row is another now."""

    def __init__(
        self, grounds: Grounds, waiting: Waiting, pacing: Pacing, changed: Callable[[Item], None]
    ) -> None:
        self._grounds = grounds
        self._desk = grounds.desk
        self._waiting = waiting
        self._pacing = pacing
        self._changed = changed

    def note(self, note: NoteReceipts, request: RequestId) -> None:
        """Count those of who was asked; the first forged one ends it."""
        self._desk.reply(request, None)
        good: _Places = []
        for op, receipt in note.receipts:
            place = self._waiting.op(op)
            item = None if place is None else self._waiting.find(place[0])
            if place is None or item is None:
                continue
            if not signed_by(note.overlay, op, note.peer, receipt):
                forged = Conducted(note.peer, "receipt_forged")
                self._desk.call("peers.conduct", forged, lambda _: None)
                return
            if item.is_due(note.peer, place[1]):
                good.append(place)
        if good:
            peers = (note.peer, *sorted(self._signers(good) - {note.peer}))
            self._desk.call(
                "peers.uptime", peers, lambda shares: self._noted(note.peer, good, peers, shares)
            )

    def _signers(self, places: _Places) -> set[PeerId]:
        found: set[PeerId] = set()
        for action, index in places:
            item = self._waiting.find(action)
            found |= set() if item is None else item.signers(index)
        return found

    def _noted(
        self, peer: PeerId, places: _Places, peers: tuple[PeerId, ...], shares: object
    ) -> None:
        uptimes = dict(zip(peers, shares, strict=True)) if isinstance(shares, tuple) else {}
        for action, index in places:
            item = self._waiting.find(action)
            if item is None:
                continue
            overlay = OverlayId(item.row.overlay)
            need = Need.of(self._grounds.app_or_none(overlay))
            op = by_uptime(with_signers(item.row.ops[index], {peer}, uptimes), need)
            everybody = self._pacing.small(overlay) and 0 < op.members <= len(op.signers)
            if everybody and not op.enough:
                op = replace(op, enough="everybody")
            item.row = replace(item.row, ops=with_ops(item.row, {index: op}))
            self._changed(item)
