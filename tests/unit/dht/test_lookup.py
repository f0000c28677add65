"""Lookups: the pure search first, then many machines in virtual time."""

import dataclasses

import pytest

from dms3.core.errors import Failure
from dms3.core.ids import PeerId
from dms3.core.limits import (
    DHT_ASK_US,
    DHT_SLOW_US,
    GET_PATIENCE_US,
    LOOKUP_CANDIDATES_MAX,
    LOOKUP_NODES_MAX,
    LOOKUP_PATHS,
    SECOND_US,
)
from dms3.core.network import BUCKET_SIZE, LOOKUP_PARALLELISM
from dms3.core.overlay import HOLDERS_MIN, PUBLIC, FindNodes, NodeAt, location
from dms3.dht import lookups
from dms3.dht.lookup import Lookup, Nearest
from unit.dht.overlay_kit import World, fill_tables, nearest

ME = PeerId(b"me")


def node(number: int) -> tuple[int, NodeAt]:
    """The node at location `number`."""
    return number, NodeAt(PeerId(b"node %d" % number), (f"/ip4/10.0.0.1/tcp/{number % 60000}",))


def number_of(peer: PeerId) -> int:
    return int(peer.decode().removeprefix("node "))


def search(seeds, **arguments: int) -> Lookup:
    return Lookup(0, [node(number) for number in seeds], ME, **arguments)


def found(result: Nearest) -> list[int]:
    return [number_of(each.peer) for each in result.nodes]


def run(lookup: Lookup, tell) -> list[int]:
    """Ask until it ends; `tell(number)`: the locations that a node names, None: no answer."""
    asked = []
    while not lookup.done:
        for each in lookup.next():
            number = number_of(each.peer)
            asked.append(number)
            told = tell(number)
            if told is None:
                lookup.failed(each.peer)
            else:
                lookup.answered(each.peer, [node(one) for one in told])
    return asked


def test_it_goes_on_until_the_nearest_have_answered():
    lookup = search([900, 901, 902], count=5)
    asked = run(lookup, lambda number: [n for n in range(1, 1000) if n >= number // 2][:20])
    assert found(lookup.result()) == [1, 2, 3, 4, 5]
    assert lookup.result().complete
    assert lookup.result().asked == len(asked) == len(set(asked))
    assert lookup.result().hops > 5


def test_depth_counts_the_answers_that_led_there():
    lookup = search([1000], count=1)
    run(lookup, lambda number: [number - 100] if number > 100 else [])
    assert found(lookup.result()) == [100]
    assert lookup.result().hops == 10


def test_the_failed_are_not_in_the_result_and_others_take_their_place():
    lookup = search(range(1, 11), count=3)
    run(lookup, lambda number: [] if number > 4 else None)
    assert found(lookup.result()) == [5, 6, 7]
    assert lookup.result().complete


def test_so_many_are_asked_at_once_and_slow_ones_hold_nobody_up():
    lookup = search(range(1, 40))
    first = lookup.next()
    assert len(first) == LOOKUP_PARALLELISM
    assert lookup.next() == []
    lookup.slow(first[0].peer)
    more = lookup.next()
    assert len(more) == 1
    for each in more + first[1:]:
        lookup.answered(each.peer, [])
    lookup.answered(first[0].peer, [])  # late, and welcome
    lookup.slow(first[0].peer)  # its time comes when it has answered: nothing happens
    assert lookup.asked == 4
    run(lookup, lambda _: [])
    assert number_of(first[0].peer) in found(lookup.result())


def test_it_waits_for_slow_ones_at_the_end():
    lookup = search([1, 2])
    first = lookup.next()
    for each in first:
        lookup.slow(each.peer)
    assert lookup.next() == []
    assert not lookup.done
    lookup.answered(first[0].peer, [])
    lookup.failed(first[1].peer)
    assert lookup.done


def test_it_never_asks_itself_or_anybody_twice():
    lookup = Lookup(0, [node(5), (1, NodeAt(ME, ("x",)))], ME)
    asked = run(lookup, lambda number: [5, 6, number, 6])
    assert sorted(asked) == [5, 6]


def test_without_anybody_to_ask_it_ends_at_once():
    assert search([]).done
    assert search([]).result() == Nearest((), complete=True, hops=0, asked=0, radius=None)


@pytest.mark.parametrize(("count", "radius"), [(19, None), (20, 20), (40, 20)])
def test_how_far_all_nodes_are_known_counts_the_dead(count, radius):
    """Nodes 1 to `count`, each second one dead, and each names the twenty nearest to the target."""
    lookup = search(range(1, count + 1))
    run(lookup, lambda number: list(range(1, min(count, 20) + 1)) if number % 2 else None)
    assert lookup.result().complete
    assert lookup.result().radius == radius


def test_a_bound_that_ends_it_leaves_open_who_else_is_near():
    lookup = search([10**9], asked_max=30)
    assert lookup.result().radius == 0
    run(lookup, lambda number: [number - n for n in range(1, 21)])
    assert lookup.result().radius == 0


def test_an_endless_chain_ends_at_the_bound():
    lookup = search([10**9], asked_max=30)
    asked = run(lookup, lambda number: [number - n for n in range(1, 21)])
    assert len(asked) == 30
    assert not lookup.result().complete


def test_a_liar_spoils_its_own_path_only():
    """One of the three seeds leads into an endless crowd nearer than any honest node."""
    honest = [10_000 + n for n in range(200)]
    lookup = search([10_050, 10_060, 10_199], asked_max=LOOKUP_NODES_MAX, count=8)
    crowd = iter(range(9_999, 0, -1))

    def tell(number):
        if number == 10_199 or number < 10_000:
            return [next(crowd) for _ in range(20)]
        return honest[max(0, number - 10_040) :][:20]

    asked = run(lookup, tell)
    assert set(honest[:8]) <= set(asked), "an honest path was led astray"
    lies = sum(number < 10_000 for number in asked)
    assert lies < LOOKUP_NODES_MAX // LOOKUP_PATHS


def test_candidates_are_bounded_and_the_nearest_stay():
    lookup = search(range(10_000, 10_000 + 500), count=LOOKUP_CANDIDATES_MAX * 4)
    asked = run(lookup, lambda _: [])
    assert len(asked) == LOOKUP_CANDIDATES_MAX * LOOKUP_PATHS or len(asked) == LOOKUP_NODES_MAX
    lookup = search([1], count=1)
    [only] = lookup.next()
    lookup.answered(only.peer, [node(n) for n in range(1_000, 0, -1)])
    assert lookup.is_settled(1)
    assert found(lookup.result()) == [1]


def test_it_is_settled_when_the_nearest_heard_of_have_answered():
    lookup = search([1, 2, 3, 4])
    first = lookup.next()
    assert not lookup.is_settled(2)
    for each in first[:2]:
        lookup.answered(each.peer, [])
    near = sorted(number_of(each.peer) for each in first[:2])
    assert lookup.is_settled(2) is (near == [1, 2])
    lookup.failed(first[2].peer)
    assert not lookup.is_settled(4)


# Many machines


@pytest.fixture(scope="module")
def world() -> World:
    """300 nodes with the tables that they would have after a while."""
    made = World()
    nodes = [made.add(number) for number in range(300)]
    fill_tables(nodes)
    for each in nodes:
        each.start()
    made.go(1)
    return made


def find(world: World, asker, target: bytes):
    return asker.find(target), nearest(
        [each for each in world.nodes.values() if each is not asker and each.alive], target, 20
    )


def test_the_exact_nearest_of_three_hundred_are_found_in_a_few_hops(world):
    nodes = list(world.nodes.values())
    hops, asked = [], []
    for number in range(20):
        result, wanted = find(world, nodes[number * 7], location(b"%d" % number))
        assert [each.peer for each in result.nodes] == [each.peer for each in wanted]
        assert result.nodes[0].addresses == (wanted[0].address,)
        hops.append(result.hops)
        asked.append(result.asked)
    print(f"hops {sum(hops) / 20}, asked {sum(asked) / 20}")
    assert max(hops) <= 5  # log2(300 / 20) = 3.9 and one known at the start
    assert sum(asked) / 20 < 2 * BUCKET_SIZE
    assert world.conduct == []


def test_slow_nodes_are_found_too_and_hold_nobody_up(world):
    nodes = list(world.nodes.values())
    slow = nodes[100:130]
    for each in slow:
        each.delay_us = 2 * DHT_SLOW_US
    began_us = world.now.mono_us
    result, wanted = find(world, nodes[3], location(b"slow"))
    took_us = world.now.mono_us - began_us
    for each in slow:
        each.delay_us = 0
    assert [each.peer for each in result.nodes] == [each.peer for each in wanted]
    assert took_us < DHT_ASK_US, "slow answers are waited for one after another"


def test_nothing_is_left_behind(world):
    world.go(200)
    for each in world.nodes.values():
        if each.machine is not None:
            assert sizes(each.machine) == [0] * 7
            assert each.open == {}
            assert each.asked == {}


def test_a_third_that_is_dead_is_passed_by(world):
    nodes = list(world.nodes.values())
    for each in nodes[200:]:
        each.stop()
    for number in range(5):
        began_us = world.now.mono_us
        result, wanted = find(world, nodes[number * 11], location(b"dead %d" % number))
        near = [each.peer for each in result.nodes[:HOLDERS_MIN]]
        assert near == [each.peer for each in wanted[:HOLDERS_MIN]]
        assert world.now.mono_us - began_us < GET_PATIENCE_US
    assert world.conduct == []


def sizes(machine) -> list[int]:
    parts = (machine._asking, machine._lookups, machine._commands, machine._membership)
    parts += (machine._answering,)
    dialled, queued, _ = machine._asking.connections.sizes
    return [*(part.open for part in parts), dialled, queued]


def small_world(count: int = 30) -> tuple[World, list]:
    made = World()
    nodes = [made.add(number) for number in range(count)]
    fill_tables(nodes)
    for each in nodes:
        each.start()
    made.go(1)
    return made, nodes


def test_a_withdrawn_command_ends_its_work():
    made, nodes = small_world()
    asker = nodes[0]
    numbers = [asker.call("find", FindNodes(PUBLIC, location(b"%d" % n))) for n in range(5)]
    for number in numbers:
        asker.withdraw(number)
    assert sizes(asker.machine)[:4] == [0, 0, 0, 0]
    made.go(120)
    assert asker.results == {1: None}  # that of `listening`
    assert asker.open == {}


def test_more_lookups_wait_their_turn_and_too_many_are_answered_with_nothing(monkeypatch):
    monkeypatch.setattr(lookups, "LOOKUPS_AT_ONCE_MAX", 3)
    monkeypatch.setattr(lookups, "LOOKUPS_WAITING_MAX", 10)
    made, nodes = small_world()
    asker = nodes[0]
    count = 3 + 10 + 3
    question = FindNodes(PUBLIC, location(b"x"), patience_us=600 * SECOND_US)
    numbers = [asker.call("find", question) for _ in range(count)]
    made.go(60)
    results = [asker.results[number] for number in numbers]
    assert [len(result.nodes) for result in results] == [20] * (count - 3) + [0] * 3


def test_patience_ends_with_what_there_is():
    made, nodes = small_world()
    for each in nodes[1:]:
        each.delay_us = 10 * SECOND_US
    result = nodes[0].ask("find", FindNodes(PUBLIC, location(b"x"), patience_us=SECOND_US), 3)
    assert result.nodes == ()
    made.go(40)
    assert sizes(nodes[0].machine) == [0] * 7


def test_equal_worlds_do_the_same():
    def trace() -> tuple[list[int], int]:
        made, nodes = small_world()
        for each in nodes[20:]:
            each.stop()
        results = [nodes[n].find(location(b"%d" % n)) for n in range(5)]
        made.go(200)
        return [each.questions for each in nodes], hash(tuple(map(repr, results)))

    assert trace() == trace()


def test_bad_arguments_are_refused():
    _, nodes = small_world(3)
    for question in (
        FindNodes(PUBLIC, b"short"),
        dataclasses.replace(FindNodes(PUBLIC, bytes(32)), overlay=bytes(32)),
    ):
        assert isinstance(nodes[0].ask("find", question), Failure)
