"""Messages fidelity: bodies travel whole, with delay, loss, duplicates and broken connections.

Source: docs/architecture.md, "Tests". Plays the part of `node/network.py` for any number of nodes;
frames, streams and encryption are left to bytes fidelity (`sim/bytes_network.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dms3.core.errors import Failure, Retry
from dms3.core.limits import SIM_HOLD_US
from dms3.core.machine import Send
from dms3.core.ports import Action, AskPeer, AskPort, Forget, ReplyPeer
from dms3.sim.dials import Dials
from dms3.sim.wiring import Mesh, Weather, WiringOf
from dms3.sim.world import SimNode, World


@dataclass(slots=True)
class _Ask:
    """A question under way: to whom, over which connection."""

    target: int
    link: int


@dataclass(slots=True)
class _Wire:
    """A question that has arrived: who asked, in which life, under which handle."""

    source: int
    boot: int
    handle: int
    link: int


class MessageNetwork:
    """Implements `sim.world.Network`; `wiring`: how nodes are connected."""

    def __init__(self, world: World, weather: Weather, wiring: WiringOf = Mesh) -> None:
        count = len(world.nodes)
        self._world = world
        self._weather = weather
        self._wiring = wiring(world, weather, self)
        self._dials = Dials(world, weather, self._wiring, self._hang_up)
        self._wire_count = 0
        self._known: list[dict[int, int]] = [{} for _ in range(count)]  # what each node believes
        self._asks: list[dict[int, _Ask]] = [{} for _ in range(count)]
        self._wires: list[dict[int, _Wire]] = [{} for _ in range(count)]
        self._last: dict[tuple[int, int], int] = {}  # (source, target) -> latest arrival

    # sim.world.Network

    def started(self, node: SimNode) -> None:
        """It may connect."""
        self._wiring.started(node.index)

    def stopped(self, node: SimNode) -> None:
        """Break its connections and forget what it had asked."""
        self._known[node.index] = {}
        self._asks[node.index] = {}
        self._wires[node.index] = {}
        self._dials.stopped(node.index)
        self._wiring.cut_all(node.index)

    def rewired(self) -> None:
        """Partitions have changed."""
        self._wiring.rewired()

    def act(self, node: SimNode, action: Action) -> None:
        """Carry out what a node says."""
        source = node.index
        if isinstance(action, AskPeer):
            self._ask(node, action)
        elif isinstance(action, ReplyPeer):
            wire = self._wires[source].pop(action.wire, None)
            if wire is not None:
                self._carry(source, wire.source, self._answer, (wire, action.body))
        elif isinstance(action, Send):
            target = self._world.index_of[action.peer]
            link = self._known[source].get(target)
            if link is not None:
                message = (action.protocol, action.body, source, link)
                self._carry(source, target, self._receive, message)
        elif isinstance(action, Forget):
            self._withdraw(source, action.handle)
            self._dials.forget(node, action.handle)
        elif isinstance(action, AskPort):
            self._dials.ask(node, action)

    # sim.wiring.Wired

    def opened(self, dialer: int, other: int, link: int) -> None:
        """Tell both ends of the connection; one that refuses the other closes it."""
        for end, far in ((dialer, other), (other, dialer)):
            if far in self._known[end]:  # the old connection's end had not been noticed yet
                self.lost(end, far, self._known[end][far], "replaced")
            if not self._wiring.has(end, far, link):
                return  # one of them has crashed meanwhile
            if self._dials.refuses(end, far):
                self._wiring.closed(end, far, link, "the peer ended the session normally")
            else:
                self._known[end][far] = link
                self._dials.up(end, far, inbound=end == other)

    def lost(self, index: int, far: int, link: int, reason: str) -> None:
        """Node `index` notices that its connection to `far` is over."""
        if self._known[index].get(far) != link:
            return
        del self._known[index][far]
        node = self._world.nodes[index]
        self._dials.down(index, far, reason)
        asks = self._asks[index]
        for handle in [handle for handle, ask in asks.items() if ask.link == link]:
            if asks.pop(handle, None) is not None:
                node.answered(handle, _unreachable())
        wires = self._wires[index]
        for number in [number for number, wire in wires.items() if wire.link == link]:
            wires.pop(number, None)

    def _hang_up(self, index: int, far: int, reason: str) -> None:
        link = self._known[index].get(far)
        if link is not None:
            self._wiring.closed(index, far, link, reason)
            self.lost(index, far, link, reason)

    # Messages

    def _ask(self, node: SimNode, action: AskPeer) -> None:
        target = self._world.index_of[action.peer]
        link = self._known[node.index].get(target)
        if link is None:
            self._wiring.later(0, self._refuse, node, node.boot, action.handle)
            return
        self._asks[node.index][action.handle] = _Ask(target, link)
        wire = _Wire(node.index, node.boot, action.handle, link)
        self._carry(node.index, target, self._question, (action.protocol, action.body, wire))
        due = max(node.virtual(action.deadline_us), self._world.time_us)
        self._world.at(due, self._expire, node, node.boot, action.handle)

    def _carry(
        self, source: int, target: int, arrive: Callable[..., None], arguments: tuple[Any, ...]
    ) -> None:
        """Put the copies of a message that will arrive on the heap."""
        world = self._world
        for delay in self._weather.delays_us():
            at = world.time_us + delay
            if not self._weather.reorder:
                at = max(at, self._last.get((source, target), 0))
                self._last[source, target] = at
            world.at(at, self._deliver, source, target, arrive, arguments)

    def _deliver(
        self, source: int, target: int, arrive: Callable[..., None], arguments: tuple[Any, ...]
    ) -> None:
        node = self._world.nodes[target]
        if node.driver is not None and not self._weather.blocked(source, target):
            arrive(node, *arguments)

    def _receive(self, node: SimNode, protocol: str, body: bytes, source: int, link: int) -> None:
        if self._known[node.index].get(source) != link:
            return
        if not node.received(self._world.peers[source], protocol, body):
            again = (protocol, body, source, link)
            self._wiring.later(SIM_HOLD_US, self._deliver, source, node.index, self._receive, again)

    def _question(self, node: SimNode, protocol: str, body: bytes, wire: _Wire) -> None:
        if self._known[node.index].get(wire.source) == wire.link:
            self._wire_count += 1
            self._wires[node.index][self._wire_count] = wire
            node.requested(self._world.peers[wire.source], protocol, body, self._wire_count)

    def _answer(self, node: SimNode, wire: _Wire, body: bytes | Failure) -> None:
        if wire.boot != node.boot or self._asks[node.index].pop(wire.handle, None) is None:
            return  # asked in an earlier life, or answered already
        node.answered(wire.handle, body)

    def _refuse(self, node: SimNode, boot: int, handle: int) -> None:
        if node.boot == boot:
            node.answered(handle, _unreachable())

    def _expire(self, node: SimNode, boot: int, handle: int) -> None:
        if node.boot != boot or node.driver is None or handle not in self._asks[node.index]:
            return
        self._withdraw(node.index, handle)
        failure = Failure("timed_out", "no answer before the deadline", Retry.LATER)
        node.answered(handle, failure)

    def _withdraw(self, source: int, handle: int) -> None:
        ask = self._asks[source].pop(handle, None)
        if ask is not None:
            boot = self._world.nodes[source].boot
            self._carry(source, ask.target, self._withdrawn, (source, boot, handle))

    def _withdrawn(self, node: SimNode, source: int, boot: int, handle: int) -> None:
        for number, wire in list(self._wires[node.index].items()):
            if (wire.source, wire.boot, wire.handle) == (source, boot, handle):
                del self._wires[node.index][number]
                node.withdrawn(self._world.peers[source], number)
                return


def _unreachable() -> Failure:
    return Failure("peer_unreachable", "not connected", Retry.LATER)
