"""Scenario "integrity": who breaks rules, forks or accuses falsely is convicted; nobody else is.

Source: docs/simulator.md, "The scenario integrity"; docs/chains.md, "Convicted". One node writes
what the rules refuse, one signs two actions at one place and shows each half of the nodes another,
one accuses an honest node falsely, and two do so together. Some of the holders of the forker's
activity hide what they hold; the nearest that does not is shown both halves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dms3.chain.action import VERSION, Action, SignedAction, sign_action
from dms3.chain.entry import make_entry
from dms3.chain.messages import PROTOCOL, ChainQuestion, Publish
from dms3.chain.operations import (
    Begin,
    ChainHead,
    Change,
    Commit,
    IssueWarrant,
    OpenApp,
    Query,
    Record,
)
from dms3.chain.ops import encode_op, ops_of
from dms3.chain.warrant import FALSE, rule_evidence
from dms3.core.codec import decode, encode
from dms3.core.errors import Dms3Error
from dms3.core.ids import PeerId
from dms3.core.limits import GOSSIP_PERIOD_US, SECOND_US, WARRANT_WAIT_US_MAX
from dms3.core.machine import Entropy
from dms3.core.overlay import HOLDERS_MIN, AskNodes, NodeAt, distance, location
from dms3.crypto.signing import SigningKey
from dms3.dht.presence import node_location
from dms3.node.inbox import Hosted, Overflow
from dms3.sim.checkers import Checker, ViolationError
from dms3.sim.faults import FaultPlan
from dms3.sim.places import address_of
from dms3.sim.scenario import Scenario
from dms3.sim.scenarios.chain_members import ChainMembers
from dms3.sim.scenarios.chain_rules import DNA, TEXT_CHARS_MAX, sandbox
from dms3.sim.scenarios.integrity_members import Lawless, Silent
from dms3.sim.scenarios.members import BOOTSTRAP_NODES, empty_library
from dms3.sim.wiring import Wiring
from dms3.sim.world import Build, Port, SimNode, World
from dms3.validation import validation
from dms3.validation.convicting import ConvictionRow
from dms3.validation.rows import ActionRow

CONVICTIONS, ACTIONS = "validation/convictions", "validation/actions"
BEGUN_US, WRONG_US = 4 * SECOND_US, 8 * SECOND_US
LOOK_US = SECOND_US // 10
TOLD_US = WARRANT_WAIT_US_MAX + 2 * GOSSIP_PERIOD_US
"""From the first conviction to that by all: who warns waits, then two periods of gossip."""
OUTLAWS = ("lawless", "forker", "framer", "colluder", "second colluder")
"""The last nodes, the last one first."""


class IntegrityScenario(Scenario):
    """`bad`: how many of the HOLDERS_MIN nearest nodes hide the fork; None: as the seed draws."""

    name = "integrity"
    wiring = Wiring

    def __init__(self, bad: int | None = None) -> None:
        self._bad = bad
        self._members = ChainMembers()
        self._world: World | None = None
        self._silent: set[int] = set()
        self._until_us = 0
        self.convicted_us: dict[str, dict[int, int]] = {name: {} for name in OUTLAWS}

    def plan(self, seed: int) -> FaultPlan:
        """A country's distances; what goes wrong, people do."""
        if self._bad is None:
            self._bad = seed % HOLDERS_MIN
        return FaultPlan(delay_min_us=5_000, delay_max_us=40_000)

    @property
    def world(self) -> World:
        """The world of the run."""
        assert self._world is not None, "prepare comes first"
        return self._world

    def outlaw(self, name: str) -> SimNode:
        """The node that does what `name` says."""
        return self.world.nodes[-1 - OUTLAWS.index(name)]

    def agent(self, node: SimNode) -> SigningKey:
        """The agent key of a node."""
        own = self._members.own(node)
        return own.tree.agent(own.device, DNA.id, 0)

    @property
    def honest(self) -> list[SimNode]:
        """Who breaks no rule and hides nothing."""
        lawful = self.world.nodes[: -len(OUTLAWS)]
        return [node for node in lawful if node.index not in self._silent]

    def prepare(self, world: World) -> None:
        """Choose who hides: of the holders of the forker's activity."""
        if len(world.nodes) < BOOTSTRAP_NODES + len(OUTLAWS) + HOLDERS_MIN + 1:
            raise Dms3Error("argument_invalid", "This scenario takes 17 nodes or more.")
        self._world = world
        target = location(self.agent(self.outlaw("forker")).public)
        lawful = sorted(
            world.nodes[BOOTSTRAP_NODES : -len(OUTLAWS)],
            key=lambda node: distance(node_location(node.peer), target),
        )
        self._silent = {node.index for node in lawful[: self._bad]}

    def build(self) -> Build:
        """The machines of a node, its validation as it is one of whom."""
        return self._machines

    def _machines(self, index: int, peers: Sequence[PeerId], entropy: Entropy) -> list[Hosted]:
        del peers
        node = self.world.nodes[index]
        made = self._members.machines(node, entropy)
        kind = Lawless if index >= len(self.world.nodes) - len(OUTLAWS) else Silent
        if index in self._silent or kind is Lawless:
            machine = kind(SigningKey.of_seed(node.key.seed))
            bounds = {validation.PROTOCOL: Overflow.DROP_OLDEST}
            made = [each for each in made if each.name != validation.NAME]
            made.append(Hosted(validation.NAME, machine, bounds))
        return made

    def ports(self) -> Mapping[str, Port]:
        """A sandbox that knows the one app, an empty library, a person who answers nothing."""
        return {"library": empty_library, "sandbox": sandbox, "dapps": _nobody}

    def checkers(self) -> Sequence[Checker]:
        """Only they are convicted, for what they did, and soon."""
        return [_Just(self)]

    def started(self, node: SimNode) -> None:
        """The app is opened and a chain begun."""
        node.call("dht.listening", (address_of(node.index),), _nothing)
        node.call("validation.open", OpenApp(DNA), _nothing)
        node.call("source.begin", Begin(DNA), _nothing)

    def begin(self, world: World, until_us: int) -> None:
        """Two write; then the outlaws do what they do, all at once."""
        self._until_us = max(until_us, WRONG_US + SECOND_US)
        for node in world.nodes[:2]:  # of whom the others will say that they broke a rule
            world.at(BEGUN_US, self._write, node, f"note of {node.index}")
        lawless = self.outlaw("lawless")
        world.at(WRONG_US, self._write, lawless, "x" * (TEXT_CHARS_MAX + 1))
        world.at(WRONG_US, self._fork)
        for name, victim in zip(OUTLAWS[2:], (0, 1, 1), strict=True):
            world.at(WRONG_US, self._frame, self.outlaw(name), world.nodes[victim])
        world.at(WRONG_US, self._look)

    def finished(self, world: World) -> bool:
        """Whether every honest node has convicted every outlaw."""
        return world.time_us >= self._until_us and all(
            len(seen) == len(self.honest) for seen in self.convicted_us.values()
        )

    def figures(self, world: World) -> dict[str, Any]:
        """When the first and the last honest node convicted each, and who hid what."""
        figures: dict[str, Any] = {"honest": len(self.honest), "bad_holders": len(self._silent)}
        for name, seen in self.convicted_us.items():
            times = sorted(us - WRONG_US for us in seen.values())
            known = name.replace(" ", "_")
            figures[f"{known}_first_s"] = _seconds(times[:1])
            figures[f"{known}_all_s"] = _seconds(times[-1:])
        rows = [decode(ActionRow, row) for row in world.nodes[0].disk.table(ACTIONS).values()]
        figures["rejected"] = sum(row.state == "rejected" for row in rows)
        return figures

    # What the outlaws do

    def _write(self, node: SimNode, text: str) -> None:
        changes = (Change("create", kind="note", content={"text": text}),)
        node.call("source.commit", Commit(DNA.id, changes), _nothing)

    def _fork(self) -> None:
        """Two actions behind the head, each shown to another half, near nodes by turns."""
        node = self.outlaw("forker")

        def known(head: ChainHead) -> None:
            sides = [self._signed(node, head, text) for text in ("to you", "to the others")]
            target = location(self.agent(node).public)
            others = sorted(
                (each for each in self.world.nodes if each is not node),
                key=lambda each: distance(node_location(each.peer), target),
            )
            honest = {each.index for each in self.honest}
            sees = next(each for each in others if each.index in honest)
            for side, half in zip(sides, (others[::2], others[1::2]), strict=True):
                for each in dict.fromkeys((*half, sees)):
                    at = NodeAt(each.peer, (address_of(each.index),))
                    node.call("dht.ask", AskNodes((at,), PROTOCOL, side), _nothing)

        node.call("source.head", DNA.id, known)

    def _signed(self, node: SimNode, head: ChainHead, text: str) -> bytes:
        """A publish of an action behind `head`."""
        entry, data = make_entry({"text": text})
        own, key = self._members.own(node), self.agent(node)
        action = Action(
            VERSION,
            DNA.id,
            key.public,
            own.root,
            head.seq + 1,
            head.head,
            node.now().wall_us,
            "create",
            entry=entry,
            entry_kind="note",
        )
        ops = tuple(encode_op(op) for op in ops_of(sign_action(key, action), data))
        return encode(ChainQuestion(DNA.id, publish=Publish(ops)))

    def _frame(self, framer: SimNode, victim: SimNode) -> None:
        """Warn of a note of `victim` that breaks no rule."""

        def known(records: tuple[Record, ...]) -> None:
            accused: SignedAction = records[-1].signed
            asked = IssueWarrant(DNA.id, self.agent(victim).public, rule_evidence(accused, "short"))
            framer.call("source.warrant", asked, _nothing)

        victim.call("source.query", Query(DNA.id), known)

    # Looking

    def _look(self) -> None:
        """Note who has convicted whom by now."""
        keys = {name: DNA.id + self.agent(self.outlaw(name)).public for name in OUTLAWS}
        for node in self.honest:
            rows = node.disk.table(CONVICTIONS)
            for name, key in keys.items():
                if key in rows:
                    self.convicted_us[name].setdefault(node.index, self.world.time_us)
        if not self.finished(self.world):
            self.world.at(self.world.time_us + LOOK_US, self._look)


class _Just(Checker):
    """Looks at the end."""

    def __init__(self, scenario: IntegrityScenario) -> None:
        self._scenario = scenario

    def quiet(self, world: World) -> None:
        """Every verdict is just, and all heard of it soon after the first knew."""
        scenario = self._scenario
        rules = dict(zip(OUTLAWS, ("short", "", FALSE, FALSE, FALSE), strict=True))
        keys = {DNA.id + scenario.agent(scenario.outlaw(name)).public: name for name in OUTLAWS}
        for node in scenario.honest:
            for key, data in sorted(node.disk.table(CONVICTIONS).items()):
                row = decode(ConvictionRow, data)
                if key not in keys:
                    raise ViolationError(f"node {node.index} has convicted an honest agent")
                if row.rule != rules[keys[key]]:
                    raise ViolationError(f"{keys[key]} is convicted of {row.rule!r}")
        for name, seen in scenario.convicted_us.items():
            spread_us = max(seen.values()) - min(seen.values())
            if spread_us > TOLD_US:
                raise ViolationError(f"all knew of the {name} {spread_us / SECOND_US:.1f} s later")
        del world


def _seconds(times: Sequence[int]) -> float | None:
    return round(times[0] / SECOND_US, 1) if times else None


def _nobody(_node: SimNode, _operation: str, _arguments: Any) -> Any:
    raise Dms3Error("not_found", "Nobody answers for apps here.")


def _nothing(_answer: Any) -> None:
    """What is done with an answer that nobody waits for."""
