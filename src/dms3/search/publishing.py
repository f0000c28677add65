"""Machine "publishing": which spaces are public, putting them into the overlay, serving them.

Source: plan 0003, "Who holds what"; docs/publishing.md. Compares public spaces with what was
published, puts everything again in time, and answers /dms3/public/1. One space on its way is
`search/publisher.py`. A space that nobody published is unknown here, so nothing of it gets out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dms3.core.cid import Cid
from dms3.core.codec import decode
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId, RequestId, SpaceId, Token
from dms3.core.limits import (
    PUBLISH_AGAIN_US,
    PUBLISH_DEBOUNCE_US,
    PUBLISH_LOOK_US,
    PUBLISH_SHORT_US,
    PUBLISHED_SPACES_MAX,
    PUBLISHING_AT_ONCE_MAX,
    SPACE_NAME_CHARS_MAX,
)
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    ClockJumped,
    Effect,
    Event,
    Now,
    PeerDown,
    PeerUp,
    Reply,
    Requested,
    View,
    Withdrawn,
    scan,
)
from dms3.core.overlay import HOLDERS_MIN, Content, OverlayFigures
from dms3.crypto.grant import SPACE_BYTES
from dms3.crypto.signing import SigningKey
from dms3.search import publicblock
from dms3.search.operations import Penalty
from dms3.search.operations_public import Publish, Unpublished
from dms3.search.publication import BLOCKS, DONE, DROP, INDEX, SPACES, WITHDRAW, Record
from dms3.search.publicblock import PROTOCOL, PublicServing
from dms3.search.publisher import Maker, Publisher

NAME = "publishing"
PROTOCOLS = (PROTOCOL,)
_MARKS, _FIGURES, _PENALTY = "marks", "figures", "penalise"

IssueProvider = Callable[[Cid, Sequence[str], int], Content]
"""The provider record of this node for a CID, at addresses, from a wall-clock instant on."""


class Publishing:
    """The machine; `operations_public.py` lists its operations.

    Arguments: `key`, the person's root key; `peer`, this node's peer id; `issue`, which signs
    provider records with the node's own key.
    """

    def __init__(self, key: SigningKey, peer: PeerId, issue: IssueProvider) -> None:
        self._issue = issue
        self._connected: set[PeerId] = set()  # asked whether it is empty, never iterated
        self._maker = Maker(key, peer, self._provider, lambda: bool(self._connected))
        self._spaces: dict[SpaceId, Publisher] = {}
        self._by_number: dict[int, Publisher] = {}
        self._serving = PublicServing(self._public)
        self._addresses: tuple[str, ...] = ()
        self._look_us = 0
        self._looks: dict[Token, tuple[SpaceId, ...]] = {}
        self._now = Now(0, 0)
        self._count = 0

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Go on with every round that was under way."""
        self._now = now
        for key, data in scan(view, SPACES):
            self._add(SpaceId(key), decode(Record, data))
        self._look_us = now.mono_us + PUBLISH_DEBOUNCE_US
        return self._go_on(now)

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Commands, answers, peers' questions."""
        self._now = now
        if isinstance(event, Requested):
            effects, penalty = self._serving.requested(event, now)
            return effects if penalty is None else [*effects, self._penalise(penalty)]
        if isinstance(event, Answered):
            return self._answered(event, now)
        if isinstance(event, Called):
            return self._called(event, now)
        if isinstance(event, Withdrawn):
            return self._withdrawn(event.request)
        if isinstance(event, PeerUp):
            self._connected.add(event.peer)
        if isinstance(event, PeerDown):
            self._connected.discard(event.peer)
            self._serving.peer_down(event.peer)
        if isinstance(event, ClockJumped):
            self._look_us = now.mono_us
        return []

    def on_timer(self, now: Now) -> list[Effect]:
        """Pauses that are over, and a look at what has changed."""
        self._now = now
        effects: list[Effect] = []
        if self._look_us <= now.mono_us:
            self._look_us = now.mono_us + PUBLISH_LOOK_US
            effects = self._look()
        return effects + self._go_on(now)

    def next_timer(self) -> int | None:
        """The next look, or the next end of a pause."""
        if not self._spaces:
            return None
        now_us = self._now.mono_us
        pauses = [each.pause_us for each in self._working() if each.pause_us > now_us]
        return min([self._look_us, *pauses])

    # Commands

    def _called(self, event: Called, now: Now) -> list[Effect]:
        operations: dict[str, Callable[[Any, RequestId, Now], list[Effect]]] = {
            "publish": self._publish,
            "unpublish": self._unpublish,
            "spaces": self._list,
            "changed": self._changed,
            "listening": self._listening,
        }
        operation = operations.get(event.operation)
        if operation is None:
            message = f"publishing has no operation {event.operation!r}."
            return [Reply(event.request, Failure("method_unknown", message))]
        try:
            return operation(event.arguments, event.request, now)
        except Dms3Error as error:
            return [Reply(event.request, Failure.of(error))]

    def _publish(self, wanted: Publish, request: RequestId, now: Now) -> list[Effect]:
        """Begin a round, or join the one under way."""
        held = self._spaces.get(wanted.space)
        if wanted.space == bytes(SPACE_BYTES):
            raise Dms3Error("argument_invalid", "What was fetched is not yours to publish.")
        if not 0 < len(wanted.name) <= SPACE_NAME_CHARS_MAX or not wanted.name.isprintable():
            raise Dms3Error("argument_invalid", "The space has no name that can be shown.")
        if held is not None and held.overlay != wanted.overlay:
            raise Dms3Error(
                "already_exists",
                f"The space {wanted.name} is published elsewhere.",
                hint=f"Take it back first: dms3 store unpublish {wanted.name}",
            )
        effects: list[Effect] = []
        if held is None:
            if len(self._spaces) >= PUBLISHED_SPACES_MAX:
                raise Dms3Error("limit_reached", f"{PUBLISHED_SPACES_MAX} spaces are public.")
            held = self._add(wanted.space, Record(1, wanted.name, INDEX, overlay=wanted.overlay))
            effects = held.begin(INDEX, since=0, now=now)
        elif not held.working or not held.public:
            effects = held.begin(INDEX, since=0, now=now)
        else:
            held.pause_us = 0
        held.waiters.append(request)
        return effects + self._go_on(now)

    def _unpublish(self, space: SpaceId, request: RequestId, now: Now) -> list[Effect]:
        """Serve it no more, from this instant on; then tell the overlay."""
        held = self._spaces.get(space)
        if held is None or not held.public:
            return [Reply(request, Unpublished(False, 0))]
        cancelled = Failure("cancelled", "The space was unpublished meanwhile.")
        effects: list[Effect] = [Reply(each, cancelled) for each in held.waiters]
        held.waiters = []
        was_announced = held.record.manifest_us > 0
        effects += held.begin(WITHDRAW if was_announced else DROP, since=0, now=now)
        effects += self._serving.refuse_all()
        if was_announced:
            held.leavers.append(request)
        else:
            effects.append(Reply(request, Unpublished(True, 0)))
        return effects + self._go_on(now)

    def _list(self, _: None, request: RequestId, __: Now) -> list[Effect]:
        rows = [self._spaces[space].shown() for space in sorted(self._spaces)]
        return [Reply(request, tuple(rows))]

    def _changed(self, _: None, request: RequestId, now: Now) -> list[Effect]:
        """Documents came or went: look when it has been quiet for a while."""
        self._look_us = min(self._look_us, now.mono_us + PUBLISH_DEBOUNCE_US)
        return [Reply(request, None)]

    def _listening(self, addresses: tuple[str, ...], request: RequestId, _: Now) -> list[Effect]:
        self._addresses = tuple(addresses)
        return [Reply(request, None)]

    def _withdrawn(self, request: RequestId) -> list[Effect]:
        for each in self._spaces.values():
            for waiting in (each.waiters, each.leavers):
                if request in waiting:
                    waiting.remove(request)  # the work goes on
                    return []
        return self._serving.withdrawn(request)

    # Answers

    def _answered(self, event: Answered, now: Now) -> list[Effect]:
        token = event.token
        if token.startswith(publicblock.PREFIX):
            return self._serving.answered(token, event.body)
        if token.startswith(_PENALTY):
            return []
        if token in self._looks:
            spaces = self._looks.pop(token)
            if isinstance(event.body, Failure):
                return []
            if token.startswith(_MARKS):
                effects = self._compare(spaces, event.body, now)
            else:
                effects = self._lengthen(event.body, now)
            return effects + self._go_on(now)
        number, kind, _ = token.split(":")
        held = self._by_number.get(int(number))
        if held is None:
            return []
        effects = held.take(token, kind, event.body, now)
        if kind == "forget" and not isinstance(event.body, Failure):
            self._remove(held)
        return effects + self._go_on(now)

    def _look(self) -> list[Effect]:
        """Ask what has changed in public spaces, and how many nodes there are."""
        spaces = tuple(space for space in sorted(self._spaces) if self._spaces[space].public)
        if self._looks or not spaces:
            return []
        self._count += 1
        marks, figures = Token(f"{_MARKS}:{self._count}"), Token(f"{_FIGURES}:{self._count}")
        self._looks = {marks: spaces, figures: spaces}
        return [
            Call("published.marks", spaces, marks),
            Call("dht.figures", None, figures),
        ]

    def _compare(
        self, spaces: tuple[SpaceId, ...], marks: tuple[Any, ...], now: Now
    ) -> list[Effect]:
        """Begin a round for every space that is another than was published."""
        effects: list[Effect] = []
        for space, mark in zip(spaces, marks, strict=True):
            held = self._spaces.get(space)
            if held is None or held.record.stage != DONE or mark is None:
                continue
            if tuple(mark) != held.record.mark:
                effects += held.begin(INDEX, since=held.record.through, now=now)
        return effects

    def _lengthen(self, figures: tuple[OverlayFigures, ...], now: Now) -> list[Effect]:
        """Put everything again that is old, or lies with fewer nodes than it could by now."""
        nodes = {each.overlay: len(each.nodes) for each in figures}
        effects: list[Effect] = []
        for space in sorted(self._spaces):
            held = self._spaces[space]
            one = held.record
            if one.stage != DONE:
                continue
            age_us = now.wall_us - one.round_us
            there = nodes.get(held.overlay, 0)
            more = one.least < HOLDERS_MIN and there > one.nodes and age_us > PUBLISH_SHORT_US
            if more or not 0 <= age_us < PUBLISH_AGAIN_US:
                effects += held.begin(BLOCKS, since=0, now=now)
        return effects

    # Spaces

    def _public(self) -> tuple[SpaceId, ...]:
        return tuple(space for space in sorted(self._spaces) if self._spaces[space].for_all)

    def _working(self) -> list[Publisher]:
        """Those that may do something now: what is to go first, then a few at a time."""
        working = [each for each in self._spaces.values() if each.working]
        leaving = [each for each in working if not each.public]
        coming = [each for each in working if each.public]
        moving = [each for each in coming if each.pause_us <= self._now.mono_us]
        paused = [each for each in coming if each.pause_us > self._now.mono_us]
        return [*leaving, *moving[:PUBLISHING_AT_ONCE_MAX], *paused]

    def _go_on(self, now: Now) -> list[Effect]:
        """Let everybody who may do what can be done now; an end lets the next one begin."""
        effects: list[Effect] = []
        while True:
            some = [effect for each in self._working() for effect in each.go_on(now)]
            if not some:
                return effects
            effects += some

    def _add(self, space: SpaceId, record: Record) -> Publisher:
        self._count += 1
        made = Publisher(self._count, space, record, self._maker)
        self._spaces[space] = self._by_number[made.number] = made
        return made

    def _remove(self, held: Publisher) -> None:
        del self._spaces[held.space]
        del self._by_number[held.number]

    def _provider(self, cid: Cid, wall_us: int) -> Content | None:
        return self._issue(cid, self._addresses, wall_us) if self._addresses else None

    def _penalise(self, penalty: Penalty) -> Effect:
        self._count += 1
        return Call("peers.conduct", penalty, Token(f"{_PENALTY}:{self._count}"))
