"""Offers and puts of peers, and what this node puts to itself: judged, made durable, answered.

Source: docs/wire.md, "/dms3/dht/1". A value is acknowledged only when it is durable here: rows with
the transaction of the answer, blocks by the library first. Who asks and how often is judged by
whoever calls this.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass

from dms3.core.cid import Cid
from dms3.core.errors import Failure
from dms3.core.ids import OverlayId, Token
from dms3.core.limits import HELD_PAGE_MAX, TAKEN_OPEN_MAX
from dms3.core.machine import Call, Effect, Now
from dms3.core.overlay import HoldBlocks
from dms3.dht.holding import Admitted, Holding, Place, Row
from dms3.dht.messages import Code, Offered, PutValue

PREFIX = "take:"
_HELD_PREFIX = "take:held:"
_RELEASE_PREFIX = "take:release:"

IsNear = Callable[[OverlayId, bytes], bool]
"""Whether this node is near enough to a location (of this overlay) to hold what lies there."""

Done = Callable[[tuple[Code, ...], Now], list[Effect]]
"""Called once with a code for each value, in order."""


@dataclass(slots=True)
class _Taken:
    """Values of which blocks are with the library; `codes` of the others are decided."""

    codes: list[Code]
    waiting: list[tuple[int, Admitted]]
    done: Done


class Taking:
    """What comes in; `near` says what this node is near to."""

    def __init__(self, holding: Holding, near: IsNear) -> None:
        self._holding = holding
        self._near = near
        self._open: dict[Token, _Taken] = {}
        self._count = 0

    def on_start(self) -> list[Effect]:
        """Compare the blocks of the library with the rows: a crash may lie between the two."""
        return [*self._holding.start(), Call("library.held", None, Token(_HELD_PREFIX))]

    def next_timer(self) -> int | None:
        """At once, when more is held than quotas allow."""
        return 0 if self._holding.is_full else None

    def on_timer(self) -> list[Effect]:
        """Give up what lies farthest, some of it at a time."""
        if not self._holding.is_full:
            return []
        given_up, effects = self._holding.shrink()
        return [*effects, *self._evict(given_up)]

    def offers(
        self, overlay: OverlayId, offers: Sequence[Offered], now: Now
    ) -> tuple[tuple[Code, ...], list[Effect]]:
        """The codes of a peer's offers, and what keeps for longer what is held already."""
        codes: list[Code] = []
        effects: list[Effect] = []
        for offer in offers:
            code, more = self._holding.offered(overlay, offer, now)
            if code is Code.WANTED and self._is_far(overlay, offer):
                code = Code.FAR
            codes.append(code)
            effects += more
        return tuple(codes), effects

    def puts(
        self, overlay: OverlayId, puts: Sequence[PutValue], now: Now, done: Done
    ) -> list[Effect]:
        """Hold the values that may be held; `done` hears when they are durable."""
        taken = _Taken([], [], done)
        effects: list[Effect] = []
        blocks: list[tuple[Cid, bytes]] = []
        places: set[bytes] = set()
        for put in puts:
            code, admitted, more = self._judge(overlay, put, places, now)
            effects += more
            taken.codes.append(code)
            if admitted is None:
                continue
            places.add(admitted.place.key)
            places.update(place.key for place, _ in admitted.evicted)
            effects += self._evict(admitted.evicted)
            if admitted.place.type.kept_as == "blocks":
                taken.waiting.append((len(taken.codes) - 1, admitted))
                blocks.append((Cid(put.key), put.value))
            else:
                effects += self._holding.write(admitted)
        if not blocks:
            return [*effects, *done(tuple(taken.codes), now)]
        token = self._token(PREFIX)
        self._open[token] = taken
        return [*effects, Call("library.hold", HoldBlocks(tuple(blocks)), token)]

    def answered(self, token: Token, body: object, now: Now) -> list[Effect]:
        """The library's answer."""
        if token == _HELD_PREFIX:
            return self._compare(body)
        taken = self._open.pop(token, None)
        if taken is None:
            return []  # of a release
        effects: list[Effect] = []
        outside: list[Cid] = []
        for index, admitted in taken.waiting:
            if isinstance(body, Failure):
                taken.codes[index] = Code.BUSY
            elif not self._holding.takes(admitted.place):  # the radius has shrunk meanwhile
                taken.codes[index] = Code.OUTSIDE
                outside.append(Cid(admitted.row.key))
            else:
                effects += self._holding.write(admitted)
        effects += self._release(self._unneeded(outside))
        return [*effects, *taken.done(tuple(taken.codes), now)]

    def drop(self, overlay: OverlayId, kind_name: str, key: bytes) -> tuple[int, list[Effect]]:
        """Hold nothing under `key` any longer; how many values that were."""
        kind = self._holding.type_of(kind_name)
        rows = [] if kind is None else self._holding.under(overlay, kind, key)
        return len(rows), self._evict(rows)

    def expire(self, rows: Sequence[tuple[Place, Row]]) -> list[Effect]:
        """Forget values whose time is over."""
        return self._evict(rows)

    def _judge(
        self, overlay: OverlayId, put: PutValue, places: set[bytes], now: Now
    ) -> tuple[Code, Admitted | None, list[Effect]]:
        if len(self._open) >= TAKEN_OPEN_MAX:
            return Code.BUSY, None, []
        if self._is_far(overlay, put):
            return Code.FAR, None, []
        found, effects = self._holding.admit(overlay, put, now)
        if isinstance(found, Code):
            return found, None, effects
        if not places.isdisjoint({found.place.key, *(place.key for place, _ in found.evicted)}):
            return Code.BUSY, None, effects  # written, or removed, by this question already
        return Code.WANTED, found, effects

    def _is_far(self, overlay: OverlayId, named: Offered | PutValue) -> bool:
        """Whether others are nearer, where its type asks for that."""
        kind = self._holding.type_of(named.type)
        by_radius = kind is not None and kind.taken_by == "radius"
        return not by_radius and not self._near(overlay, named.key)

    def _evict(self, rows: Sequence[tuple[Place, Row]]) -> list[Effect]:
        effects: list[Effect] = []
        blocks: list[Cid] = []
        for place, row in rows:
            effects += self._holding.remove(place, row)
            if place.type.kept_as == "blocks":
                blocks.append(Cid(row.key))
        return effects + self._release(self._unneeded(blocks, {place.key for place, _ in rows}))

    def _unneeded(self, blocks: Sequence[Cid], removed: Container[bytes] = ()) -> list[Cid]:
        """Those of `blocks` that no row has but the `removed`, and no put under way brings."""
        coming = {
            admitted.row.key for taken in self._open.values() for _, admitted in taken.waiting
        }
        return [
            cid
            for cid in blocks
            if cid.binary not in coming and not self._holding.knows_block(cid, removed)
        ]

    def _release(self, blocks: Sequence[Cid]) -> list[Effect]:
        if not blocks:
            return []
        return [Call("library.release", tuple(blocks), self._token(_RELEASE_PREFIX))]

    def _compare(self, body: object) -> list[Effect]:
        """Release the blocks for which there is no row."""
        if not isinstance(body, tuple):
            return []  # no library here, or it is busy: the next start compares
        effects = self._release(self._unneeded(body))
        if len(body) == HELD_PAGE_MAX:
            effects.append(Call("library.held", body[-1], Token(_HELD_PREFIX)))
        return effects

    def _token(self, prefix: str) -> Token:
        self._count += 1
        return Token(f"{prefix}{self._count}")
