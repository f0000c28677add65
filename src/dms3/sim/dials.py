"""The io port "transport" of simulated nodes: dialling, hanging up, refusing.

Source: docs/simulator.md, "Connections"; plays the part of `io/transport.py` and of the port in
`node/transport_port.py`, with their failures. What a connection carries is the network's matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dms3.core.errors import Failure, Retry
from dms3.core.ids import PeerId
from dms3.core.limits import (
    CONNECTIONS_MAX,
    DIAL_ADDRESSES_MAX,
    DIAL_STAGGER_US,
    DIALS_MAX,
)
from dms3.core.ports import AskPort
from dms3.libp2p.peer_id import peer_id_text
from dms3.p2p.port import Dialed, DialRequest, HangUp, Introduced, Refuse
from dms3.sim.checkers import ViolationError
from dms3.sim.places import address_of, place, source_of
from dms3.sim.wiring import Weather, Wiring
from dms3.sim.world import SimNode, World

_NOBODY = -1  # at this address nobody listens

Close = Callable[[int, int, str], None]
"""Of the network: close the connection of a node (by index) to another, for a reason."""


@dataclass(slots=True, eq=False)
class _Dial:
    """A dial under way: who dials, in which life, and where it has not tried yet."""

    node: SimNode
    boot: int
    handle: int
    peer: PeerId | None
    targets: list[int]
    far: int = _NOBODY  # where it tries now
    failures: list[Failure] = field(default_factory=list)
    over: bool = False
    timed: bool = False  # whether its timeout is on the heap


class Dials:
    """Arguments: `wiring` and `close` of the network whose connections are dialled."""

    def __init__(self, world: World, weather: Weather, wiring: Wiring, close: Close) -> None:
        self._world = world
        self._weather = weather
        self._wiring = wiring
        self._close = close
        self._dials: list[dict[int, _Dial]] = [{} for _ in world.nodes]  # by handle
        self._up: list[dict[int, None]] = [{} for _ in world.nodes]  # nodes that each sees
        self._refused: list[dict[int, int]] = [{} for _ in world.nodes]  # until this time

    def ask(self, node: SimNode, action: AskPort) -> None:
        """Carry out a Call to port "transport"."""
        match action.operation, action.arguments:
            case "dial", DialRequest():
                self._dial(node, action.arguments, action.handle)
                return
            case "hang_up" | "make_room" | "release", HangUp(peer, reason):
                self._close(node.index, self._world.index_of[peer], reason)
            case "refuse", Refuse(peer, for_us):
                far = self._world.index_of[peer]
                self._refused[node.index][far] = self._world.time_us + for_us
                why = f"peer {peer_id_text(peer)} is refused for a while"
                self._close(node.index, far, why)
            case "keep" | "announce" | "wake", _:
                pass  # there is room for all, and Identify is left to the bytes
            case _:
                raise ViolationError(f"the transport has no {action.operation!r}")
        self._answer(node, node.boot, action.handle, None)

    def forget(self, node: SimNode, handle: int) -> None:
        """The answer to a dial is no longer wanted; a connection may still come of it."""
        dial = self._dials[node.index].pop(handle, None)
        if dial is not None:
            dial.over = True

    def refuses(self, index: int, far: int) -> bool:
        """Whether node `index` has no connection with node `far` for now."""
        return self._refused[index].get(far, 0) > self._world.time_us

    def up(self, index: int, far: int, *, inbound: bool) -> None:
        """Node `index` has a secured connection to `far`: tell it, and end its dials."""
        self._up[index][far] = None
        node = self._world.nodes[index]
        peer = self._world.peers[far]
        address = source_of(far) if inbound else address_of(far)
        node.peer_up(peer, address, inbound=inbound)
        for dial in self._waiting(index, far):
            if not dial.over:
                self._end(dial, Dialed(peer, address))
        if "peers" in node.machines:
            delay = self._weather.delay_us()
            self._wiring.later(delay, self._introduce, node, node.boot, far)

    def down(self, index: int, far: int, reason: str) -> None:
        """The connection of node `index` to `far` is over."""
        if far in self._up[index]:
            del self._up[index][far]
            self._world.nodes[index].peer_down(self._world.peers[far], reason)

    def failed(self, index: int, far: int, code: str, reason: str) -> None:
        """No connection of node `index` to `far` came about."""
        for dial in self._waiting(index, far):
            if dial.far == far:
                self._fail(dial, Failure(code, f"{address_of(far)}: {reason}."))

    def stopped(self, index: int) -> None:
        """Node `index` has crashed: whatever it wanted is nobody's wish any more."""
        for dial in self._dials[index].values():
            dial.over = True
        self._dials[index] = {}
        self._up[index] = {}
        self._refused[index] = {}

    # One dial

    def _dial(self, node: SimNode, request: DialRequest, handle: int) -> None:
        places = [found for found in map(place, request.addresses) if found is not None]
        peer = request.peer or next((named for _, named in places if named is not None), None)
        far = None if peer is None else self._world.index_of.get(peer)
        if far in self._up[node.index]:
            assert peer is not None, "only peers are up"
            self._answer(node, node.boot, handle, Dialed(peer, address_of(far or 0)))
            return
        targets = [
            _NOBODY if index is None else index
            for index, named in places
            if named in {None, peer} and (far is None or not self.refuses(node.index, far))
        ]
        if not targets:
            listed = ", ".join(request.addresses[:4]) or "none"
            why = f"No address can be dialled (known: {listed})."
            self._answer(node, node.boot, handle, Failure("peer_unreachable", why, Retry.NEVER))
        elif len(self._dials[node.index]) >= DIALS_MAX:
            why = f"{DIALS_MAX} dials are under way already."
            self._answer(node, node.boot, handle, Failure("limit_reached", why, Retry.LATER))
        else:
            targets = list(dict.fromkeys(targets))[:DIAL_ADDRESSES_MAX]
            dial = _Dial(node, node.boot, handle, peer, targets)
            self._dials[node.index][handle] = dial
            until = self._world.time_us + request.timeout_us
            self._attempt(dial, until)

    def _attempt(self, dial: _Dial, until_us: int) -> None:
        """Try the next address: what is said arrives, and is answered."""
        if dial.over or not dial.targets:
            return
        far = dial.far = dial.targets.pop(0)
        index = dial.node.index
        delay = self._weather.delay_us() + self._weather.delay_us()
        if far != _NOBODY and far < len(self._dials) and self._wiring.blocked(index, far):
            self._silence(dial, until_us)
        else:
            self._wiring.later(delay, self._reach, dial, far, until_us)

    def _silence(self, dial: _Dial, until_us: int) -> None:
        """Nothing comes back: the next address is tried beside this one."""
        if not dial.timed:
            dial.timed = True
            self._world.at(until_us, self._expire, dial)
        self._wiring.later(DIAL_STAGGER_US, self._attempt, dial, until_us)

    def _reach(self, dial: _Dial, far: int, until_us: int) -> None:
        if dial.over:
            return
        index = dial.node.index
        nodes = self._world.nodes
        if not 0 <= far < len(nodes) or nodes[far].driver is None:
            failure = Failure("peer_unreachable", "connection refused", Retry.LATER)
        elif far == index:
            failure = Failure("peer_refused", "that address is this node's own")
        elif dial.peer is not None and dial.peer != nodes[far].peer:
            found, wanted = peer_id_text(nodes[far].peer), peer_id_text(dial.peer)
            failure = Failure("peer_unreachable", f"{found} answers at the address of {wanted}")
        elif self._wiring.count(far) >= CONNECTIONS_MAX:
            failure = Failure("peer_unreachable", "connection reset")
        elif self._wiring.blocked(index, far):
            self._silence(dial, until_us)
            return
        else:
            self._wiring.connect(index, far)  # `up` or `failed` ends the dial
            return
        self._fail(dial, failure)
        self._attempt(dial, until_us)

    def _fail(self, dial: _Dial, failure: Failure) -> None:
        dial.failures.append(failure)
        if not dial.targets:
            self._end(dial, dial.failures[0])

    def _expire(self, dial: _Dial) -> None:
        if not dial.over:
            self._end(dial, Failure("timed_out", "No answer in time.", Retry.LATER))

    def _end(self, dial: _Dial, body: Any) -> None:
        dial.over = True
        self._dials[dial.node.index].pop(dial.handle, None)
        if dial.node.boot == dial.boot:
            dial.node.answered(dial.handle, body)

    def _introduce(self, node: SimNode, boot: int, far: int) -> None:
        """The peer has described itself (Identify): the peer book is told where it listens."""
        if node.boot == boot and far in self._up[node.index]:
            driver = self._world.nodes[far].driver
            protocols = () if driver is None else tuple(sorted(driver.protocols()))
            told = Introduced(self._world.peers[far], (address_of(far),), protocols)
            node.call("peers.introduced", told, _nothing)

    def _waiting(self, index: int, far: int) -> list[_Dial]:
        """The dials of node `index` that node `far` ends."""
        peer = self._world.peers[far]
        dials = self._dials[index].values()
        return [dial for dial in dials if dial.peer == peer or dial.far == far]

    def _answer(self, node: SimNode, boot: int, handle: int, body: Any) -> None:
        """Answer at this instant, but not within the action that asks."""
        self._wiring.later(0, self._tell, node, boot, handle, body)

    def _tell(self, node: SimNode, boot: int, handle: int, body: Any) -> None:
        if node.boot == boot:
            node.answered(handle, body)


def _nothing(_answer: Any) -> None:
    """What is done with an answer that nobody waits for."""
