"""Lookups under way: asks whom `lookup.py` names, keeps the time, and takes values on the way.

Source: docs/architecture.md, "Overlays"; Kademlia (2002), section 2.3. Values are validated by
their content type before anybody sees them, so a node that sends another loses its standing and
nothing else happens. Lookups live in memory: after a restart callers begin again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dms3.core.errors import Failure
from dms3.core.ids import OverlayId, PeerId
from dms3.core.limits import (
    DHT_ASK_US,
    DHT_SLOW_US,
    GET_PATIENCE_US,
    LOOKUPS_AT_ONCE_MAX,
    LOOKUPS_WAITING_MAX,
)
from dms3.core.machine import Effect, Now
from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import HOLDERS_MIN, location
from dms3.dht.asking import Asking, Done
from dms3.dht.gathering import Fetched, Gathering
from dms3.dht.lookup import Lookup, Nearest
from dms3.dht.messages import Find, Question
from dms3.dht.presence import node_location
from dms3.dht.reading import Answer, Told
from dms3.dht.routing import Table

WRONG = "content_invalid"
_NONE = Nearest((), complete=False, hops=0, asked=0)


OnNearest = Callable[[Nearest, Now], list[Effect]]
OnFetched = Callable[[Fetched, Now], list[Effect]]


@dataclass(slots=True, eq=False)
class _Run:
    """A lookup for `owner`; with a `gathering` when it is one for values."""

    owner: int
    question: Question
    target: bytes
    count: int
    deadline_us: int
    done: Callable[[Now], list[Effect]]
    gathering: Gathering | None = None
    lookup: Lookup | None = None  # None: it waits for its turn

    @property
    def overlay(self) -> OverlayId:
        """Where it looks."""
        return OverlayId(self.question.overlay)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to ask for."""
        if self.lookup is None:
            return False
        if self.gathering is None:
            return self.lookup.done
        near = self.lookup.asked > 0 and self.lookup.is_settled(HOLDERS_MIN)
        return self.gathering.enough or near or self.lookup.done

    def nearest(self) -> Nearest:
        """How far it has come."""
        return _NONE if self.lookup is None else self.lookup.result()


class Lookups:
    """Arguments: `own`, this node; `tables` by overlay, where lookups start; `asking`."""

    def __init__(self, own: PeerId, tables: Mapping[OverlayId, Table], asking: Asking) -> None:
        self._own = own
        self._tables = tables
        self._asking = asking
        self._runs: dict[int, _Run] = {}
        self._line: dict[int, None] = {}  # of those, the ones that have not begun
        self._over: list[int] = []  # ended before they began; their callers are told next
        self._deadlines: list[tuple[int, int]] = []
        self._slow: list[tuple[int, int, PeerId]] = []  # from when on whose answer is slow
        self._count = 0

    @property
    def open(self) -> int:
        """Lookups whose callers still wait."""
        return len(self._runs)

    def table(self, overlay: OverlayId) -> Table:
        """The routing table of `overlay`."""
        return self._tables[overlay]

    def nearest(
        self,
        overlay: OverlayId,
        target: bytes,
        now: Now,
        done: OnNearest,
        *,
        count: int = BUCKET_SIZE,
        patience_us: int = GET_PATIENCE_US,
        owner: int = 0,
    ) -> list[Effect]:
        """Find the nodes nearest to location `target`; `done` gets them, exactly once and later.

        `count`: how many, BUCKET_SIZE at least and NEIGHBOURS_MAX at most. `owner`: a number under
        which it can be dropped. At the end of `patience_us`, and when too many lookups wait, `done`
        gets what there is.
        """
        run = _Run(
            owner=owner,
            question=Question(overlay, find=Find(target, count)),
            target=target,
            count=count,
            deadline_us=now.mono_us + patience_us,
            done=lambda at: done(run.nearest(), at),
        )
        return self._begin(run, now)

    def values(
        self,
        overlay: OverlayId,
        gathering: Gathering,
        now: Now,
        done: OnFetched,
        *,
        patience_us: int = GET_PATIENCE_US,
        owner: int = 0,
    ) -> list[Effect]:
        """Bring the values that `gathering` is to gather; otherwise as `nearest`."""
        run = _Run(
            owner=owner,
            question=Question(overlay, get=gathering.get),
            target=location(gathering.get.key),
            count=HOLDERS_MIN,
            deadline_us=now.mono_us + patience_us,
            done=lambda at: done(gathering.result(run.nearest()), at),
            gathering=gathering,
        )
        return self._begin(run, now)

    def drop(self, owner: int) -> list[Effect]:
        """Forget the lookups of `owner`; their callers are told nothing."""
        numbers = [number for number, run in self._runs.items() if run.owner == owner]
        effects: list[Effect] = []
        for number in numbers:
            effects += self._forget(number)[1]
        return effects

    def on_timer(self, now: Now) -> list[Effect]:
        """End those whose time is over, ask on past slow nodes, begin those in line."""
        over, self._over = self._over, []
        while self._deadlines and self._deadlines[0][0] <= now.mono_us:
            over.append(heapq.heappop(self._deadlines)[1])
        effects: list[Effect] = []
        for number in over:
            effects += self._end(number, now)
        while self._slow and self._slow[0][0] <= now.mono_us:
            _, number, peer = heapq.heappop(self._slow)
            run = self._runs.get(number)
            if run is not None and run.lookup is not None:
                run.lookup.slow(peer)
                effects += self._go_on(number, run, now)
        return effects

    def next_timer(self) -> int | None:
        """The next deadline or slow answer; an instant that has passed when callers wait."""
        if self._over:
            return 0
        while self._deadlines and self._deadlines[0][1] not in self._runs:
            heapq.heappop(self._deadlines)
        while self._slow and self._slow[0][1] not in self._runs:
            heapq.heappop(self._slow)
        firsts = [heap[0][0] for heap in (self._deadlines, self._slow) if heap]
        return min(firsts, default=None)

    # A lookup from its beginning to its end

    def _begin(self, run: _Run, now: Now) -> list[Effect]:
        self._count += 1
        number = self._count
        self._runs[number] = run
        heapq.heappush(self._deadlines, (run.deadline_us, number))
        if len(self._line) >= LOOKUPS_WAITING_MAX:
            self._over.append(number)
            return []
        self._line[number] = None
        return self._begin_waiting(now)

    def _begin_waiting(self, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        while self._line and len(self._runs) - len(self._line) < LOOKUPS_AT_ONCE_MAX:
            number = next(iter(self._line))
            del self._line[number]
            run = self._runs[number]
            target = int.from_bytes(run.target, "big")
            seeds = self._tables[run.overlay].nearest(run.target, max(BUCKET_SIZE, run.count))
            located = [(int.from_bytes(node_location(node.peer), "big"), node) for node in seeds]
            run.lookup = Lookup(target, located, self._own, count=run.count)
            if run.is_over:
                self._over.append(number)
            effects += self._ask(number, run, now)
        return effects

    def _ask(self, number: int, run: _Run, now: Now) -> list[Effect]:
        assert run.lookup is not None, "it has begun"
        effects: list[Effect] = []
        patience_us = min(DHT_ASK_US, max(1, run.deadline_us - now.mono_us))
        for node in run.lookup.next():
            heapq.heappush(self._slow, (now.mono_us + DHT_SLOW_US, number, node.peer))
            effects += self._asking.ask(
                node,
                run.question,
                now,
                self._on_answer(number, node.peer),
                patience_us=patience_us,
                group=-number,
            )
        return effects

    def _on_answer(self, number: int, peer: PeerId) -> Done:
        def done(answer: Answer | Failure, now: Now) -> list[Effect]:
            run = self._runs[number]
            assert run.lookup is not None, "it has begun"
            effects: list[Effect] = []
            if isinstance(answer, Told) and self._takes(run, peer, answer, now):
                run.lookup.answered(peer, answer.nodes)
            else:
                run.lookup.failed(peer)
                if isinstance(answer, Told):
                    effects += self._asking.lied(peer, run.overlay, WRONG)
            return effects + self._go_on(number, run, now)

        return done

    def _takes(self, run: _Run, peer: PeerId, told: Told, now: Now) -> bool:
        """Whether the values of an answer are what they should be; they are kept."""
        if run.gathering is None:
            return not told.values
        assert run.lookup is not None, "it has begun"
        depth = run.lookup.depth_of(peer)
        return run.gathering.take(peer, depth, told.values, more=told.more, wall_us=now.wall_us)

    def _go_on(self, number: int, run: _Run, now: Now) -> list[Effect]:
        if run.is_over:
            return self._end(number, now)
        return self._ask(number, run, now)

    def _end(self, number: int, now: Now) -> list[Effect]:
        if number not in self._runs:
            return []
        run, effects = self._forget(number)
        effects += run.done(now)
        return effects + self._begin_waiting(now)

    def _forget(self, number: int) -> tuple[_Run, list[Effect]]:
        run = self._runs.pop(number)
        self._line.pop(number, None)
        return run, self._asking.drop(-number)
