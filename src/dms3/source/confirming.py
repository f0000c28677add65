"""Is this home's chain all of it? Holders of its key are asked, and what is missing is taken up.

Source: docs/chains.md, "Restore". A home that finds itself in another place than it wrote, a copy
or one that was put back, writes nothing before a quorum has reported the head; any other asks after
each start, beside its work. Without a quorum it goes on asking: better no action than two at one
place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dms3.chain.action import SignedAction, check_signature
from dms3.chain.operations_validation import Activity, GetActivity, Record
from dms3.chain.rules import ends_chain, next_author
from dms3.core.codec import decode, encode
from dms3.core.errors import Failure
from dms3.core.ids import OverlayId
from dms3.core.limits import BROUGHT_AT_ONCE_MAX, CHAIN_ASK_US_MAX, CHAIN_ASK_US_MIN, TAKEN_UP_MAX
from dms3.core.machine import View
from dms3.source.bringing import Bringing
from dms3.source.chains import Chain, Standing
from dms3.source.flows import Ask, Flow, Join, Rest
from dms3.source.grounds import Grounds
from dms3.source.parts import Part
from dms3.source.publishing import Publishing

HOME = "home"


@dataclass(frozen=True, slots=True)
class HomeRow:
    """Where the home of a device lay when it was last started, and whether it ever moved."""

    v: int
    place: bytes
    copied: bool = False


class Confirming(Part):
    """Asks for the heads of own chains, and takes up what holders know of them."""

    def __init__(
        self,
        grounds: Grounds,
        publishing: Publishing,
        bringing: Bringing,
        wake: Callable[[OverlayId], None],
    ) -> None:
        """`wake` is told of chains whose standing has changed."""
        self._grounds = grounds
        self._publishing = publishing
        self._bringing = bringing
        self._asking: set[bytes] = set()
        self._wake = wake

    def load(self, view: View) -> None:
        """Find out whether this home is where it was; a chain of a copy asks first."""
        own = self._grounds.own
        data = view.get(HOME, own.device)
        row = None if data is None else decode(HomeRow, data)
        moved = row is not None and own.place != b"" and row.place not in (b"", own.place)
        copied = moved or (row is not None and row.copied)
        self._grounds.copied = copied
        now = HomeRow(1, own.place or (row.place if row is not None else b""), copied)
        if now != row:
            self._grounds.desk.persist(HOME, own.device, encode(now))
        for chain in self._grounds.chains.own():
            if moved and chain.row.standing == "writable":
                chain.stand("asking")

    def confirm(self, chain: Chain) -> None:
        """Ask until a quorum has reported the head of an own chain."""
        if chain.key in self._asking:
            return
        self._asking.add(chain.key)

        def ended(_: Failure | None) -> None:
            self._asking.discard(chain.key)

        self._grounds.flows.start(self._confirm(chain), ended)

    def _confirm(self, chain: Chain) -> Flow[None]:
        pause_us = CHAIN_ASK_US_MIN
        while True:
            activity = yield from self.activity(chain)
            news = () if activity is None else self._news(chain, activity)
            if news:
                chain.stand("asking")
                yield from self.take_up(chain, news)
                continue
            if chain.row.fault:
                return  # it will never be writable
            if activity is not None and activity.quorum and activity.highest <= chain.row.seq:
                if chain.row.standing == "asking":
                    chain.stand(_standing(self._head(chain)))
                    self._told(chain)
                return
            yield Rest(pause_us)
            pause_us = min(2 * pause_us, CHAIN_ASK_US_MAX)

    def _told(self, chain: Chain) -> None:
        row = chain.row
        self._grounds.desk.notify(
            "chain.restored", app=chain.overlay.hex(), agent=row.agent.hex(), seq=row.seq
        )
        self._wake(chain.overlay)

    def activity(self, chain: Chain) -> Flow[Activity | None]:
        """What holders know of the chain from its head on, under the key that is its last."""
        row = chain.row
        after = max(-1, row.seq - 1)  # the head itself, too: it may be another there
        asked = GetActivity(chain.overlay, row.agent, after, limit=TAKEN_UP_MAX)
        answer = yield Ask("validation.activity", asked)
        return answer if isinstance(answer, Activity) else None

    def _news(self, chain: Chain, activity: Activity) -> tuple[SignedAction, ...]:
        """The actions that follow the head; another action at one of its places is a fault."""
        row = chain.row
        for signed in activity.actions:
            seq = signed.action.seq
            held = self._grounds.shelf.action(chain.key, seq) if seq <= row.seq else None
            if held is not None and held.hash != signed.hash and _is_mine(signed, chain):
                chain.stand("asking", f"another home has written action {seq} of it, too")
                self._wake(chain.overlay)
                return ()
        return following(row.agent, row.seq, self._head(chain), activity.actions)

    def _head(self, chain: Chain) -> SignedAction | None:
        return self._grounds.shelf.action(chain.key, chain.row.seq)

    def take_up(self, chain: Chain, news: Sequence[SignedAction]) -> Flow[None]:
        """Write down actions behind the head with what can be brought of their entries."""
        records: list[Record] = []
        for start in range(0, len(news), BROUGHT_AT_ONCE_MAX):
            some = news[start : start + BROUGHT_AT_ONCE_MAX]
            flows = tuple(self._bringing.bring(chain.overlay, signed) for signed in some)
            records += yield Join(flows)
        row = chain.row
        if news[0].action.seq != row.seq + 1:
            return  # written or taken up meanwhile
        for record in records:
            self._grounds.shelf.put(chain.key, record)
        whole = tuple(each for each in records if _is_whole(each))
        for record in whole:
            self._publishing.keep_row(chain, record)
        last = news[-1]
        author = next_author(last.action)
        chain.change(
            replace(
                row,
                seq=last.action.seq,
                head=last.hash,
                time_us=last.action.time_us,
                agent=author,
                generation=self._generation(chain, author),
            )
        )
        if whole:
            self._publishing.publish(chain, whole, lambda _: None)

    def _generation(self, chain: Chain, author: bytes) -> int:
        """Which key of the device `author` is."""
        row = chain.row
        if author == row.agent:
            return row.generation
        tree = self._grounds.own.tree
        for generation in range(row.generation + 1, row.generation + 1 + TAKEN_UP_MAX):
            if tree.agent(row.device, row.overlay, generation).public == author:
                return generation
        return row.generation


def following(
    agent: bytes, seq: int, head: SignedAction | None, actions: Sequence[SignedAction]
) -> tuple[SignedAction, ...]:
    """Those of `actions` that go on behind `head` (at `seq`) without a gap, signed by its key."""
    found: list[SignedAction] = []
    author, prev = agent, None if head is None else head.hash
    for signed in sorted(actions, key=lambda each: each.action.seq):
        action = signed.action
        if action.seq != seq + 1:
            continue
        fits = action.author == author and action.prev == prev
        if not fits or not check_signature(signed):
            break
        found.append(signed)
        seq, prev, author = action.seq, signed.hash, next_author(action)
    return tuple(found)


def _is_whole(record: Record) -> bool:
    """Whether others can be given all of it."""
    return record.entry is not None or record.signed.action.entry is None


def _is_mine(signed: SignedAction, chain: Chain) -> bool:
    return signed.action.dna == chain.overlay and check_signature(signed)


def _standing(head: SignedAction | None) -> Standing:
    return "closed" if head is not None and ends_chain(head.action) else "writable"
