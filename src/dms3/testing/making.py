"""The world of a test: nodes with an app, how they start, crashes that were asked for.

Source: docs/testing.md, "How it works"; `sim/world.py`. Says nothing about what a test may do:
that is `nodes.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from dms3.core.errors import Dms3Error
from dms3.core.ids import OverlayId, PeerId
from dms3.core.machine import Entropy
from dms3.core.network import BUCKET_SIZE
from dms3.node.dapps_parts import Parts
from dms3.node.inbox import Hosted
from dms3.sim.checkers import Checker
from dms3.sim.message_network import MessageNetwork
from dms3.sim.places import address_of
from dms3.sim.wiring import WiringOf
from dms3.sim.world import Later, SimNode, World
from dms3.testing import past, sandboxes
from dms3.testing.machines import SHARE, Machines, Overlay
from dms3.testing.member import Member
from dms3.testing.weather import Weather

_MEET_US = 100_000  # from the start of a node until all who are on are connected


class Making(Checker):
    """Everything of one test that stays out of its sight; `members` by index."""

    def __init__(self, parts: Parts, seed: int, proofs: Sequence[Any], way: Overlay) -> None:
        """`proofs`: the membrane proof of each node, None for none; as many as nodes."""
        self.parts = parts
        self.weather = Weather(seed)
        self._machines = Machines(way)
        self.world = World(
            seed=seed,
            count=len(proofs),
            build=self._build,
            network=self._network,
            faults=self.weather,
            checkers=[self],
        )
        self.world.ports = {**self._machines.ports(), "dapps": self._dapps}
        self.world.started = self._started
        sandbox = sandboxes.sandbox()
        self.members = [
            Member(node, self._machines.own(node), proof, sandbox)
            for node, proof in zip(self.world.nodes, proofs, strict=True)
        ]

    @property
    def overlay(self) -> OverlayId:
        """The app's."""
        return self.parts.dna.id

    @property
    def may_share(self) -> bool:
        """Whether chains may begin apart: nobody is asked for a proof, and `init` does nothing."""
        few = 1 < len(self.members) <= BUCKET_SIZE
        proofs = any(member.proof is not None for member in self.members)
        return few and not self._machines.real and not proofs and not sandboxes.has_init(self.parts)

    def start(self, *, apart: bool) -> None:
        """Start all nodes; `apart`: nobody hears of anybody, until `share`."""
        if apart:
            self.weather.split([[node.index] for node in self.world.nodes])
        self.world.start()

    def share(self) -> None:
        """All have begun alone: start again, with all chains at all nodes."""
        for node in self.world.nodes:
            node.crash(durable=True)
        self.world.run(self.world.time_us)
        past.share(self.world.nodes, self.overlay, SHARE)
        self.weather.heal(self.world)
        for node in self.world.nodes:
            self.world.restart(node)

    def touched(self, node: SimNode) -> None:
        """Count transactions down to a crash that was asked for."""
        member = self.members[node.index]
        if member.crash_at and node.committing not in (None, member.counted):
            member.counted = node.committing
            member.crash_at -= 1
            if not member.crash_at:
                crash = partial(node.crash, durable=member.crash_durable)
                self.world.at(self.world.time_us, crash)

    # What the world asks

    def _network(self, world: World) -> MessageNetwork:
        return _Network(self, world, self._machines.wiring)

    def _build(self, index: int, _peers: Sequence[PeerId], entropy: Entropy) -> list[Hosted]:
        member = self.members[index]
        return self._machines.build(member.sim, entropy, member.conduct)

    def _started(self, node: SimNode) -> None:
        member = self.members[node.index]
        member.started(self.parts)
        for name in ("dht", "source"):
            node.call(f"{name}.listening", (address_of(node.index),), lambda _: None)
        self.world.at(self.world.time_us + _MEET_US, member.begin, node.boot)

    def _dapps(self, node: SimNode, operation: str, arguments: Any) -> Later:
        return self.members[node.index].serve(operation, arguments)

    def stopped(self, node: SimNode) -> None:
        """`node` has crashed, maybe in the middle of one of its tasks."""
        end = self.members[node.index].end_tasks
        self.world.at(self.world.time_us, end, "The node crashed meanwhile.")


class _Network(MessageNetwork):
    """Tells of nodes that stop."""

    def __init__(self, making: Making, world: World, wiring: WiringOf) -> None:
        super().__init__(world, making.weather, wiring)
        self._making = making

    def stopped(self, node: SimNode) -> None:
        """As every network, and whatever the node was doing ends."""
        super().stopped(node)
        self._making.stopped(node)


def proofs_of(names: Sequence[str], proofs: Mapping[str, Any]) -> list[Any]:
    """The membrane proof of each node by its name; raises `argument_invalid` for a stranger."""
    strangers = sorted(set(proofs) - set(names))
    if strangers:
        raise Dms3Error("argument_invalid", f"No node is called {strangers[0]!r}.")
    return [proofs.get(name) for name in names]
