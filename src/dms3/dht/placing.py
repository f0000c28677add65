"""Placing: have values held by the nodes nearest to each, with few questions; many at once.

Source: Kademlia, section 2.5; the offers of the Portal wire protocol. Values are sorted by
location, so that one lookup serves all it covers (`neighbourhood.py`); what is large is offered
before it is sent; a node that does not take a value is replaced by the next nearest. What is held
by whom is known only from their answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from dms3.core.cid import Cid
from dms3.core.errors import Failure
from dms3.core.ids import OverlayId, PeerId, Token
from dms3.core.limits import (
    DHT_ITEMS_MAX,
    DHT_PUT_BYTES_MAX,
    HELD_LIFE_US,
    OFFER_VALUE_BYTES_MIN,
    PLACING_FLIGHTS_MAX,
    PLACING_LOOKUPS_MAX,
    PLACINGS_MAX,
)
from dms3.core.machine import Call, Effect, Now
from dms3.core.overlay import HOLDERS_MIN, LOCATION_BYTES, NodeAt, Placed, location
from dms3.dht.asking import Asking
from dms3.dht.lookup import Nearest
from dms3.dht.lookups import Lookups
from dms3.dht.messages import Code, Codes, Offered, PutValue, Question
from dms3.dht.neighbourhood import Neighbourhood, Neighbourhoods
from dms3.dht.presence import node_location
from dms3.dht.radius import Radii
from dms3.dht.reading import Answer
from dms3.dht.taking import Taking

PREFIX = "place:"
_TAKEN = (Code.WANTED, Code.HELD)

Done = Callable[[Placed, Now], list[Effect]]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A value to place; `value` None: a block of this node's library, read when it is wanted."""

    type: str
    key: bytes
    mark: bytes
    value: bytes | None = field(repr=False)
    until_us: int


@dataclass(slots=True, eq=False)
class _Item:
    """A parcel on its way."""

    parcel: Parcel
    location: int
    candidates: list[NodeAt] = field(default_factory=list)  # not asked yet, nearest first
    assigned: bool = False
    wanted: int = 0
    held: int = 0
    open: int = 0  # nodes whose answer is to come
    value: bytes | None = field(default=None, repr=False)
    waiting: list[NodeAt] = field(default_factory=list)  # for the value to be read
    loading: bool = False


@dataclass(slots=True, eq=False)
class _Line:
    """What goes to one node: items to be offered, and to be put."""

    node: NodeAt
    offers: list[_Item] = field(default_factory=list)
    puts: list[_Item] = field(default_factory=list)
    flights: int = 0


@dataclass(slots=True, eq=False)
class _Put:
    """One put; ends when nothing is open, or at its deadline."""

    number: int
    overlay: OverlayId
    items: list[_Item]
    deadline_us: int
    done: Done
    offer_all: bool
    lines: dict[PeerId, _Line] = field(default_factory=dict)
    lookups: list[int] = field(default_factory=list)  # locations that are being looked up
    ended: bool = False


class Placing:
    """All puts under way. `own`: this node; `member`: whether it holds values of an overlay.

    `radii`: what others have said of theirs.
    """

    def __init__(
        self,
        own: PeerId,
        asking: Asking,
        lookups: Lookups,
        taking: Taking,
        member: Callable[[OverlayId], bool],
    ) -> None:
        self._at = int.from_bytes(node_location(own), "big")
        self._asking = asking
        self._lookups = lookups
        self._taking = taking
        self._member = member
        self.radii = Radii()  # who would not keep a value is not offered it
        self._neighbourhoods = Neighbourhoods()
        self._puts: dict[int, _Put] = {}
        self._loads: dict[Token, tuple[_Put, _Item]] = {}
        self._count = 0

    @property
    def full(self) -> bool:
        """Whether another put has to wait."""
        return len(self._puts) >= PLACINGS_MAX

    def put(
        self,
        overlay: OverlayId,
        parcels: Sequence[Parcel],
        deadline_us: int,
        now: Now,
        done: Done,
        *,
        offer_all: bool = False,
    ) -> tuple[int, list[Effect]]:
        """Begin to place `parcels`; its number, and effects. `done` is called once.

        `deadline_us`: monotonic; `offer_all`: small values are offered too, since they are
        expected to be where they belong.
        """
        self._count += 1
        items = [
            _Item(parcel, int.from_bytes(location(parcel.key), "big"), value=parcel.value)
            for parcel in parcels
        ]
        put = _Put(self._count, overlay, items, deadline_us, done, offer_all)
        self._puts[put.number] = put
        return put.number, self._assign(put, now) + self._go_on(put, now)

    def cancel(self, number: int) -> None:
        """Nobody waits for this put any more; questions under way are left to end."""
        put = self._puts.pop(number, None)
        if put is not None:
            put.ended = True

    def next_timer(self) -> int | None:
        """The earliest deadline."""
        return min((put.deadline_us for put in self._puts.values()), default=None)

    def on_timer(self, now: Now) -> list[Effect]:
        """End the puts whose time is over with what was reached."""
        effects: list[Effect] = []
        for put in list(self._puts.values()):
            if put.deadline_us <= now.mono_us:
                effects += self._end(put, now)
        return effects

    def loaded(self, token: Token, body: object, now: Now) -> list[Effect]:
        """The library's answer to a block that is wanted."""
        put, item = self._loads.pop(token)
        item.loading = False
        if put.ended:
            return []
        nodes, item.waiting = item.waiting, []
        if isinstance(body, bytes):
            item.value = body
            for node in nodes:
                self._line(put, node).puts.append(item)
        else:  # it is gone from here: nobody can be given it
            item.open -= len(nodes)
            item.candidates.clear()
        return self._go_on(put, now)

    # Going on

    def _go_on(self, put: _Put, now: Now) -> list[Effect]:
        if put.ended:
            return []
        effects: list[Effect] = []
        for peer in sorted(put.lines):
            effects += self._send(put, put.lines[peer], now)
        if not put.ended and not put.lookups and not any(item.open for item in put.items):
            effects += self._end(put, now)
        return effects

    def _end(self, put: _Put, now: Now) -> list[Effect]:
        if self._puts.pop(put.number, None) is None:
            return []
        put.ended = True
        wanted = max((item.wanted for item in put.items), default=0)
        return put.done(Placed(tuple(item.held for item in put.items), wanted), now)

    def _assign(self, put: _Put, now: Now) -> list[Effect]:
        """Give each item its nodes, as far as neighbourhoods are known; look the others up."""
        effects: list[Effect] = []
        own: list[_Item] = []
        waiting = [item for item in put.items if not item.assigned]
        # The first lookup often covers all others.
        most = PLACING_LOOKUPS_MAX if len(waiting) < len(put.items) else 1
        known = len(self._lookups.table(put.overlay))
        for item in sorted(waiting, key=lambda each: each.location):
            found = self._neighbourhoods.covering(put.overlay, item.location, now.mono_us, known)
            if found is not None:
                own += self._assign_one(put, item, found, now)
            elif len(put.lookups) < most and item.location not in put.lookups:
                effects += self._look_up(put, item.location, now)
        return effects + self._keep_own(put, own, now)

    def _look_up(self, put: _Put, target: int, now: Now) -> list[Effect]:
        known = len(self._lookups.table(put.overlay))

        def found(nearest: Nearest, now: Now) -> list[Effect]:
            put.lookups.remove(target)
            effects: list[Effect] = []
            if put.ended:
                return effects
            found_nodes = self._neighbourhoods.add(
                put.overlay, target, nearest.nodes, nearest.radius, now.mono_us, known
            )
            for item in put.items:  # the one that was looked up has its nodes in any case
                if item.location == target and not item.assigned:
                    around = replace(found_nodes, radius=None)
                    mine = self._assign_one(put, item, around, now)
                    effects.extend(self._keep_own(put, mine, now))
            return effects + self._assign(put, now) + self._go_on(put, now)

        put.lookups.append(target)
        return self._lookups.nearest(
            put.overlay, target.to_bytes(LOCATION_BYTES, "big"), now, found
        )

    def _assign_one(self, put: _Put, item: _Item, around: Neighbourhood, now: Now) -> list[_Item]:
        """Line the item up for its nearest nodes; in the result when this node is one of them."""
        item.assigned = True
        located = around.nearest(item.location)
        nodes = [node for _, node in located]
        chosen = HOLDERS_MIN
        mine: list[_Item] = []
        if self._member(put.overlay):
            reach = self._at ^ item.location
            item.wanted = 1
            if sum(at ^ item.location < reach for at, _ in located) < HOLDERS_MIN:
                chosen -= 1
                mine.append(item)
        item.wanted = min(HOLDERS_MIN, len(nodes) + item.wanted)
        kind, at = item.parcel.type, item.location
        inside = [node for node in nodes if self.radii.takes(put.overlay, node.peer, kind, at, now)]
        item.candidates = inside[chosen:]
        for node in inside[:chosen]:
            self._enqueue(put, item, node)
        return mine

    def _enqueue(self, put: _Put, item: _Item, node: NodeAt) -> None:
        item.open += 1
        line = self._line(put, node)
        size = len(item.value or b"")
        offered = put.offer_all or item.value is None or size > OFFER_VALUE_BYTES_MIN
        (line.offers if offered else line.puts).append(item)

    def _line(self, put: _Put, node: NodeAt) -> _Line:
        line = put.lines.get(node.peer)
        if line is None:
            line = put.lines[node.peer] = _Line(node)
        return line

    def _keep_own(self, put: _Put, items: Sequence[_Item], now: Now) -> list[Effect]:
        """Hold here what this node is near to; a block of the library is held already."""
        fresh = [item for item in items if item.value is not None]
        for item in items:
            if item.value is None:
                item.held += 1

        def kept(codes: tuple[Code, ...], now: Now) -> list[Effect]:
            for item, code in zip(fresh, codes, strict=True):
                item.open -= 1
                item.held += code in _TAKEN
            return self._go_on(put, now)

        if not fresh:
            return []
        for item in fresh:
            item.open += 1
        puts = [_put_value(item, now) for item in fresh]
        return self._taking.puts(put.overlay, puts, now, kept)

    # Questions

    def _send(self, put: _Put, line: _Line, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        while line.flights < PLACING_FLIGHTS_MAX and not put.ended:
            if line.puts:
                effects += self._send_puts(put, line, now)
            elif line.offers:
                effects += self._send_offers(put, line, now)
            else:
                break
        return effects

    def _send_puts(self, put: _Put, line: _Line, now: Now) -> list[Effect]:
        batch: list[_Item] = []
        size = 0
        while line.puts and len(batch) < DHT_ITEMS_MAX:
            size += len(line.puts[0].value or b"")
            if batch and size > DHT_PUT_BYTES_MAX:
                break
            batch.append(line.puts.pop(0))
        puts = tuple(_put_value(item, now) for item in batch)
        question = Question(put.overlay, puts=puts)
        return self._ask(put, line, question, batch, now, self._put_answered)

    def _send_offers(self, put: _Put, line: _Line, now: Now) -> list[Effect]:
        batch, line.offers = line.offers[:DHT_ITEMS_MAX], line.offers[DHT_ITEMS_MAX:]
        offers = tuple(
            Offered(item.parcel.type, item.parcel.key, item.parcel.mark, _until(item.parcel, now))
            for item in batch
        )
        question = Question(put.overlay, offers=offers)
        return self._ask(put, line, question, batch, now, self._offer_answered)

    def _ask(
        self,
        put: _Put,
        line: _Line,
        question: Question,
        batch: list[_Item],
        now: Now,
        take: Callable[[_Put, _Line, _Item, Code], list[Effect]],
    ) -> list[Effect]:
        def answered(answer: Answer | Failure, now: Now) -> list[Effect]:
            line.flights -= 1
            if isinstance(answer, Codes):
                self.radii.learn(put.overlay, line.node.peer, answer.radii, now)
            fits = isinstance(answer, Codes) and len(answer.codes) == len(batch)
            codes = answer.codes if isinstance(answer, Codes) and fits else [Code.BUSY] * len(batch)
            effects: list[Effect] = []
            for item, code in zip(batch, codes, strict=True):
                if not put.ended:
                    effects += take(put, line, item, Code(code))
            return effects + self._go_on(put, now)

        line.flights += 1
        return self._asking.ask(line.node, question, now, answered)

    def _put_answered(self, put: _Put, _: _Line, item: _Item, code: Code) -> list[Effect]:
        item.open -= 1
        if code in _TAKEN:
            item.held += 1
        elif item.candidates:
            self._enqueue(put, item, item.candidates.pop(0))
        return []

    def _offer_answered(self, put: _Put, line: _Line, item: _Item, code: Code) -> list[Effect]:
        if code is not Code.WANTED:
            return self._put_answered(put, line, item, code)
        if item.value is not None:
            line.puts.append(item)
            return []
        item.waiting.append(line.node)
        if item.loading:
            return []
        item.loading = True
        self._count += 1
        token = Token(f"{PREFIX}{self._count}")
        self._loads[token] = (put, item)
        return [Call("library.load", Cid(item.parcel.key), token)]


def _put_value(item: _Item, now: Now) -> PutValue:
    parcel = item.parcel
    assert item.value is not None, "only values at hand are put"
    return PutValue(parcel.type, parcel.key, item.value, _until(parcel, now))


def _until(parcel: Parcel, now: Now) -> int:
    return parcel.until_us or now.wall_us + HELD_LIFE_US
