"""Publishing: every op of every own action to the nodes near it, until enough hold it.

Source: docs/chains.md, "Published". What waits is a row, so a restart goes on with it; rounds are
repeated with pauses that double. In a small overlay everybody is near everything, and all ops of
many actions travel in one question. `holding.py` says what is enough, `parcels.py` what travels.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from dms3.chain.messages import PROTOCOL
from dms3.chain.operations import KeepRecords, NoteReceipts, Record
from dms3.chain.ops import Op, ops_of
from dms3.core.cid import Cid
from dms3.core.codec import decode, encode
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import OverlayId, PeerId, RequestId
from dms3.core.limits import (
    PUBLISH_ACTIONS_MAX,
    PUBLISH_ALONE_US,
    PUBLISH_NODES_MAX,
    PUBLISH_RETRY_US_MAX,
    PUBLISH_RETRY_US_MIN,
    SECOND_US,
)
from dms3.core.machine import View, scan
from dms3.core.overlay import Asked, AskNear
from dms3.core.overlay import location as location_of
from dms3.p2p.port import Conducted
from dms3.source.chains import Chain
from dms3.source.grounds import Grounds
from dms3.source.holding import (
    Need,
    OpRow,
    PublishRow,
    Round,
    after_round,
    by_uptime,
    count_of,
    first_row,
    ids_of,
    with_signers,
)
from dms3.source.pacing import BUSY_US, Pacing
from dms3.source.parcels import (
    BUSY,
    Outcome,
    Parcel,
    Place,
    filled,
    outcome_of,
    place_of,
    signed_by,
)
from dms3.source.parts import Operation, Part

PUBLISH, PENDING = "publish", "pending"
_ALARM, _SOON = "publish:round", "publish:soon"
_KEEP, _HELD = "publish:keep:", "publish:held:"
_LOOKED_AT = 256  # actions, for ops that can travel together
_EARLY_MAX = 2 * PUBLISH_NODES_MAX  # whose receipts come before it is known that they were asked
_KEPT_AT_ONCE = 64  # own records given to machine "validation" again after a start

Records = tuple[Record, ...]


@dataclass(slots=True)
class _Item:
    """An action on its way. `todo`: ops to be asked for in this round; `flying`: being asked."""

    row: PublishRow
    ids: tuple[bytes, ...]
    due_us: int = 0  # when the next round begins; 0 while there is one
    todo: set[int] = field(default_factory=set)
    flying: set[int] = field(default_factory=set)
    record: Record | None = None
    busy: bool = False  # most were asked too much in this round
    asked: set[PeerId] = field(default_factory=set)  # who lies near it: their receipts count
    early: dict[PeerId, set[int]] = field(default_factory=dict)  # of whom that is not known yet

    def is_due(self, peer: PeerId, index: int) -> bool:
        """Whether a receipt of `peer` counts now; of one that may have been asked: in a moment."""
        if peer in self.asked:
            return True
        room = peer in self.early or len(self.early) < _EARLY_MAX
        if index in self.flying and room:
            self.early.setdefault(peer, set()).add(index)
        return False


class Publishing(Part):
    """The queue; operations "published", "receipts" and "end"."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._desk = grounds.desk
        self._view: View | None = None
        self._items: dict[Cid, _Item] = {}
        self._ready: dict[OverlayId, dict[Cid, _Item]] = {}  # those with ops to ask for
        self._due: list[tuple[int, Cid]] = []
        self._op_of: dict[bytes, tuple[Cid, int]] = {}
        self._active: set[OverlayId] = set()
        self._pacing = Pacing()
        self._left_on_disk = False
        self.ended: tuple[Callable[[OverlayId], None], ...] = ()  # told that an app was removed

    def operations(self) -> Mapping[str, Operation]:
        """Commands."""
        return {"published": self._published, "receipts": self._receipts, "end": self._end}

    def load(self, view: View) -> None:
        """Wait for the apps to be taken up: `resume`."""
        self._view = view

    # What other parts use

    def keep_row(self, chain: Chain, record: Record) -> None:
        """An action will be published: written with whatever else is written in this event."""
        row = first_row(chain.overlay, chain.key, record.signed)
        self._desk.persist(PUBLISH, row.action.binary, encode(row))
        self._desk.persist(PENDING, _pending_key(row), row.action.binary)

    def publish(self, chain: Chain, records: Records, done: Callable[[Records], None]) -> None:
        """Have kept actions read here, tell `done`, then bring them to others."""

        def kept(body: object) -> None:
            if isinstance(body, Failure):
                key = f"{_KEEP}{records[0].signed.hash}"
                self._desk.after(key, PUBLISH_RETRY_US_MIN, lambda: self._keep(chain, records))
            else:
                self._take(chain, records)
            done(records)

        whole = tuple(replace(each, sealed=self._grounds.sealed(each)) for each in records)
        self._desk.call("validation.keep", KeepRecords(chain.overlay, whole), kept)

    def activate(self, overlay: OverlayId) -> None:
        """The app runs: others can be asked to hold what is written in it."""
        self._active.add(overlay)

    def resume(self, chain: Chain) -> None:
        """Go on with what of this chain was not published yet."""
        group: list[Record] = []
        for record in self._pending(chain):
            group.append(record)
            if len(group) == _KEPT_AT_ONCE:
                self._keep(chain, tuple(group))
                group = []
        if group:
            self._keep(chain, tuple(group))

    # Into the queue

    def _keep(self, chain: Chain, records: Records) -> None:
        self.publish(chain, records, lambda _: None)

    def _pending(self, chain: Chain) -> Iterator[Record]:
        """The records whose publishing was not complete, in order, as many as there is room for."""
        assert self._view is not None, "read before the start"
        for _, value in scan(self._view, PENDING, chain.key):
            if len(self._items) >= PUBLISH_ACTIONS_MAX:
                self._left_on_disk = True
                return
            action = Cid.decode(value)
            record = self._grounds.shelf.record(action)
            if record is not None and action not in self._items:
                yield record

    def _take(self, chain: Chain, records: Records) -> None:
        if chain.overlay not in self._active:
            return
        for record in records:
            if len(self._items) >= PUBLISH_ACTIONS_MAX:
                self._left_on_disk = True
                break
            row = self._row(record.signed.hash)
            if row is None or row.complete or row.action in self._items:
                continue
            ids = ids_of(row, record.signed)
            item = _Item(row, ids, record=record)
            self._items[row.action] = item
            for index, name in enumerate(ids):
                self._op_of[name] = (row.action, index)
            self._begin_round(item)
        self._go_on()

    def _row(self, action: Cid) -> PublishRow | None:
        item = self._items.get(action)
        if item is not None:
            return item.row
        assert self._view is not None, "read before the start"
        data = self._view.get(PUBLISH, action.binary)
        return None if data is None else decode(PublishRow, data)

    # Rounds

    def _begin_round(self, item: _Item) -> None:
        item.due_us, item.busy = 0, False
        item.early.clear()
        item.todo = {index for index, op in enumerate(item.row.ops) if not op.enough}
        self._ready.setdefault(OverlayId(item.row.overlay), {})[item.row.action] = item

    def _wait(self, item: _Item, wait_us: int) -> None:
        item.due_us = self._desk.now.mono_us + wait_us
        heapq.heappush(self._due, (item.due_us, item.row.action))
        self._set_alarm()

    def _set_alarm(self) -> None:
        if self._due:
            wait_us = max(0, self._due[0][0] - self._desk.now.mono_us)
            self._desk.after(_ALARM, wait_us, self._go_on)

    def _go_on(self) -> None:
        """Ask as much at once as may be asked; then wait for what is due next."""
        while self._due and self._due[0][0] <= self._desk.now.mono_us:
            due_us, action = heapq.heappop(self._due)
            item = self._items.get(action)
            if item is not None and item.due_us == due_us:  # else it was hurried
                self._begin_round(item)
        for parcel in self._parcels():
            self._send(parcel)
        for overlay in sorted(each for each in self._ready if self._ready[each]):
            wait_us = self._pacing.held_us(overlay) - self._desk.now.mono_us
            if wait_us > 0:
                self._desk.after(f"{_HELD}{overlay.hex()}", wait_us, self._go_on)
        self._set_alarm()

    def _has_room(self, overlay: OverlayId) -> bool:
        return self._pacing.has_room(overlay, self._desk.now.mono_us)

    def _parcels(self) -> Iterator[Parcel]:
        """What can be asked now, in order of the queue."""
        for overlay in sorted(self._ready):
            items = self._ready[overlay]
            if items and self._has_room(overlay):
                yield from self._parcels_of(overlay, list(islice(items.values(), _LOOKED_AT)))

    def _parcels_of(self, overlay: OverlayId, items: list[_Item]) -> Iterator[Parcel]:
        need = Need.of(self._grounds.app_or_none(overlay))
        small = self._pacing.small(overlay)
        if small:
            yield from self._together(overlay, items, need)
            return
        for item in items:
            while item.todo and self._has_room(overlay):
                op = item.row.ops[min(item.todo)]
                count = need.most if small is None else count_of(op, item.row.tries, need)
                yield self._one_place(overlay, item, items, count)

    def _together(self, overlay: OverlayId, items: list[_Item], need: Need) -> Iterator[Parcel]:
        """All that waits, in as few questions as hold it: everybody is asked for everything."""

        def places() -> Iterator[Place]:
            for item in items:
                ops = self._ops(item)
                for index in sorted(item.todo):
                    yield place_of(item.row.action, index, ops[index])

        groups = filled(places())
        while self._has_room(overlay):
            group = next(groups, ())
            if not group:
                return
            first = self._items[group[0].action].row.ops[group[0].index]
            yield Parcel(overlay, location_of(first.basis), need.most, group)

    def _one_place(self, overlay: OverlayId, item: _Item, items: list[_Item], count: int) -> Parcel:
        """The first op of `item` that is to do, with those of others that lie at the same place."""
        basis = item.row.ops[min(item.todo)].basis

        def places() -> Iterator[Place]:
            for each in items:
                for index in sorted(each.todo):
                    if each.row.ops[index].basis == basis:
                        yield place_of(each.row.action, index, self._ops(each)[index])

        return Parcel(overlay, location_of(basis), count, next(filled(places())))

    def _ops(self, item: _Item) -> tuple[Op, ...]:
        record = item.record or self._grounds.shelf.record(item.row.action)
        assert record is not None, "what is published was kept"
        return ops_of(record.signed, record.entry, self._grounds.sealed(record))

    def _send(self, parcel: Parcel) -> None:
        for place in parcel.places:
            item = self._items[place.action]
            item.todo.discard(place.index)
            item.flying.add(place.index)
            if not item.todo:
                self._ready[parcel.overlay].pop(place.action, None)
        self._pacing.sent(parcel.overlay)
        asked = AskNear(parcel.overlay, parcel.target, parcel.count, PROTOCOL, parcel.body)
        self._desk.call("dht.ask_near", asked, lambda body: self._answered(parcel, body))

    # Answers

    def _answered(self, parcel: Parcel, body: Asked | Failure) -> None:
        overlay, now_us = parcel.overlay, self._desk.now.mono_us
        if isinstance(body, Failure):
            self._pacing.answered(overlay, now_us, busy=body.code == BUSY)
            self._landed(parcel, None, Round(parcel.count, parcel.count, 0, settled=False))
            return
        need = Need.of(self._grounds.app_or_none(parcel.overlay))
        if parcel.count >= need.most or len(body.answers) < parcel.count:
            self._pacing.sized(overlay, small=len(body.answers) < parcel.count)
        outcome = outcome_of(parcel, body)
        self._add_early(parcel, outcome)
        self._pacing.answered(overlay, now_us, busy=outcome.busy)
        for peer in sorted(outcome.forgers):
            self._report(peer, outcome.forgers[peer])
        self._tell_refused(parcel, outcome)
        signers = sorted(set().union(*outcome.signers, *self._signers(parcel)))
        found = len(body.answers)
        round_ = Round(parcel.count, found, body.members, settled=True, needed=body.needed)

        def told(shares: object) -> None:
            uptimes = dict(zip(signers, shares, strict=True)) if isinstance(shares, tuple) else {}
            self._landed(parcel, (outcome, uptimes), round_)

        self._desk.call("peers.uptime", tuple(signers), told)

    def _add_early(self, parcel: Parcel, outcome: Outcome) -> None:
        """Who was asked is known now: their receipts that came meanwhile count, others' do not."""
        for number, place in enumerate(parcel.places):
            item = self._items.get(place.action)
            if item is not None:
                item.asked |= outcome.asked
                early = {peer for peer, places in item.early.items() if place.index in places}
                outcome.signers[number] |= early & outcome.asked

    def _signers(self, parcel: Parcel) -> Iterator[set[PeerId]]:
        """Who signed in earlier rounds."""
        for place in parcel.places:
            item = self._items.get(place.action)
            if item is not None:
                yield {PeerId(each) for each in item.row.ops[place.index].signers}

    def _landed(
        self, parcel: Parcel, brought: tuple[Outcome, Mapping[PeerId, float]] | None, round_: Round
    ) -> None:
        """Write down what a question brought; whose round is over is done, or waits."""
        need = Need.of(self._grounds.app_or_none(parcel.overlay))
        touched: dict[Cid, _Item] = {}
        for number, place in enumerate(parcel.places):
            item = self._items.get(place.action)
            if item is None:
                continue
            item.flying.discard(place.index)
            item.busy = item.busy or (brought is not None and brought[0].busy)
            touched[place.action] = item
            op = item.row.ops[place.index]
            if brought is not None:
                outcome, uptimes = brought
                op = with_signers(op, outcome.signers[number], uptimes)
                one = replace(round_, settled=not outcome.open[number])
                op = after_round(op, one, need)
            item.row = _with_op(item.row, place.index, op)
        for item in touched.values():
            self._after(item)
        self._go_on()

    def _after(self, item: _Item) -> None:
        """Keep the row; end the round when nothing of it is under way."""
        row = item.row
        if row.complete:
            self._complete(item)
            return
        if not item.todo and not item.flying:
            large = self._pacing.small(OverlayId(row.overlay)) is False
            wait_us, tries = _pause_us(row.tries), row.tries + 1
            if item.busy:
                wait_us, tries = BUSY_US, row.tries
            elif large and not row.tries:
                wait_us = 1  # those farther away are asked at once
            elif not any(op.members for op in row.ops):
                wait_us = min(
                    wait_us, PUBLISH_ALONE_US
                )  # nobody else has the app yet: costs nobody
            again_us = self._desk.now.wall_us + wait_us
            item.row = row = replace(row, tries=tries, again_us=again_us)
            item.record = None
            self._wait(item, wait_us)
        self._desk.persist(PUBLISH, row.action.binary, encode(row))

    def _complete(self, item: _Item) -> None:
        row = item.row = replace(item.row, again_us=0)
        self._forget(item)
        self._desk.persist(PUBLISH, row.action.binary, encode(row))
        self._desk.delete(PENDING, _pending_key(row))
        holders = {signer for op in row.ops for signer in op.signers}
        self._desk.notify(
            "chain.published",
            app=row.overlay.hex(),
            action=str(row.action),
            holders=len(holders),
            enough=sorted({op.enough for op in row.ops}),
        )
        if self._left_on_disk and len(self._items) < PUBLISH_ACTIONS_MAX // 2:
            self._left_on_disk = False
            self._desk.after(_SOON, 0, self._refill)

    def _refill(self) -> None:
        for chain in (*self._grounds.chains.own(), *self._grounds.chains.foreign()):
            if chain.overlay in self._active:
                self.resume(chain)

    def _tell_refused(self, parcel: Parcel, outcome: Outcome) -> None:
        for peer, place, result in outcome.refusals:
            self._desk.notify(
                "chain.refused",
                app=parcel.overlay.hex(),
                action=str(place.action),
                peer=peer.hex(),
                rule=result.rule,
                detail=result.detail,
                line=result.line,
            )

    def _report(self, peer: PeerId, code: str) -> None:
        self._desk.call("peers.conduct", Conducted(peer, code), lambda _: None)

    # Peers

    def peer_up(self, peer: PeerId) -> None:
        """Somebody came: what had nobody to go to may go now."""
        del peer
        alone = any(
            item.due_us and not any(op.members for op in item.row.ops)
            for item in self._items.values()
        )
        if alone and not self._desk.has_alarm(_SOON):
            self._desk.after(_SOON, SECOND_US, self._hurry)

    def _hurry(self) -> None:
        for item in self._items.values():
            if item.due_us and not any(op.members for op in item.row.ops):
                self._begin_round(item)
        self._go_on()

    # Commands

    def _published(self, action: Cid, request: RequestId) -> None:
        row = self._row(action)
        if row is None:
            raise Dms3Error("not_found", f"{action} is no action of your chains.")
        self._desk.reply(request, row.shown)

    def _receipts(self, note: NoteReceipts, request: RequestId) -> None:
        """Receipts that come by themselves, for ops that were pending there."""
        self._desk.reply(request, None)
        good: list[tuple[Cid, int]] = []
        for op, receipt in note.receipts:
            place = self._op_of.get(op)
            if place is None:
                continue
            if not signed_by(note.overlay, op, note.peer, receipt):
                self._report(note.peer, "receipt_forged")
                return
            if self._items[place[0]].is_due(note.peer, place[1]):
                good.append(place)
        if good:
            peers = (note.peer, *sorted(self._known_signers(good) - {note.peer}))
            self._desk.call(
                "peers.uptime", peers, lambda shares: self._noted(note.peer, good, peers, shares)
            )

    def _known_signers(self, places: list[tuple[Cid, int]]) -> set[PeerId]:
        rows = [(self._items[action].row, index) for action, index in places]
        return {PeerId(each) for row, index in rows for each in row.ops[index].signers}

    def _noted(
        self,
        peer: PeerId,
        places: list[tuple[Cid, int]],
        peers: tuple[PeerId, ...],
        shares: object,
    ) -> None:
        uptimes = dict(zip(peers, shares, strict=True)) if isinstance(shares, tuple) else {}
        for action, index in places:
            item = self._items.get(action)
            if item is None:
                continue
            overlay = OverlayId(item.row.overlay)
            need = Need.of(self._grounds.app_or_none(overlay))
            op = by_uptime(with_signers(item.row.ops[index], {peer}, uptimes), need)
            everybody = self._pacing.small(overlay) and 0 < op.members <= len(op.signers)
            if everybody and not op.enough:
                op = replace(op, enough="everybody")
            item.row = _with_op(item.row, index, op)
            if item.row.complete:
                self._complete(item)
            else:
                self._desk.persist(PUBLISH, action.binary, encode(item.row))

    def _end(self, overlay: OverlayId, request: RequestId) -> None:
        """The app was removed: its rows stay, nobody is asked any more."""
        self._active.discard(overlay)
        for told in self.ended:
            told(overlay)
        for item in [each for each in self._items.values() if each.row.overlay == overlay]:
            self._forget(item)
        self._desk.reply(request, None)

    def _forget(self, item: _Item) -> None:
        del self._items[item.row.action]
        self._ready.get(OverlayId(item.row.overlay), {}).pop(item.row.action, None)
        for name in item.ids:
            self._op_of.pop(name, None)


def _with_op(row: PublishRow, index: int, op: OpRow) -> PublishRow:
    ops = (*row.ops[:index], op, *row.ops[index + 1 :])
    return replace(row, ops=ops)


def _pause_us(tries: int) -> int:
    return min(PUBLISH_RETRY_US_MIN << min(tries, 16), PUBLISH_RETRY_US_MAX)


def _pending_key(row: PublishRow) -> bytes:
    return row.chain + row.seq.to_bytes(8, "big")
