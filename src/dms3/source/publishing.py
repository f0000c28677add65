"""Publishing: every op of every own action to the nodes near it, until enough hold it.

Source: docs/chains.md, "Published". What waits is a row, so a restart goes on with it; rounds are
repeated with pauses that double. `waiting.py` has what is on its way, `filling.py` says what
travels together, `holding.py` what is enough, `receipts.py` takes what comes by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from dms3.chain.messages import PROTOCOL
from dms3.chain.operations_validation import KeepRecords, Record
from dms3.core.cid import Cid
from dms3.core.codec import decode, encode
from dms3.core.desk import Operation
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import OverlayId, PeerId, RequestId
from dms3.core.limits import (
    PUBLISH_ACTIONS_MAX,
    PUBLISH_ALONE_US,
    PUBLISH_RETRY_US_MAX,
    PUBLISH_RETRY_US_MIN,
    SECOND_US,
)
from dms3.core.machine import View, scan
from dms3.core.overlay import Asked, AskNear
from dms3.p2p.port import Conducted
from dms3.source.chains import Chain
from dms3.source.filling import Filling
from dms3.source.grounds import Grounds
from dms3.source.holding import (
    Need,
    PublishRow,
    Round,
    after_round,
    first_row,
    ids_of,
    with_signers,
)
from dms3.source.pacing import BUSY_US, Pacing
from dms3.source.parcels import BUSY, Outcome, Parcel, outcome_of
from dms3.source.parts import Part
from dms3.source.receipts import Receipts
from dms3.source.waiting import Item, Waiting, with_ops

PUBLISH, PENDING = "publish", "pending"
_ALARM, _SOON = "publish:round", "publish:soon"
_KEEP, _HELD = "publish:keep:", "publish:held:"
_KEPT_AT_ONCE = 64  # own records given to machine "validation" again after a start

Records = tuple[Record, ...]


class Publishing(Part):
    """The queue; operations "published", "receipts" and "end"."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._desk = grounds.desk
        self._view: View | None = None
        self._waiting = Waiting()
        self._pacing = Pacing()
        self._filling = Filling(grounds, self._waiting, self._pacing)
        self._receipts = Receipts(grounds, self._waiting, self._pacing, self._changed)
        self._active: set[OverlayId] = set()
        self._left_on_disk = False
        self.ended: tuple[Callable[[OverlayId], None], ...] = ()  # told that an app was removed

    def operations(self) -> Mapping[str, Operation]:
        """Commands."""
        return {"published": self._published, "receipts": self._receipts.note, "end": self._end}

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
        room = self._waiting.room  # nothing is taken before validation has kept it
        for _, value in scan(self._view, PENDING, chain.key):
            if room <= 0:
                self._left_on_disk = True
                return
            action = Cid.decode(value)
            record = self._grounds.shelf.record(action)
            if record is not None and action not in self._waiting:
                room -= 1
                yield record

    def _take(self, chain: Chain, records: Records) -> None:
        if chain.overlay not in self._active:
            return
        taken: list[Item] = []
        for record in records:
            if self._waiting.full:
                self._left_on_disk = True
                break
            row = self._row(record.signed.hash)
            if row is None or row.complete or row.action in self._waiting:
                continue
            taken.append(Item(row, ids_of(row, record.signed), record=record))
            self._waiting.add(taken[-1])
        self._go_on()
        for item in taken:
            if item.todo:  # nobody can be asked now
                item.put_by()

    def _row(self, action: Cid) -> PublishRow | None:
        item = self._waiting.find(action)
        if item is not None:
            return item.row
        assert self._view is not None, "read before the start"
        data = self._view.get(PUBLISH, action.binary)
        return None if data is None else decode(PublishRow, data)

    # Rounds

    def _go_on(self) -> None:
        """Ask as much at once as may be asked; then wait for what is due next."""
        now_us = self._desk.now.mono_us
        self._waiting.begin_due(now_us)
        for parcel in self._filling.parcels():
            self._send(parcel)
        for overlay in self._waiting.overlays():
            wait_us = self._pacing.held_us(overlay, now_us) - now_us
            if wait_us > 0:
                self._desk.after(f"{_HELD}{overlay.hex()}", wait_us, self._go_on)
        due_us = self._waiting.next_us
        if due_us is not None:
            self._desk.after(_ALARM, max(0, due_us - now_us), self._go_on)

    def _send(self, parcel: Parcel) -> None:
        self._waiting.send(parcel)
        self._pacing.sent(parcel.overlay, self._desk.now.mono_us)
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
        self._meet(overlay, somebody=body.members > 0)
        outcome = outcome_of(parcel, body)
        self._add_early(parcel, outcome)
        self._pacing.answered(overlay, now_us, busy=outcome.busy)
        for peer in sorted(outcome.forgers):
            self._report(peer, outcome.forgers[peer])
        self._tell_refused(parcel, outcome)
        before = (
            item.signers(place.index)
            for place in parcel.places
            if (item := self._waiting.find(place.action)) is not None
        )
        signers = sorted(set().union(*outcome.signers, *before))
        found = len(body.answers)
        round_ = Round(parcel.count, found, body.members, settled=True, needed=body.needed)

        def told(shares: object) -> None:
            uptimes = dict(zip(signers, shares, strict=True)) if isinstance(shares, tuple) else {}
            self._landed(parcel, (outcome, uptimes), round_)

        self._desk.call("peers.uptime", tuple(signers), told)

    def _meet(self, overlay: OverlayId, *, somebody: bool) -> None:
        """Whether others were there to ask: alone, one look is taken for all that waits."""
        if somebody and self._pacing.is_alone(overlay):
            self._waiting.begin_alone(overlay)
        self._pacing.met(overlay, self._desk.now.mono_us, somebody=somebody)

    def _add_early(self, parcel: Parcel, outcome: Outcome) -> None:
        """Who was asked is known now: their receipts that came meanwhile count, others' do not."""
        for number, place in enumerate(parcel.places):
            item = self._waiting.find(place.action)
            if item is not None:
                item.asked |= outcome.asked
                early = {peer for peer, places in item.early.items() if place.index in places}
                outcome.signers[number] |= early & outcome.asked

    def _landed(
        self, parcel: Parcel, brought: tuple[Outcome, Mapping[PeerId, float]] | None, round_: Round
    ) -> None:
        """Write down what a question brought; whose round is over is done, or waits."""
        need = Need.of(self._grounds.app_or_none(parcel.overlay))
        for item, places in self._waiting.land(parcel):
            if brought is not None:
                outcome, uptimes = brought
                item.busy = item.busy or outcome.busy
                changed = {}
                for number, place in places:
                    op = with_signers(item.row.ops[place.index], outcome.signers[number], uptimes)
                    settled, far = not outcome.open[number], outcome.far[number]
                    one = replace(round_, settled=settled, far=far)
                    changed[place.index] = after_round(op, one, need)
                item.row = replace(item.row, ops=with_ops(item.row, changed))
            self._after(item)
        self._go_on()

    def _after(self, item: Item) -> None:
        """Keep the row; end the round when nothing of it is under way."""
        if not item.row.complete and item.round_over:
            self._rest(item)
        self._changed(item)

    def _rest(self, item: Item) -> None:
        """Its next round begins after a pause."""
        row = item.row
        large = self._pacing.small(OverlayId(row.overlay)) is False
        wait_us, tries = _pause_us(row.tries), row.tries + 1
        if item.busy:
            wait_us, tries = BUSY_US, row.tries
        elif large and not row.tries:
            wait_us = 1  # those farther away are asked at once
        elif item.alone:
            wait_us = min(wait_us, PUBLISH_ALONE_US)  # one look for all that waits: see pacing.py
        item.row = replace(row, tries=tries, again_us=self._desk.now.wall_us + wait_us)
        self._waiting.rest(item, self._desk.now.mono_us + wait_us)

    def _changed(self, item: Item) -> None:
        """Keep its row, which is another now; tell when it is complete."""
        if item.row.complete:
            self._complete(item)
        else:
            self._desk.persist(PUBLISH, item.row.action.binary, encode(item.row))

    def _complete(self, item: Item) -> None:
        row = item.row = replace(item.row, again_us=0)
        self._waiting.remove(item)
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
        if self._left_on_disk and len(self._waiting) < PUBLISH_ACTIONS_MAX // 2:
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
        alone = any(item.alone for item in self._waiting)
        if alone and not self._desk.has_alarm(_SOON):
            self._desk.after(_SOON, SECOND_US, self._hurry)

    def _hurry(self) -> None:
        self._waiting.begin_alone()
        self._pacing.look()
        self._go_on()

    # Commands

    def _published(self, action: Cid, request: RequestId) -> None:
        row = self._row(action)
        if row is None:
            raise Dms3Error("not_found", f"{action} is no action of your chains.")
        self._desk.reply(request, row.shown)

    def _end(self, overlay: OverlayId, request: RequestId) -> None:
        """The app was removed: its rows stay, nobody is asked any more."""
        self._active.discard(overlay)
        for told in self.ended:
            told(overlay)
        for item in [each for each in self._waiting if each.row.overlay == overlay]:
            self._waiting.remove(item)
        self._desk.reply(request, None)


def _pause_us(tries: int) -> int:
    return min(PUBLISH_RETRY_US_MIN << min(tries, 16), PUBLISH_RETRY_US_MAX)


def _pending_key(row: PublishRow) -> bytes:
    return row.chain + row.seq.to_bytes(8, "big")
