"""Scenario "holders": a fifth of an app's nodes lies about what it holds; nothing is lost by that.

Source: docs/attacks.md, "Somebody in an app's overlay". A mask before the production machine of
such a node changes what it says: receipts that it has not signed, receipts for what it lets go of,
altered ops, nothing, answers that come late. Honest nodes have to name the forgers, blame no honest
node, hold every op, and read every note.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

from dms3.chain.messages import (
    PROTOCOL,
    ChainQuestion,
    Fetched,
    OpResult,
    Published,
    Reconciled,
    decode_chain_question,
    decode_fetched,
    decode_published,
)
from dms3.chain.operations import Change, Commit, Committed
from dms3.chain.operations_validation import Found, GetRecord
from dms3.chain.ops import decode_op, op_id
from dms3.chain.receipt import issue_receipt
from dms3.core.cid import Cid
from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.ids import PeerId
from dms3.core.limits import RECONCILE_ASK_US, SECOND_US
from dms3.core.machine import Call, Effect, Event, Machine, Now, Reply, Requested, View
from dms3.core.neighbourhood import Duty
from dms3.core.reconcile import Told
from dms3.crypto.signing import SigningKey
from dms3.p2p.port import Conducted
from dms3.sim.bare import BareNode
from dms3.sim.scenarios.app_world import WRITE_US, WRITERS, AppWorld
from dms3.sim.seeds import stream
from dms3.sim.statement import Statement, require

HOSTILE = 5  # one node of so many
WAYS = ("forges", "claims", "alters", "denies", "delays")
"""Signs falsely; signs for what it lets go of; gives altered ops; has nothing; answers late."""

DUTY = Duty(4, 6, 12)
READ_US = 60 * SECOND_US
FORGED = "receipt_forged"


class Holder:
    """Stands before the `honest` machine "validation"; `deeds`: how often it lied in its `way`."""

    def __init__(self, honest: Machine, way: str, key: SigningKey, random: Random) -> None:
        self._honest = honest
        self._key = key
        self._random = random
        self._late: list[tuple[int, int, Reply]] = []
        self._asked: dict[int, ChainQuestion] = {}
        self.way = way
        self.deeds = 0

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """As the honest one."""
        return self._honest.on_start(view, now)

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """As the honest one, but for what peers ask."""
        if not isinstance(event, Requested) or event.protocol != PROTOCOL:
            return self._masked(self._honest.on_event(event, now), now)
        question = decode_chain_question(event.body)
        if self.way == "claims" and (claimed := self._claimed(question, now)) is not None:
            self.deeds += 1
            return [Reply(event.request, claimed)]
        self._asked[event.request] = question
        return self._masked(self._honest.on_event(event, now), now)

    def on_timer(self, now: Now) -> list[Effect]:
        """As the honest one; and what was kept back."""
        effects = self._masked(self._honest.on_timer(now), now)
        while self._late and self._late[0][0] <= now.mono_us:
            effects.append(heapq.heappop(self._late)[2])
        return effects

    def next_timer(self) -> int | None:
        """The earliest of both."""
        due = (self._honest.next_timer(), self._late[0][0] if self._late else None)
        return min((us for us in due if us is not None), default=None)

    def _claimed(self, question: ChainQuestion, now: Now) -> bytes | None:
        """A true signature for what is let go of; whoever compares finds the same here."""
        if question.publish is not None:
            names = [op_id(decode_op(op)) for op in question.publish.ops]
        elif question.vouch is not None:
            names = list(question.vouch.ops)
        elif question.reconcile is not None:
            told = (Told(equal=True),) * len(question.reconcile.ranges)
            return encode(Reconciled(told))
        else:
            return encode(Fetched(()))
        receipts = (issue_receipt(self._key, question.overlay, name, now.wall_us) for name in names)
        return encode(Published(tuple(OpResult("held", each) for each in receipts)))

    def _masked(self, effects: list[Effect], now: Now) -> list[Effect]:
        """`effects` with answers to peers as this node gives them."""
        said: list[Effect] = []
        for effect in effects:
            question = self._asked.pop(effect.request, None) if isinstance(effect, Reply) else None
            if isinstance(effect, Reply) and question is not None:
                said += self._told(effect, question, now)
            else:
                said.append(effect)
        return said

    def _told(self, answer: Reply, question: ChainQuestion, now: Now) -> list[Effect]:
        if self.way == "delays":
            self.deeds += 1
            due_us = now.mono_us + self._random.randrange(SECOND_US, 2 * RECONCILE_ASK_US)
            heapq.heappush(self._late, (due_us, self.deeds, answer))
            return []
        if self.way == "denies" and question.publish is None:
            self.deeds += 1
            return [Reply(answer.request, Failure("not_found", "There is nothing here."))]
        changed = _changed(self.way, answer.body, question)
        self.deeds += changed != answer.body
        return [Reply(answer.request, changed)]


class Witness:
    """Stands before a machine of an honest node, and hears whom it blames for what."""

    def __init__(self, machine: Machine, reports: Counter[tuple[PeerId, str]]) -> None:
        self._machine = machine
        self._reports = reports

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """As the machine."""
        return self._heard(self._machine.on_start(view, now))

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """As the machine."""
        return self._heard(self._machine.on_event(event, now))

    def on_timer(self, now: Now) -> list[Effect]:
        """As the machine."""
        return self._heard(self._machine.on_timer(now))

    def next_timer(self) -> int | None:
        """As the machine."""
        return self._machine.next_timer()

    def _heard(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, Call) and isinstance(effect.arguments, Conducted):
                self._reports[effect.arguments.peer, effect.arguments.code] += 1
        return effects


class _Town(AppWorld):
    """An app of whose nodes some are hostile."""

    def __init__(self, seed: int, nodes: int, duty: Duty, way_of: dict[int, str]) -> None:
        super().__init__(seed, nodes, duty)
        self.way_of = way_of
        self.liars: list[Holder] = []
        self.reports: Counter[tuple[PeerId, str]] = Counter()

    def settle(self, within_us: int, step_us: int) -> int:
        """Nobody waits until an op is held by enough: some say so who are not."""
        del within_us
        self.run(step_us)
        return step_us

    def start(self, node: BareNode) -> None:
        """Start a node and open the app on it; what it says is masked, or what it hears noted."""
        super().start(node)
        way = self.way_of.get(node.index)
        if way is None:
            for name, machine in node.machines.items():
                node.machines[name] = Witness(machine, self.reports)
            return
        key, random = SigningKey.of_seed(node.key.seed), stream(node.index, "holder")
        liar = Holder(node.machines["validation"], way, key, random)
        node.machines["validation"] = liar
        self.liars.append(liar)


class HoldersScenario(Statement):
    """`notes` are written; the app asks for `duty`."""

    name = "holders"

    def __init__(self, *, notes: int = 10, duty: Duty = DUTY) -> None:
        super().__init__()
        self._notes = notes
        self._duty = duty
        self._written: list[tuple[Cid, ...]] = []
        self._read: list[bool] = []

    def play(self, nodes: int, seed: int, work_us: int) -> None:
        """Write, let nodes compare for two periods, read everywhere; `work_us` means nothing."""
        del work_us
        random = stream(seed, "hostile")
        chosen = random.sample(range(WRITERS, nodes), nodes // HOSTILE)
        way_of = {index: WAYS[turn % len(WAYS)] for turn, index in enumerate(chosen)}
        town = _Town(seed, nodes, self._duty, way_of)
        self.trace = town.world.trace
        town.begin(town.world.nodes, 0)
        for number in range(self._notes):
            self._write(town, number)
            town.run(WRITE_US)
        town.run(2 * READ_US)
        honest = [node for node in town.world.nodes if node.index not in way_of]
        self._get(town, honest, random.choice)
        town.run(READ_US)
        self.time_us = town.world.time_us
        self._look(town)

    def _write(self, town: _Town, number: int) -> None:
        def done(body: Committed | Failure) -> None:
            if isinstance(body, Committed):
                self._written.append(body.actions)

        change = Change("create", kind="note", content={"text": f"note {number}"})
        node = town.world.nodes[number % WRITERS]
        town.world.call(node, "source.commit", Commit(town.dna.id, (change,)), done)

    def _get(
        self,
        town: _Town,
        honest: Sequence[BareNode],
        choose: Callable[[Sequence[BareNode]], BareNode],
    ) -> None:
        """Let an honest node that has not written it read each note."""

        def done(body: Found | Failure | None) -> None:
            self._read.append(isinstance(body, Found) and bool(body.records))

        readers = [node for node in honest if node.index >= WRITERS]
        for actions in self._written:
            for action in actions:
                asked = GetRecord(town.dna.id, action)
                town.world.call(choose(readers), "validation.get", asked, done)

    def _look(self, town: _Town) -> None:
        way_of = {town.world.nodes[index].peer: way for index, way in town.way_of.items()}
        reported: dict[str, Counter[str]] = {}
        for (peer, code), count in sorted(town.reports.items()):
            reported.setdefault(way_of.get(peer, "honest"), Counter())[code] += count
        deeds = Counter(dict.fromkeys(WAYS, 0))
        for liar in town.liars:
            deeds[liar.way] += liar.deeds
        others = set(range(WRITERS, len(town.world.nodes))) - town.way_of.keys()
        held = [len(others.intersection(op.holders)) for op in town.held().values()]
        self.figures |= {
            "hostile": len(town.liars),
            "deeds": dict(deeds),
            "reported": {way: dict(codes) for way, codes in reported.items()},
            "ops": len(held),
            "honest_holders_min": min(held),
            "reads": len(self._read),
            "read": sum(self._read),
        }
        require(len(self._written) == self._notes, "a note was not written")
        require("honest" not in reported, f"honest nodes are blamed: {reported.get('honest')}")
        require(min(held) > 0, "an op is held by no honest node but writers")
        require(len(self._read) == sum(self._read) == self._notes, "a note was not read")
        forged = reported.get("forges", Counter())
        require(not deeds["forges"] or forged[FORGED] > 0, "nobody named a forged receipt")


def _changed(way: str, body: object, question: ChainQuestion) -> object:
    """The answer `body` with forged receipts, or altered ops."""
    if not isinstance(body, bytes):
        return body
    asked = question.publish or question.vouch
    if way == "forges" and asked is not None:
        results = decode_published(body, len(asked.ops)).results
        forged = (
            replace(one, receipt=_flipped(one.receipt)) if one.receipt else one for one in results
        )
        return encode(Published(tuple(forged)))
    if way == "alters" and (question.fetch is not None or question.bring is not None):
        fetched = decode_fetched(body)
        ops = tuple(replace(one, op=_flipped(one.op)) for one in fetched.ops)
        return encode(replace(fetched, ops=ops))
    return body


def _flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])
