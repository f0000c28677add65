import random
from collections.abc import Callable
from dataclasses import dataclass, field

from dms3.core.cid import RAW, Cid
from dms3.core.errors import Failure
from dms3.core.ids import PeerId
from dms3.core.limits import (
    DHT_ITEMS_MAX,
    OFFER_VALUE_BYTES_MIN,
    PLACING_FLIGHTS_MAX,
    PLACINGS_MAX,
)
from dms3.core.machine import Call, Now
from dms3.core.overlay import HOLDERS_MIN, PUBLIC, NodeAt, Placed, distance, location
from dms3.dht.blocks import block_type
from dms3.dht.holding import Holding, mark_of
from dms3.dht.lookup import Nearest
from dms3.dht.messages import Code, Codes, Question
from dms3.dht.neighbourhood import nearest_first
from dms3.dht.placing import Parcel, Placing
from dms3.dht.presence import node_location
from dms3.dht.taking import Taking
from dms3.libp2p.peer_id import NodeKey
from unit.dht.holding_kit import LATER, NOTE, NOW, Rows

K = 20
DRAW = random.Random(11)
OWN = NodeKey(DRAW.randbytes(32)).peer_id
NODES = [NodeAt(NodeKey(DRAW.randbytes(32)).peer_id, ()) for _ in range(200)]


@dataclass
class World:
    """Whatever the placing asks; `says` is what a node answers to an item."""

    nodes: list
    says: Callable = lambda *_: Code.WANTED
    member: bool = False
    dead: frozenset = frozenset()
    asked: list = field(default_factory=list)
    lookups: int = 0
    queue: list = field(default_factory=list)
    flights: dict = field(default_factory=dict)
    most: int = 0

    def __post_init__(self) -> None:
        self.view = Rows({})
        self.holding = Holding(node_location(OWN), (NOTE, block_type(10_000)))
        self.holding.load(self.view)
        self.taking = Taking(self.holding, lambda *_: True)
        self.placing = Placing(OWN, self, self, self.taking, lambda _: self.member)

    def ask(self, node, question: Question, _, done):
        self.asked.append((node.peer, question))
        self.flights[node.peer] = self.flights.get(node.peer, 0) + 1
        self.most = max(self.most, self.flights[node.peer])
        self.queue.append((node.peer, question, done))
        return []

    def table(self, _):
        return self.nodes

    def nearest(self, _, target, __, done):
        self.lookups += 1
        heard = nearest(self.nodes, target)[:K]
        near = [node for node in heard if node.peer not in self.dead]
        radius = None
        if len(heard) == K:
            radius = distance(node_location(heard[-1].peer), target)
        found = Nearest(tuple(near), True, hops=1, asked=len(heard), radius=radius)
        self.queue.append((None, found, done))
        return []

    def run(self, effects=()):
        """Answer everything, in order, until nothing is asked any more."""
        self.take(effects)
        while self.queue:
            peer, asked, done = self.queue.pop(0)
            if peer is None:
                self.take(done(asked, NOW))
                continue
            self.flights[peer] -= 1
            items = asked.offers or asked.puts
            answer = Codes(tuple(self.says(peer, item) for item in items))
            self.take(done(answer, NOW))

    def take(self, effects):
        self.view.apply(effects)
        for effect in effects:
            if isinstance(effect, Call) and effect.port == "library.load":
                self.take(self.placing.loaded(effect.token, b"the block", NOW))

    def put(self, parcels, *, offer_all: bool = False) -> Placed:
        answers: list[Placed] = []

        def done(placed, _):
            answers.append(placed)
            return []

        _, effects = self.placing.put(
            PUBLIC, parcels, NOW.mono_us + 100, NOW, done, offer_all=offer_all
        )
        self.run(effects)
        assert len(answers) == 1, "answered exactly once"
        return answers[0]

    def holders(self, key: bytes) -> set[PeerId]:
        return {peer for peer, asked in self.asked for put in asked.puts if put.key == key}


def note(n: int, size: int = 50) -> Parcel:
    key = b"%d" % n
    value = (key + b"/a").ljust(size, b".")
    return Parcel("note", key, mark_of(value), value, LATER)


def truth(key: bytes) -> set[PeerId]:
    return {node.peer for node in nearest(NODES, location(key))[:HOLDERS_MIN]}


def nearest(nodes, target: bytes) -> list[NodeAt]:
    return [node for _, node in nearest_first(nodes, int.from_bytes(target))]


def test_a_lookup_among_the_dead_does_not_speak_for_the_whole_overlay():
    """Of the twenty nearest some are dead: those that answer are fewer, and yet not all."""
    dead = frozenset(node.peer for node in NODES[::2])
    world = World(NODES, dead=dead)
    for n in range(10):
        world.put([note(n)])
        near = [node.peer for node in nearest(NODES, location(b"%d" % n))[:K]]
        living = [peer for peer in near if peer not in dead]
        assert world.holders(b"%d" % n) == set(living[:HOLDERS_MIN])
    assert world.lookups > 5


def test_every_value_reaches_exactly_the_nodes_nearest_to_it():
    world = World(NODES)
    parcels = [note(n) for n in range(100)]
    assert world.put(parcels) == Placed((HOLDERS_MIN,) * 100, HOLDERS_MIN)
    for parcel in parcels:
        assert world.holders(parcel.key) == truth(parcel.key)
    print(f"{world.lookups} lookups, {len(world.asked)} questions for 800 copies")
    assert world.lookups <= 100
    assert world.most <= PLACING_FLIGHTS_MAX
    assert not any(question.offers for _, question in world.asked)


def test_one_lookup_serves_an_overlay_below_k_nodes():
    world = World(NODES[:12])
    world.put([note(n) for n in range(200)])
    assert world.lookups == 1
    puts = [len(question.puts) for _, question in world.asked]
    assert sum(puts) == 200 * HOLDERS_MIN
    assert max(puts) == DHT_ITEMS_MAX
    assert len(puts) <= 12 * (200 // DHT_ITEMS_MAX + 1)


def test_a_node_that_is_near_holds_the_value_too_and_counts():
    world = World(NODES[:4], member=True)
    assert world.put([note(1), note(2)]) == Placed((5, 5), 5)
    assert world.holding.rows() == 2
    alone = World([], member=True)
    assert alone.put([note(1)]) == Placed((1,), 1)
    stranger = World([], member=False)
    assert stranger.put([note(1)]) == Placed((0,), 0)


def test_a_node_that_is_far_does_not_hold_it():
    world = World(NODES, member=True)
    keys = [note(n) for n in range(40)]
    world.put(keys)
    everybody = [*NODES, NodeAt(OWN, ())]
    for parcel in keys:
        near = nearest(everybody, location(parcel.key))[:HOLDERS_MIN]
        held = world.holding.has(PUBLIC, NOTE, parcel.key, NOW)
        assert held == (OWN in {node.peer for node in near})


def test_who_does_not_take_it_is_replaced_by_the_next_nearest():
    for code in (Code.BUSY, Code.FAR, Code.UNKNOWN, Code.INVALID):
        refusing = nearest(NODES, location(b"1"))[:3]
        bad = {node.peer for node in refusing}
        world = World(NODES, says=lambda peer, _, bad=bad, code=code: code if peer in bad else 0)
        assert world.put([note(1)]) == Placed((HOLDERS_MIN,), HOLDERS_MIN)
        tried = {node.peer for node in nearest(NODES, location(b"1"))[: HOLDERS_MIN + 3]}
        assert world.holders(b"1") == tried


def test_nobody_is_asked_for_ever():
    world = World(NODES, says=lambda *_: Code.BUSY)
    assert world.put([note(1)]) == Placed((0,), HOLDERS_MIN)
    assert len(world.asked) == K


def test_what_is_large_is_offered_first_and_sent_only_where_it_is_wanted():
    def says(peer, item):
        return Code.WANTED if hasattr(item, "value") or peer[-1] % 2 else Code.HELD

    for size, offered in ((OFFER_VALUE_BYTES_MIN, False), (OFFER_VALUE_BYTES_MIN + 1, True)):
        world = World(NODES, says=says)
        assert world.put([note(1, size)]) == Placed((HOLDERS_MIN,), HOLDERS_MIN)
        offers = [question for _, question in world.asked if question.offers]
        assert bool(offers) == offered
        if offered:
            assert len(offers) == HOLDERS_MIN
            assert world.holders(b"1") == {peer for peer in truth(b"1") if peer[-1] % 2}


def test_a_block_is_read_once_and_only_when_somebody_wants_it():
    cid = Cid.of(RAW, b"the block")
    parcel = Parcel("block", cid.binary, mark_of(b"the block"), None, LATER)
    loads: list[Call] = []
    for wanted in (False, True):
        says = lambda *_, wanted=wanted: Code.WANTED if wanted else Code.HELD  # noqa: E731
        world = World(NODES, says=says)
        take = world.take

        def watch(effects, take=take):
            loads.extend(one for one in effects if isinstance(one, Call))
            take(effects)

        world.take = watch
        assert world.put([parcel], offer_all=True) == Placed((HOLDERS_MIN,), HOLDERS_MIN)
        assert len(loads) == int(wanted)


def test_a_put_ends_at_its_deadline_with_what_was_reached():
    world = World(NODES)
    answers: list[Placed] = []

    def done(placed, _):
        answers.append(placed)
        return []

    deadline = NOW.mono_us + 100
    _, effects = world.placing.put(PUBLIC, [note(1)], deadline, NOW, done)
    world.take(effects)
    peer, found, lookup_done = world.queue.pop(0)
    world.take(lookup_done(found, NOW))
    assert world.placing.next_timer() == deadline
    _, _, first = world.queue.pop(0)
    world.take(first(Codes((0,)), NOW))
    assert world.placing.on_timer(Now(deadline - 1, NOW.wall_us)) == []
    assert answers == []
    world.placing.on_timer(Now(deadline, NOW.wall_us))
    assert answers == [Placed((1,), HOLDERS_MIN)]
    world.run()  # late answers change nothing
    assert len(answers) == 1
    assert world.placing.next_timer() is None
    assert peer is None


def test_a_cancelled_put_answers_nobody_and_asks_nothing_more():
    world = World(NODES)
    number, effects = world.placing.put(PUBLIC, [note(1)], 10**9, NOW, unreachable)
    world.take(effects)
    world.placing.cancel(number)
    world.run()
    assert world.asked == []


def test_puts_at_once_are_counted():
    world = World(NODES)
    for n in range(PLACINGS_MAX):
        assert not world.placing.full
        world.placing.put(PUBLIC, [note(n)], 10**9, NOW, lambda *_: [])
    assert world.placing.full
    world.run()
    assert not world.placing.full


def test_nodes_that_do_not_answer_count_as_not_holding():
    world = World(NODES[:3])
    answers: list[Placed] = []

    def done(placed, _):
        answers.append(placed)
        return []

    _, effects = world.placing.put(PUBLIC, [note(1)], 10**9, NOW, done)
    world.take(effects)
    while world.queue:
        peer, asked, answered = world.queue.pop(0)
        body = asked if peer is None else Failure("timed_out", "no answer")
        world.take(answered(body, NOW))
    assert answers == [Placed((0,), 3)]


def unreachable(_placed, _now):
    raise AssertionError("a cancelled put answers nobody")


def test_what_was_whole_before_more_nodes_were_known_is_not_believed():
    world = World([], member=True)
    assert world.put([note(1)]) == Placed((1,), 1)  # nobody else is there yet
    world.nodes = NODES[:1]
    assert world.put([note(2)]) == Placed((2,), 2)
    world.nodes = NODES[:5]
    assert world.put([note(3)]) == Placed((6,), 6)
    assert world.put([note(4)]) == Placed((6,), 6)
    assert world.lookups == 3
