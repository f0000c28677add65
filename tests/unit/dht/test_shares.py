"""Ranks by uptime: who holds a key, asked of the peer book now and then; forty are found."""

import pytest

from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Failure
from dms3.core.ids import OverlayId, Token
from dms3.core.limits import NEIGHBOURS_MAX, SECOND_US, SHARES_ASKED_MAX, SHARES_US
from dms3.core.machine import Now
from dms3.core.neighbourhood import Duty
from dms3.core.network import BUCKET_SIZE
from dms3.core.overlay import (
    HOLDERS_MIN,
    PUBLIC,
    AskNear,
    Content,
    ContentType,
    GetContent,
    JoinOverlay,
    PutContent,
    RankNear,
    location,
)
from dms3.dht.messages import Find, Nodes, Question, decode_nodes
from dms3.dht.shares import Shares
from dms3.dht.tables import Tables
from unit.dht.holding_kit import NOTE
from unit.dht.overlay_kit import World, fill_tables, key_of, nearest

PROTOCOL = "/dms3/thing/1"
TARGET = location(b"somewhere")
APP = OverlayId(location(b"app"))


def made(count: int, *types: ContentType):
    world = World()
    nodes = [world.add(number) for number in range(count)]
    fill_tables(nodes)
    for node in nodes:
        node.start(*types)
        node.foreign = lambda _, body: body
    return world, nodes


@pytest.fixture(scope="module")
def world():
    """Sixty nodes who know all others near them, half of which the peer books know well."""
    found, nodes = made(60)
    found.uptimes = {node.peer: 1.0 for node in nodes[::2]}
    for node in nodes:
        node.foreign = lambda _, body: body
    found.go(1)
    for node in nodes:  # who has answered since the start is surely there
        node.find(node.location.to_bytes(32, "big"))
    found.go(SHARES_US / SECOND_US + 1)
    return found


def test_as_many_are_to_hold_a_key_as_their_uptimes_ask(world):
    nodes = list(world.nodes.values())
    order = nearest(nodes, TARGET, len(nodes))
    for node in order[:5]:
        (rank,) = node.ask("rank", RankNear(PUBLIC, (TARGET,)))
        others = [world.uptimes.get(each.peer, 0.2) for each in order if each is not node]
        assert rank.needed == Duty().needed(others)
        assert rank.nearer == order.index(node)
        assert rank.holds
        assert HOLDERS_MIN < rank.needed < NEIGHBOURS_MAX


def test_who_lies_far_neither_holds_nor_keeps(world):
    nodes = list(world.nodes.values())
    far = nearest(nodes, TARGET, len(nodes))[-1]
    (rank,) = far.ask("rank", RankNear(PUBLIC, (TARGET,)))
    assert not rank.keeps


def test_neighbours_are_told_with_places_and_uptimes(world):
    node = next(iter(world.nodes.values()))
    found = node.ask("neighbours", PUBLIC)
    assert found.at == node.location.to_bytes(32, "big")
    apart = [int.from_bytes(at, "big") ^ node.location for _, at, _ in found.nodes]
    assert apart == sorted(apart)
    assert len(apart) >= HOLDERS_MIN
    assert all(share == world.uptimes.get(one.peer, 0.2) for one, _, share in found.nodes)
    assert all(
        at == world.nodes[one.peer].location.to_bytes(32, "big") for one, at, _ in found.nodes
    )


def test_forty_are_asked_when_so_many_are_to_hold_it(world):
    nodes = list(world.nodes.values())
    order = nearest(nodes, TARGET, len(nodes))
    asked = order[-1].ask("ask_near", AskNear(PUBLIC, TARGET, NEIGHBOURS_MAX, PROTOCOL, b"who?"))
    assert [peer for peer, _ in asked.answers] == [node.peer for node in order[:NEIGHBOURS_MAX]]
    assert asked.members == NEIGHBOURS_MAX
    assert asked.needed == Duty().needed(world.uptimes.get(each.peer, 0.2) for each in order)
    assert asked.needed > HOLDERS_MIN  # some of them were in no table of the asker
    few = order[-1].ask("ask_near", AskNear(PUBLIC, TARGET, 8, PROTOCOL, b"who?"))
    assert [peer for peer, _ in few.answers] == [node.peer for node in order[:8]]
    assert few.needed == asked.needed


def test_a_find_names_as_many_as_were_asked_for(world):
    one, two, *_ = world.nodes.values()
    for count in (1, BUCKET_SIZE, NEIGHBOURS_MAX):
        answer = one.question(two, Question(PUBLIC, find=Find(TARGET, count)))
        assert len(decode_nodes(answer, count).nodes) == count
    with pytest.raises(DecodeError):
        decode_nodes(answer, NEIGHBOURS_MAX - 1)
    with pytest.raises(DecodeError):
        decode_nodes(encode(Nodes(())).replace(b"\x80", b"\x98\x29" + b"\x40" * 41, 1))
    for count in (0, NEIGHBOURS_MAX + 1):
        with pytest.raises(ValueError, match="nodes"):
            Find(TARGET, count)


def test_an_overlay_may_ask_for_less(world):
    node, *others = list(world.nodes.values())[:4]
    for one in (node, *others):
        assert one.ask("join", JoinOverlay(APP, duty=Duty(1, 2, 3))) is None
    world.go(30)
    (rank,) = node.ask("rank", RankNear(APP, (TARGET,)))
    assert rank.needed in (2, 3)
    for one in (node, *others):
        one.ask("leave", APP)


class Asked:
    """Shares of one table, driven by hand."""

    def __init__(self, count: int) -> None:
        self.tables = Tables(key_of(0).peer_id)
        self.shares = Shares(key_of(0).peer_id, self.tables)
        self.peers = [key_of(number).peer_id for number in range(1, count + 1)]
        table = self.tables.add(PUBLIC)
        table.peers = lambda: self.peers
        self.at_us = 0

    def go(self):
        return self.shares.go_on(Now(self.at_us, 0))

    def answered(self, call, body):
        return self.shares.answered(call.token, body, Now(self.at_us, 0))


def test_the_peer_book_is_asked_in_parts_and_then_left_alone_for_a_while():
    asked = Asked(SHARES_ASKED_MAX + 1)
    (first,) = asked.go()
    assert len(first.arguments) == SHARES_ASKED_MAX
    assert asked.go() == []
    (second,) = asked.answered(first, (0.5,) * SHARES_ASKED_MAX)
    assert asked.answered(second, (0.75,)) == []
    assert {asked.shares.of(peer) for peer in first.arguments} == {0.5}
    assert asked.shares.of(*second.arguments) == 0.75
    assert asked.shares.next_timer() == SHARES_US
    asked.at_us = SHARES_US - 1
    assert asked.go() == []
    asked.at_us = SHARES_US
    (again,) = asked.go()
    assert asked.answered(again, Failure("method_unknown", "No.")) != []
    assert {asked.shares.of(peer) for peer in first.arguments} == {0.5}  # as before


def test_who_left_the_tables_is_forgotten_and_a_stray_answer_is_nothing():
    asked = Asked(2)
    (call,) = asked.go()
    assert asked.shares.answered(Token("shares:99"), (1.0, 1.0), Now(0, 0)) == []
    asked.answered(call, (1.0, 1.0))
    gone = asked.peers.pop()
    asked.at_us = SHARES_US
    asked.go()
    assert asked.shares.of(gone) == 0.2
    assert asked.shares.of(asked.peers[0]) == 1.0


def test_who_cannot_be_reached_is_named_to_the_peer_book():
    world, nodes = made(3)
    world.go(1)
    nodes[2].stop()
    nodes[0].find(nodes[2].location.to_bytes(32, "big"))
    assert (nodes[0].peer, nodes[2].peer) in world.missed
    assert nodes[1].peer not in dict(world.missed).values()


def test_after_a_get_near_nodes_that_missed_it_are_given_it():
    world, nodes = made(12, NOTE)
    world.go(1)
    key, value = b"key", b"key/a/1"
    order = nearest(nodes, location(key), len(nodes))
    first = order[0]
    for node in order[1:HOLDERS_MIN]:
        node.stop()
    for node in order[1:HOLDERS_MIN]:
        node.alive = True
    asker = order[-1]
    placed = asker.ask("put", PutContent(PUBLIC, (Content(NOTE.name, key, value, 0),)))
    assert placed.holders[0] >= 1
    for node in order[1:HOLDERS_MIN]:
        node.start(NOTE)  # back, and they miss it
    world.go(5)
    holds = lambda node: node.rows.count("held")  # noqa: E731
    before = [bool(holds(node)) for node in order[:HOLDERS_MIN]]
    assert before == [bool(holds(first))] + [False] * (HOLDERS_MIN - 1)
    assert asker.ask("get", GetContent(PUBLIC, NOTE.name, key)).values == (value,)
    world.go(5)
    after = [bool(holds(node)) for node in order[:HOLDERS_MIN]]
    assert sum(after) > sum(before)
