"""Presences by gossip: what a node spreads of itself, and what it makes of others'."""

import pytest

from dms3.core.errors import Failure
from dms3.core.gossip import HeardGossip
from dms3.core.ids import OverlayId
from dms3.core.limits import PRESENCE_HEARD_BURST_US, PRESENCE_HEARD_COST_US, PRESENCE_NEWS_US
from dms3.core.overlay import PUBLIC
from dms3.dht import heard
from dms3.dht.heard import SMALL_NODES_MAX
from dms3.dht.providers import provider_type
from unit.dht.overlay_kit import Node, World, key_of, lan_address

APP = OverlayId(b"a" * 32)
FAR = "/ip4/8.8.4.4/tcp/4001"


class Talker(Node):
    """A node whose machine "gossip" only notes what it is asked."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        self.spread = []
        self.taken = None

    def _called(self, call):
        if call.port == "gossip.spread":
            self.spread.append(call.arguments)
            self.open[call.token] = call
            self.world.after(1_000, self.answer, call.token, self.taken)
        else:
            super()._called(call)


class Talkers(World):
    def add(self, number, *, key=None, address=""):
        node = Talker(self, key or key_of(number), address or lan_address(number))
        self.nodes[node.peer] = node
        return node


def members(count):
    """Nodes of one app, the first connected to all others."""
    world = Talkers()
    nodes = [world.add(number).start(provider_type()) for number in range(count)]
    for node in nodes[1:]:
        world.connect(node, nodes[0])
    for node in nodes:
        assert node.ask("join", APP) is None
    world.go(5)
    return world, nodes


def hear(node, teller, body):
    return node.ask("heard", HeardGossip(APP, "presence", teller.peer, body))


def known(node):
    table = node.machine._tables[APP]
    return {each.peer for each in table.nearest(bytes(32), len(table))}


def test_a_node_without_gossip_spreads_nothing():
    world, nodes = members(2)
    world.go(60)
    assert nodes[0].spread == []


def test_the_own_presence_is_spread_once_and_again_when_it_changes():
    world, nodes = members(2)
    one = nodes[0]
    assert set(one.ask("overlays", None)) == {PUBLIC, APP}
    world.go(30)
    assert [(each.overlay, each.topic) for each in one.spread] == [(APP, "presence")]
    one.ask("listening", ("/ip4/10.9.9.9/tcp/1",))
    world.go(5)
    assert len(one.spread) == 2
    assert one.spread[0].body != one.spread[1].body


def test_what_gossip_did_not_take_is_spread_again():
    world, nodes = members(2)
    nodes[0].taken = Failure("limit_reached", "full")
    nodes[0].ask("overlays", None)
    world.go(3)
    nodes[0].taken = None
    world.go(3)
    assert len(nodes[0].spread) == 2
    world.go(30)
    assert len(nodes[0].spread) == 2


def test_who_is_alone_tells_nobody():
    world = Talkers()
    alone = world.add(0).start(provider_type())
    alone.ask("join", APP)
    alone.ask("overlays", None)
    world.go(10)
    assert alone.spread == []


def test_a_presence_that_is_heard_brings_its_node_into_the_table():
    world, nodes = members(2)
    new = world.add(7).start(provider_type())
    new.ask("join", APP)
    assert new.peer not in known(nodes[0])
    assert hear(nodes[0], nodes[1], new.presence(overlay=APP)) is True
    world.go(5)
    assert new.peer in known(nodes[0])
    assert world.conduct == []


def test_a_forged_presence_is_the_tellers_fault():
    world, nodes = members(2)
    data = bytearray(nodes[1].presence(overlay=APP))
    data[-1] ^= 1
    for wrong in (bytes(data), b"no presence", nodes[1].presence(overlay=PUBLIC)):
        answer = hear(nodes[0], nodes[1], wrong)
        assert isinstance(answer, Failure)
        assert answer.code == "presence_forged"
    assert len(world.nodes) == 2


@pytest.mark.parametrize(("age_us", "passed"), [(0, True), (PRESENCE_NEWS_US, True)])
def test_news_is_passed_on(age_us, passed):
    world, nodes = members(2)
    new = world.add(7)
    presence = new.presence(overlay=APP)
    world.go(age_us / 1_000_000 - 5 if age_us else 0)
    assert hear(nodes[0], nodes[1], presence) is passed


def test_an_old_presence_is_passed_on_no_more_and_blames_nobody():
    world, nodes = members(2)
    presence = world.add(7).presence(overlay=APP)
    world.go(PRESENCE_NEWS_US / 1_000_000 + 1)
    assert hear(nodes[0], nodes[1], presence) is False
    world.go(3 * 3_600)  # it is over
    assert hear(nodes[0], nodes[1], presence) is False


def test_a_far_node_that_owes_work_is_not_passed_on():
    world, nodes = members(2)
    cheap = world.add(7, address=FAR)
    assert hear(nodes[0], nodes[1], cheap.presence(overlay=APP)) is False


def test_large_overlays_spread_no_presences(monkeypatch):
    world, nodes = members(4)
    monkeypatch.setattr(heard, "SMALL_NODES_MAX", 3)
    nodes[0].ask("overlays", None)
    world.go(5)
    assert len(nodes[0].spread) == 1, "three others are few"
    monkeypatch.setattr(heard, "SMALL_NODES_MAX", 2)
    assert hear(nodes[0], nodes[1], world.add(7).presence(overlay=APP)) is False
    assert SMALL_NODES_MAX == 80


def test_a_flood_of_presences_is_passed_on_up_to_a_bound():
    world, nodes = members(2)
    most = PRESENCE_HEARD_BURST_US // PRESENCE_HEARD_COST_US
    made = [world.add(1_000 + number).presence(overlay=APP) for number in range(most + 2)]
    answers = []
    for presence in made:
        number = nodes[0].call("heard", HeardGossip(APP, "presence", nodes[1].peer, presence))
        answers.append(nodes[0].results.pop(number))
    assert answers == [True] * most + [False] * 2


def test_an_overlay_that_this_node_is_not_in_blames_nobody():
    _, nodes = members(2)
    nodes[0].ask("leave", APP)
    answer = hear(nodes[0], nodes[1], nodes[1].presence(overlay=APP))
    assert answer.code == "not_found"
