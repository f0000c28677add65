"""Questions of other machines: to given nodes, and to those nearest to a location."""

import pytest

from dms3.core.errors import Failure
from dms3.core.limits import RELAYED_BYTES_MAX, RELAYED_NODES_MAX
from dms3.core.overlay import PUBLIC, AskNear, AskNodes, NodeAt, RankNear, Shun, location
from unit.dht.overlay_kit import Node, World, fill_tables, nearest

PROTOCOL = "/dms3/thing/1"
TARGET = location(b"somewhere")


def network(count: int) -> tuple[World, list[Node]]:
    world = World()
    nodes = [world.add(number) for number in range(count)]
    fill_tables(nodes)
    for number, node in enumerate(nodes):
        node.start()
        node.foreign = lambda _, body, number=number: body + b"%d" % number
    world.go(1)
    return world, nodes


def near(count: int, **more: object) -> AskNear:
    return AskNear(PUBLIC, TARGET, count, PROTOCOL, b"who? ", **more)


def ask(nodes: list[Node], **more: object) -> AskNodes:
    return AskNodes(tuple(node.at for node in nodes), PROTOCOL, b"who? ", **more)


def test_the_nearest_are_asked_and_only_they():
    _world, nodes = network(60)
    chosen = nearest(nodes, TARGET, 6)
    asker = nearest(nodes, TARGET, 60)[-1]
    asked = asker.ask("ask_near", near(5))
    assert [peer for peer, _ in asked.answers] == [node.peer for node in chosen[:5]]
    assert [body for _, body in asked.answers] == [
        b"who? %d" % nodes.index(node) for node in chosen[:5]
    ]
    assert (asked.near, asked.members) == (False, 5)


def test_who_is_among_the_nearest_knows_it():
    _world, nodes = network(30)
    order = nearest(nodes, TARGET, 30)
    for rank, expected in ((0, True), (4, True), (5, False)):
        asked = order[rank].ask("ask_near", near(5))
        assert asked.near is expected
        assert order[rank].peer not in dict(asked.answers)


def test_a_guest_is_never_near():
    world, nodes = network(5)
    guest = world.add(99).start(member=False)
    world.connect(guest, nodes[0])
    world.go(5)
    asked = guest.ask("ask_near", near(8))
    assert (asked.near, asked.members, len(asked.answers)) == (False, 5, 5)


def test_in_a_small_overlay_all_are_asked_with_one_lookup():
    _world, nodes = network(6)
    first = nodes[0].ask("ask_near", near(8))
    assert (first.near, first.members) == (True, 5)
    before = sum(node.questions for node in nodes)
    second = nodes[0].ask("ask_near", AskNear(PUBLIC, location(b"2"), 8, PROTOCOL, b"and? "))
    assert {peer for peer, _ in second.answers} == {node.peer for node in nodes[1:]}
    assert sum(node.questions for node in nodes) == before


def test_many_questions_at_once_share_one_lookup():
    world, nodes = network(6)
    numbers = [
        nodes[0].call("ask_near", AskNear(PUBLIC, location(b"%d" % n), 8, PROTOCOL, b"? "))
        for n in range(20)
    ]
    before = sum(node.questions for node in nodes)
    world.go(2)
    assert [nodes[0].results[number].members for number in numbers] == [5] * 20
    assert sum(node.questions for node in nodes) - before <= 6


def test_a_lookup_that_reached_nobody_says_nothing_about_the_overlay():
    _world, nodes = network(5)
    for node in nodes[1:]:
        node.liar = lambda *_: None
    assert nodes[0].ask("ask_near", near(8)).members == 0
    for node in nodes[1:]:
        node.liar = None
    assert nodes[0].ask("ask_near", near(8)).members == 4


def test_who_has_died_since_the_lookup_is_counted_no_more():
    _world, nodes = network(5)
    assert nodes[0].ask("ask_near", near(8)).members == 4
    nodes[4].stop()
    asked = nodes[0].ask("ask_near", near(8))
    assert asked.members == 3
    assert isinstance(dict(asked.answers)[nodes[4].peer], Failure)
    again = nodes[0].ask("ask_near", near(8))
    assert again.members == 3
    assert len(again.answers) == 3, "it was looked up again"


def test_enough_is_enough():
    world, nodes = network(10)
    silent = nodes[1]
    silent.foreign = lambda *_: None
    asked = nodes[0].ask("ask", ask(nodes[1:5], enough=2))
    good = [body for _, body in asked.answers if isinstance(body, bytes)]
    assert len(good) == 2
    assert len(asked.answers) == 4
    world.go(5)
    assert not nodes[0].machine._asking.open, "nobody waits for the silent one"


def test_failures_are_answers_too():
    world, nodes = network(4)
    nodes[1].foreign = lambda *_: Failure("forbidden", "not you")
    nodes[2].foreign = None
    nodes[3].stop()
    asked = nodes[0].ask("ask", ask(nodes[1:4]))
    codes = [body.code for _, body in asked.answers]
    assert codes[:2] == ["forbidden", "protocol_unsupported"]
    assert codes[2] in ("timed_out", "peer_unreachable")
    assert world.conduct == []
    found = nodes[0].find(bytes(32))
    assert nodes[2].peer in {each.peer for each in found.nodes}, "it is still a node of the dht"


def test_connections_of_a_question_are_dialled_and_let_go():
    world, nodes = network(40)
    for peer in list(nodes[0].up):
        world.disconnect(nodes[0], world.nodes[peer])
    asked = nodes[0].ask("ask", ask(nodes[30:33]))
    assert all(isinstance(body, bytes) for _, body in asked.answers)
    assert {node.peer for node in nodes[30:33]} <= set(nodes[0].up)
    before = world.released.count(nodes[0].peer)
    world.go(120)
    assert world.released.count(nodes[0].peer) >= before + 3


def test_withdrawn_questions_leave_nothing():
    world, nodes = network(30)
    for operation, arguments in (("ask", ask(nodes[1:4])), ("ask_near", near(4))):
        number = nodes[0].call(operation, arguments)
        nodes[0].withdraw(number)
        assert nodes[0].machine._relaying.open == 0
    world.go(10)
    assert nodes[0].machine._lookups.open == nodes[0].machine._asking.open == 0


def test_patience_ends_it():
    world, nodes = network(4)
    for node in nodes[1:]:
        node.foreign = lambda *_: None
    begun = world.now.mono_us
    asked = nodes[0].ask("ask_near", near(3, patience_us=2_000_000))
    assert world.now.mono_us - begun <= 2_000_000
    assert [body.code for _, body in asked.answers] == ["timed_out"] * 3


def test_nobody_is_asked_when_nobody_is_there():
    world = World()
    alone = world.add(1).start()
    asked = alone.ask("ask_near", near(8))
    assert (asked.answers, asked.near, asked.members) == ((), True, 0)
    assert alone.ask("ask", AskNodes((alone.at,), PROTOCOL, b"me?")).answers == ()
    stranger = NodeAt(b"\x12\x20" + bytes(32), ("/ip4/10.1.1.1/tcp/1",))
    asked = alone.ask("ask", AskNodes((stranger,), PROTOCOL, b"?"))
    assert [body.code for _, body in asked.answers] == ["protocol_unsupported"]


@pytest.mark.parametrize(
    "asked",
    [
        AskNear(PUBLIC, TARGET, RELAYED_NODES_MAX + 1, PROTOCOL, b""),
        AskNear(PUBLIC, TARGET[1:], 3, PROTOCOL, b""),
        AskNear(PUBLIC, TARGET, 3, PROTOCOL, bytes(RELAYED_BYTES_MAX + 1)),
        AskNear(b"x" * 32, TARGET, 3, PROTOCOL, b""),
    ],
    ids=["nodes", "target", "bytes", "overlay"],
)
def test_what_is_too_much_or_nowhere_is_refused(asked):
    answer = World().add(1).start().ask("ask_near", asked)
    assert answer.code in ("argument_invalid", "not_found")


def test_who_is_shunned_is_neither_asked_nor_counted_until_it_is_taken_back():
    _world, nodes = network(60)
    order = nearest(nodes, TARGET, 60)
    asker, bad = order[7], order[0]
    asker.ask("shun", Shun(PUBLIC, (bad.peer,)))
    asked = asker.ask("ask_near", near(7))
    assert [peer for peer, _ in asked.answers] == [node.peer for node in order[1:7] + order[8:9]]
    assert asked.near, "one of those nearer does not count"
    (rank,) = asker.ask("rank", RankNear(PUBLIC, (TARGET,)))
    assert rank.nearer == 6
    assert bad.peer not in {node.peer for node, *_ in asker.ask("neighbours", PUBLIC).nodes}
    asker.ask("shun", Shun(PUBLIC, ()))
    asked = asker.ask("ask_near", near(7))
    assert next(peer for peer, _ in asked.answers) == bad.peer
    assert not asked.near
