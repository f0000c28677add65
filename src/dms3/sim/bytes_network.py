"""Bytes fidelity: questions travel as frames over Yamux over Noise, in virtual time.

Source: docs/architecture.md, "Tests". Every connection runs the production `libp2p.Connection` and
`p2p.Link` at both ends; between them bytes arrive late, in pieces, or not at all while a partition
lasts. A byte stream neither loses, copies nor reorders, so those faults of messages have no place
here. Plays the part of `io/transport.py` and `node/network.py`; meant for up to fifty nodes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from dms3.core.errors import Failure, Retry
from dms3.core.limits import SIM_HOLD_US, SIM_STALL_US
from dms3.core.machine import Send
from dms3.core.ports import Action, AskPeer, AskPort, Forget, ReplyPeer
from dms3.libp2p.events import Closed, ConnectionEvent, Identified, Secured
from dms3.p2p.stream import Asked, Given, LinkEvent, Misconduct, Told, Unasked
from dms3.sim.bytes_end import End, make_end
from dms3.sim.checkers import ViolationError
from dms3.sim.dials import Dials
from dms3.sim.seeds import SeededEntropy, stream
from dms3.sim.wiring import Mesh, Weather, WiringOf
from dms3.sim.world import Network, SimNode, World

_WIRE_BITS = 64  # a question is `connection << 64 | question of its link`, as in node/network.py


class BytesNetwork:
    """Implements `sim.world.Network`; `wiring`: how nodes are connected."""

    def __init__(self, world: World, weather: Weather, wiring: WiringOf = Mesh) -> None:
        self._world = world
        self._weather = weather
        self._wiring = wiring(world, weather, self)
        self._dials = Dials(world, weather, self._wiring, self._hang_up)
        self._ends: list[dict[int, End]] = [{} for _ in world.nodes]
        self._entropy = SeededEntropy(stream(world.seed, "connections"))
        self._pieces = stream(world.seed, "pieces")

    # sim.world.Network

    def started(self, node: SimNode) -> None:
        """It may connect."""
        self._wiring.started(node.index)

    def stopped(self, node: SimNode) -> None:
        """Its ends are gone with its memory."""
        self._ends[node.index] = {}
        self._dials.stopped(node.index)
        self._wiring.cut_all(node.index)

    def rewired(self) -> None:
        """Partitions have changed."""
        self._wiring.rewired()

    def act(self, node: SimNode, action: Action) -> None:
        """Carry out what a node says."""
        now_us = node.now().mono_us
        ends = self._ends[node.index]
        if isinstance(action, Forget):
            self._forget(ends.values(), action.handle)
            self._dials.forget(node, action.handle)
            return
        if isinstance(action, AskPort):
            self._dials.ask(node, action)
            return
        assert isinstance(action, Send | AskPeer | ReplyPeer)
        end = ends.get(self._world.index_of[action.peer])
        if end is not None:
            end.connection.pass_time(now_us)
        if isinstance(action, AskPeer):
            self._ask(node, end, action, now_us)
        elif end is not None and end.up and isinstance(action, Send):
            end.link.send(action.protocol, action.body, now_us)
        elif isinstance(action, ReplyPeer) and end is not None:
            number, request = divmod(action.wire, 1 << _WIRE_BITS)
            if number == end.number:
                end.link.reply(request, action.body, now_us)
        if end is not None:
            self._settle(end)

    def _forget(self, ends: Iterable[End], handle: int) -> None:
        for end in ends:
            if handle in end.handles:
                end.handles.discard(handle)
                end.link.cancel(handle)
                self._settle(end)

    def _ask(self, node: SimNode, end: End | None, action: AskPeer, now_us: int) -> None:
        failure: Failure | None
        if end is None or not end.up:
            failure = Failure("peer_unreachable", "not connected", Retry.LATER)
        else:
            end.handles.add(action.handle)
            failure = end.link.request(
                action.protocol, action.body, action.handle, action.deadline_us, now_us
            )
        if failure is not None:
            if end is not None:
                end.handles.discard(action.handle)
            self._wiring.later(0, self._refuse, node, node.boot, action.handle, failure)

    def _refuse(self, node: SimNode, boot: int, handle: int, failure: Failure) -> None:
        if node.boot == boot:
            node.answered(handle, failure)

    # sim.wiring.Wired

    def opened(self, dialer: int, other: int, link: int) -> None:
        """A byte stream is open: both ends begin their handshake."""
        for index, far in ((dialer, other), (other, dialer)):
            before = self._ends[index].get(far)
            if before is not None:  # its end had not been noticed yet
                self.lost(index, far, before.number, "replaced")
        if not self._wiring.has(dialer, other, link):
            return  # one of them has crashed meanwhile
        for index, far in ((dialer, other), (other, dialer)):
            node = self._world.nodes[index]
            self._ends[index][far] = make_end(
                node, far, link, dialer=index == dialer, entropy=self._entropy
            )
        self._settle(self._ends[dialer][other])
        self._settle(self._ends[other][dialer])

    def lost(self, index: int, far: int, link: int, reason: str) -> None:
        """The byte stream of node `index` to `far` has ended."""
        end = self._ends[index].get(far)
        if end is not None and end.number == link:
            del reason  # the connection has its own words for it
            self._handle(end, end.connection.receive_eof(end.node.now().mono_us))

    # Bytes

    def _settle(self, end: End) -> None:
        """Put what the connection wants to send on its way, and its next timer on the heap."""
        far = self._ends[end.far].get(end.node.index)
        while data := end.connection.data_to_send():
            if far is not None and far.number == end.number:
                self._put(end, far, data)
        dues = [end.connection.next_timer(), end.link.next_timer() if end.up else None]
        due = min((due for due in dues if due is not None), default=None)
        if due is None:
            return
        at = max(end.node.virtual(due), self._world.time_us)
        if end.timer_at is None or at < end.timer_at:
            end.timer_at = at
            self._world.at(at, self._on_timer, end, at)

    def _put(self, source: End, target: End, data: bytes) -> None:
        """Let `data` arrive in one or two pieces, after what was sent before."""
        last = target.arriving[-1][0] if target.arriving else 0
        cut = self._pieces.randrange(len(data)) if self._pieces.randrange(4) == 0 else 0
        for piece in (data[:cut], data[cut:]):
            if piece:
                last = max(last, self._world.time_us + self._weather.delay_us())
                target.arriving.append((last, piece))
        self._arm(source.node.index, target)

    def _arm(self, source: int, end: End) -> None:
        if end.arriving and not end.delivering:
            end.delivering = True
            self._world.at(end.arriving[0][0], self._deliver, source, end)

    def _deliver(self, source: int, end: End) -> None:
        end.delivering = False
        if self._ends[end.node.index].get(source) is not end:
            return
        if self._weather.blocked(source, end.node.index):
            end.delivering = True
            self._wiring.later(SIM_STALL_US, self._deliver, source, end)
            return
        pieces = []
        while end.arriving and end.arriving[0][0] <= self._world.time_us:
            pieces.append(end.arriving.popleft()[1])
        data = b"".join(pieces)
        self._world.record(end.node.index, "bytes", b"%d" % len(data))  # sizes, not ciphertext
        self._handle(end, end.connection.receive_data(data, end.node.now().mono_us))
        self._arm(source, end)

    def _on_timer(self, end: End, at: int) -> None:
        if end.timer_at != at or self._ends[end.node.index].get(end.far) is not end:
            return
        end.timer_at = None
        now_us = end.node.now().mono_us
        due = end.connection.next_timer()
        if due is not None and due <= now_us:
            self._handle(end, end.connection.on_timer(now_us))
        due = end.link.next_timer() if end.up else None
        if due is not None and due <= now_us:
            self._tell(end, end.link.on_timer(now_us))
        self._settle(end)

    # Events

    def _handle(self, end: End, events: Sequence[ConnectionEvent]) -> None:
        for event in events:
            if isinstance(event, Secured):
                dialed = self._world.index_of[event.peer] == end.far
                assert dialed, "another peer than the one that was wired"
                self._secured(end)
            elif isinstance(event, Closed):
                self._close(end, event)
                return
            elif not isinstance(event, Identified):
                self._tell(end, end.link.on_event(event, end.node.now().mono_us))
        self._settle(end)

    def _secured(self, end: End) -> None:
        """The handshake is done: the machines are told, unless they refuse the peer."""
        index = end.node.index
        if self._dials.refuses(index, end.far):
            end.connection.close("not needed")
            return
        end.up = True
        self._dials.up(index, end.far, inbound=not end.dialer)

    def _hang_up(self, index: int, far: int, reason: str) -> None:
        end = self._ends[index].get(far)
        if end is not None:
            end.connection.close(reason)
            self._settle(end)

    def _close(self, end: End, event: Closed) -> None:
        index = end.node.index
        if self._ends[index].get(end.far) is not end:
            return
        if event.code == "peer_misbehaved":
            raise ViolationError(f"node {index} was sent broken bytes: {event.reason}")
        del self._ends[index][end.far]
        self._wiring.closed(index, end.far, end.number, event.reason)
        if end.up:
            self._tell(end, end.link.close())
            self._dials.down(index, end.far, event.reason)
        else:
            self._dials.failed(index, end.far, event.code, event.reason)

    def _tell(self, end: End, happened: Sequence[LinkEvent]) -> None:
        """Pass on what the link says, in order."""
        peer = self._world.peers[end.far]
        node = end.node
        for event in happened:
            if isinstance(event, Given):
                if event.handle in end.handles:
                    end.handles.discard(event.handle)
                    node.answered(event.handle, event.body)
            elif isinstance(event, Asked):
                wire = end.number << _WIRE_BITS | event.request
                node.requested(peer, event.protocol, event.body, wire)
                end.link.taken(event)
            elif isinstance(event, Told):
                self._offer(end, event)
            elif isinstance(event, Unasked):
                node.withdrawn(peer, end.number << _WIRE_BITS | event.request)
            elif isinstance(event, Misconduct):
                raise ViolationError(f"node {node.index} was wronged: {event.code}")
            if node.driver is None:
                return  # crashed while it listened

    def _offer(self, end: End, event: Told) -> None:
        """Give a message to the driver; while it takes none, they wait in order."""
        if end.held:
            end.held.append(event)
        elif end.node.received(self._world.peers[end.far], event.protocol, event.body):
            end.link.taken(event)
        else:
            end.held.append(event)
            self._wiring.later(SIM_HOLD_US, self._offer_held, end)

    def _offer_held(self, end: End) -> None:
        if self._ends[end.node.index].get(end.far) is not end:
            return
        held, end.held = end.held, deque()
        for event in held:
            self._offer(end, event)
        self._settle(end)


def over_bytes(world: World, weather: Weather, wiring: WiringOf) -> Network:
    """Bytes fidelity."""
    return BytesNetwork(world, weather, wiring)
