"""New activity passed on along its holders: who shows two of them different actions is found soon.

Source: docs/chains.md, "Convicted". An author can sign two actions for one place and give each to
another half of the nodes near its key. Each of these tells the next one, in order of distance and
round to the first, the id of what it was given; so wherever the halves meet, somebody is told of an
op that it lacks, brings it and holds both. Comparing (`reconciling.py`) would find it later, too.
Bounded, told once, and nobody is believed: see `answering.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from dms3.chain.messages import ChainQuestion, Reconcile, decode_reconciled
from dms3.chain.ops import Op, op_id
from dms3.core.cid import Cid
from dms3.core.codec import encode
from dms3.core.desk import Desk
from dms3.core.errors import DecodeError, Failure
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import CHAIN_NAMES_MAX, PASS_TRIES_MAX, PASS_US, PASSED_MAX
from dms3.core.neighbourhood import Duty
from dms3.core.overlay import Neighbours, NodeAt
from dms3.validation.fetching import answer_of, ask_one
from dms3.validation.holding import Holding
from dms3.validation.located import SHOWN

Ring = tuple[NodeAt, ...]
"""Whom to tell: the next holder, and those after it in case that it does not answer."""


@dataclass(frozen=True, slots=True)
class _News:
    """An op that came: where it lies, who brought it, how often its verdict was waited for.

    `action`: what it is of.
    """

    at: int
    peer: PeerId
    action: Cid
    waits: int = 0


@dataclass(slots=True, eq=False)
class _Place:
    """An overlay that is open; `news` by op id."""

    overlay: OverlayId
    duty: Duty
    news: dict[bytes, _News] = field(default_factory=dict)
    wanted: int = 0


class Passing:
    """What was published here of late."""

    def __init__(self, desk: Desk, holding: Holding) -> None:
        self._desk = desk
        self._holding = holding
        self._places: dict[OverlayId, _Place] = {}

    def open(self, overlay: OverlayId, duty: Duty) -> None:
        """Pass on there from now on."""
        self._places[overlay] = _Place(overlay, duty)

    def shut(self, overlay: OverlayId) -> None:
        """Pass on there no more."""
        self._places.pop(overlay, None)
        self._desk.no_alarm(_alarm(overlay))

    def wanted(self, overlay: OverlayId) -> int:
        """How many ops were news to whom they were told."""
        place = self._places.get(overlay)
        return 0 if place is None else place.wanted

    def published(self, overlay: OverlayId, peer: PeerId, ops: Iterable[Op]) -> None:
        """`peer` brings `ops`: activity that is not held yet is passed on, if it is taken."""
        place = self._places.get(overlay)
        if place is None:
            return
        for op in ops:
            name = op_id(op) if op.kind == "activity" else b""
            if name and len(place.news) < PASSED_MAX and self._holding.op(overlay, name) is None:
                at = int.from_bytes(op.location, "big")
                place.news[name] = _News(at, peer, op.signed.hash)
        self._later(place)

    def _later(self, place: _Place) -> None:
        """Tell what has come by then together."""
        if place.news and not self._desk.has_alarm(_alarm(place.overlay)):
            self._desk.after(_alarm(place.overlay), PASS_US, lambda: self._tell(place))

    def _tell(self, place: _Place) -> None:
        self._desk.call("dht.neighbours", place.overlay, lambda body: self._seen(place, body))

    def _seen(self, place: _Place, body: Any) -> None:
        if self._places.get(place.overlay) is not place:
            return
        news, place.news = place.news, {}
        told: dict[tuple[PeerId, ...], tuple[Ring, list[bytes]]] = {}
        rings: dict[tuple[int, PeerId], Ring] = {}
        for name, one in news.items():
            if not isinstance(body, Neighbours) or self._waits(place, name, one):
                continue
            key = one.at, one.peer
            ring = rings[key] = rings.get(key) or _ring(body, place.duty, one)
            told.setdefault(tuple(node.peer for node in ring), (ring, []))[1].append(name)
        for ring, names in told.values():
            for first in range(0, len(names), CHAIN_NAMES_MAX):
                self._ask(place, ring, tuple(names[first : first + CHAIN_NAMES_MAX]))
        self._later(place)

    def _waits(self, place: _Place, name: bytes, one: _News) -> bool:
        """Whether an op is not told now: it was not taken, or has no verdict yet."""
        held = self._holding.action(place.overlay, one.action)
        if held is None:
            return True
        if held.state in SHOWN:
            return self._holding.op(place.overlay, name) is None
        if one.waits + 1 < PASS_TRIES_MAX:  # later comparing tells it
            place.news[name] = replace(one, waits=one.waits + 1)
        return True

    def _ask(self, place: _Place, ring: Ring, names: tuple[bytes, ...]) -> None:
        """Tell the next holder; one that does not answer is passed over."""
        if not ring or self._places.get(place.overlay) is not place:
            return

        def answered(body: Any) -> None:
            data = answer_of(body)
            try:
                answer = None if isinstance(data, Failure) else decode_reconciled(data, 0)
            except DecodeError:
                answer = None
            if answer is None:
                self._ask(place, ring[1:], names)
            else:
                place.wanted += min(answer.wanted, len(names))

        body = encode(ChainQuestion(place.overlay, reconcile=Reconcile(lacks=names)))
        self._desk.call("dht.ask", ask_one(ring[0], body), answered)


def _ring(neighbours: Neighbours, duty: Duty, one: _News) -> Ring:
    """The holders behind this node, in order of distance and round to the first."""
    near = sorted(
        (int.from_bytes(place, "big") ^ one.at, node.peer, node, share)
        for node, place, share in neighbours.nodes
    )
    near = near[: duty.needed(share for *_, share in near)]
    mine = int.from_bytes(neighbours.at, "big") ^ one.at
    farther = sum(far < mine for far, *_ in near)
    ring = [node for _, _, node, _ in (*near[farther:], *near[:farther])]
    return tuple(node for node in ring if node.peer != one.peer)[:PASS_TRIES_MAX]


def _alarm(overlay: OverlayId) -> str:
    return f"pass:{overlay.hex()}"
