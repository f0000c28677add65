"""Sets made equal by ranges: whatever they are, whatever is lost, with work by their difference."""

import hashlib
import random
from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dms3.chain.messages import Reconcile, Reconciled
from dms3.core import reconcile
from dms3.core import shared_ranges as shared_ranges_module
from dms3.core.codec import encode
from dms3.core.limits import (
    RECONCILE_LEAF_MAX,
    RECONCILE_LISTED_MAX,
    RECONCILE_RANGES_MAX,
    SHARED_DEPTH_MAX,
    SHARED_RANGES_MAX,
)
from dms3.core.neighbourhood import Duty
from dms3.core.reconcile import (
    EVERYTHING,
    LOCATED_BYTES,
    PLACE_BYTES,
    Session,
    Summary,
    Told,
    Tree,
    UnfitError,
    path_of,
)
from dms3.core.shared_ranges import Standing, covers, shared_ranges

MOST = 4_096
SPOTS = [bytes(4), b"\0\0\0\1", b"\x80\0\0\0", b"\xff\xff\xff\xff"]
"""Few locations, so that many items lie at one."""


def placed(id_: bytes) -> bytes:
    """An id lies at one location only; half of them at few."""
    drawn = hashlib.sha256(id_).digest()
    return (SPOTS[drawn[5] % 4] if drawn[4] % 2 else drawn[:4]) + id_


places = st.one_of(
    st.binary(min_size=32, max_size=32),
    st.integers(0, 400).map(lambda number: number.to_bytes(32, "big")),  # side by side
).map(placed)
seeds = st.integers(0, 1 << 32)


def tree_of(items) -> Tree:
    tree = Tree()
    for place in items:
        assert tree.add(place)
    return tree


def drawn(seed: int, count: int) -> list[bytes]:
    """So many places."""
    rng = random.Random(seed)
    return [placed(rng.randbytes(32)) for _ in range(count)]


class Exchange:
    """Questions and answers between two trees; `size` and `rounds` of all comparisons."""

    def __init__(self) -> None:
        self.size = self.rounds = 0

    def compare(self, mine: Tree, theirs: Tree, ranges: Sequence[bytes] = (EVERYTHING,)) -> Session:
        session = Session(mine, ranges, MOST)
        while asked := session.question():
            told = [theirs.told(one) for one in asked]
            self.size += len(encode(Reconcile(asked))) + len(encode(Reconciled(tuple(told))))
            self.rounds += 1
            session.heard(asked, told)
        return session


def ids(items) -> set[bytes]:
    return {place[LOCATED_BYTES:] for place in items}


# The tree


@given(st.lists(places, unique=True, max_size=200), st.randoms(use_true_random=False))
def test_a_tree_is_its_set_whatever_came_and_went(items, rng):
    tree = Tree()
    for place in items:
        assert tree.add(place)
        assert not tree.add(place)
    rng.shuffle(items)
    gone, left = items[: len(items) // 2], items[len(items) // 2 :]
    for place in gone:
        assert tree.remove(place)
        assert not tree.remove(place)
    other = tree_of(sorted(left))
    assert len(tree) == len(left)
    assert list(tree.places()) == sorted(left) == list(other.places())
    assert all(place in tree for place in left)
    assert not any(place in tree for place in gone)
    paths = {path_of(place, length) for place in items for length in (0, 1, 2, 8, 9, 20)}
    for path in sorted(paths):
        assert tree.summary(path) == other.summary(path)
        assert list(tree.places(path)) == [p for p in sorted(left) if path_of(p, len(path)) == path]
    assert tree.after(b"", 3) == sorted(left)[:3]
    for place in left[:5]:
        assert tree.after(place, 2) == [each for each in sorted(left) if each > place][:2]


@pytest.mark.parametrize("count", [0, 1, RECONCILE_LISTED_MAX - 1, RECONCILE_LISTED_MAX, 300])
def test_few_items_are_listed_and_many_are_split(count):
    tree = tree_of(drawn(count, count))
    nothing = Tree().summary(EVERYTHING)
    told = tree.told(nothing)
    assert told.equal == (count == 0)
    assert len(told.ids) == (count if count < RECONCILE_LISTED_MAX else 0)
    assert bool(told.below) == (count >= RECONCILE_LISTED_MAX)
    assert sum(one.count for one in told.below) in (0, count)


def test_the_way_to_a_single_location_is_skipped():
    rng = random.Random(1)
    tree = tree_of(SPOTS[1] + rng.randbytes(32) for _ in range(100))
    told = tree.told(Tree().summary(EVERYTHING))
    assert told.at == path_of(SPOTS[1] + bytes(32), 2 * LOCATED_BYTES)
    assert len(told.below) > 8


@pytest.mark.parametrize("more", [0, 300])
def test_sets_with_equal_sums_are_told_apart(more):
    """Who makes many ops can choose such sets; what one side alone has must not stay hidden."""
    rest = drawn(7, more)
    one, other = ([*rest, *(bytes(35) + bytes((n,)) for n in pair)] for pair in ((1, 4), (2, 3)))
    mine, theirs = tree_of(one), tree_of(other)
    assert len(mine) == len(theirs)
    assert mine.summary(EVERYTHING) != theirs.summary(EVERYTHING)
    session = Exchange().compare(mine, theirs)
    assert {id_[-1] for id_ in session.missing} == {2, 3}
    assert {id_[-1] for id_ in session.lacking} == {1, 4}


def test_a_hash_is_what_the_wire_says():
    """Computed by the words of docs/wire.md alone."""

    def hashed(items: list[bytes], depth: int) -> bytes:
        if len(items) < RECONCILE_LEAF_MAX:
            return hashlib.sha256(b"\0" + b"".join(items)).digest()
        ways = [
            [each for each in items if path_of(each, depth + 1)[-1] == way] for way in range(16)
        ]
        return hashlib.sha256(b"\1" + b"".join(hashed(way, depth + 1) for way in ways)).digest()

    for count in (0, 1, RECONCILE_LEAF_MAX - 1, RECONCILE_LEAF_MAX, 3 * RECONCILE_LEAF_MAX):
        items = sorted(drawn(count, count))
        tree = Tree()
        for number, place in enumerate(items):
            tree.add(place)
            if number % 10 == 0:
                tree.summary(EVERYTHING)  # what was hashed before is hashed again
        assert tree.summary(EVERYTHING).mark == hashed(items, 0)[:16]


# Two sets


@given(st.sets(places, max_size=120), st.sets(places, max_size=120), st.sets(places, max_size=200))
def test_a_comparison_names_exactly_what_one_side_alone_has(left, right, both):
    mine, theirs = left | both, right | both
    session = Exchange().compare(tree_of(sorted(mine)), tree_of(sorted(theirs)))
    assert set(session.missing) == ids(theirs) - ids(mine)
    assert set(session.lacking) == ids(mine) - ids(theirs)
    assert (session.differing == 0) == (mine == theirs)


@given(seeds, st.integers(0, 40), st.integers(0, 150), st.integers(2, 4))
def test_sets_become_equal_whatever_the_order_and_what_is_lost(seed, few, many, nodes):
    """Each ask of a question, each op brought, is lost in three of ten cases."""
    rng = random.Random(seed)
    pool = drawn(seed, few + many)
    sets = [set(rng.sample(pool, rng.randint(0, len(pool)))) for _ in range(nodes)]
    trees = [tree_of(sorted(one)) for one in sets]
    by_id = {place[LOCATED_BYTES:]: place for place in pool}
    union = set().union(*sets)
    for _ in range(60 * nodes):
        if all(len(tree) == len(union) for tree in trees):
            break
        one, two = rng.sample(trees, 2)
        session = Session(one, (EVERYTHING,), MOST)
        while (asked := session.question()) and rng.randrange(10) >= 3:
            session.heard(asked, [two.told(each) for each in asked])
        for target, found in ((one, session.missing), (two, session.lacking)):
            for id_ in found:
                if rng.randrange(10) >= 3:
                    target.add(by_id[id_])
    assert all(set(tree.places()) == union for tree in trees), seed


@pytest.mark.parametrize("different", [0, 1, 10, 100])
def test_bytes_and_rounds_grow_with_the_difference_and_not_with_the_sets(different):
    sizes = []
    for count in (1_000, 16_000):
        items = drawn(count + different, count + different)
        exchange = Exchange()
        session = exchange.compare(tree_of(items[:count]), tree_of(items))
        assert len(session.missing) == different
        sizes.append(exchange.size)
        depth = 4 + len(f"{count:x}")  # steps of a sixteenth, and a few for the hot locations
        assert exchange.rounds <= (depth + different // 16 if different else 1)
        per_item = 4 * 16 * 64  # so many parts of so many bytes for each that differs
        assert exchange.size <= 1_024 + different * per_item
    print(different, sizes)
    assert different or sizes[0] == sizes[1]


def test_what_is_found_at_once_is_bounded_and_the_rest_comes_the_next_time():
    items = drawn(3, MOST + 500)
    mine, theirs = Tree(), tree_of(items)
    by_id = {place[LOCATED_BYTES:]: place for place in items}
    for _ in range(2):
        session = Exchange().compare(mine, theirs)
        assert 0 < len(session.missing) <= MOST
        for id_ in session.missing:
            mine.add(by_id[id_])
    assert len(mine) == len(items)
    told = Exchange().compare(theirs, Tree())
    assert len(told.lacking) == MOST


@pytest.mark.parametrize("lacking", [False, True])
def test_differences_that_stay_hide_no_others(lacking, monkeypatch):
    """What one side takes for good from nobody, as of an agent that it blocks."""
    monkeypatch.setattr(reconcile, "RECONCILE_RANGES_MAX", 4)
    items, most = drawn(4, 600), 100
    wanted, by_id = ids(items[:20]), {place[LOCATED_BYTES:]: place for place in items}
    mine, theirs = Tree(), tree_of(items)
    if lacking:
        mine, theirs = tree_of(items[20:]), tree_of(items[:20])
    for turn in range(150):
        drawn_ = int.from_bytes(hashlib.sha256(b"%d" % turn).digest()[:8], "big")
        session = Session(mine, (EVERYTHING,), most, drawn_)
        while asked := session.question():
            session.heard(asked, [theirs.told(one) for one in asked])
        for id_ in wanted & set(session.missing):
            mine.add(by_id[id_])
    assert wanted <= ids(mine.places())


def test_a_question_has_a_bounded_number_of_ranges():
    session = Session(Tree(), [bytes((one, two, 0)) for one in range(16) for two in range(16)], 9)
    assert len(session.question()) == RECONCILE_RANGES_MAX


# Lies

SOME = Summary(b"\1" * 10, 1, bytes(16))


@pytest.mark.parametrize(
    "told",
    [
        Told(at=b"\2", below=(Summary(b"\2\1", 5, bytes(16)),)),
        Told(at=b"\1" * 9, below=(Summary(b"\1" * 10, 5, bytes(16)),)),
        Told(ids=(b"\x11" * 16 + b"\x11" * 16, b"\x21" * 32)),
    ],
)
def test_an_answer_about_another_range_is_refused(told):
    session = Session(Tree(), [SOME.path], 9)
    with pytest.raises(UnfitError, match=r"range|elsewhere"):
        session.heard(session.question(), [told])


def test_an_answer_for_another_number_of_ranges_is_refused():
    session = Session(Tree(), [SOME.path], 9)
    with pytest.raises(UnfitError, match="2 answers for 1"):
        session.heard(session.question(), [Told(equal=True)] * 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Summary(b"\x10", 0, bytes(16)),
        lambda: Summary(bytes(2 * PLACE_BYTES + 1), 0, bytes(16)),
        lambda: Summary(b"", -1, bytes(16)),
        lambda: Summary(b"", 1 << 64, bytes(16)),
        lambda: Summary(b"", 1, bytes(15)),
        lambda: Told(equal=True, ids=(bytes(32),)),
        lambda: Told(ids=(bytes(32),), below=(SOME,), at=b"\1" * 9),
        lambda: Told(at=b"\1"),
        lambda: Told(ids=(bytes(31),)),
        lambda: Told(ids=(bytes(32),) * 2),
        lambda: Told(ids=tuple(bytes((n,)) * 32 for n in range(RECONCILE_LISTED_MAX))),
        lambda: Told(at=b"\1", below=(SOME,)),
        lambda: Told(at=b"", below=(Summary(b"\2", 1, bytes(16)), Summary(b"\1", 1, bytes(16)))),
        lambda: Told(at=b"", below=(Summary(b"\1", 1, bytes(16)),) * 2),
        lambda: Told(at=b"", below=(Summary(b"\1", 0, bytes(16)),)),
    ],
)
def test_what_nobody_may_say(make):
    with pytest.raises(ValueError, match=r"."):
        make()


# Which keys two nodes share


def holds(key: int, nodes: Sequence[Standing], duty: Duty) -> list[Standing]:
    """Who is to hold a key, by definition."""
    nearest = sorted(nodes, key=lambda node: node.at ^ key)
    return nearest[: duty.needed(node.share for node in nearest)]


def has_twin(node: Standing, nodes: Sequence[Standing]) -> bool:
    """Whether the location of another one begins as its own does, with eight bits or more."""
    return sum(node.at >> 248 == other.at >> 248 for other in nodes) > 1


@given(seeds, st.integers(2, 45), st.sampled_from([Duty(), Duty(3, 2, 6), Duty(1.5, 1, 40)]))
def test_shared_ranges_have_only_keys_that_both_are_to_hold_and_nearly_all_of_them(
    seed, count, duty
):
    rng = random.Random(seed)
    shares = (0.2, 0.5, 0.8, 0.95, 1.0)
    nodes = [Standing(rng.getrandbits(256), rng.choice(shares)) for _ in range(count)]
    own = nodes[0]
    other = sorted(nodes[1:], key=lambda node: node.at ^ own.at)[rng.randrange(min(count - 1, 9))]
    rest = [node for node in nodes[1:] if node is not other]
    assume(not has_twin(own, nodes) and not has_twin(other, nodes))
    (ranges,) = shared_ranges(own, [other], rest, duty)
    assert [ranges] == shared_ranges(other, [own], rest, duty)
    assert ranges in shared_ranges(own, [*rest[:3], other, *rest[3:]], [], duty)
    assert list(ranges) == sorted(ranges)
    assert not any(one != two and one[: len(two)] == two for one in ranges for two in ranges)
    fringe = 0
    for _ in range(60):
        key = rng.getrandbits(256)
        steps = bytes(key >> (252 - 4 * depth) & 15 for depth in range(SHARED_DEPTH_MAX))
        both = all(node in holds(key, nodes, duty) for node in (own, other))
        inside = covers(ranges, [steps])
        assert both or not inside, "a key that one of them is not to hold"
        fringe += both and not inside
    assert fringe <= 1, "keys that nobody compares"


def test_a_third_node_that_lies_very_near_costs_only_the_finest_ranges():
    duty, at = Duty(8, 8, 40), 0x9B31 << 240
    rng = random.Random(273)
    nodes = [Standing(at, 1.0), Standing(at ^ 1 << 240, 1.0)]
    nodes += [Standing(rng.getrandbits(256), 1.0) for _ in range(11)]
    other = min(nodes[2:], key=lambda node: node.at ^ at)
    rest = [node for node in nodes[1:] if node is not other]
    (ranges,) = shared_ranges(nodes[0], [other], rest, duty)
    assert 0 < len(ranges) <= SHARED_RANGES_MAX
    shared = missed = 0
    for _ in range(500):
        key = rng.getrandbits(256)
        steps = bytes(key >> (252 - 4 * depth) & 15 for depth in range(SHARED_DEPTH_MAX))
        both = all(node in holds(key, nodes, duty) for node in (nodes[0], other))
        inside = covers(ranges, [steps])
        assert both or not inside
        shared += both
        missed += both and not inside and nodes[1] in holds(key, nodes, duty)
    assert shared > 100
    assert missed <= shared // 20, "of keys that both twins hold nearly all are compared"


def test_a_crowd_beside_a_node_costs_bounded_work(monkeypatch):
    """Keys that begin alike are cheap to make; each range would be looked at to its last part."""
    monkeypatch.setattr(shared_ranges_module, "SHARED_VISITS_MAX", 300)
    rng, duty = random.Random(8), Duty()
    crowd = [Standing(rng.getrandbits(248), 1.0) for _ in range(60)]
    nodes = [*crowd, *(Standing(rng.getrandbits(256), 1.0) for _ in range(3))]
    visited = []
    plain = shared_ranges_module._Walk._holders

    def counted(walk, near):
        visited.append(walk.depth)
        return plain(walk, near)

    monkeypatch.setattr(shared_ranges_module._Walk, "_holders", counted)
    found = shared_ranges(nodes[0], nodes[1:41], nodes[41:], duty)
    assert max(map(visited.count, visited)) == 300
    assert len(visited) <= 300 * (SHARED_DEPTH_MAX + 1)
    for ranges, other in zip(found, nodes[1:41], strict=True):
        for path in ranges:
            key = sum(way << (252 - 4 * step) for step, way in enumerate(path))
            assert {nodes[0], other} <= set(holds(key, nodes, duty))


def test_few_nodes_share_everything():
    rng = random.Random(5)
    for count in (2, 8, 39):
        nodes = [Standing(rng.getrandbits(256), 0.2) for _ in range(count)]
        assert shared_ranges(nodes[0], nodes[1:2], nodes[2:], Duty()) == [(EVERYTHING,)]


def test_a_death_makes_more_shared_and_covers_says_so():
    rng = random.Random(6)
    nodes = [Standing(rng.getrandbits(256), 1.0) for _ in range(14)]
    (before,) = shared_ranges(nodes[0], nodes[1:2], nodes[2:], Duty())
    (after,) = shared_ranges(nodes[0], nodes[1:2], nodes[2:8], Duty())
    assert after == (EVERYTHING,)
    assert covers(after, before)
    assert not covers(before, after)
