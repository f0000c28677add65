"""Joining an overlay, staying in it, and what that costs in questions and connections."""

import pytest

from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.limits import (
    DHT_IDLE_US,
    NODE_CHECK_US,
    NODE_QUIET_US,
    PRESENCE_LIFE_US,
    PRESENCE_SHOWN_US,
    SECOND_US,
)
from dms3.core.machine import PeerUp
from dms3.core.overlay import PUBLIC, FindNodes, location
from dms3.dht import connections, membership
from dms3.dht.messages import Find, Nodes, Question, decode_nodes
from dms3.dht.presence import decode_presence
from dms3.dht.reading import Told
from unit.dht.overlay_kit import Node, World, fill_tables, nearest

HOUR = 3_600
ASK = Question(PUBLIC, find=Find(bytes(32)))


def known(node: Node) -> set[bytes]:
    table = node.machine._tables[PUBLIC]
    return {each.peer for each in table.nearest(bytes(32), len(table))}


def joined(count: int) -> tuple[World, list[Node]]:
    """Nodes that have joined through the first."""
    world = World()
    nodes = [world.add(number).start() for number in range(count)]
    for node in nodes[1:]:
        world.connect(node, nodes[0])
    world.go(60)
    return world, nodes


def warm(count: int) -> tuple[World, list[Node]]:
    world = World()
    nodes = [world.add(number) for number in range(count)]
    fill_tables(nodes)
    for node in nodes:
        node.start()
    world.go(1)
    return world, nodes


def test_twelve_know_each_other_through_one():
    world, nodes = joined(12)
    everybody = {node.peer for node in nodes}
    for node in nodes:
        assert known(node) == everybody - {node.peer}
        assert node.rows.count("nodes") == 11
    asked = [node.questions for node in nodes]
    world.go(600)
    assert [node.questions for node in nodes] == asked, "they go on asking for nothing"
    assert world.conduct == []


def test_two_that_were_too_busy_when_they_met_know_each_other_a_little_later():
    world = World()
    one, two = (world.add(number).start() for number in range(2))
    one.delay_us = two.delay_us = 10 * SECOND_US
    world.connect(one, two)
    world.go(30)
    assert known(one) == known(two) == set()
    one.delay_us = two.delay_us = 0
    world.go(2 * NODE_CHECK_US / SECOND_US)
    assert known(one) == {two.peer}
    assert known(two) == {one.peer}


def test_who_comes_later_is_known_to_those_near_it():
    world, nodes = warm(100)
    late = world.add(500).start()
    world.connect(late, nodes[17])
    world.go(60)
    near = nearest(nodes, location(late.key.public.data), 8)
    assert {node.peer for node in near} <= known(late)
    assert all(late.peer in known(node) for node in near)
    result = nodes[50].find(location(late.key.public.data))
    assert result.nodes[0].peer == late.peer


def test_after_a_restart_it_finds_the_others_without_the_first():
    world, nodes = joined(5)
    nodes[0].stop()
    last = nodes[4]
    last.stop()
    world.go(3 * HOUR)  # all presences on its disk are over
    last.alive = True
    last.start()
    world.go(30)
    assert set(last.up) == {node.peer for node in nodes[1:4]}
    assert {node.peer for node in last.find(bytes(32)).nodes} == set(last.up)
    assert all(last.peer in known(node) for node in nodes[1:4])


def test_a_guest_asks_and_is_in_nobodys_table():
    world, nodes = joined(5)
    guest = world.add(77).start(member=False)
    world.connect(guest, nodes[0])
    world.go(30)
    result = guest.find(bytes(32))
    assert [each.peer for each in result.nodes] == [n.peer for n in nearest(nodes, bytes(32), 5)]
    assert all(guest.peer not in known(node) for node in nodes)
    assert known(guest) == {node.peer for node in nodes}


def test_who_cannot_be_reached_is_a_guest_until_it_says_where():
    world, nodes = joined(3)
    late = world.add(77).start(listen=False)
    world.connect(late, nodes[0])
    world.go(30)
    assert all(late.peer not in known(node) for node in nodes)
    late.call("listening", (late.address,))
    world.go(3)  # it says so by itself
    assert all(late.peer in known(node) for node in nodes)


def test_two_that_met_before_one_could_be_reached_know_each_other_soon():
    world = World()
    early, late = world.add(1).start(), world.add(2).start(listen=False)
    world.connect(late, early)
    world.go(1)
    assert known(early) == set()
    late.call("listening", (late.address,))
    world.go(1)
    assert known(early) == {late.peer}
    assert known(late) == {early.peer}


@pytest.mark.parametrize("code", ["protocol_unsupported", "network_mismatch"])
def test_another_program_is_asked_once_on_a_connection(code):
    world, nodes = joined(3)
    other = world.add(99)
    other.liar = lambda *_: Failure(code, "not here")
    world.connect(nodes[0], other)
    world.go(30)
    assert other.questions == 1
    assert other.peer not in known(nodes[0])
    failures = []
    ask = nodes[0].machine._asking.ask
    nodes[0].perform(ask(other.at, ASK, world.now, lambda body, _: failures.append(body) or []))
    world.arm(nodes[0])
    world.go(30)
    assert [failure.code for failure in failures] == [code]
    assert other.questions == 1
    world.disconnect(nodes[0], other)
    world.connect(nodes[0], other)
    world.go(30)
    assert other.questions == 2
    assert world.conduct == []


def test_a_presence_is_shown_now_and_then_on_a_connection_and_when_it_is_renewed():
    world, nodes = joined(2)
    shown = []
    one, two = nodes
    two.liar = lambda node, _, question: shown.append(question.presence) or _find(node)
    for _ in range(3):
        one.find(bytes(32))
    assert decode_presence(shown[0]).peer == one.peer  # a minute after the last time
    assert shown[1:] == [b""] * 2
    world.disconnect(one, two)
    del shown[:]
    one.find(bytes(32))
    world.go(PRESENCE_SHOWN_US / SECOND_US - 1)
    one.find(bytes(32))
    world.go(1)
    one.find(bytes(32))
    assert [bool(presence) for presence in shown] == [True, False, True]
    world.go(PRESENCE_LIFE_US // 2 / SECOND_US)
    del shown[:]
    one.find(bytes(32))
    assert decode_presence(shown[0]).since_us > decode_presence(one.presence(1)).since_us


def _find(node: Node) -> bytes:
    return encode(Nodes((), node.presence()))


def test_what_was_dialled_for_a_lookup_is_let_go_and_stays_known(monkeypatch):
    monkeypatch.setattr(membership, "NODE_CHECK_US", 10 * DHT_IDLE_US)  # nothing else is asked
    world, nodes = warm(60)
    asker = nodes[0]
    asker.find(location(b"x"))
    dialled = len([port for port in asker.calls if port == "transport.dial"])
    assert len(asker.up) == dialled > 10
    before = known(asker)
    world.go(DHT_IDLE_US / SECOND_US + 1)
    assert asker.up == {}
    assert asker.calls.count("peers.release") == dialled
    assert known(asker) == before
    assert asker.machine._asking.connections.sizes == (0, 0, 0)


def test_a_connection_that_closes_as_we_ask_is_dialled_again():
    world, nodes = joined(2)
    one, two = nodes
    told = []
    ask = one.machine._asking.ask
    one.perform(ask(two.at, ASK, world.now, lambda answer, _: told.append(answer) or []))
    world.disconnect(one, two)
    world.go(5)
    assert [isinstance(answer, Told) for answer in told] == [True]
    assert two.peer in one.up
    assert one.machine._tables[PUBLIC].presences(bytes(32), 9, world.now.wall_us), "it is doubted"


def test_a_question_that_fails_with_a_replaced_connection_is_asked_on_the_new_one():
    world, nodes = joined(2)
    one, two = nodes
    told = []
    ask = one.machine._asking.ask
    one.perform(ask(two.at, ASK, world.now, lambda answer, _: told.append(answer) or []))
    gone = Failure("peer_unreachable", "the connection was replaced")
    [token] = [token for token in one.open if token.startswith("ask:")]
    one.answer(token, gone)
    world.go(5)
    assert [isinstance(answer, Told) for answer in told] == [True]


def test_connections_of_others_are_left_alone():
    world, nodes = joined(3)
    assert nodes[1].up  # by hand, not for a lookup
    world.go(10 * DHT_IDLE_US / SECOND_US)
    assert nodes[0].peer in nodes[1].up


def test_few_connections_are_enough_when_more_are_not_allowed(monkeypatch):
    monkeypatch.setattr(connections, "DHT_CONNECTIONS_MAX", 4)
    monkeypatch.setattr(connections, "DHT_DIALS_MAX", 2)
    world, nodes = warm(60)
    asker = nodes[0]
    most = 0
    numbers = [asker.call("find", FindNodes(PUBLIC, location(b"%d" % n))) for n in range(3)]
    for _ in range(200):
        world.go(0.05)
        dialling, _, ours = asker.machine._asking.connections.sizes
        assert dialling <= 2
        most = max(most, ours + dialling)
    assert most == 4
    for number, n in zip(numbers, range(3), strict=True):
        wanted = nearest(nodes[1:], location(b"%d" % n), 8)
        assert [each.peer for each in asker.results[number].nodes[:8]] == [w.peer for w in wanted]


def test_who_is_gone_leaves_the_table_and_others_stay_in_date():
    world, nodes = joined(6)
    nodes[5].stop()
    world.go(5 * HOUR)
    for node in nodes[:5]:
        table = node.machine._tables[PUBLIC]
        assert known(node) == {other.peer for other in nodes[:5]} - {node.peer}
        assert table.in_date(world.now.wall_us) == 4
        assert node.rows.count("nodes") == 4


def test_a_network_that_is_gone_for_hours_empties_no_table():
    world, nodes = joined(4)
    alone = nodes[0]
    for node in nodes[1:]:
        node.alive = False
        world.disconnect(alone, node)
    world.go(6 * HOUR)
    assert len(known(alone)) == 3
    for node in nodes[1:]:
        node.alive = True
    world.go((NODE_CHECK_US * 3 + NODE_QUIET_US) / SECOND_US)
    assert alone.machine._tables[PUBLIC].in_date(world.now.wall_us) == 3


def test_presences_that_are_handed_on_are_in_date():
    world, nodes = joined(4)
    world.go(7 * HOUR)
    stranger = world.add(88)
    world.connect(stranger, nodes[0])
    body = stranger.question(nodes[0], ASK)
    told = decode_nodes(body)
    assert len(told.nodes) == 3
    for data in told.nodes:
        assert decode_presence(data).until_us > world.now.wall_us


def test_a_peer_of_another_kind_of_key_is_left_alone():
    _, nodes = joined(2)
    before = list(nodes[0].calls)
    hashed = b"\x12\x20" + bytes(32)
    nodes[0].tell(PeerUp(hashed, "/ip4/10.0.0.9/tcp/1", True))
    assert nodes[0].calls == before
