"""Overlays of apps come and go at run time, and their members find each other."""

import pytest

from dms3.core.errors import Failure
from dms3.core.ids import OverlayId
from dms3.core.limits import MEETING_LIFE_US, OVERLAYS_MAX, PROVIDERS_MAX, SECOND_US
from dms3.core.overlay import PUBLIC, FindNodes
from dms3.dht.meeting import meeting_point
from dms3.dht.messages import PutValue
from dms3.dht.providers import decode_provider, issue_provider, provider_type
from unit.dht.overlay_kit import Node, World, fill_tables

APP = OverlayId(b"a" * 32)
HOUR = 3_600


def known(node: Node, overlay: OverlayId = APP) -> set[bytes]:
    table = node.machine._tables[overlay]
    return {each.peer for each in table.nearest(bytes(32), len(table))}


def star(count: int) -> tuple[World, list[Node]]:
    """Nodes that have joined the public overlay through the first."""
    world = World()
    nodes = [world.add(number).start(provider_type()) for number in range(count)]
    for node in nodes[1:]:
        world.connect(node, nodes[0])
    world.go(30)
    return world, nodes


def far_apart(count: int) -> tuple[World, list[Node]]:
    """Nodes that know others in the public overlay and are connected to nobody."""
    world = World()
    nodes = [world.add(number) for number in range(count)]
    fill_tables(nodes)
    for node in nodes:
        node.start(provider_type())
    world.go(1)
    for node in nodes:
        for peer in list(node.up):
            world.disconnect(node, world.nodes[peer])
    return world, nodes


def test_five_that_install_together_know_each_other_a_second_later():
    world, nodes = star(5)
    for node in nodes:
        assert node.ask("join", APP) is None
    world.go(1)
    everybody = {node.peer for node in nodes}
    assert [known(node) for node in nodes] == [everybody - {node.peer} for node in nodes]
    assert world.conduct == []


def test_only_members_are_in_the_table_of_an_app():
    world, nodes = star(6)
    for node in nodes[:3]:
        node.ask("join", APP)
    world.go(5)
    members = {node.peer for node in nodes[:3]}
    assert [known(node) for node in nodes[:3]] == [members - {node.peer} for node in nodes[:3]]
    assert isinstance(nodes[4].ask("find", FindNodes(APP, bytes(32))), Failure)
    assert world.conduct == [], "who is asked for an overlay that it is not in is not to blame"


def test_members_that_are_strangers_meet_through_the_public_overlay():
    world, nodes = far_apart(60)
    few = nodes[7], nodes[23], nodes[41]
    for node in few:
        node.ask("join", APP)
    world.go(10)
    members = {node.peer for node in few}
    assert [known(node) for node in few] == [members - {node.peer} for node in few]


def test_who_comes_later_finds_those_before():
    world, nodes = far_apart(31)
    for node in nodes[:2]:
        node.ask("join", APP)
    world.go(HOUR / 4)
    nodes[30].ask("join", APP)
    world.go(5)
    assert known(nodes[30]) == {nodes[0].peer, nodes[1].peer}
    assert known(nodes[0]) == {nodes[1].peer, nodes[30].peer}


def test_a_member_says_that_it_is_there_before_its_word_is_over():
    world, nodes = star(3)
    nodes[0].ask("join", APP)
    key = meeting_point(APP).binary
    world.go(5)
    for _ in range(2):
        said = [record for node in nodes for record in _said(node, key)]
        assert {record.peer for record in said} == {nodes[0].peer}
        assert max(record.until_us for record in said) > world.now.wall_us
        world.go(MEETING_LIFE_US / SECOND_US - 5)


def test_records_of_nodes_that_are_no_members_cost_a_question_each():
    world, nodes = far_apart(40)
    key = meeting_point(APP)
    for liar in nodes[20:]:
        content = issue_provider(liar.key, key, (liar.address,), world.now.wall_us)
        for node in nodes:
            node.machine._holding.type_of("provider")
            put = _put_value(content)
            admitted, _ = node.machine._holding.admit(PUBLIC, put, world.now)
            node.perform(node.machine._holding.write(admitted))
    assert len(_said(nodes[5], key.binary)) == PROVIDERS_MAX
    nodes[0].ask("join", APP)
    nodes[1].ask("join", APP)
    world.connect(nodes[0], nodes[1])
    world.go(60)
    assert known(nodes[0]) == {nodes[1].peer}
    assert world.conduct == []


def test_who_leaves_forgets_and_is_forgotten():
    world, nodes = star(4)
    for node in nodes:
        node.ask("join", APP)
    world.go(3)
    before = nodes[0].rows.count("nodes")
    number = nodes[0].call("find", FindNodes(APP, bytes(32)))
    assert nodes[0].ask("leave", APP) is None
    world.go(1)
    assert nodes[0].results[number].nodes == ()
    assert nodes[0].rows.count("nodes") == before - 3
    assert nodes[0].machine._relaying.open == nodes[0].machine._lookups.open == 0
    assert isinstance(nodes[0].ask("find", FindNodes(APP, bytes(32))), Failure)
    assert known(nodes[0], PUBLIC) == {node.peer for node in nodes[1:]}
    found = nodes[1].ask("find", FindNodes(APP, bytes(32)))
    assert {each.peer for each in found.nodes} == {nodes[2].peer, nodes[3].peer}
    nodes[0].ask("join", APP)
    world.go(3)
    assert known(nodes[0]) == {node.peer for node in nodes[1:]}


def test_the_public_overlay_is_not_left():
    _world, nodes = star(2)
    assert nodes[0].ask("leave", PUBLIC) is None
    assert known(nodes[0], PUBLIC) == {nodes[1].peer}


def test_a_node_is_in_so_many_overlays_and_no_more():
    world = World()
    node = world.add(1).start(provider_type())
    for number in range(OVERLAYS_MAX - 1):
        assert node.ask("join", OverlayId(number.to_bytes(32, "big"))) is None
    refused = node.ask("join", APP)
    assert isinstance(refused, Failure)
    assert refused.code == "limit_reached"
    node.ask("leave", OverlayId(bytes(32)))
    assert node.ask("join", APP) is None
    assert node.ask("join", APP) is None, "it is in it already"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_an_overlay_has_32_bytes(size):
    node = World().add(1).start()
    assert node.ask("join", OverlayId(bytes(size))).code == "argument_invalid"


def _said(node: Node, key: bytes):
    kind = node.machine._holding.type_of("provider")
    values, _ = node.machine._holding.values(PUBLIC, kind, key, b"", node.world.now)
    return [decode_provider(value) for value in values]


def _put_value(content):
    return PutValue(content.type, content.key, content.value, content.until_us)
