"""A seeded world: one heap of events, virtual time, and nodes that run the production driver.

Source: docs/architecture.md, "Tests"; the idea of TigerBeetle's simulator. Equal arguments give
equal runs. Faults are decided in `sim/faults.py`, messages travel in a `Network`; nothing here
knows what the machines do.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId
from dms3.core.limits import SECOND_US, SIM_SWEEP_EVENTS, SIM_TURNS_MAX
from dms3.core.machine import Entropy, Now
from dms3.core.ports import Action, AskPort, Batch, Finish, Transaction
from dms3.libp2p.peer_id import NodeKey
from dms3.node.driver import Driver
from dms3.node.inbox import Hosted
from dms3.p2p.port import Dialed
from dms3.sim.checkers import Checker, ViolationError
from dms3.sim.disk import Disk
from dms3.sim.seeds import SeededEntropy, stream
from dms3.sim.trace import Trace

WALL_START_US = 1_800_000_000 * SECOND_US  # any date; nodes differ from it by their own offset

Build = Callable[[int, Sequence[PeerId], Entropy], Sequence[Hosted]]
"""The machines of node `index`, given the peer ids of all nodes and the node's entropy."""

Port = Callable[["SimNode", str, Any], Any]
"""An io port of a scenario: its answer to an operation and its arguments; may raise Dms3Error.

One that needs time gives a Later.
"""


@dataclass(slots=True, eq=False)
class Later:
    """An answer that a port owes: `give(BODY)` once, when it is there."""

    give: Callable[[Any], None] = field(init=False)


class Network(Protocol):
    """What carries the messages of all nodes."""

    def started(self, node: SimNode) -> None:
        """`node` runs: connect it."""
        ...

    def stopped(self, node: SimNode) -> None:
        """`node` has crashed: its connections break, its questions are nobody's."""
        ...

    def act(self, node: SimNode, action: Action) -> None:
        """Carry out Send, AskPeer, ReplyPeer, Forget, or a Call to port "transport"."""
        ...

    def rewired(self) -> None:
        """Partitions have changed (`world.faults.blocked`)."""
        ...


class FaultPlan(Protocol):
    """What the world and the network ask about faults (`sim/faults.py`)."""

    def install(self, world: World) -> None:
        """Put the first faults on the heap."""
        ...

    def commit_us(self) -> int:
        """How long the next transaction takes."""
        ...

    def blocked(self, source: int, target: int) -> bool:
        """Whether nothing gets from node `source` to node `target` now."""
        ...

    def part(self, world: World, inside: Collection[int]) -> None:
        """Nothing gets from the nodes `inside` to the others or back, until `heal`."""
        ...

    def heal(self, world: World) -> None:
        """No more faults; every node runs."""
        ...


class SimNode:
    """One node: its disk outlives its crashes, its driver does not."""

    def __init__(self, world: World, index: int) -> None:
        self.world = world
        self.index = index
        self.key = NodeKey.generate(SeededEntropy(stream(world.seed, "key", index)))
        self.peer = self.key.peer_id
        self.disk = Disk()
        self.driver: Driver | None = None
        self.machines: frozenset[str] = frozenset()  # names of those that run
        self.boot = 0
        self.wall_offset_us = 0
        self.crash_after: int | None = None  # releases of the next commit until a crash
        self._mono_base = 0
        self._instant = (-1, 0, 0)  # of `_now`
        self._now = Now(0, 0)
        self._timer_at: int | None = None
        self._running: Transaction | None = None
        self._random = stream(world.seed, "node", index)

    def now(self) -> Now:
        """This instant as the node's clocks show it; the monotonic one differs after each boot."""
        time = self.world.time_us
        instant = (time, self.boot, self.wall_offset_us)
        if instant != self._instant:
            self._instant = instant
            self._now = Now(time + self._mono_base, WALL_START_US + time + self.wall_offset_us)
        return self._now

    @property
    def committing(self) -> int | None:
        """The number of the transaction that is on its way to the disk."""
        return None if self._running is None else self._running.number

    def virtual(self, mono_us: int) -> int:
        """The world's time at which the node's monotonic clock shows `mono_us`."""
        return mono_us - self._mono_base

    def start(self) -> None:
        """Start the node from its disk."""
        world = self.world
        self.boot += 1
        self._mono_base = self._random.randrange(1 << 40)
        self._timer_at = None
        self._running = None
        self.crash_after = None
        world.record(self.index, "start", b"")
        hosted = world.build(self.index, world.peers, SeededEntropy(self._random))
        self.machines = frozenset(item.name for item in hosted)
        self.driver = world.driver_class(
            hosted, self.disk, last_event=self.disk.last_event, on_bug=self._on_bug
        )
        self._perform(self.driver.start(self.now()))
        if self.driver is not None:
            world.network.started(self)
            self.pump()
            world.started(self)

    def crash(self, *, durable: bool) -> None:
        """Kill the node; `durable`: its running transaction still reached the disk, else not."""
        if self.driver is None:
            return
        self.world.record(self.index, "crash", b"\1" if durable else b"\0")
        if durable and self._running is not None:
            self.disk.apply(self._running)
        self.driver = None
        self._running = None
        self.crash_after = None
        self.world.network.stopped(self)

    def pump(self) -> None:
        """Step the driver until it has nothing more to do at this instant."""
        turns = 0
        driver = self.driver
        while driver is not None and driver.busy:
            self._perform(driver.step(self.now()))
            driver = self.driver  # None: it has crashed on the way
            turns += 1
            if turns > SIM_TURNS_MAX:
                raise ViolationError(f"node {self.index} does not come to rest")
        if driver is not None:
            self._arm(driver)
        for touched in self.world.touched:
            touched(self)

    def step(self) -> None:
        """One step even if no event waits: a timer may be due, or a clock have jumped."""
        if self.driver is not None:
            self._perform(self.driver.step(self.now()))
            self.pump()

    # core.ports.PeerEvents, told by the network; a node that is down hears nothing

    def peer_up(self, peer: PeerId, address: str, *, inbound: bool) -> None:
        """A connection is open."""
        if self.driver is not None:
            self.world.record(self.index, "up", peer)
            self.driver.peer_up(peer, address, inbound=inbound)
            self.pump()

    def peer_down(self, peer: PeerId, reason: str) -> None:
        """The last connection to `peer` closed."""
        if self.driver is not None:
            self.world.record(self.index, "down", peer)
            self.driver.peer_down(peer, reason)
            self.pump()

    def received(self, peer: PeerId, protocol: str, body: bytes) -> bool:
        """A one-way message; False: not taken, offer it again."""
        if self.driver is None:
            return True
        self.world.record(self.index, protocol, body)
        taken = self.driver.received(peer, protocol, body)
        self.pump()
        return taken

    def requested(self, peer: PeerId, protocol: str, body: bytes, wire: int) -> None:
        """A question of a peer."""
        if self.driver is not None:
            self.world.record(self.index, protocol, body)
            for asked in self.world.asked:
                asked(self, peer, body, wire)
            self.driver.requested(peer, protocol, body, wire)
            self.pump()

    def withdrawn(self, peer: PeerId, wire: int) -> None:
        """`peer` no longer waits for the answer to `wire`."""
        if self.driver is not None:
            self.world.record(self.index, "withdrawn", peer)
            self.driver.withdrawn(peer, wire)
            self.pump()

    def answered(self, handle: int, body: Any) -> None:
        """The answer to our request or call `handle`."""
        if self.driver is not None:
            self.world.record(self.index, "answer", _said(body))
            self.driver.answered(handle, body)
            self.pump()

    def call(self, port: str, arguments: Any, done: Callable[[Any], None]) -> None:
        """Put a command to the node; raises Dms3Error when it is refused or the node is down."""
        if self.driver is None:
            raise Dms3Error("node_unreachable", f"node {self.index} is down")
        self.driver.call(port, arguments, done)
        self.pump()

    def _arm(self, driver: Driver) -> None:
        due = driver.next_timer()
        if due is None:
            return
        at = max(due - self._mono_base, self.world.time_us)
        if self._timer_at is None or at < self._timer_at:
            self._timer_at = at
            self.world.at(at, self._on_timer, at, self.boot)

    def _on_timer(self, at: int, boot: int) -> None:
        if boot == self.boot and at == self._timer_at and self.driver is not None:
            self._timer_at = None
            self.world.record(self.index, "timer", b"")
            self.step()

    def _perform(self, batch: Batch) -> None:
        for action in batch.actions:
            self._act(action)
            if self.driver is None:
                return  # crashed on the way: what was not yet said is never said
        if batch.transaction is not None and self.driver is not None:
            self._running = batch.transaction
            at = self.world.time_us + self.world.faults.commit_us()
            self.world.at(at, self._on_durable, batch.transaction, self.boot)

    def _act(self, action: Action) -> None:
        world = self.world
        for said in world.said:
            said(self, action)
        if isinstance(action, Finish):
            action.done(action.body)
        elif isinstance(action, AskPort) and action.port != "transport":
            self._ask_port(action)
        else:
            world.network.act(self, action)
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after <= 0:
                self.crash(durable=False)

    def _ask_port(self, action: AskPort) -> None:
        """A port of the scenario answers at this instant, but not within the action."""
        port = self.world.ports.get(action.port)
        if port is None:
            raise ViolationError(f"no port {action.port!r} in this world")
        try:
            body = port(self, action.operation, action.arguments)
        except Dms3Error as error:
            body = Failure.of(error)
        boot = self.boot

        def give(body: Any) -> None:
            self.world.at(self.world.time_us, self._port_answers, boot, action.handle, body)

        if isinstance(body, Later):
            body.give = give
        else:
            give(body)

    def _port_answers(self, boot: int, handle: int, body: Any) -> None:
        if boot == self.boot:
            self.answered(handle, body)

    def _on_durable(self, transaction: Transaction, boot: int) -> None:
        if boot != self.boot or self.driver is None:
            return
        self.world.record(self.index, "durable", b"%d" % transaction.number)
        self.disk.apply(transaction)
        self._running = None
        if self.crash_after == 0:  # between the commit and the first release
            self.crash(durable=False)
            return
        self._perform(self.driver.committed(transaction.number))
        self.pump()

    def _on_bug(self, name: str, what: str, error: Exception) -> None:
        self.world.bug = f"node {self.index}: {name} failed on {what}: {error!r}"


def _nothing(_node: SimNode) -> None:
    """What happens when a node has started, unless a scenario has a wish."""


class World:
    """All nodes, the heap and the checkers.

    Arguments: `seed`; `count` of nodes; `build`, their machines; `network`; `faults`; `checkers`;
    `driver_class`, the production driver unless a test shows that a broken one is caught.
    """

    def __init__(
        self,
        *,
        seed: int,
        count: int,
        build: Build,
        network: Callable[[World], Network],
        faults: FaultPlan,
        checkers: Sequence[Checker],
        driver_class: type[Driver] = Driver,
    ) -> None:
        self.seed = seed
        self.build = build
        self.faults = faults
        self.checkers = checkers
        self.ports: Mapping[str, Port] = {}  # beside "transport"
        self.started: Callable[[SimNode], None] = _nothing  # told of every node that starts
        self.touched = [item.touched for item in checkers if _overrides(item, "touched")]
        self.said = [item.said for item in checkers if _overrides(item, "said")]
        self.asked = [item.asked for item in checkers if _overrides(item, "asked")]
        self.driver_class = driver_class
        self.time_us = 0
        self.trace = Trace()
        self.bug: str | None = None
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self.nodes = [SimNode(self, index) for index in range(count)]
        self.peers = [node.peer for node in self.nodes]
        self.by_peer = {node.peer: node for node in self.nodes}
        self.index_of = {node.peer: node.index for node in self.nodes}
        self.network = network(self)

    def at(self, time_us: int, action: Callable[..., None], *arguments: Any) -> None:
        """Put an event on the heap; events of one instant happen in the order of these calls."""
        self._sequence += 1
        heapq.heappush(self._heap, (time_us, self._sequence, action, arguments))

    def record(self, node: int, label: str, data: bytes) -> None:
        """Note that an event happens; those that turn out void are not recorded."""
        self.trace.add(self.time_us, node, label, data)

    def start(self) -> None:
        """Start all nodes and the faults."""
        for node in self.nodes:
            node.start()
        self.faults.install(self)

    def restart(self, node: SimNode) -> None:
        """Start a crashed node again."""
        if node.driver is None:
            for checker in self.checkers:
                checker.restarted(node)
            node.start()

    def run(self, until_us: int) -> None:
        """Let everything up to virtual time `until_us` happen.

        Raises ViolationError, and the Dms3Error of a driver that stopped (`bug` says why).
        """
        heap = self._heap
        trace = self.trace
        next_sweep = trace.events + SIM_SWEEP_EVENTS
        while heap and heap[0][0] <= until_us:
            self.time_us, _, action, arguments = heapq.heappop(heap)
            action(*arguments)
            if trace.events >= next_sweep:
                next_sweep = trace.events + SIM_SWEEP_EVENTS
                self.sweep()
        self.time_us = max(self.time_us, until_us)

    def sweep(self) -> None:
        """Let the checkers look at all nodes."""
        for checker in self.checkers:
            checker.sweep(self)


def _said(body: Any) -> bytes:
    """What of an answer enters the trace."""
    if isinstance(body, bytes):
        return body
    if isinstance(body, Failure):
        return body.code.encode()
    return body.peer if isinstance(body, Dialed) else b""


def _overrides(checker: Checker, method: str) -> bool:
    return getattr(type(checker), method) is not getattr(Checker, method)
