"""What a quota leaves: the nearest of all that was ever offered, whatever came in which order."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dms3.core.cid import RAW, Cid
from dms3.core.codec import encode
from dms3.core.limits import HELD_SHRUNK_MAX, RADII_KNOWN_MAX, RADIUS_TOLD_US
from dms3.core.machine import Call, Now
from dms3.core.overlay import (
    PUBLIC,
    Content,
    ContentType,
    GetContent,
    PutContent,
    distance,
    location,
)
from dms3.core.verdict import Abandoned, Invalid, Valid, Verdict
from dms3.dht.blocks import block_type, owned_type
from dms3.dht.farthest import farthest_first
from dms3.dht.holding import Counts, Holding, mark_of, prefix
from dms3.dht.messages import Code, Offered, PutValue, Within
from dms3.dht.presence import node_location
from dms3.dht.radius import WHOLE, Radii, Radius
from dms3.dht.taking import Taking
from unit.dht.holding_kit import LATER, NOW, OWN, WALL, Rows
from unit.dht.overlay_kit import Node, World, fill_tables

HEADERS: set[bytes] = set()
"""What the owner of the type knows to be true: CIDs of blocks."""


def known(key: bytes, value: bytes, wall_us: int) -> Verdict:
    """A verifier as a ledger has it: what its headers name is kept, nothing else."""
    del value, wall_us
    if not HEADERS:
        return Abandoned("no header is known yet")
    return Valid() if key in HEADERS else Invalid("header", "no header names it")


def anything(key: bytes, value: bytes, wall_us: int) -> Verdict:
    """A verifier that is content with the hash."""
    del key, value, wall_us
    return Valid()


def history(quota: int, verify=anything) -> ContentType:
    return owned_type("history", verify, quota)


def key_of(data: bytes) -> bytes:
    return Cid.of(RAW, data).binary


def far(data: bytes) -> int:
    return distance(location(key_of(data)), OWN)


class Kit:
    """A node that is offered blocks; its library answers as soon as `durable` is asked for."""

    def __init__(self, quota: int, rows: dict | None = None, *, near: bool = False) -> None:
        self.view = Rows({} if rows is None else rows)
        self.kind = history(quota)
        self.holding = Holding(OWN, (self.kind, block_type(quota)))
        self.holding.load(self.view)
        self.taking = Taking(self.holding, lambda *_: near)
        self.codes: list[Code] = []
        self.calls: list[Call] = []
        self.released: list[bytes] = []
        self.apply(self.taking.on_start())
        self.calls.clear()

    def apply(self, effects):
        self.view.apply(effects)
        for effect in effects:
            if isinstance(effect, Call) and effect.port == "library.release":
                self.released += [cid.binary for cid in effect.arguments]
            elif isinstance(effect, Call):
                self.calls.append(effect)

    def begin(self, *blocks: bytes, kind: str = "history") -> None:
        def done(codes, _):
            self.codes += codes
            return []

        puts = [PutValue(kind, key_of(data), data, LATER) for data in blocks]
        self.apply(self.taking.puts(PUBLIC, puts, NOW, done))

    def durable(self, body: object = True) -> None:
        while self.calls:
            self.apply(self.taking.answered(self.calls.pop(0).token, body, NOW))

    def step(self) -> None:
        self.apply(self.taking.on_timer())

    def settle(self) -> None:
        self.durable()
        while self.taking.next_timer() is not None:
            self.step()

    def put(self, data: bytes) -> Code:
        self.begin(data)
        self.settle()
        return self.codes[-1]

    def held(self) -> set[bytes]:
        return {row.key for _, row in self.holding.page(b"", 1_000)}

    @property
    def bytes(self) -> int:
        return self.holding.counts(PUBLIC, self.kind).bytes

    @property
    def radius(self) -> Radius:
        return self.holding.radius(PUBLIC, self.kind)


def nearest_that_fit(blocks, quota: int) -> set[bytes]:
    """Of all that was offered: the nearest, up to the first for which there is no room."""
    kept, size = set(), 0
    for data in sorted(blocks, key=far):
        size += len(data)
        if size > quota:
            break
        kept.add(key_of(data))
    return kept


QUOTA = 400


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_what_is_held_does_not_depend_on_the_order_of_offers(data):
    blocks = data.draw(st.lists(st.binary(min_size=1, max_size=QUOTA), unique=True, max_size=25))
    kits = [Kit(QUOTA), Kit(QUOTA)]
    for kit in kits:
        waiting = data.draw(st.permutations(blocks))
        while waiting:  # several in one question, several questions before one is durable
            count = data.draw(st.integers(1, 4))
            kit.begin(*waiting[:count])
            waiting = waiting[count:]
            if data.draw(st.booleans()):
                kit.settle()
        kit.settle()
        assert kit.held() == nearest_that_fit(blocks, QUOTA)
        assert kit.bytes == sum(len(each) for each in blocks if key_of(each) in kit.held())
    assert kits[0].held() == kits[1].held()
    assert kits[0].radius == kits[1].radius


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_a_node_that_is_killed_at_any_moment_holds_the_same_in_the_end(data):
    blocks = data.draw(st.lists(st.binary(min_size=1, max_size=QUOTA), unique=True, max_size=20))
    kit = Kit(QUOTA)
    for each in data.draw(st.permutations(blocks)):
        kit.begin(each)
        if data.draw(st.booleans()):
            kit.durable()
        if data.draw(st.booleans()):
            kit.step()
        if data.draw(st.booleans()):
            kit = Kit(QUOTA, kit.view.rows)  # killed: what is written is there, nothing else
            kit.put(each)  # whoever offers it hears nothing, and offers it again
    kit.settle()
    for each in blocks:
        kit.put(each)
    assert kit.held() == nearest_that_fit(blocks, QUOTA)


def test_a_block_farther_than_the_radius_is_refused_by_name():
    kit = Kit(QUOTA)
    blocks = sorted((b"%03d" % n + bytes(97) for n in range(12)), key=far)
    assert [kit.put(each) for each in blocks[:4]] == [Code.WANTED] * 4
    assert kit.radius == Radius(), "everything fits so far"
    assert kit.put(blocks[6]) is Code.OUTSIDE
    assert kit.radius == Radius(far(blocks[6]) - 1, 100)
    offers = [Offered("history", key_of(each), mark_of(each), LATER) for each in blocks[4:8]]
    codes, _ = kit.taking.offers(PUBLIC, offers, NOW)
    assert codes == (Code.WANTED, Code.WANTED, Code.OUTSIDE, Code.OUTSIDE)
    assert kit.holding.told(PUBLIC, ["note", "history", "history"]) == (
        Within("history", (far(blocks[6]) - 1).to_bytes(32, "big")),
    )
    assert kit.released == []


def test_a_nearer_block_takes_the_room_of_the_farthest_which_is_released():
    kit = Kit(QUOTA)
    blocks = sorted((b"%03d" % n + bytes(97) for n in range(8)), key=far)
    for each in blocks[1:5]:
        kit.put(each)
    assert kit.put(blocks[0]) is Code.WANTED
    assert kit.released == [key_of(blocks[4])]
    assert kit.held() == {key_of(each) for each in blocks[:4]}
    assert kit.bytes == QUOTA
    assert kit.put(blocks[4]) is Code.OUTSIDE


def test_the_radius_is_whole_again_when_there_is_room_for_what_did_not_fit():
    kit = Kit(QUOTA)
    blocks = sorted((b"%03d" % n + bytes(97) for n in range(6)), key=far)
    for each in blocks:
        kit.put(each)
    assert kit.radius == Radius(far(blocks[4]) - 1, 100)
    _, effects = kit.taking.drop(PUBLIC, "history", key_of(blocks[0]))
    kit.apply(effects)
    assert kit.radius == Radius()
    assert kit.put(blocks[4]) is Code.WANTED
    assert kit.put(blocks[5]) is Code.OUTSIDE
    assert kit.held() == {key_of(each) for each in blocks[1:5]}


@pytest.mark.parametrize(
    ("quota", "count", "share"), [(200, 2, False), (400, 4, False), (900, 4, True)]
)
def test_another_quota_counts_after_the_next_start(quota, count, share):
    kit = Kit(QUOTA)
    blocks = sorted((b"%03d" % n + bytes(97) for n in range(6)), key=far)
    for each in blocks:
        kit.put(each)
    again = Kit(quota, kit.view.rows)
    again.settle()
    assert again.held() == {key_of(each) for each in blocks[:count]}
    (figures, *_) = [f for f in again.holding.radius_figures(PUBLIC) if f.type == "history"]
    assert figures.quota_bytes == quota
    assert (figures.share == 1) is share


def test_a_quota_passed_by_far_is_met_step_by_step():
    kit = Kit(100_000)
    blocks = [b"%06d" % n for n in range(3 * HELD_SHRUNK_MAX)]
    for each in blocks:
        kit.put(each)
    again = Kit(6 * 10, kit.view.rows)
    sizes = []
    while again.taking.next_timer() is not None:
        again.step()
        sizes.append(len(again.held()))
    assert sizes == [2 * HELD_SHRUNK_MAX, HELD_SHRUNK_MAX, 10]
    assert again.held() == nearest_that_fit(blocks, 60)


def test_counts_that_no_rows_stand_for_keep_nobody_busy():
    kit = Kit(QUOTA)
    kit.put(b"one")
    (counted,) = [key for key in kit.view.rows if key[0] == "counts"]
    kit.view.rows[counted] = encode(Counts(1, QUOTA + 1))
    del kit.view.rows[next(key for key in kit.view.rows if key[0] == "held")]
    again = Kit(QUOTA, kit.view.rows)
    assert again.taking.next_timer() is not None
    again.step()
    assert again.taking.next_timer() is None


def test_what_is_larger_than_the_whole_quota_changes_nothing():
    kit = Kit(QUOTA)
    blocks = [b"%03d" % n + bytes(97) for n in range(3)]
    for each in blocks:
        kit.put(each)
    assert kit.put(bytes(QUOTA + 1)) is Code.BUSY
    assert kit.radius == Radius()
    assert len(kit.held()) == 3


def test_a_block_that_became_too_far_on_its_way_to_the_disk_is_released():
    kit = Kit(QUOTA)
    blocks = sorted((b"%03d" % n + bytes(97) for n in range(8)), key=far)
    kit.begin(blocks[7])
    first = kit.calls.pop()
    for each in blocks[:6]:
        kit.put(each)
    kit.calls.append(first)
    kit.durable()
    assert kit.codes[-1] is Code.OUTSIDE
    assert kit.released == [key_of(blocks[7])]
    assert kit.bytes == QUOTA


def test_only_types_that_say_so_are_taken_however_many_are_nearer():
    kit = Kit(QUOTA)
    kit.begin(b"one", kind="block")
    kit.begin(b"one", kind="history")
    kit.settle()
    assert kit.codes == [Code.FAR, Code.WANTED]


def test_blocks_of_anybody_are_kept_within_a_radius_too():
    kit = Kit(QUOTA, near=True)
    blocks = sorted((b"%03d" % n + bytes(97) for n in range(6)), key=far)
    for each in blocks:
        kit.begin(each, kind="block")
        kit.settle()
    assert kit.codes == [Code.WANTED] * 4 + [Code.OUTSIDE] * 2
    assert [each.type for each in kit.holding.radius_figures(PUBLIC)] == ["block", "history"]


def test_the_owner_says_what_is_true_and_the_hash_has_to_fit_first():
    kind = history(QUOTA, known)
    block, key = b"a block of a ledger", key_of(b"a block of a ledger")
    HEADERS.clear()
    try:
        assert isinstance(kind.validate(key, block, WALL), Abandoned)
        assert isinstance(kind.validate(key, b"another", WALL), Invalid)
        HEADERS.add(key_of(b"some other block"))
        assert isinstance(kind.validate(key, block, WALL), Invalid)
        HEADERS.add(key)
        assert kind.validate(key, block, WALL) == Valid()
        assert isinstance(kind.validate(key, b"another", WALL), Invalid)
    finally:
        HEADERS.clear()


# Rows in order of distance


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 500])
def test_rows_come_farthest_first(count):
    draw = random.Random(count)
    places = [draw.randbytes(32) for _ in range(count)]
    rows = {("held", b"base" + each): b"" for each in places}
    rows |= {("held", b"basf" + bytes(32)): b"", ("held", b"basd" + b"\xff" * 32): b""}
    rows[("other", b"base" + bytes(32))] = b""
    found = [key[4:] for key, _ in farthest_first(Rows(rows), "held", b"base", OWN)]
    assert found == sorted(places, key=lambda each: -distance(each, OWN))


def test_many_rows_of_one_location_come_in_order_of_their_keys():
    at, nearer = bytes(31) + b"\1", OWN
    keys = [at + b"%03d" % n for n in range(100)]
    rows = {("held", key): b"" for key in (*keys, nearer)}
    found = [key for key, _ in farthest_first(Rows(rows), "held", b"", OWN)]
    assert found == [*keys, nearer]


def test_a_crowd_at_one_location_is_found_in_a_few_reads():
    """Whoever fills a key of many slots would have each put to a full node read it 300 times."""
    at, nearer = bytes(31) + b"\1", OWN
    rows = Rows({("held", key): b"" for key in (*(at + b"%03d" % n for n in range(100)), nearer)})
    reads = []
    plain = rows.range

    def counted(*asked: object):
        reads.append(asked)
        return plain(*asked)

    rows.range = counted
    assert next(farthest_first(rows, "held", b"", OWN))[0] == at + b"000"
    assert len(reads) < 20


# What others have told


def test_who_would_not_keep_a_block_is_not_offered_it_for_a_while():
    radii, peer = Radii(), World().add(1).peer
    own = int.from_bytes(node_location(peer), "big")
    assert radii.takes(PUBLIC, peer, "history", own ^ WHOLE, NOW), "it has said nothing"
    radii.learn(PUBLIC, peer, (Within("history", (5).to_bytes(32, "big")),), NOW)
    assert radii.takes(PUBLIC, peer, "history", own ^ 5, NOW)
    assert not radii.takes(PUBLIC, peer, "history", own ^ 6, NOW)
    assert radii.takes(PUBLIC, peer, "block", own ^ 6, NOW)
    for passed, takes in ((RADIUS_TOLD_US - 1, False), (RADIUS_TOLD_US, True)):
        later = Now(NOW.mono_us + passed, WALL)
        assert radii.takes(PUBLIC, peer, "history", own ^ 6, later) is takes
    for n in range(RADII_KNOWN_MAX):
        radii.learn(PUBLIC, peer, (Within(f"t{n}", bytes(32)),), NOW)
    assert radii.takes(PUBLIC, peer, "history", own ^ 6, NOW), "the oldest word is forgotten"


# Between nodes


def overlay(*quotas: int) -> list[Node]:
    """Nodes that know each other; each gives so many bytes to the blocks of a ledger."""
    world = World()
    nodes = [world.add(number) for number in range(len(quotas))]
    fill_tables(nodes)
    return [node.start(history(quota, known)) for node, quota in zip(nodes, quotas, strict=True)]


def held_by(node: Node) -> set[bytes]:
    """Locations of the blocks that it holds."""
    base = prefix(PUBLIC, history(1))
    return {key[len(base) :] for key, _ in node.rows.range("held", base, 1_000)}


def test_nodes_keep_what_their_quotas_leave_and_are_offered_only_what_fits():
    """Ten small nodes and three large ones; a machine has a ledger's blocks held by a call."""
    room = 5
    nodes = overlay(*[room * 300] * 10, *[100_000] * 3)
    small, large, putter = nodes[:10], nodes[10:], nodes[0]
    blocks = [b"%03d" % n + bytes(297) for n in range(40)]
    contents = [Content("history", key_of(each), each) for each in blocks]
    HEADERS.update(map(key_of, blocks))
    try:
        for one in contents:
            placed = putter.ask("put", PutContent(PUBLIC, (one,)))
            assert placed.holders[0] >= len(large)
        forged = Content("history", key_of(b"forged"), b"forged")
        refused = putter.ask("put", PutContent(PUBLIC, (forged,)))
        assert refused.code == "content_invalid"
        places = [location(key_of(each)) for each in blocks]
        for node in small:
            held = held_by(node)
            assert len(held) <= room
            (own,) = node.ask("figures", None)[0].radii
            reach = own.share * 2**256
            assert all(int.from_bytes(at, "big") ^ node.location < reach for at in held)
            assert (len(held) == room) is (own.share < 1)
        assert set().union(*map(held_by, nodes)) == set(places), "nothing is lost"
        assert all(len(held_by(node)) > 3 * room for node in large), "who has room takes more"
        for one in contents[::10]:
            assert small[3].ask("get", GetContent(PUBLIC, "history", one.key)).values == (
                one.value,
            )
    finally:
        HEADERS.clear()


def test_who_told_its_radius_is_not_offered_what_lies_outside():
    nodes = overlay(1_000_000, *[300] * 6)
    putter, others = nodes[0], nodes[1:]
    HEADERS.update(key_of(b"%03d" % n + bytes(297)) for n in range(30))
    try:
        asked = []
        for n in range(30):
            data = b"%03d" % n + bytes(297)
            before = sum(node.questions for node in others)
            putter.ask("put", PutContent(PUBLIC, (Content("history", key_of(data), data),)))
            asked.append(sum(node.questions for node in others) - before)
        assert sum(asked[-5:]) < sum(asked[1:6]) / 2
        assert all(len(held_by(node)) == 1 for node in others)
    finally:
        HEADERS.clear()
