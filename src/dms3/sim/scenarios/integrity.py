"""Scenario "integrity": who breaks rules, forks or accuses falsely is convicted; nobody else is.

Source: docs/simulator.md, "The scenario integrity"; docs/chains.md, "Convicted". One node writes
what the rules refuse, one signs two actions at one place and shows each half of the nodes another,
one accuses an honest node falsely, and two do so together. Some of the holders of the forker's
activity hide what they hold; the nearest that does not is shown both halves. From when one honest
node has both, all others know of the fork within two periods of gossip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dms3.chain.operations import ChainHead, Change, Commit, Query
from dms3.chain.operations_validation import Record
from dms3.core.codec import decode
from dms3.core.ids import PeerId
from dms3.core.limits import GOSSIP_PERIOD_US, SECOND_US, WARRANT_WAIT_US_MAX
from dms3.core.machine import Entropy
from dms3.core.overlay import HOLDERS_MIN, distance, location
from dms3.dht.presence import node_location
from dms3.node.inbox import Hosted
from dms3.sim.checkers import Checker, ViolationError
from dms3.sim.faults import FaultPlan
from dms3.sim.scenarios.chain import ChainScenario
from dms3.sim.scenarios.chain_rules import DNA, TEXT_CHARS_MAX
from dms3.sim.scenarios.integrity_deeds import RULES, false_warrant, note_behind, shown_to
from dms3.sim.scenarios.integrity_members import IntegrityMembers, Lawless, Silent
from dms3.sim.world import SimNode, World
from dms3.validation.convicting import ConvictionRow

CONVICTIONS, ACTIONS = "validation/convictions", "validation/actions"
BEGUN_US, WRONG_US = 4 * SECOND_US, 8 * SECOND_US
LOOK_US = SECOND_US // 10
TOLD_US = WARRANT_WAIT_US_MAX + 2 * GOSSIP_PERIOD_US
"""From the first conviction to that by all: who warns waits, then two periods of gossip."""
FOUND_US = 2 * GOSSIP_PERIOD_US
"""From when one honest node has both sides of the fork to its conviction by all of them."""
FIRST = 3  # nodes through which the others join; they hide nothing
OUTLAWS = tuple(RULES)
"""The last nodes, the last one first."""


class IntegrityScenario(ChainScenario):
    """`bad`: how many of the HOLDERS_MIN nearest nodes hide the fork; None: as the seed draws."""

    name = "integrity"

    def __init__(self, bad: int | None = None) -> None:
        super().__init__()
        self._bad = bad
        self._people = IntegrityMembers()
        self._silent: set[int] = set()
        self.convicted_us: dict[str, dict[int, int]] = {name: {} for name in OUTLAWS}
        self.seen_us: int | None = None  # since when an honest node has both sides of the fork
        self._sides: list[bytes] = []  # of the fork: the keys of its actions

    def plan(self, seed: int) -> FaultPlan:
        """A country's distances; what goes wrong, people do."""
        if self._bad is None:
            self._bad = seed % HOLDERS_MIN
        return FaultPlan(delay_min_us=5_000, delay_max_us=40_000)

    def outlaw(self, name: str) -> SimNode:
        """The node that does what `name` says."""
        return self.world.nodes[-1 - OUTLAWS.index(name)]

    def agent(self, name: str) -> bytes:
        """The agent of an outlaw."""
        return self._people.agent(self.outlaw(name)).public

    @property
    def honest(self) -> list[SimNode]:
        """Who breaks no rule and hides nothing."""
        lawful = self.world.nodes[: -len(OUTLAWS)]
        return [node for node in lawful if node.index not in self._silent]

    def prepare(self, world: World) -> None:
        """Choose who hides: of the holders of the forker's activity."""
        super().prepare(world)
        least = FIRST + HOLDERS_MIN + 1 + len(OUTLAWS)
        if len(world.nodes) < least:
            raise ViolationError(f"this scenario takes {least} nodes or more")
        lawful = self._nearest(world.nodes[FIRST : -len(OUTLAWS)])
        self._silent = {node.index for node in lawful[: self._bad]}

    def _nearest(self, nodes: Sequence[SimNode]) -> list[SimNode]:
        """`nodes` in order of their distance to the activity of the forker."""
        target = location(self.agent("forker"))
        return sorted(nodes, key=lambda node: distance(node_location(node.peer), target))

    def _machines(self, index: int, peers: Sequence[PeerId], entropy: Entropy) -> list[Hosted]:
        del peers
        node = self.world.nodes[index]
        if index in self._silent:
            return self._people.dishonest(node, entropy, Silent)
        if index >= len(self.world.nodes) - len(OUTLAWS):
            return self._people.dishonest(node, entropy, Lawless)
        return self._people.machines(node, entropy)

    def checkers(self) -> Sequence[Checker]:
        """Only they are convicted, for what they did, and soon."""
        return [_Just(self)]

    def begin(self, world: World, until_us: int) -> None:
        """Two write; then the outlaws do what they do, all at once."""
        self._until_us = max(until_us, WRONG_US + SECOND_US)
        for node in world.nodes[:2]:  # of whom the others will say that they broke a rule
            world.at(BEGUN_US, self._note, node, f"note of {node.index}")
        world.at(WRONG_US, self._note, self.outlaw("lawless"), "x" * (TEXT_CHARS_MAX + 1))
        world.at(WRONG_US, self._fork)
        for name, victim in zip(OUTLAWS[2:], (0, 1, 1), strict=True):
            world.at(WRONG_US, self._frame, self.outlaw(name), world.nodes[victim])
        world.at(WRONG_US, self._watch)

    def finished(self, world: World) -> bool:
        """Whether every honest node has convicted every outlaw."""
        return world.time_us >= self._until_us and all(
            len(seen) == len(self.honest) for seen in self.convicted_us.values()
        )

    def figures(self, world: World) -> dict[str, Any]:
        """When the first and the last honest node convicted each, and how many hid something."""
        del world
        figures: dict[str, Any] = {"honest": len(self.honest), "bad_holders": len(self._silent)}
        for name, seen in self.convicted_us.items():
            times = sorted(us - WRONG_US for us in seen.values())
            known = name.replace(" ", "_")
            figures[f"{known}_first_s"] = _seconds(times[:1])
            figures[f"{known}_all_s"] = _seconds(times[-1:])
        if self.seen_us is not None:
            seen_us, found = self.seen_us, sorted(self.convicted_us["forker"].values())
            figures["fork_seen_s"] = _seconds([seen_us - WRONG_US])
            figures["fork_found_s"] = _seconds([us - seen_us for us in found[:1]])
            figures["fork_known_s"] = _seconds([us - seen_us for us in found[-1:]])
        return figures

    # What the outlaws do

    def _note(self, node: SimNode, text: str) -> None:
        changes = (Change("create", kind="note", content={"text": text}),)
        node.call("source.commit", Commit(DNA.id, changes), _nothing)

    def _fork(self) -> None:
        """Two actions behind the head, each shown to another half, near nodes by turns."""
        node = self.outlaw("forker")
        key, root = self._people.agent(node), self._people.own(node).root
        others = self._nearest([each for each in self.world.nodes if each is not node])
        honest = {each.index for each in self.honest}
        sees = next(each for each in others if each.index in honest)

        def known(head: ChainHead) -> None:
            wall_us = node.now().wall_us
            for text, half in (("to you", others[::2]), ("to the others", others[1::2])):
                digest, body = note_behind(head, key, root, wall_us, text)
                self._sides.append(DNA.id + digest)
                for each in dict.fromkeys((*half, sees)):
                    node.call("dht.ask", shown_to(each, body), _nothing)

        node.call("source.head", DNA.id, known)

    def _frame(self, framer: SimNode, victim: SimNode) -> None:
        """Warn of a note of `victim` that breaks no rule."""
        agent = self._people.agent(victim).public

        def known(records: tuple[Record, ...]) -> None:
            framer.call("source.warrant", false_warrant(agent, records[-1]), _nothing)

        victim.call("source.query", Query(DNA.id), known)

    # Looking

    def _watch(self) -> None:
        """Note who has convicted whom by now."""
        keys = {name: DNA.id + self.agent(name) for name in OUTLAWS}
        for node in self.honest:
            rows = node.disk.table(CONVICTIONS)
            for name, key in keys.items():
                if key in rows:
                    self.convicted_us[name].setdefault(node.index, self.world.time_us)
            known = keys["forker"] in rows or self._has_both(node)
            if known and self.seen_us is None:
                self.seen_us = self.world.time_us
        if not self.finished(self.world):
            self.world.at(self.world.time_us + LOOK_US, self._watch)

    def _has_both(self, node: SimNode) -> bool:
        """Whether `node` has both sides of the fork."""
        rows = node.disk.table(ACTIONS)
        return len(self._sides) > 1 and all(key in rows for key in self._sides)


class _Just(Checker):
    """Looks at the end."""

    def __init__(self, scenario: IntegrityScenario) -> None:
        self._scenario = scenario

    def quiet(self, world: World) -> None:
        """Every verdict is just, and all heard of it soon after the first knew."""
        del world
        scenario = self._scenario
        keys = {DNA.id + scenario.agent(name): name for name in OUTLAWS}
        for node in scenario.honest:
            for key, data in sorted(node.disk.table(CONVICTIONS).items()):
                row = decode(ConvictionRow, data)
                if key not in keys:
                    raise ViolationError(f"node {node.index} has convicted an honest agent")
                if row.rule != RULES[keys[key]]:
                    raise ViolationError(f"{keys[key]} is convicted of {row.rule!r}")
        for name, seen in scenario.convicted_us.items():
            spread_us = max(seen.values()) - min(seen.values())
            if spread_us > TOLD_US:
                raise ViolationError(f"all knew of the {name} {spread_us / SECOND_US:.1f} s later")
        assert scenario.seen_us is not None, "the fork was found"
        after_us = max(scenario.convicted_us["forker"].values()) - scenario.seen_us
        if after_us > FOUND_US:
            late = f"{after_us / SECOND_US:.1f} s after one had both sides"
            raise ViolationError(f"all knew of the fork {late}")


def _seconds(times: Sequence[int]) -> float | None:
    return round(times[0] / SECOND_US, 1) if times else None


def _nothing(_answer: Any) -> None:
    """What is done with an answer that nobody waits for."""
