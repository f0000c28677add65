"""Rounds of comparing: one partner after another, until all near nodes hold the same ops.

Source: docs/chains.md, "Repaired"; `core/reconcile.py`. A round compares what this node shares with
one neighbour, brings what is missing here, and tells it what it lacks. Rounds are quick while they
bring anything or a neighbour is due (`repairing.py`), and ever more seldom while nothing differs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from dms3.chain.messages import ChainQuestion, Reconcile, Reconciled, decode_reconciled
from dms3.chain.operations_validation import RepairFigures
from dms3.core.codec import encode
from dms3.core.desk import Desk
from dms3.core.errors import DecodeError, Failure
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import (
    CHAIN_NAMES_MAX,
    GOSSIP_PERIOD_US,
    GOSSIP_REST_US,
    LOCATED_PAUSE_US,
    RECONCILE_ITEMS_MAX,
    RECONCILE_JITTER_PERCENT,
    RECONCILE_QUESTIONS_MAX,
    REPAIR_PAUSE_US,
)
from dms3.core.neighbourhood import Duty
from dms3.core.overlay import Neighbours
from dms3.core.reconcile import Session, UnfitError
from dms3.p2p.port import Partners
from dms3.validation.fetching import Fetching, Haul, answer_of, ask_one
from dms3.validation.holders import LIED, MALFORMED, Holders
from dms3.validation.located import Located
from dms3.validation.repairing import Choice, Repairing


@dataclass(slots=True, eq=False)
class _Round:
    """A comparison with one partner: `questions` asked, of what it lacks `told`, and `wanted`."""

    choice: Choice
    session: Session
    questions: int = 0
    told: int = 0
    wanted: int = 0

    @property
    def is_cut_short(self) -> bool:
        """Whether there may be more to find."""
        found = max(len(self.session.missing), len(self.session.lacking))
        return found >= RECONCILE_ITEMS_MAX or self.questions >= RECONCILE_QUESTIONS_MAX


@dataclass(slots=True, eq=False)
class _Place:
    """An overlay that is open; `due_us`: when the next round may begin if nobody is due."""

    overlay: OverlayId
    repairing: Repairing
    due_us: int = 0
    pause_us: int = GOSSIP_PERIOD_US
    round: _Round | None = None
    alone: bool = False
    figures: RepairFigures = RepairFigures()  # noqa: RUF009  # frozen


class Reconciling:
    """The rounds of all overlays; `own`: this node's peer id, from which pauses are drawn."""

    def __init__(
        self, desk: Desk, located: Located, holders: Holders, fetching: Fetching, own: PeerId
    ) -> None:
        self._desk = desk
        self._located = located
        self._holders = holders
        self._fetching = fetching
        self._own = own
        self._places: dict[OverlayId, _Place] = {}
        self._drawn = 0

    # What happens

    def open(self, overlay: OverlayId, duty: Duty) -> None:
        """Compare there from now on."""
        self._located.open(overlay)
        place = self._places[overlay] = _Place(overlay, Repairing(duty))
        self._later(place, 0)

    def shut(self, overlay: OverlayId) -> None:
        """Compare there no more."""
        place = self._places.pop(overlay, None)
        if place is not None:
            self._desk.no_alarm(_alarm(place))
        self._located.shut(overlay)

    def hurry(self, overlay: OverlayId) -> None:
        """Begin a round now, whoever was visited last."""
        place = self._places[overlay]
        place.due_us, place.pause_us = 0, GOSSIP_PERIOD_US
        self._later(place, 0)

    def up(self, peer: PeerId, *, inbound: bool) -> None:
        """A peer has connected: one that was long away is compared with at once.

        Those that this node has dialled are asked anyway.
        """
        for place in self._places.values():
            came = inbound and place.repairing.came(peer, self._desk.now.mono_us)
            if came or place.alone:
                place.pause_us = GOSSIP_PERIOD_US
                self._later(place, self._jittered(REPAIR_PAUSE_US))

    def woken(self) -> None:
        """The clock has jumped: this node slept, and others went on without it."""
        for place in self._places.values():
            place.repairing.forget()
            self.hurry(place.overlay)

    def figures(self, overlay: OverlayId) -> RepairFigures:
        """What the rounds have done, and what is still to be done."""
        place, tree = self._places.get(overlay), self._located.tree(overlay)
        if place is None or tree is None:
            return RepairFigures() if place is None else place.figures
        return replace(place.figures, short=place.repairing.short(tree), whole=True)

    # When

    def _later(self, place: _Place, wait_us: int) -> None:
        self._desk.after(_alarm(place), wait_us, lambda: self._tick(place))

    def _jittered(self, pause_us: int) -> int:
        """About `pause_us`, drawn so that nodes do not keep step."""
        self._drawn += 1
        drawn = hashlib.sha256(self._own + self._drawn.to_bytes(8, "big")).digest()
        spread = pause_us * RECONCILE_JITTER_PERCENT // 100
        return pause_us - spread // 2 + int.from_bytes(drawn[:4], "big") * spread // (1 << 32)

    def _tick(self, place: _Place) -> None:
        """Look who is there, and begin a round if it is time."""
        if not self._located.step(place.overlay):
            self._later(place, LOCATED_PAUSE_US)
        elif place.round is None:
            self._later(place, self._jittered(GOSSIP_PERIOD_US))
            self._desk.call("dht.neighbours", place.overlay, lambda body: self._seen(place, body))

    def _seen(self, place: _Place, body: Any) -> None:
        if self._places.get(place.overlay) is not place or place.round is not None:
            return
        if not isinstance(body, Neighbours):
            return
        now_us = self._desk.now.mono_us
        place.repairing.see(body)
        place.alone = not body.nodes
        if place.alone:  # whoever connects is looked at sooner
            place.pause_us = min(2 * place.pause_us, GOSSIP_REST_US)
            self._later(place, self._jittered(place.pause_us))
            return
        choice = place.repairing.next(now_us)
        if choice is not None and choice.due:
            self._begin(place, choice)
        elif choice is not None and place.due_us <= now_us:
            self._draw(place, choice)

    def _draw(self, place: _Place, longest: Choice) -> None:
        """Draw a partner as the peer book weighs them, unless one has waited too long for it."""
        now_us = self._desk.now.mono_us
        candidates = place.repairing.candidates(now_us)
        waited_us = place.repairing.waited_us(longest.node.peer, now_us)
        if waited_us > len(candidates) * GOSSIP_REST_US:
            self._begin(place, longest)
            return

        def drawn(body: Any) -> None:
            if self._places.get(place.overlay) is not place or place.round is not None:
                return
            peer = body[0] if isinstance(body, tuple) and body else longest.node.peer
            known = peer in place.repairing.candidates(self._desk.now.mono_us)
            self._begin(place, place.repairing.pick(peer) if known else longest)

        self._desk.call("peers.partners", Partners(tuple(candidates), "pull", 1), drawn)

    # A round

    def _begin(self, place: _Place, choice: Choice) -> None:
        tree = self._located.tree(place.overlay)
        assert tree is not None, "it was whole when the round was due"
        drawn = hashlib.sha256(b"turn" + self._own + self._drawn.to_bytes(8, "big")).digest()
        turn = int.from_bytes(drawn[:8], "big")
        place.round = _Round(choice, Session(tree, choice.ranges, RECONCILE_ITEMS_MAX, turn))
        self._compare(place, place.round)

    def _compare(self, place: _Place, round_: _Round) -> None:
        """Ask about the next ranges, or go on with what was found."""
        asked = round_.session.question() if round_.questions < RECONCILE_QUESTIONS_MAX else ()
        if not asked:
            self._tell(place, round_)
            return
        round_.questions += 1

        def heard(answer: Reconciled) -> None:
            round_.session.heard(asked, answer.ranges)
            self._compare(place, round_)

        self._ask(place, round_, Reconcile(asked), heard)

    def _tell(self, place: _Place, round_: _Round) -> None:
        """Name the partner what it lacks, so much at once; then bring what is missing here."""
        lacks = tuple(islice(round_.session.lacking, round_.told, round_.told + CHAIN_NAMES_MAX))
        if not lacks:
            missing = list(round_.session.missing)
            node = round_.choice.node
            self._fetching.bring(
                place.overlay, node, missing, lambda haul: self._end(place, round_, haul)
            )
            return
        round_.told += len(lacks)

        def heard(answer: Reconciled) -> None:
            round_.wanted += min(answer.wanted, len(lacks))
            self._tell(place, round_)

        self._ask(place, round_, Reconcile(lacks=lacks), heard)

    def _ask(
        self,
        place: _Place,
        round_: _Round,
        reconcile: Reconcile,
        heard: Callable[[Reconciled], None],
    ) -> None:
        def answered(body: Any) -> None:
            if self._places.get(place.overlay) is not place:
                return
            data = answer_of(body)
            if isinstance(data, Failure):
                self._fail(place, round_)
                return
            try:
                heard(decode_reconciled(data, len(reconcile.ranges)))
            except DecodeError:
                self._fail(place, round_, MALFORMED)
            except UnfitError:
                self._fail(place, round_, LIED)

        body = encode(ChainQuestion(place.overlay, reconcile=reconcile))
        self._desk.call("dht.ask", ask_one(round_.choice.node, body), answered)

    # Its end

    def _fail(self, place: _Place, round_: _Round, code: str = "") -> None:
        if code:
            self._holders.blame(round_.choice.node.peer, code)
        self._end(place, round_, Haul(failed=True))

    def _end(self, place: _Place, round_: _Round, haul: Haul) -> None:
        if self._places.get(place.overlay) is not place:
            return
        place.round, now, choice = None, self._desk.now, round_.choice
        moved = bool(haul.taken or round_.wanted)
        stuck = haul.failed or haul.refused > 0 or (round_.is_cut_short and not moved)
        if stuck:
            place.repairing.failed(choice.node.peer, now.mono_us)
        elif not round_.is_cut_short:
            place.repairing.done(choice.node.peer, choice.ranges, now.mono_us)
        place.figures = _counted(place.figures, round_, haul, now.wall_us)
        quick = GOSSIP_PERIOD_US if moved else min(2 * place.pause_us, GOSSIP_REST_US)
        place.pause_us = quick
        place.due_us = now.mono_us + self._jittered(place.pause_us)
        self._later(place, self._jittered(REPAIR_PAUSE_US))


def _counted(figures: RepairFigures, round_: _Round, haul: Haul, wall_us: int) -> RepairFigures:
    return replace(
        figures,
        rounds=figures.rounds + 1,
        failed=figures.failed + haul.failed,
        differing=round_.session.differing,
        at_us=wall_us,
        brought=figures.brought + haul.taken,
        refused=figures.refused + haul.refused,
        barred=figures.barred + haul.barred,
        far=figures.far + haul.far,
        absent=figures.absent + haul.absent,
        offered=figures.offered + round_.wanted,
    )


def _alarm(place: _Place) -> str:
    return f"reconcile:{place.overlay.hex()}"
