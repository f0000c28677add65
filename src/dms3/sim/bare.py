"""A world of bare machines: thousands of nodes for statements about numbers, without their driver.

Source: docs/simulator.md, "Bare worlds". Machines are those of a real node; their effects are
carried out at once, so no node dies half way through an event and no inbox is ever full. Whoever
tests crashes, lost messages or full queues takes `sim/world.py`, which costs several times as much.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.ids import PeerId, RequestId, Token
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Cancel,
    Delete,
    Effect,
    Entropy,
    Event,
    Machine,
    Now,
    PeerDown,
    PeerUp,
    Persist,
    Received,
    Reply,
    Request,
    Requested,
    Send,
    View,
)
from dms3.core.ports import Transaction
from dms3.libp2p.peer_id import NodeKey
from dms3.p2p.port import Dialed
from dms3.sim.disk import Disk
from dms3.sim.places import address_of, place, source_of
from dms3.sim.seeds import SeededEntropy, stream
from dms3.sim.trace import Trace
from dms3.sim.world import WALL_START_US

DELAY_MIN_US, DELAY_MAX_US = 5_000, 40_000  # one way, in one country
_DEAD = Failure("peer_unreachable", "connection refused", Retry.LATER)
_LATE = Failure("timed_out", "The node did not answer in time.", Retry.LATER)

Ports = Mapping[str, Callable[["BareNode", str, Any], Any]]
"""Io ports, and machines that are not there: the answer to an operation and its arguments."""


class _View:
    """One machine's tables on a disk."""

    def __init__(self, disk: Disk, name: str) -> None:
        self._disk = disk
        self._name = name

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._disk.get(f"{self._name}/{table}", key)

    def range(self, table: str, start: bytes, limit: int) -> Sequence[tuple[bytes, bytes]]:
        return self._disk.range(f"{self._name}/{table}", start, limit)


class BareNode:
    """One node; `machines` by name, none while it is off. `protocols`: who answers what."""

    def __init__(self, seed: int, index: int) -> None:
        self.index = index
        self.key = NodeKey.generate(SeededEntropy(stream(seed, "key", index)))
        self.peer = self.key.peer_id
        self.disk = Disk()
        self.machines: dict[str, Machine] = {}
        self.protocols: dict[str, str] = {}
        self.boot = 0
        self.answered = 0  # questions of peers that it was asked
        self.links: dict[int, None] = {}
        self.timers: dict[str, int] = {}
        self.random = stream(seed, "node", index)

    @property
    def on(self) -> bool:
        """Whether it runs."""
        return bool(self.machines)


Made = tuple[str, Machine, Sequence[str]]
"""A machine: its name, itself, and the protocols that it answers."""

Make = Callable[[BareNode, Entropy], Sequence[Made]]


class BareWorld:
    """Nodes 0 to `count` - 1; `make` makes the machines of one, `ports` are what else they ask."""

    def __init__(self, seed: int, count: int, make: Make, ports: Ports) -> None:
        self.seed = seed
        self.time_us = 0
        self.trace = Trace()
        self.requests = 0  # questions between nodes
        self.nodes = [BareNode(seed, index) for index in range(count)]
        self.index_of = {node.peer: node.index for node in self.nodes}
        self._make = make
        self._ports = ports
        self._random = stream(seed, "messages")
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0
        self._now = Now(0, WALL_START_US)
        self._wires: dict[RequestId, tuple[BareNode, int, str, Token, BareNode]] = {}
        self._calls: dict[RequestId, Callable[[Any], None]] = {}
        self._count = 0

    def at(self, time_us: int, action: Callable[..., None], *arguments: Any) -> None:
        """Put an event on the heap; events of one instant happen in the order of these calls."""
        self._sequence += 1
        heapq.heappush(self._heap, (time_us, self._sequence, action, arguments))

    def run(self, until_us: int) -> None:
        """Let everything up to virtual time `until_us` happen."""
        heap = self._heap
        while heap and heap[0][0] <= until_us:
            self.time_us, _, action, arguments = heapq.heappop(heap)
            action(*arguments)
        self.time_us = max(self.time_us, until_us)

    def now(self) -> Now:
        """This instant, the same for all nodes."""
        if self._now.mono_us != self.time_us:
            self._now = Now(self.time_us, WALL_START_US + self.time_us)
        return self._now

    def living(self) -> list[BareNode]:
        """The nodes that run."""
        return [node for node in self.nodes if node.on]

    def start(self, node: BareNode) -> None:
        """Start a node from its disk."""
        node.boot += 1
        for name, machine, protocols in self._make(node, SeededEntropy(node.random)):
            node.machines[name] = machine
            node.protocols.update(dict.fromkeys(protocols, name))
        for name, machine in node.machines.items():
            self._carry(node, name, machine.on_start(_view(node, name), self.now()))
        if "dht" in node.machines:
            self.call(node, "dht.listening", (address_of(node.index),), _nothing)

    def kill(self, node: BareNode) -> None:
        """Switch a node off: its connections break, and what it was asked fails."""
        node.machines, node.protocols, node.timers = {}, {}, {}
        links, node.links = node.links, {}
        for far in links:
            other = self.nodes[far]
            other.links.pop(node.index, None)
            self._later(self._down, other, other.boot, node.peer)

    def call(self, node: BareNode, port: str, arguments: Any, done: Callable[[Any], None]) -> None:
        """Ask machine `port` ("NAME.OPERATION") of `node`; `done` gets the answer or Failure."""
        name, _, operation = port.partition(".")
        self._count += 1
        request = RequestId(self._count)
        self._calls[request] = done
        try:
            self._tell(node, name, Called(operation, arguments, request))
        except Dms3Error as error:
            del self._calls[request]
            done(Failure.of(error))

    # Events and effects

    def _tell(self, node: BareNode, name: str, event: Event) -> None:
        machine = node.machines.get(name)
        if machine is not None:
            self._carry(node, name, machine.on_event(event, self.now()))

    def _tell_all(self, node: BareNode, event: Event) -> None:
        for name in node.machines:
            self._tell(node, name, event)

    def _down(self, node: BareNode, boot: int, peer: PeerId) -> None:
        if node.boot == boot:
            self._tell_all(node, PeerDown(peer, "connection reset"))

    def _carry(self, node: BareNode, name: str, effects: list[Effect]) -> None:
        writes: list[Persist | Delete] = []
        for effect in effects:
            match effect:
                case Persist(table, key, value):
                    writes.append(Persist(f"{name}/{table}", key, value))
                case Delete(table, key):
                    writes.append(Delete(f"{name}/{table}", key))
        if writes:
            node.disk.apply(Transaction(node.disk.commits + 1, writes, ()))
        for effect in effects:
            match effect:
                case Request():
                    self._request(node, name, effect)
                case Reply(request, body):
                    self._reply(node, request, body)
                case Call():
                    self._call(node, name, effect)
                case Send():
                    self._send(node, effect)
                case Cancel():
                    pass  # its answer is ignored
        self._arm(node, name)

    def _arm(self, node: BareNode, name: str) -> None:
        machine = node.machines.get(name)
        due = None if machine is None else machine.next_timer()
        if due is not None:
            at = max(due, self.time_us)
            known = node.timers.get(name)
            if known is None or at < known:
                node.timers[name] = at
                self.at(at, self._on_timer, node, node.boot, name, at)

    def _on_timer(self, node: BareNode, boot: int, name: str, at: int) -> None:
        if node.boot == boot and node.on and node.timers.get(name) == at:
            del node.timers[name]
            self._carry(node, name, node.machines[name].on_timer(self.now()))

    # Between nodes

    def _later(self, action: Callable[..., None], *arguments: Any) -> None:
        delay = DELAY_MIN_US + int(self._random.random() * (DELAY_MAX_US - DELAY_MIN_US))
        self.at(self.time_us + delay, action, *arguments)

    def _request(self, node: BareNode, name: str, asked: Request) -> None:
        self._count += 1
        self.requests += 1
        request = RequestId(self._count)
        target = self.nodes[self.index_of[asked.peer]]
        self._wires[request] = (node, node.boot, name, asked.token, target)
        self._later(self._arrive, request, asked)
        self.at(asked.deadline_us, self._answer, request, _LATE)

    def _arrive(self, request: RequestId, asked: Request) -> None:
        source, _, _, _, target = self._wires[request]
        if not target.on or asked.protocol not in target.protocols:
            self._later(self._answer, request, _DEAD)
            return
        self.trace.add(self.time_us, target.index, asked.protocol, asked.body)
        target.answered += 1
        name = target.protocols[asked.protocol]
        self._tell(target, name, Requested(source.peer, asked.protocol, asked.body, request))

    def _send(self, node: BareNode, said: Send) -> None:
        target = self.nodes[self.index_of[said.peer]]
        if target.index in node.links:
            self._later(self._hear, target, target.boot, node.peer, said)

    def _hear(self, node: BareNode, boot: int, source: PeerId, said: Send) -> None:
        name = node.protocols.get(said.protocol)
        if node.boot == boot and name is not None:
            self.trace.add(self.time_us, node.index, said.protocol, said.body)
            self._tell(node, name, Received(source, said.protocol, said.body))

    def _reply(self, node: BareNode, request: RequestId, body: Any) -> None:
        done = self._calls.pop(request, None)
        if done is not None:
            done(body)
        elif request in self._wires:
            del node  # whoever it is has answered
            self._later(self._answer, request, body)

    def _answer(self, request: RequestId, body: Any) -> None:
        wire = self._wires.pop(request, None)
        if wire is None:
            return  # answered before its deadline
        source, boot, name, token, _ = wire
        if source.boot == boot and source.on:
            data = body if isinstance(body, bytes) else body.code.encode()
            self.trace.add(self.time_us, source.index, "answer", data)
            self._tell(source, name, Answered(token, body))

    # Within a node

    def _call(self, node: BareNode, name: str, asked: Call) -> None:
        port, _, operation = asked.port.partition(".")
        boot = node.boot

        def answered(body: Any) -> None:
            self.at(self.time_us, self._called_back, node, boot, name, asked.token, body)

        if port in node.machines:
            self.at(self.time_us, self._ask_machine, node, boot, asked, answered)
        elif asked.port == "transport.dial":
            self._dial(node, asked.arguments.peer, asked.arguments.addresses, answered)
        elif asked.port == "peers.release":
            self._hang_up(node, asked.arguments)
            answered(None)
        else:
            try:
                answered(self._ports[port](node, operation, asked.arguments))
            except Dms3Error as error:
                answered(Failure.of(error))

    def _ask_machine(
        self, node: BareNode, boot: int, asked: Call, answered: Callable[[Any], None]
    ) -> None:
        if node.boot == boot and node.on:
            self.call(node, asked.port, asked.arguments, answered)

    def _called_back(self, node: BareNode, boot: int, name: str, token: Token, body: Any) -> None:
        if node.boot == boot and node.on:
            self._tell(node, name, Answered(token, body))

    def _dial(
        self,
        node: BareNode,
        peer: PeerId,
        addresses: Sequence[str],
        answered: Callable[[Any], None],
    ) -> None:
        places = [found for found in map(place, addresses) if found is not None]
        there = [index for index, _ in places if index == self.index_of.get(peer)]
        far = None if not there else self.nodes[there[0] or 0]
        self._later(self._later, self._dialed, node, node.boot, far, answered)

    def _dialed(
        self,
        node: BareNode,
        boot: int,
        far: BareNode | None,
        answered: Callable[[Any], None],
    ) -> None:
        if node.boot != boot or not node.on:
            return
        if far is None or not far.on or far is node:
            answered(_DEAD)
            return
        if far.index not in node.links:
            node.links[far.index] = far.links[node.index] = None
            self._tell_all(far, PeerUp(node.peer, source_of(node.index), inbound=True))
            self._tell_all(node, PeerUp(far.peer, address_of(far.index), inbound=False))
        answered(Dialed(far.peer, address_of(far.index)))

    def _hang_up(self, node: BareNode, peer: PeerId) -> None:
        far = self.nodes[self.index_of[peer]]
        if node.links.pop(far.index, False) is None:
            far.links.pop(node.index, None)
            self.at(self.time_us, self._down, node, node.boot, far.peer)
            self._later(self._down, far, far.boot, node.peer)


def _view(node: BareNode, name: str) -> View:
    return _View(node.disk, name)


def _nothing(_answer: Any) -> None:
    """What is done with an answer that nobody waits for."""
