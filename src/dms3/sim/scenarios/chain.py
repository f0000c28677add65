"""Scenario "chain": people write in one app; what was acknowledged is found by everybody.

Source: docs/simulator.md, "The scenario chain". Every node runs the production machines of a
node's chains, its dht and its peer book. The rules of the app are a function here: the sandbox is
no part of the simulation. What breaks a rule is written by nobody and held by nobody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from dms3.chain.operations import Begin, Change, Commit, Committed
from dms3.chain.operations_validation import Found, GetLinks, GetRecord, OpenApp
from dms3.core.cid import Cid
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId
from dms3.core.limits import SECOND_US
from dms3.core.machine import Entropy
from dms3.core.verdict import Invalid
from dms3.node.inbox import Hosted
from dms3.sim.checkers import Checker, ViolationError
from dms3.sim.faults import FaultPlan, draw_plan
from dms3.sim.places import address_of
from dms3.sim.scenario import Scenario
from dms3.sim.scenarios.chain_members import ChainMembers, chain_ports
from dms3.sim.scenarios.chain_rules import DNA, TEXT_CHARS_MAX
from dms3.sim.seeds import stream
from dms3.sim.wiring import Wiring
from dms3.sim.world import Build, Port, SimNode, World

BASE = hashlib.sha256(b"dms3 sim chain: all notes").digest()
WRITE_EVERY_US = 2 * SECOND_US
LOOK_EVERY_US = 2 * SECOND_US
BAD_PER_HUNDRED = 10


@dataclass(slots=True)
class Tally:
    """What became of commits and reads."""

    begun: int = 0
    committed: dict[Cid, int] = field(default_factory=dict)  # -> by which node
    refused: int = 0
    lost: int = 0
    reads: int = 0
    missed: int = 0  # reads during faults that did not find


class ChainScenario(Scenario):
    """Notes and links to them, written everywhere and read everywhere."""

    name = "chain"
    wiring = Wiring

    def __init__(self) -> None:
        self.tally = Tally()
        self._members = ChainMembers()
        self._world: World | None = None
        self._open = 0
        self._until_us = 0
        self._wanted: set[tuple[int, bytes]] | None = None  # (node, what) that is still to be read

    def plan(self, seed: int) -> FaultPlan:
        """As drawn, but clocks stay: who writes an hour ahead is waited for an hour."""
        return replace(draw_plan(seed), clock_jump_every_us=0)

    @property
    def world(self) -> World:
        """The world of the run."""
        assert self._world is not None, "prepare comes first"
        return self._world

    def prepare(self, world: World) -> None:
        """Remember it."""
        self._world = world

    def build(self) -> Build:
        """The machines of a node."""
        return self._machines

    def _machines(self, index: int, peers: Sequence[PeerId], entropy: Entropy) -> list[Hosted]:
        del peers
        return self._members.machines(self.world.nodes[index], entropy)

    def ports(self) -> Mapping[str, Port]:
        """A sandbox that knows the one app, an empty library, a person who answers nothing."""
        return {**chain_ports(), "dapps": _nobody}

    def checkers(self) -> Sequence[Checker]:
        """What was acknowledged is there."""
        return [_AllRead(self)]

    def started(self, node: SimNode) -> None:
        """The app is opened and its chain begun, or taken up."""
        node.call("dht.listening", (address_of(node.index),), _nothing)
        node.call("validation.open", OpenApp(DNA), _nothing)
        node.call("source.begin", Begin(DNA), _nothing)

    def begin(self, world: World, until_us: int) -> None:
        """Write and read all the time, from random nodes."""
        self._until_us = until_us
        world.at(SECOND_US, self._write, stream(world.seed, "writes"))
        world.at(3 * SECOND_US, self._look, stream(world.seed, "looks"))

    def finished(self, world: World) -> bool:
        """Whether every node has read everything that was acknowledged, and all links to it."""
        if world.time_us < self._until_us or self._open or not self.tally.committed:
            return False
        if self._wanted is None:
            hashes = [b"", *(hash_.binary for hash_ in self.tally.committed)]
            self._wanted = {(node.index, what) for node in world.nodes for what in hashes}
        for index, what in sorted(self._wanted):
            self._read(world.nodes[index], what)
        return not self._wanted

    def figures(self, world: World) -> dict[str, Any]:
        """What became of all."""
        del world
        tally = self.tally
        return {
            "commits": tally.begun,
            "committed": len(tally.committed),
            "refused": tally.refused,
            "lost": tally.lost,
            "reads": tally.reads,
            "missed": tally.missed,
            "unread": len(self._wanted or ()),
        }

    # Writing

    def _write(self, random: Random) -> None:
        if self.world.time_us >= self._until_us and self.tally.committed:
            return  # among many crashes: until one write has come through
        node = random.choice(self.world.nodes)
        self._commit(node, random)
        self.world.at(self.world.time_us + self.pause_us(random), self._write, random)

    def pause_us(self, random: Random) -> int:
        """How long until the next commit of anybody."""
        return random.randrange(2 * WRITE_EVERY_US // len(self.world.nodes))

    def _commit(self, node: SimNode, random: Random) -> None:
        text = f"note {self.tally.begun} of node {node.index}"
        bad = random.randrange(100) < BAD_PER_HUNDRED
        content: dict[str, Any] = {"text": "x" * (TEXT_CHARS_MAX + 1) if bad else text}
        if self.tally.committed and random.randrange(3) == 0:
            content["about"] = str(random.choice(list(self.tally.committed)))
        to = hashlib.sha256(text.encode()).digest()
        changes = (
            Change("create", kind="note", content=content),
            Change("link", kind="all", base=BASE, to=to),
        )
        self.tally.begun += 1

        def done(answer: Committed | Failure) -> None:
            if isinstance(answer, Committed):
                if bad:
                    raise ViolationError("what breaks a rule was committed")
                self.tally.committed[answer.actions[0]] = node.index
            else:
                self.tally.refused += 1

        self._call(node, "source.commit", Commit(DNA.id, changes), done)

    # Reading

    def _look(self, random: Random) -> None:
        if self.world.time_us >= self._until_us:
            return
        node = random.choice(self.world.nodes)
        if self.tally.committed:
            self._read(node, random.choice(list(self.tally.committed)).binary)
        self.world.at(self.world.time_us + random.randrange(LOOK_EVERY_US), self._look, random)

    def _read(self, node: SimNode, what: bytes) -> None:
        """Read a record, or with b"" all links; what is found is not wanted any more."""
        self.tally.reads += 1

        def got(answer: Found | Failure | None) -> None:
            if isinstance(answer, Found) and isinstance(answer.verdict, Invalid):
                raise ViolationError(f"node {node.index} was given {answer.verdict} as a record")
            self._found(node, what, there=isinstance(answer, Found))

        def listed(answer: Any) -> None:
            links = {each.action for each in answer} if isinstance(answer, tuple) else set()
            self._found(node, what, there=len(links) >= len(self.tally.committed))

        if what:
            self._call(node, "validation.get", GetRecord(DNA.id, Cid(what)), got)
        else:
            self._call(node, "validation.links", GetLinks(DNA.id, BASE), listed)

    def _found(self, node: SimNode, what: bytes, *, there: bool) -> None:
        self.tally.missed += not there
        if there and self._wanted is not None:
            self._wanted.discard((node.index, what))

    def _call(self, node: SimNode, operation: str, question: Any, done: Any) -> None:
        """Ask, and forget it when the node dies over it."""
        boot = node.boot
        self._open += 1
        ended = False

        def end() -> None:
            nonlocal ended
            ended = True
            self._open -= 1

        def answered(body: Any) -> None:
            if not ended:
                end()
                done(body)

        def watch() -> None:
            if not ended and (node.boot != boot or node.driver is None):
                self.tally.lost += 1
                end()
            elif not ended:
                self.world.at(self.world.time_us + SECOND_US, watch)

        try:
            node.call(operation, question, answered)
        except Dms3Error:
            self.tally.lost += 1
            end()
            return
        watch()


class _AllRead(Checker):
    """Looks at the end."""

    def __init__(self, scenario: ChainScenario) -> None:
        self._scenario = scenario

    def quiet(self, world: World) -> None:
        """Something was written, and read."""
        del world
        if not self._scenario.tally.committed:
            raise ViolationError("nothing was committed")


def _nobody(_node: SimNode, _operation: str, _arguments: Any) -> Any:
    raise Dms3Error("not_found", "Nobody answers for apps here.")


def _nothing(_answer: Any) -> None:
    """What is done with an answer that nobody waits for."""
