"""What a scenario is, and how one is run: faults first, then healing, then everything must end.

Source: docs/architecture.md, "Tests". The scenarios themselves are in `sim/scenarios/`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dms3.core.errors import Dms3Error
from dms3.core.limits import SECOND_US, SIM_QUIET_US_MAX
from dms3.node.driver import Driver
from dms3.sim.checkers import Checker, EventsGapFree, QueuesBounded, ViolationError
from dms3.sim.faults import FaultPlan, Faults, draw_plan
from dms3.sim.message_network import MessageNetwork
from dms3.sim.wiring import Mesh, WiringOf
from dms3.sim.world import Build, Network, Port, SimNode, World


class Scenario(ABC):
    """Machines, work for them, and what must hold; an instance is for one run.

    `wiring`: `Mesh`, everybody stays connected to all, or `Wiring`, a machine dials;
    `minutes_default`: virtual time in which work arrives.
    """

    name: str
    wiring: WiringOf = Mesh
    minutes_default: float = 0.5

    @abstractmethod
    def build(self) -> Build:
        """What makes the machines of a node."""

    @abstractmethod
    def checkers(self) -> Sequence[Checker]:
        """What must hold, besides what must hold always."""

    @abstractmethod
    def begin(self, world: World, until_us: int) -> None:
        """Put work on the heap, up to virtual time `until_us`."""

    @abstractmethod
    def finished(self, world: World) -> bool:
        """Whether all work is done."""

    @abstractmethod
    def figures(self, world: World) -> dict[str, Any]:
        """What the run has shown, as JSON values."""

    def plan(self, seed: int) -> FaultPlan:
        """The faults of run `seed`."""
        return draw_plan(seed)

    def ports(self) -> Mapping[str, Port]:
        """The io ports that its machines call, beside "transport"."""
        return {}

    def prepare(self, world: World) -> None:
        """Write to the disks, before any node starts."""
        del world

    def started(self, node: SimNode) -> None:
        """`node` has started, for the first time or again: tell it what a real one is told."""
        del node


NetworkOf = Callable[[World, Faults, WiringOf], Network]


def messages(world: World, faults: Faults, wiring: WiringOf) -> Network:
    """Messages fidelity."""
    return MessageNetwork(world, faults, wiring)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; `violation` is empty when everything held."""

    ok: bool
    violation: str
    trace: str
    events: int
    virtual_us: int
    figures: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, Any] = field(default_factory=dict)
    last_events: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Setting:
    """One run: `work_us` is the virtual time in which work arrives and faults strike."""

    nodes: int
    seed: int
    work_us: int
    plan: FaultPlan
    network: NetworkOf = messages
    driver_class: type[Driver] = Driver


def run(scenario: Scenario, setting: Setting) -> Outcome:
    """Run `scenario` once; a violation ends it and is in the outcome, any other error is a bug."""
    faults = Faults(setting.seed, setting.plan)
    world = World(
        seed=setting.seed,
        count=setting.nodes,
        build=scenario.build(),
        network=lambda world: setting.network(world, faults, scenario.wiring),
        faults=faults,
        checkers=[QueuesBounded(), EventsGapFree(), *scenario.checkers()],
        driver_class=setting.driver_class,
    )
    world.ports = scenario.ports()
    world.started = scenario.started
    violation = ""
    try:
        scenario.prepare(world)
        world.start()
        scenario.begin(world, setting.work_us)
        world.run(setting.work_us)
        world.sweep()
        faults.heal(world)
        _until_quiet(scenario, world)
    except ViolationError as found:
        violation = str(found)
    except Dms3Error as error:  # a driver stopped
        violation = world.bug or str(error)
    return Outcome(
        ok=not violation,
        violation=violation,
        trace=world.trace.digest(),
        events=world.trace.events,
        virtual_us=world.time_us,
        figures={**scenario.figures(world), **faults.count},
        faults=setting.plan.named(),
        last_events=world.trace.last() if violation else [],
    )


def _until_quiet(scenario: Scenario, world: World) -> None:
    """Liveness: with all faults healed the work ends within a bound."""
    bound = world.time_us + SIM_QUIET_US_MAX
    while not scenario.finished(world):
        if world.time_us >= bound:
            raise ViolationError(
                f"work is unfinished {SIM_QUIET_US_MAX // SECOND_US} s after healing"
            )
        world.run(world.time_us + SECOND_US // 10)
    world.run(world.time_us + SECOND_US)  # what is still under way arrives
    world.sweep()
    for checker in world.checkers:
        checker.quiet(world)
