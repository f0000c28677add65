"""Peer books that watch each other for hours of virtual time, while nodes come and go."""

import heapq
import random
from statistics import mean

import pytest

from dms3.core.errors import Failure
from dms3.core.ids import RequestId, Root
from dms3.core.limits import SECOND_US
from dms3.core.machine import (
    Answered,
    Call,
    Called,
    Delete,
    Now,
    PeerDown,
    PeerUp,
    Persist,
    Reply,
    Request,
    Requested,
)
from dms3.libp2p.peer_id import NodeKey, peer_id_text
from dms3.p2p.known import PUBLIC_PROTOCOL
from dms3.p2p.peers import PeerBook
from dms3.p2p.port import Dialed, Introduced

HOUR_US = 3_600 * SECOND_US
WALL_US = 1_800_000_000 * SECOND_US
CYCLE_US = HOUR_US // 3
HALF_US = 2 * HOUR_US  # of what was seen; a day of it would cost minutes
LATENCY_US = 50_000
AWAY = Failure("timed_out", "Nobody answers.")


class Drawn:
    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)

    def draw(self, count):
        return self._random.randbytes(count)


class Node:
    """A peer book that is there for a share of the time; `lie`: what it says of everybody."""

    def __init__(self, world, number: int, share: float, lie: int | None) -> None:
        self.world = world
        self.share = share
        self.lie = lie
        self.peer = NodeKey(bytes([number + 1]) * 32).peer_id
        self.address = f"/ip4/8.8.{number}.1/tcp/4001"
        self.rows: dict = {}
        self.up: set[int] = set()
        self.asked: dict[int, tuple[int, str]] = {}
        self.told = None
        self.book: PeerBook | None = None
        self.number = number
        self.boots = self.count = 0
        self.on_us = self.since_us = 0
        self.armed = (0, 0)

    def get(self, table, key):
        return self.rows.get((table, key))

    def range(self, table, start, limit):
        keys = sorted(key for name, key in self.rows if name == table and key >= start)
        return [(key, self.rows[table, key]) for key in keys[:limit]]

    def start(self) -> None:
        self.boots += 1
        self.since_us = self.world.at_us
        others = [one for one in self.world.nodes if one is not self]
        places = [f"{one.address}/p2p/{peer_id_text(one.peer)}" for one in others]
        drawn = Drawn(f"{self.world.seed}/{self.number}/{self.boots}")
        self.book = PeerBook(self.peer, Root(bytes(32)), places, drawn, public=True)
        if self.lie is not None:
            words = self.book._world.words
            self.book._world.words = lambda *asked: tuple(
                type(word)(word.peer, self.lie, 1_000_000) for word in words(*asked)
            )
        self.run(self.book.on_start(self, self.world.now))

    def stop(self) -> None:
        self.on_us += self.world.at_us - self.since_us
        self.book = None
        self.asked.clear()
        for other in list(self.up):
            self.world.part(self.number, other)

    def tell(self, event) -> None:
        if self.book is not None:
            self.run(self.book.on_event(event, self.world.now))

    def timer(self, boot: int, due_us: int) -> None:
        if self.armed == (boot, due_us):
            self.armed = (0, 0)
        if self.book is not None and (self.boots, self.book.next_timer()) == (boot, due_us):
            self.run(self.book.on_timer(self.world.now))

    def uptime(self, peer) -> float:
        self.tell(Called("uptime", (peer,), RequestId(0)))
        return self.told[0]

    def run(self, effects) -> None:
        boot, world = self.boots, self.world
        for effect in effects:
            match effect:
                case Persist(table, key, value):
                    self.rows[table, key] = value
                case Delete(table, key):
                    self.rows.pop((table, key), None)
                case Call("transport.dial", asked, token):
                    world.after(LATENCY_US, world.dial, self.number, asked.peer, boot, token)
                case Call(_, _, token):
                    world.after(1, self.answer, boot, token, None)
                case Request(peer, protocol, body, token):
                    asked = (self.number, boot, token)
                    world.after(LATENCY_US, world.ask, asked, peer, protocol, body)
                case Reply(request, body) if request:
                    asker, asked_boot, token = self.asked.pop(request)
                    there = world.nodes[asker]
                    world.after(LATENCY_US, there.answer, asked_boot, token, body)
                case Reply(_, body):
                    self.told = body
        due_us = None if self.book is None else self.book.next_timer()
        if due_us is not None and (boot, due_us) != self.armed:
            self.armed = boot, due_us
            world.after(max(0, due_us - world.at_us), self.timer, boot, due_us)

    def answer(self, boot, token, body) -> None:
        if boot == self.boots:
            self.tell(Answered(token, body))


class World:
    def __init__(self, seed: int, shares, lies) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.at_us = 0
        self.heap: list = []
        self.count = 0
        self.nodes = [Node(self, n, share, lies.get(n)) for n, share in enumerate(shares)]
        for node in self.nodes:
            self.switch(node)

    @property
    def now(self):
        return Now(self.at_us, WALL_US + self.at_us)

    def after(self, us, action, *arguments: object) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.at_us + us, self.count, action, arguments))

    def run(self, until_us) -> None:
        while self.heap and self.heap[0][0] <= until_us:
            self.at_us, _, action, arguments = heapq.heappop(self.heap)
            action(*arguments)

    def switch(self, node) -> None:
        """On or off, for so long that its share comes true."""
        on = node.book is None
        node.start() if on else node.stop()
        part = node.share if on else 1 - node.share
        self.after(int(self.random.expovariate(1 / (part * CYCLE_US))), self.switch, node)

    def dial(self, number, peer, boot, token) -> None:
        one = self.nodes[number]
        other = next(each for each in self.nodes if each.peer == peer)
        if one.book is None or one.boots != boot:
            return
        if other.book is None:
            self.after(3 * SECOND_US, one.answer, boot, token, AWAY)
            return
        if other.number not in one.up:
            one.up.add(other.number)
            other.up.add(number)
            for here, there, inbound in ((one, other, False), (other, one, True)):
                here.tell(PeerUp(there.peer, there.address, inbound=inbound))
                said = Introduced(there.peer, (), (PUBLIC_PROTOCOL,))
                here.tell(Called("introduced", said, RequestId(0)))
        one.answer(boot, token, Dialed(other.peer, other.address))

    def part(self, one, two) -> None:
        for here, there in ((one, two), (two, one)):
            self.nodes[here].up.discard(there)
            self.nodes[here].tell(PeerDown(self.nodes[there].peer, "it is off"))

    def ask(self, asked, peer, protocol, body) -> None:
        number, boot, token = asked
        other = next(each for each in self.nodes if each.peer == peer)
        if other.number not in self.nodes[number].up or other.book is None:
            self.nodes[number].answer(boot, token, Failure("peer_unreachable", "It is off."))
            return
        other.count += 1
        other.asked[other.count] = asked
        event = Requested(self.nodes[number].peer, protocol, body, RequestId(other.count))
        other.tell(event)


def errors(world):
    """How far the estimates of those that are on are from the truth; and the mean estimate."""
    found = []
    for one in world.nodes:
        if one.book is None or one.lie is not None:
            continue
        for other in world.nodes:
            if other is not one:
                on_us = other.on_us + (world.at_us - other.since_us if other.book else 0)
                found.append((other.number, one.uptime(other.peer), on_us / world.at_us))
    return found


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr("dms3.p2p.uptime.UPTIME_HALF_US", HALF_US)


def test_uptimes_learned_come_near_the_true_ones_while_nodes_come_and_go():
    world = World(1, [0.3, 0.5, 0.7, 0.9, 0.6], {})
    world.run(HOUR_US)
    early = mean(abs(thought - true) for _, thought, true in errors(world))
    world.run(5 * HALF_US)
    found = errors(world)
    late = mean(abs(thought - true) for _, thought, true in found)
    print(f"seed {world.seed}: mean error {early:.3f} after 1 hour, {late:.3f} after 10")
    assert found
    assert late < early / 2
    assert late < 0.15
    by_node = {n: mean(t for number, t, _ in found if number == n) for n, _, _ in found}
    assert by_node[0] < by_node[2] < by_node[3]


def test_one_liar_changes_little():
    shares = [0.9] * 5
    honest, lied = World(3, shares, {}), World(3, shares, {4: 0})
    for world in (honest, lied):
        world.run(2 * HALF_US)
    means = [mean(t for n, t, _ in errors(world) if n < 4) for world in (honest, lied)]
    print(f"thought of honest nodes: {means[0]:.3f} without the liar, {means[1]:.3f} with")
    assert abs(means[0] - means[1]) < 0.05
