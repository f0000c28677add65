"""The world of a test: the machines of real nodes, their ports, the app, one sandbox for all.

Source: docs/testing.md, "How it works"; `sim/world.py`. The sandbox is the one of this process:
programs are read once, whichever node needs them. Says nothing about what a test may do.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from dms3.chain.whereabouts import whereabouts_type
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import OverlayId, PeerId
from dms3.core.machine import Entropy
from dms3.core.network import BUCKET_SIZE
from dms3.dht.providers import provider_type
from dms3.io.dapp_tables import DappRow
from dms3.io.runner_cache import RunnerCache
from dms3.io.sandbox_engine import SandboxEngine
from dms3.node.dapps_calling import Calls, Here
from dms3.node.dapps_folder import read_folder, shipped_folder
from dms3.node.dapps_parts import Parts, parts_of
from dms3.node.dapps_running import App, begin
from dms3.node.dapps_sandbox import Sandbox
from dms3.node.inbox import Hosted
from dms3.node.noting import Signal
from dms3.sim.checkers import Checker
from dms3.sim.message_network import MessageNetwork
from dms3.sim.places import address_of
from dms3.sim.scenarios.chain_members import ChainMembers
from dms3.sim.scenarios.members import empty_library
from dms3.sim.wiring import Mesh, Wiring, WiringOf
from dms3.sim.world import Later, SimNode, World
from dms3.source.grounds import Own
from dms3.testing import overlay, past
from dms3.testing.byzantine import MASKED, Conduct, Mask
from dms3.testing.overlay import Board, Known
from dms3.testing.tasks import Sandboxed, Task, ask
from dms3.testing.weather import Weather

Overlay = Literal["known", "real"]
"""How nodes find each other: everybody knows everybody (`overlay.py`), or with the real dht."""

SHARE = 0.2  # of the time, that a node is on: what newcomers count


_MEET_US = 100_000  # from the start of a node until all who are on are connected


@cache
def sandbox_engine() -> SandboxEngine:
    """The sandbox of this process; the runner is made at the first use on a machine."""
    cache_ = RunnerCache()
    found = cache_.find()
    if found is None:
        found = cache_.make(print_phase)
    return SandboxEngine(found)


def print_phase(phase: str) -> None:
    """Say how far the runner is, to whoever waits for it."""
    sys.stderr.write(f"The runner of apps, made once on this machine: {phase}\n")


def parts_at(dapp: str | Path) -> Parts:
    """The app of a folder, or of the name of one that comes with dms3.

    Raises `not_found`, `content_invalid` with what is wrong.
    """
    folder = Path(dapp)
    if isinstance(dapp, str) and not folder.is_dir():
        folder = shipped_folder(dapp)
    return parts_of(read_folder(folder.absolute()))


@dataclass(eq=False)
class Member:
    """One node of the test, over its crashes: its app, what its page was told, what it logged."""

    sim: SimNode
    conduct: Conduct
    proof: Any
    person: Own
    calls: Calls = field(init=False)
    app: App = field(init=False)
    signals: list[tuple[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    tasks: dict[Task[Any], None] = field(default_factory=dict)
    crash_at: int = 0  # transactions from now on until the one in which it crashes
    crash_durable: bool = False
    counted: int | None = None  # the last transaction


class Making(Checker):
    """Everything of one test that stays out of its sight; `members` by index."""

    def __init__(
        self, parts: Parts, seed: int, proofs: Sequence[Any], overlay_: Overlay = "known"
    ) -> None:
        """`proofs`: the membrane proof of each node, None for none; as many as nodes."""
        self._real = overlay_ == "real"
        self._board = Board((provider_type(), whereabouts_type()))
        self.parts = parts
        self.weather = Weather(seed)
        self._machines = ChainMembers()
        self._sandbox = Sandbox(Sandboxed(sandbox_engine()))
        self.world = World(
            seed=seed,
            count=len(proofs),
            build=self._build,
            network=self._network,
            faults=self.weather,
            checkers=[self],
        )
        self.world.ports = ports = {
            "library": empty_library,
            "sandbox": _judged,
            "dapps": self._dapps,
        }
        if not self._real:
            ports["peers"] = _peers
        self.world.started = self._started
        nodes = zip(self.world.nodes, proofs, strict=True)
        self.members = [
            Member(node, Conduct(), proof, self._machines.own(node)) for node, proof in nodes
        ]

    @property
    def overlay(self) -> OverlayId:
        """The app's."""
        return self.parts.dna.id

    @property
    def may_share(self) -> bool:
        """Whether chains may begin apart: nobody is asked for a proof, and `init` does nothing."""
        few = 1 < len(self.members) < BUCKET_SIZE + 1
        proofs = any(member.proof is not None for member in self.members)
        functions = sandbox_engine().load(self.parts.code).functions if self.parts.functions else ()
        init = any(name == "init" for name, *_ in functions)
        return few and not self._real and not proofs and not init

    def start(self, *, apart: bool) -> None:
        """Start all nodes; `apart`: nobody hears of anybody, until `share`."""
        if apart:
            self.weather.part([[node.index] for node in self.world.nodes])
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

    def task(self, member: Member, coroutine: Any) -> Task[Any]:
        """Run something of `member`; it ends when the node does."""
        task = Task(member.sim, coroutine, lambda task: member.tasks.pop(task, None))
        member.tasks[task] = None
        return task

    def end_tasks(self, member: Member, why: str) -> None:
        """Whatever the node was doing is given up."""
        for task in list(member.tasks):
            task.end(why)

    # What the world asks

    def _build(self, index: int, _peers: Sequence[PeerId], entropy: Entropy) -> list[Hosted]:
        member = self.members[index]
        if self._real:
            machines = self._machines.machines(member.sim, entropy)
        else:
            known = Known(member.sim.peer, self.world.peers, self._board)
            chains = self._machines.chains(member.sim, entropy)
            machines = [Hosted(overlay.NAME, known), *chains]
        return [
            Hosted(each.name, Mask(each.machine, member.conduct), each.protocols)
            if each.name in MASKED
            else each
            for each in machines
        ]

    def _network(self, world: World) -> MessageNetwork:
        return _Network(self, world, Wiring if self._real else Mesh)

    def stopped(self, node: SimNode) -> None:
        """`node` has crashed."""
        member = self.members[node.index]
        self.world.at(self.world.time_us, self.end_tasks, member, "The node crashed meanwhile.")

    def touched(self, node: SimNode) -> None:
        """Count transactions down to a crash that was asked for."""
        member = self.members[node.index]
        if member.crash_at and node.committing not in (None, member.counted):
            member.counted = node.committing
            member.crash_at -= 1
            if not member.crash_at:
                crash = partial(node.crash, durable=member.crash_durable)
                self.world.at(self.world.time_us, crash)

    def _started(self, node: SimNode) -> None:
        member = self.members[node.index]
        dna = bytes(self.overlay)
        proof = "" if member.proof is None else json.dumps(member.proof)
        name = self.parts.manifest.name
        member.app = App(DappRow(0, dna, name, proof, "test", 0, 0), self.parts, member.proof)
        here = Here(
            member.person,
            partial(_call, member),
            self._sandbox,
            lambda _name, line: member.log.append(line),
        )
        member.calls = Calls(here, _One(member.app), contextlib.nullcontext())
        for name in ("dht", "source"):
            node.call(f"{name}.listening", (address_of(node.index),), lambda _: None)
        self.world.at(self.world.time_us + _MEET_US, self._meet, member, node.boot)

    def _meet(self, member: Member, boot: int) -> None:
        """Those who are on have met: the app begins."""
        if member.sim.boot == boot and member.sim.driver is not None:
            self.task(member, self._begin(member))

    async def _begin(self, member: Member) -> None:
        await begin(member.app, partial(_call, member), self._sandbox)
        if member.app.state == "ready":
            await member.calls.callback(member.app, "init", {})

    def _dapps(self, node: SimNode, operation: str, arguments: Any) -> Later:
        member = self.members[node.index]
        later = Later()

        async def serve() -> None:
            try:
                answer = await member.calls.serve(operation, arguments)
            except Dms3Error as error:
                answer = Failure.of(error)
            later.give(answer)

        self.task(member, serve())
        return later


class _Network(MessageNetwork):
    """Tells of nodes that stop."""

    def __init__(self, making: Making, world: World, wiring: WiringOf) -> None:
        super().__init__(world, making.weather, wiring)
        self._making = making

    def stopped(self, node: SimNode) -> None:
        """As every network, and whatever the node was doing ends."""
        super().stopped(node)
        self._making.stopped(node)


@dataclass(frozen=True, slots=True)
class _One:
    """The one app of a node, under any name."""

    only: App

    def app(self, name: str) -> App:
        """The app called `name`."""
        if name != self.only.name:
            raise Dms3Error("not_found", f"No app {name[:64]!r} is in this test.")
        return self.only

    def of_overlay(self, overlay: OverlayId) -> App:
        """The app with that DNA."""
        if overlay != self.only.overlay:
            raise Dms3Error("not_found", "That app is not in this test.")
        return self.only


async def _call(member: Member, operation: str, arguments: Any) -> Any:
    """What the node's machines answer; what is noted for its page stays in the test."""
    if isinstance(arguments, Signal):
        member.signals.append((arguments.name, arguments.value))
        return None
    return await ask(operation, arguments)


def _judged(_node: SimNode, operation: str, arguments: Any) -> Any:
    assert operation == "judge", "machines ask nothing else of the sandbox"
    return sandbox_engine().judge(arguments)


def _peers(_node: SimNode, operation: str, arguments: Any) -> Any:
    """What the peer book of newcomers says."""
    return (SHARE,) * len(arguments) if operation == "uptime" else None


def proofs_of(names: Sequence[str], proofs: Mapping[str, Any]) -> list[Any]:
    """The membrane proof of each node by its name; raises `argument_invalid` for a stranger."""
    strangers = sorted(set(proofs) - set(names))
    if strangers:
        raise Dms3Error("argument_invalid", f"No node is called {strangers[0]!r}.")
    return [proofs.get(name) for name in names]
