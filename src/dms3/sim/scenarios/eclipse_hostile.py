"""Nodes of scenario "eclipse" that are hostile in one way each, and what others do about them.

Source: docs/attacks.md, "Somebody in the public overlay". A mask before the production dht: what it
says, every real node could say. Who names false nodes is a `Liar` (`sim/liars.py`). Judges report
to the peer book, whose table of conduct says what that costs.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.ids import PeerId, Token
from dms3.core.limits import DHT_ASK_US, QUESTION_BURST_US, QUESTION_COST_US, SECOND_US
from dms3.core.machine import (
    Answered,
    Effect,
    Event,
    Machine,
    Now,
    Reply,
    Request,
    Requested,
    View,
)
from dms3.core.overlay import LOCATION_BYTES, PUBLIC
from dms3.dht import answering
from dms3.dht.messages import (
    PROTOCOL,
    Code,
    Codes,
    Find,
    Question,
    Values,
    decode_question,
    decode_values,
)
from dms3.p2p.conduct import Score
from dms3.p2p.port import Conducted
from dms3.sim.bare import BareNode

WAYS = ("alters", "denies", "delays", "floods", "claims")
"""Gives altered bytes; says that it has nothing; answers late, if at all in time; asks without end;
says that it holds what it lets go. Each does only that."""

FLOOD = 2 * QUESTION_BURST_US // QUESTION_COST_US  # questions at once: twice what is answered
FLOOD_US = 10 * SECOND_US
FLOODED = answering.FLOOD  # what it is blamed for
_FLOOD = "flood:"


class Hostile:
    """Stands before the `honest` dht and is hostile in one `way`; `deeds`: how often it was.

    `victims`: whom it floods; `refused`: how often they said so, by the code.
    """

    def __init__(
        self, honest: Machine, way: str, victims: Sequence[PeerId], random: Random
    ) -> None:
        self._honest = honest
        self._victims = victims
        self._random = random
        self._late: list[tuple[int, int, Reply]] = []
        self._flood_us: int | None = None
        self._count = 0
        self.way = way
        self.deeds = 0
        self.refused: Counter[str] = Counter()

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """As the honest one."""
        if self.way == "floods":
            self._flood_us = now.mono_us + self._random.randrange(FLOOD_US)
        return self._honest.on_start(view, now)

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """As the honest one, but for what others ask."""
        if isinstance(event, Answered) and event.token.startswith(_FLOOD):
            if isinstance(event.body, Failure):
                self.refused[event.body.code] += 1
            return []
        if not isinstance(event, Requested) or event.protocol != PROTOCOL:
            return self._honest.on_event(event, now)
        question = decode_question(event.body)
        contents = len(question.offers) + len(question.puts)
        if self.way == "claims" and contents:
            self.deeds += contents
            return [Reply(event.request, encode(Codes((int(Code.HELD),) * contents)))]
        effects = self._honest.on_event(event, now)
        answers = [each for each in effects if isinstance(each, Reply)]
        others = [each for each in effects if not isinstance(each, Reply)]
        return others + [told for answer in answers for told in self._told(answer, question, now)]

    def on_timer(self, now: Now) -> list[Effect]:
        """As the honest one; and what was kept back, and the next flood."""
        effects = self._honest.on_timer(now)
        while self._late and self._late[0][0] <= now.mono_us:
            effects.append(heapq.heappop(self._late)[2])
        if self._flood_us is not None and self._flood_us <= now.mono_us:
            self._flood_us = now.mono_us + FLOOD_US
            effects += self._flooding(now)
        return effects

    def next_timer(self) -> int | None:
        """The earliest of all that."""
        late = self._late[0][0] if self._late else None
        due = (self._honest.next_timer(), late, self._flood_us)
        return min((us for us in due if us is not None), default=None)

    def _told(self, answer: Reply, question: Question, now: Now) -> list[Effect]:
        """What is said in place of an honest answer."""
        if self.way == "delays":
            self.deeds += 1
            self._count += 1
            due_us = now.mono_us + self._random.randrange(SECOND_US // 4, 2 * DHT_ASK_US)
            heapq.heappush(self._late, (due_us, self._count, answer))
            return []
        if question.get is None or not isinstance(answer.body, bytes):
            return [answer]
        values = decode_values(answer.body)
        if not values.values or self.way not in ("alters", "denies"):
            return [answer]
        self.deeds += 1
        if self.way == "denies":
            return [Reply(answer.request, encode(Values((), False, (), values.presence)))]
        altered = tuple(bytes([value[0] ^ 1]) + value[1:] for value in values.values)
        return [Reply(answer.request, encode(replace(values, values=altered)))]

    def _flooding(self, now: Now) -> list[Effect]:
        """So many questions to one victim, all at once."""
        victim = self._random.choice(self._victims)
        effects: list[Effect] = []
        for _ in range(FLOOD):
            self._count += 1
            find = Question(PUBLIC, find=Find(self._random.randbytes(LOCATION_BYTES)))
            token = Token(f"{_FLOOD}{self._count}")
            deadline_us = now.mono_us + DHT_ASK_US
            effects.append(Request(victim, PROTOCOL, encode(find), token, deadline_us))
        self.deeds += FLOOD
        return effects


class Judges:
    """The peer books of all nodes: what honest ones report of whom, and whom they would refuse."""

    def __init__(self) -> None:
        self.reports: Counter[tuple[PeerId, str]] = Counter()  # of whom, for what
        self._scores: dict[tuple[int, PeerId], Score] = {}
        self.refused: set[tuple[int, PeerId]] = set()
        self.hostile: frozenset[int] = frozenset()

    def port(self, node: BareNode, operation: str, arguments: Any) -> Any:
        """Port "peers" of `node`; nobody knows anything of uptimes."""
        if operation == "uptime":
            return (1.0,) * len(arguments)
        if operation == "conduct" and node.index not in self.hostile:
            assert isinstance(arguments, Conducted), "that is what conduct is about"
            self.reports[arguments.peer, arguments.code] += 1
            pair = node.index, arguments.peer
            if self._scores.setdefault(pair, Score()).add(arguments.code, 0):
                self.refused.add(pair)
        return None

    def of(self, peers: Mapping[PeerId, str]) -> dict[str, Counter[str]]:
        """Reports by what `peers` are, then by code; those of anybody else under "honest"."""
        found: dict[str, Counter[str]] = {}
        for (peer, code), count in sorted(self.reports.items()):
            found.setdefault(peers.get(peer, "honest"), Counter())[code] += count
        return found
