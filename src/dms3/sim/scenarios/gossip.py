"""Scenario "gossip": bodies are spread while messages get lost, nodes idle, and nodes restart.

Source: docs/simulator.md, "The scenarios of the overlay"; docs/gossip.md. Three of ten messages are
lost, a fifth of the nodes take everything and pass nothing on, and one honest node after another
loses its memory. Every honest node hears everything, once in each of its lives.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from dms3.core.codec import encode
from dms3.core.errors import Dms3Error, Failure
from dms3.core.gossip import GossipFigures, HeardGossip, Spread
from dms3.core.ids import PeerId, RequestId
from dms3.core.limits import SECOND_US
from dms3.core.machine import (
    Called,
    Effect,
    Entropy,
    Event,
    Machine,
    Now,
    Reply,
    Requested,
    Send,
    View,
)
from dms3.core.overlay import PUBLIC
from dms3.gossip import gossip
from dms3.gossip.messages import Bodies, Recent, decode_question
from dms3.node.inbox import Hosted, Overflow
from dms3.sim.checkers import Checker, ViolationError
from dms3.sim.faults import FaultPlan
from dms3.sim.scenarios.overlay import OverlayScenario
from dms3.sim.seeds import stream
from dms3.sim.world import SimNode, World

TOPIC, LISTENER = "talk", "listener"
BODIES_MAX = 200
IDLERS = 5  # one node of so many
SETTLING_US = 10 * SECOND_US  # before the first body: partners find each other
LEAVING_EVERY_US = 2 * SECOND_US
AWAY_US = 3 * SECOND_US
BACK_US = 10 * SECOND_US  # whoever came back so long ago has found partners
REDUNDANCY_MAX = 4
LOSS_PER_MILLION = 300_000
_BODY_BYTES = 200


class Listener:
    """The owner of the topic at `node`: tells the scenario what it hears, and finds it good."""

    def __init__(self, scenario: GossipScenario, node: SimNode) -> None:
        self._scenario = scenario
        self._node = node

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Nothing is kept."""
        del view, now
        return []

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """A body was heard."""
        del now
        if isinstance(event, Called) and isinstance(event.arguments, HeardGossip):
            self._scenario.heard(self._node, event.arguments)
            return [Reply(event.request, True)]
        return []

    def on_timer(self, now: Now) -> list[Effect]:
        """Nothing is due."""
        del now
        return []

    def next_timer(self) -> int | None:
        """Never."""
        return None


class Idler:
    """A node that takes what is spread and passes nothing on: it tells no ids, gives no bodies."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._asked: dict[RequestId, bytes] = {}

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """As an honest one."""
        return self._machine.on_start(view, now)

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """As an honest one, but for what it says."""
        if isinstance(event, Requested):
            wants = bool(decode_question(event.body).want)
            self._asked[event.request] = encode(Bodies(()) if wants else Recent(same=True))
        return self._quiet(self._machine.on_event(event, now))

    def on_timer(self, now: Now) -> list[Effect]:
        """The same."""
        return self._quiet(self._machine.on_timer(now))

    def next_timer(self) -> int | None:
        """As an honest one."""
        return self._machine.next_timer()

    def _quiet(self, effects: list[Effect]) -> list[Effect]:
        said: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Reply) and effect.request in self._asked:
                said.append(Reply(effect.request, self._asked.pop(effect.request)))
            elif not isinstance(effect, Send):
                said.append(effect)
        return said


class _Body:
    """A body that was spread: by whom, when, and who has heard it."""

    def __init__(self, author: SimNode, at_us: int) -> None:
        self.author, self.boot, self.at_us = author, author.boot, at_us
        self.hops = {(author.index, author.boot): 0}  # (node, life) -> steps from the author
        self.late_us: list[int] = []

    @property
    def counts(self) -> bool:
        """Whether somebody can still tell it: its author, or who has heard it."""
        alive = self.author.driver is not None and self.author.boot == self.boot
        return alive or len(self.hops) > 1


class GossipScenario(OverlayScenario):
    """Bodies come in the middle of the time; the rest of it they have to get everywhere."""

    name = "gossip"
    cold_nodes_max = 0  # whoever joins under such a loss is another scenario
    idlers = IDLERS

    def __init__(self) -> None:
        super().__init__()
        self._bodies: dict[bytes, _Body] = {}
        self._idlers: frozenset[int] = frozenset()
        self._twice = 0
        self._all_heard = 0
        self._leavings = 0
        self._before_healing = 0.0
        self._born: dict[tuple[int, int], int] = {}  # (node, life) -> when it began
        self._figures: dict[tuple[int, int], GossipFigures] = {}

    def plan(self, seed: int) -> FaultPlan:
        """A country's distances, and three of ten messages are lost."""
        del seed
        return FaultPlan(delay_min_us=5_000, delay_max_us=40_000, loss_per_million=LOSS_PER_MILLION)

    def prepare(self, world: World) -> None:
        """Choose who idles."""
        super().prepare(world)
        count = len(world.nodes)
        chosen = stream(world.seed, "idlers").sample(range(count), count // self.idlers)
        self._idlers = frozenset(chosen)

    def machines(self, index: int, all_peers: Sequence[PeerId], entropy: Entropy) -> list[Hosted]:
        """Also gossip, and somebody who listens."""
        hosted = super().machines(index, all_peers, entropy)
        spreading: Machine = gossip.Gossip(entropy, {TOPIC: LISTENER}, quiet=())
        if index in self._idlers:
            spreading = Idler(spreading)
        protocols = {gossip.PROTOCOL: Overflow.DROP_OLDEST}
        listener = Listener(self, self.world.nodes[index])
        return [
            *hosted,
            Hosted(gossip.NAME, spreading, protocols),
            Hosted(LISTENER, listener),
        ]

    def started(self, node: SimNode) -> None:
        """A life begins."""
        super().started(node)
        self._born[node.index, node.boot] = self.world.time_us

    def checkers(self) -> Sequence[Checker]:
        """Everybody has heard everything."""
        return [_AllHeard(self)]

    def begin(self, world: World, until_us: int) -> None:
        """Spread bodies in the middle third of the time, and let nodes restart all the time."""
        random = stream(world.seed, "bodies")
        settled = min(SETTLING_US, until_us // 3)
        for number in range(min(BODIES_MAX, 2 * len(world.nodes))):
            at = settled + random.randrange(max(1, until_us // 3))
            world.at(at, self._spread, number, random)
        leaving = stream(world.seed, "leaving")
        for at in range(LEAVING_EVERY_US, until_us, LEAVING_EVERY_US):
            world.at(at, self._leave, leaving)
        world.at(until_us - 1, self._note)

    def finished(self, world: World) -> bool:
        """Whether everybody has heard everything."""
        return bool(self._bodies) and not self.missing(world)

    def figures(self, world: World) -> dict[str, Any]:
        """Reach, redundancy, steps and times."""
        del world
        late = sorted(each for body in self._bodies.values() for each in body.late_us)
        hops = sorted(each for body in self._bodies.values() for each in body.hops.values() if each)
        told = list(self._figures.values())
        heard = max(1, sum(each.delivered for each in told))
        dropped: dict[str, int] = {}
        for each in told:
            for why, count in each.dropped:
                dropped[why] = dropped.get(why, 0) + count
        return {
            "bodies": len(self._bodies),
            "heard": self._all_heard,
            "twice": self._twice,
            "leavings": self._leavings,
            "idlers": len(self._idlers),
            "reached_before_healing": round(self._before_healing, 5),
            "redundancy": round(sum(each.received for each in told) / heard, 3),
            "asked_per_heard": round(sum(each.asked for each in told) / heard, 3),
            "ids_per_heard": round(sum(each.told for each in told) / heard, 2),
            "hops_mean": round(sum(hops) / max(1, len(hops)), 2),
            "hops_max": max(hops, default=0),
            "late_ms_p50": _part(late, 0.5) // 1_000,
            "late_ms_p99": _part(late, 0.99) // 1_000,
            "dropped": dict(sorted(dropped.items())),
        }

    # What happens

    def heard(self, node: SimNode, told: HeardGossip) -> None:
        """`node` hears a body, from the node `told.peer`."""
        body = self._bodies.get(told.body)
        if body is None:
            raise ViolationError(f"node {node.index} hears what nobody has spread")
        life = (node.index, node.boot)
        if life in body.hops:
            self._twice += 1
            return
        teller = self.world.by_peer[told.peer]
        steps = [hops for (index, _), hops in body.hops.items() if index == teller.index]
        body.hops[life] = 1 + min(steps, default=0)
        self._all_heard += 1
        if body.at_us - self._born[life] >= BACK_US or not self._born[life]:
            body.late_us.append(self.world.time_us - body.at_us)

    def missing(self, world: World, for_us: int = 0) -> int:
        """How many pairs of a body and an honest node, running `for_us`, are missing."""
        lives = self._lives(world, for_us)
        bodies = [body for body in self._bodies.values() if body.counts]
        return sum(life not in body.hops for body in bodies for life in lives)

    def _lives(self, world: World, for_us: int) -> list[tuple[int, int]]:
        return [
            (node.index, node.boot)
            for node in world.nodes
            if node.driver is not None
            and node.index not in self._idlers
            and world.time_us - self._born[node.index, node.boot] >= for_us
        ]

    @property
    def twice(self) -> int:
        """Bodies that were heard twice in one life."""
        return self._twice

    def _spread(self, number: int, random: Random) -> None:
        node = self._honest(random)
        body = b"%d/" % number + random.randbytes(_BODY_BYTES)
        self._bodies[body] = _Body(node, self.world.time_us)

        def done(answer: Any) -> None:
            if isinstance(answer, Failure):
                raise ViolationError(f"a body was not taken: {answer.message}")

        node.call("gossip.spread", Spread(PUBLIC, TOPIC, body), done)

    def _honest(self, random: Random) -> SimNode:
        nodes = self.world.nodes
        honest = [each for each in nodes if each.driver and each.index not in self._idlers]
        return random.choice(honest)

    def _leave(self, random: Random) -> None:
        node = self._honest(random)
        self._count(node)
        self._leavings += 1
        node.crash(durable=True)
        self.world.at(self.world.time_us + AWAY_US, self.world.restart, node)

    def _note(self) -> None:
        world = self.world
        bodies = sum(body.counts for body in self._bodies.values())
        lives = len(self._lives(world, BACK_US))
        self._before_healing = 1 - self.missing(world, BACK_US) / max(1, bodies * lives)

    def count_all(self) -> None:
        """Gather the counters of all nodes that run."""
        for node in self.world.nodes:
            if node.index not in self._idlers:
                self._count(node)

    def _count(self, node: SimNode) -> None:
        life = (node.index, node.boot)

        def done(answer: Any) -> None:
            if isinstance(answer, GossipFigures):
                self._figures[life] = answer

        try:
            node.call("gossip.figures", None, done)
        except Dms3Error:
            return  # it has just crashed


class _AllHeard(Checker):
    """Looks at everybody at the end."""

    def __init__(self, scenario: GossipScenario) -> None:
        self._scenario = scenario

    def quiet(self, world: World) -> None:
        """Everything is heard, once, and few bodies travelled in vain."""
        scenario = self._scenario
        scenario.count_all()
        missing = scenario.missing(world)
        if missing:
            raise ViolationError(f"{missing} times an honest node has not heard a body")
        if scenario.twice:
            raise ViolationError(f"{scenario.twice} bodies were heard twice in one life")
        redundancy = scenario.figures(world)["redundancy"]
        if redundancy > REDUNDANCY_MAX:
            raise ViolationError(f"each body came {redundancy} times to each node")


def _part(values: Sequence[int], part: float) -> int:
    return values[min(len(values) - 1, int(part * len(values)))] if values else 0
