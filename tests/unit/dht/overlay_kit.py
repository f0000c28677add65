"""Many dht machines and a small world to drive them: one heap of events, virtual time, no driver.

Every Call, Request and Reply is checked on the way: tokens are not used twice at once, questions
are answered once. A node may be replaced by a function that answers as a liar would.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Any

from dms3.core.codec import encode
from dms3.core.errors import Failure, Retry
from dms3.core.ids import PeerId, RequestId, Token
from dms3.core.limits import ID_WORK_BITS, SECOND_US
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Cancel,
    Delete,
    Now,
    PeerDown,
    PeerUp,
    Persist,
    Reply,
    Request,
    Requested,
    Withdrawn,
)
from dms3.core.overlay import PUBLIC, ContentType, FindNodes, NodeAt
from dms3.dht.dht import Dht
from dms3.dht.messages import PROTOCOL, Question, decode_question
from dms3.dht.presence import Verified, issue_presence, node_location
from dms3.dht.routing import warm_rows
from dms3.libp2p.peer_id import NodeKey, id_work
from dms3.p2p.port import Conducted, Dialed

WALL_US = 1_800_000_000 * SECOND_US
LATENCY_US = 20_000
_UNKNOWN = Failure("protocol_unsupported", "not spoken here")
Liar = Callable[["Node", PeerId, Question], bytes | Failure | None]


class Drawn:
    """Entropy that repeats itself from run to run."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def draw(self, count: int) -> bytes:
        out = bytearray()
        while len(out) < count:
            self._state = (self._state * 6364136223846793005 + 1442695040888963407) % 2**64
            out += (self._state >> 24).to_bytes(5, "big")
        return bytes(out[:count])


def key_of(number: int) -> NodeKey:
    return NodeKey(b"kit " + number.to_bytes(28, "big"))


def worked_key(number: int) -> NodeKey:
    """A key whose peer id solves the puzzle."""
    tries = (NodeKey(b"worked " + n.to_bytes(25, "big")) for n in range(number << 20, 1 << 60))
    return next(key for key in tries if id_work(key.public.data) >= ID_WORK_BITS)


def lan_address(number: int) -> str:
    return f"/ip4/10.1.{number >> 8}.{number & 255}/tcp/4001"


class Rows:
    """A View on sorted rows."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, bytes], bytes] = {}
        self._keys: list[tuple[str, bytes]] = []

    def get(self, table, key):
        return self.values.get((table, key))

    def range(self, table, start, limit):
        at = bisect_left(self._keys, (table, start))
        found = self._keys[at : at + limit]
        return [(key, self.values[name, key]) for name, key in found if name == table]

    def put(self, table: str, key: bytes, value: bytes) -> None:
        if (table, key) not in self.values:
            insort(self._keys, (table, key))
        self.values[table, key] = value

    def delete(self, table: str, key: bytes) -> None:
        if self.values.pop((table, key), None) is not None:
            del self._keys[bisect_left(self._keys, (table, key))]

    def count(self, table: str) -> int:
        return sum(name == table for name, _ in self._keys)


class Node:
    """One node of the world; `liar` answers instead of its machine when there is one."""

    def __init__(self, world: "World", key: NodeKey, address: str) -> None:
        self.world = world
        self.key = key
        self.peer = key.peer_id
        self.address = address
        self.rows = Rows()
        self.library: dict[Any, bytes] = {}
        self.up: dict[PeerId, bool] = {}  # -> whether it came in
        self.open: dict[str, Any] = {}  # tokens of unanswered Calls and Requests
        self.asked: dict[int, tuple[PeerId, str]] = {}  # questions of peers to be answered
        self.results: dict[int, Any] = {}
        self.commands: dict[int, None] = {}
        self.calls: list[str] = []
        self.heard: dict[str, Any] = {}  # answers to what a test asked by hand
        self.questions = 0
        self.alive = True
        self.delay_us = 0
        self.liar: Liar | None = None
        self.foreign: Callable[[PeerId, bytes], bytes | Failure | None] | None = None
        self.machine: Dht | None = None
        self._count = 0

    @property
    def at(self) -> NodeAt:
        return NodeAt(self.peer, (self.address,))

    @property
    def location(self) -> int:
        return int.from_bytes(node_location(self.peer), "big")

    def presence(self, since_us: int | None = None, overlay=PUBLIC) -> bytes:
        since = self.world.now.wall_us if since_us is None else since_us
        return issue_presence(self.key, overlay, (self.address,), since)

    def start(self, *types: ContentType, member: bool = True, listen: bool = True) -> "Node":
        self.machine = Dht(
            self.key,
            types,
            Drawn(self.location & 0xFFFF),
            member=member,
            verified=self.world.verified,
        )
        self.perform(self.machine.on_start(self.rows, self.world.now))
        if listen:
            self.call("listening", (self.address,))
        return self

    def stop(self) -> None:
        for peer in list(self.up):
            self.world.disconnect(self, self.world.nodes[peer])
        self.alive = False
        self.machine = None
        self.open.clear()
        self.asked.clear()

    def tell(self, event: Any) -> None:
        if self.alive and self.machine is not None:
            self.perform(self.machine.on_event(event, self.world.now))
            self.world.arm(self)

    def call(self, operation: str, arguments: Any) -> int:
        self._count += 1
        number = self._count
        self.commands[number] = None
        self.tell(Called(operation, arguments, RequestId(number)))
        return number

    def withdraw(self, number: int) -> None:
        del self.commands[number]
        self.tell(Withdrawn(RequestId(number)))

    def ask(self, operation: str, arguments: Any, seconds: float = 60) -> Any:
        number = self.call(operation, arguments)
        until = self.world.now.mono_us + int(seconds * SECOND_US)
        self.world.run(until, lambda: number in self.results)
        return self.results.pop(number)

    def find(self, target: bytes) -> Any:
        return self.ask("find", FindNodes(PUBLIC, target))

    def perform(self, effects: list[Any]) -> None:
        world = self.world
        for effect in effects:
            if isinstance(effect, Persist):
                self.rows.put(effect.table, effect.key, effect.value)
            elif isinstance(effect, Delete):
                self.rows.delete(effect.table, effect.key)
            elif isinstance(effect, Call):
                self._called(effect)
            elif isinstance(effect, Request):
                assert effect.token not in self.open, f"{effect.token} is asked twice"
                self.open[effect.token] = effect
                world.request(self, effect)
            elif isinstance(effect, Cancel):
                assert effect.token in self.open, f"{effect.token} is not open"
                del self.open[effect.token]
            else:
                assert isinstance(effect, Reply), effect
                self._replied(effect)

    def question(self, other: "Node", body: bytes | Question, seconds: float = 1) -> Any:
        """What `other` answers to a question that is put by hand."""
        self._count += 1
        token = Token(f"hand:{self._count}")
        data = body if isinstance(body, bytes) else encode(body)
        deadline_us = self.world.now.mono_us + int(seconds * SECOND_US)
        self.perform([Request(other.peer, PROTOCOL, data, token, deadline_us)])
        self.world.run(deadline_us, lambda: token in self.heard)
        return self.heard.pop(token, None)

    def answer(self, token: str, body: Any) -> None:
        if token in self.open:
            del self.open[token]
            if token.startswith("hand:"):
                self.heard[token] = body
            self.tell(Answered(token, body))

    def _called(self, call: Call) -> None:
        world = self.world
        assert call.token not in self.open, f"{call.token} is called twice"
        self.open[call.token] = call
        self.calls.append(call.port)
        if call.port == "transport.dial":
            world.dial(self, call)
            return
        body: Any = None
        if call.port == "peers.conduct":
            assert isinstance(call.arguments, Conducted)
            world.conduct.append((self.peer, call.arguments.peer, call.arguments.code))
        elif call.port == "peers.uptime":
            body = tuple(world.uptimes.get(peer, 0.2) for peer in call.arguments)
        elif call.port == "peers.missed":
            world.missed.append((self.peer, call.arguments))
        elif call.port == "peers.release":
            world.released.append(self.peer)
            if call.arguments in self.up:
                world.after(0, world.disconnect, self, world.nodes[call.arguments])
        elif call.port == "library.held":
            body = ()
        elif call.port == "library.hold":
            self.library.update(dict(call.arguments.blocks))
            body = True
        elif call.port == "library.load":
            body = self.library.get(call.arguments, Failure("not_found", "no such block"))
        world.after(1_000, self.answer, call.token, body)

    def _replied(self, reply: Reply) -> None:
        number = int(reply.request)
        if number in self.asked:
            peer, token = self.asked.pop(number)
            asker = self.world.nodes[peer]
            self.world.after(LATENCY_US + self.delay_us, asker.answer, token, reply.body)
            return
        if number in self.commands:
            del self.commands[number]
            self.results[number] = reply.body
            return
        raise AssertionError(f"{number} is answered twice, or was never asked")


class World:
    def __init__(self) -> None:
        self.now = Now(1_000_000, WALL_US)
        self.nodes: dict[PeerId, Node] = {}
        self.verified = Verified()
        self.conduct: list[tuple[PeerId, PeerId, str]] = []
        self.released: list[PeerId] = []
        self.uptimes: dict[PeerId, float] = {}  # as every peer book says; others are newcomers
        self.missed: list[tuple[PeerId, PeerId]] = []
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._armed: dict[PeerId, int] = {}

    def add(self, number: int, *, key: NodeKey | None = None, address: str = "") -> Node:
        node = Node(self, key or key_of(number), address or lan_address(number))
        self.nodes[node.peer] = node
        return node

    def after(self, us: int, action: Callable[..., None], *arguments: Any) -> None:
        self._count += 1
        heapq.heappush(self._heap, (self.now.mono_us + us, self._count, action, arguments))

    def arm(self, node: Node) -> None:
        due = None if node.machine is None else node.machine.next_timer()
        if due is None or self._armed.get(node.peer, 1 << 62) <= due:
            return
        self._armed[node.peer] = due
        self.after(max(0, due - self.now.mono_us), self._timer, node, due)

    def _timer(self, node: Node, due: int) -> None:
        if self._armed.get(node.peer) != due:
            return
        del self._armed[node.peer]
        if node.machine is not None and node.alive:
            node.perform(node.machine.on_timer(self.now))
            self.arm(node)

    def run(self, until_us: int, done: Callable[[], bool] = lambda: False) -> None:
        while self._heap and self._heap[0][0] <= until_us and not done():
            at, _, action, arguments = heapq.heappop(self._heap)
            passed = at - self.now.mono_us
            self.now = Now(at, self.now.wall_us + passed)
            action(*arguments)
        if not done():
            self.now = Now(until_us, self.now.wall_us + until_us - self.now.mono_us)

    def go(self, seconds: float) -> None:
        self.run(self.now.mono_us + int(seconds * SECOND_US))

    # Connections

    def connect(self, dialer: Node, other: Node) -> None:
        dialer.up[other.peer], other.up[dialer.peer] = False, True
        dialer.tell(PeerUp(other.peer, other.address, False))
        other.tell(PeerUp(dialer.peer, dialer.address.replace("4001", "50001"), True))

    def disconnect(self, one: Node, two: Node) -> None:
        for node, far in ((one, two), (two, one)):
            if node.up.pop(far.peer, None) is None:
                continue
            gone = Failure("peer_unreachable", "closed", Retry.LATER)
            for token, effect in list(node.open.items()):
                if isinstance(effect, Request) and effect.peer == far.peer:
                    node.answer(token, gone)
            for number in [n for n, (peer, _) in node.asked.items() if peer == far.peer]:
                del node.asked[number]
                node.tell(Withdrawn(RequestId(number)))
            node.tell(PeerDown(far.peer, "closed"))

    def dial(self, node: Node, call: Call) -> None:
        request = call.arguments
        other = self.nodes.get(request.peer)
        reachable = other is not None and other.alive and other.address in request.addresses
        if not reachable:
            late = Failure("timed_out", "no answer", Retry.LATER)
            self.after(request.timeout_us, node.answer, call.token, late)
            return
        self.after(2 * LATENCY_US, self._dialed, node, other, call)

    def _dialed(self, node: Node, other: Node, call: Call) -> None:
        if other.peer not in node.up and other.alive and node.alive:
            self.connect(node, other)
        node.answer(call.token, Dialed(other.peer, other.address))

    # Questions

    def request(self, node: Node, effect: Request) -> None:
        if effect.peer not in node.up:
            gone = Failure("peer_unreachable", "not connected", Retry.LATER)
            self.after(0, node.answer, effect.token, gone)
            return
        self.after(LATENCY_US, self._arrive, node, self.nodes[effect.peer], effect)
        late = Failure("timed_out", "no answer in time", Retry.LATER)
        wait_us = max(0, effect.deadline_us - self.now.mono_us)
        self.after(wait_us, node.answer, effect.token, late)

    def _arrive(self, asker: Node, node: Node, effect: Request) -> None:
        if effect.token not in asker.open or asker.peer not in node.up:
            return
        if effect.protocol != PROTOCOL:
            body = node.foreign(asker.peer, effect.body) if node.foreign else _UNKNOWN
            if body is not None:
                self.after(LATENCY_US + node.delay_us, asker.answer, effect.token, body)
            return
        node.questions += 1
        if node.liar is not None:
            body = node.liar(node, asker.peer, decode_question(effect.body))
            if body is not None:
                self.after(LATENCY_US + node.delay_us, asker.answer, effect.token, body)
            return
        self._count += 1
        number = 1_000_000 + self._count
        node.asked[number] = (asker.peer, effect.token)
        node.tell(Requested(asker.peer, effect.protocol, effect.body, RequestId(number)))


def nearest(nodes: list[Node], target: bytes, count: int) -> list[Node]:
    at = int.from_bytes(target, "big")
    return sorted(nodes, key=lambda node: node.location ^ at)[:count]


def fill_tables(nodes: list[Node], per_bucket: int = 20) -> None:
    """Give every node that has not started the table that it would have after a while."""
    presences = {node.peer: node.presence() for node in nodes}
    for node in nodes:
        buckets: dict[int, int] = {}
        for other in sorted(nodes, key=lambda each: each.location ^ (node.location * 31 % 2**256)):
            apart = (node.location ^ other.location).bit_length()
            if other is not node and buckets.get(apart, 0) < per_bucket:
                buckets[apart] = buckets.get(apart, 0) + 1
                for table, key, value in warm_rows(PUBLIC, [(other.peer, presences[other.peer])]):
                    node.rows.put(table, key, value)
