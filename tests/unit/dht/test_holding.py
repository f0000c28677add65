import hashlib
import random
from dataclasses import replace

import pytest

from dms3.core.cid import RAW, Cid
from dms3.core.ids import OverlayId
from dms3.core.limits import HELD_LIFE_US
from dms3.core.overlay import PUBLIC, ContentType, distance, location
from dms3.dht.blocks import block_type
from dms3.dht.holding import Admitted, Holding, mark_of
from dms3.dht.messages import Code, Offered, PutValue
from unit.dht.holding_kit import LATER, NOTE, NOW, OWN, WALL, Rows


class Kit:
    def __init__(self, *types: ContentType, rows: dict | None = None) -> None:
        self.view = Rows({} if rows is None else rows)
        self.holding = Holding(OWN, types or (NOTE, block_type(1_000)))
        self.holding.load(self.view)

    def put(self, key: bytes, value: bytes, *, until_us: int = LATER, kind="note", now=NOW):
        found, effects = self.holding.admit(PUBLIC, PutValue(kind, key, value, until_us), now)
        self.view.apply(effects)
        if not isinstance(found, Admitted):
            return found
        for place, row in found.evicted:
            self.view.apply(self.holding.remove(place, row))
        self.view.apply(self.holding.write(found))
        return Code.WANTED

    def values(self, key: bytes, after: bytes = b"", now=NOW, overlay: OverlayId = PUBLIC):
        return self.holding.values(overlay, NOTE, key, after, now)


def test_values_lie_side_by_side_in_order_of_slot():
    kit = Kit()
    for slot in (b"c", b"a", b"b"):
        assert kit.put(b"k", b"k/" + slot + b"/1") is Code.WANTED
    assert kit.values(b"k") == ((b"k/a/1", b"k/b/1", b"k/c/1"), False)
    assert kit.values(b"k", after=b"a") == ((b"k/b/1", b"k/c/1"), False)
    assert kit.values(b"other") == ((), False)
    assert kit.values(b"k", overlay=OverlayId(bytes(32))) == ((), False)
    assert kit.holding.figures(PUBLIC) == (("block", 0, 0), ("note", 3, 15))


def test_the_merge_of_a_type_decides_what_stays_in_a_slot():
    kit = Kit()
    assert kit.put(b"k", b"k/a/2") is Code.WANTED
    assert kit.put(b"k", b"k/a/1") is Code.HELD  # an older one
    assert kit.put(b"k", b"k/a/2") is Code.HELD  # the same
    assert kit.put(b"k", b"k/a/333") is Code.WANTED
    assert kit.values(b"k") == ((b"k/a/333",), False)
    assert kit.holding.counts(PUBLIC, NOTE).bytes == len(b"k/a/333")
    assert kit.holding.counts(PUBLIC, NOTE).values == 1


@pytest.mark.parametrize(
    ("key", "value", "kind", "until", "code"),
    [
        (b"k", b"x/a/1", "note", LATER, Code.INVALID),
        (b"k", b"k" + b"/" + bytes(99), "note", LATER, Code.INVALID),  # 101 bytes
        (b"k", b"k/" + b"s" * 65, "note", LATER, Code.INVALID),  # the slot
        (b"k", b"k/a/1", "note", WALL, Code.INVALID),  # over already
        (b"k", b"k/a/1", "other", LATER, Code.UNKNOWN),
        (b"early", b"early/a", "note", LATER, Code.BUSY),  # no judgement on whoever sent it
        (Cid.of(RAW, b"one").binary, b"two", "block", LATER, Code.INVALID),
        (b"no cid", b"two", "block", LATER, Code.INVALID),
    ],
)
def test_what_its_type_refuses_is_not_held(key, value, kind, until, code):
    kit = Kit()
    assert kit.put(key, value, kind=kind, until_us=until) is code
    assert kit.view.rows == {}


def test_both_sides_of_the_size_of_a_value():
    assert Kit().put(b"k", b"k/a/" + bytes(96)) is Code.WANTED
    assert Kit().put(b"k", b"k/a/" + bytes(97)) is Code.INVALID


def test_a_value_is_gone_when_its_time_is_over():
    kit = Kit()
    kit.put(b"k", b"k/a/1", until_us=WALL + 10)
    assert kit.values(b"k", now=replace(NOW, wall_us=WALL + 9))[0]
    assert not kit.values(b"k", now=replace(NOW, wall_us=WALL + 10))[0]
    assert not kit.holding.has(PUBLIC, NOTE, b"k", replace(NOW, wall_us=WALL + 10))


def test_nobody_can_have_a_value_held_for_longer_than_the_bound_or_than_it_says():
    kit = Kit()
    kit.put(b"k", b"k/a/1", until_us=WALL + 1_000 * HELD_LIFE_US)
    kit.put(b"k", b"k/u/1", until_us=WALL + HELD_LIFE_US)
    rows = [row for _, row in kit.holding.page(b"", 10)]
    assert sorted(row.until_us for row in rows) == [LATER, WALL + HELD_LIFE_US]


def test_an_offer_of_what_is_held_keeps_it_for_longer_and_sends_nothing():
    kit = Kit()
    kit.put(b"k", b"k/a/1", until_us=WALL + 10)
    offer = Offered("note", b"k", mark_of(b"k/a/1"), LATER)
    code, effects = kit.holding.offered(PUBLIC, offer, NOW)
    assert code is Code.HELD
    kit.view.apply(effects)
    assert kit.holding.page(b"", 1)[0][1].until_us == LATER
    for other in (replace(offer, mark=bytes(16)), replace(offer, key=b"j")):
        assert kit.holding.offered(PUBLIC, other, NOW) == (Code.WANTED, [])
    unknown = replace(offer, type="other")
    assert kit.holding.offered(PUBLIC, unknown, NOW) == (Code.UNKNOWN, [])


def test_slots_of_a_key_are_bounded_and_who_was_there_first_stays():
    kit = Kit()
    for slot in b"abcd":
        assert kit.put(b"k", b"k/" + bytes([slot])) is Code.WANTED
    assert kit.put(b"k", b"k/e") is Code.BUSY
    assert kit.put(b"k", b"k/a/2") is Code.WANTED  # a newer one in its own slot


def test_a_full_node_keeps_what_is_nearest_to_it():
    kit = Kit()
    keys = sorted((b"%d" % n for n in range(12)), key=lambda key: -far(key))
    size = 100
    for key in keys[4:8]:
        assert kit.put(key, padded(key, size)) is Code.WANTED
    assert kit.holding.counts(PUBLIC, NOTE).bytes == 4 * size
    for key in keys[:4]:  # all farther than what is held
        assert kit.put(key, padded(key, size)) is Code.BUSY
    for key in keys[8:]:  # all nearer: each takes the room of the farthest
        assert kit.put(key, padded(key, size)) is Code.WANTED
    held = {row.key for _, row in kit.holding.page(b"", 10)}
    assert held == set(keys[8:])
    assert kit.holding.counts(PUBLIC, NOTE).bytes == 4 * size


@pytest.mark.parametrize("seed", range(3))
def test_a_full_node_has_a_radius_whatever_came_in_which_order(seed):
    """What it holds is what lies nearest to it of all that it was ever offered."""
    print("seed", seed)
    keys = [b"%d" % n for n in range(40)]
    random.Random(seed).shuffle(keys)
    kit, radii = Kit(), []
    for key in keys:
        kit.put(key, padded(key, 100))
        rows = kit.holding.page(b"", 10)
        if len(rows) == 4:  # all that its quota holds
            radii.append(max(far(row.key) for _, row in rows))
    assert radii == sorted(radii, reverse=True), "the radius only shrinks"
    held = {row.key for _, row in kit.holding.page(b"", 10)}
    assert held == set(sorted(keys, key=far)[:4])


def test_expired_values_give_way_first_however_near():
    kit = Kit()
    near = min((b"%d" % n for n in range(50)), key=far)
    kit.put(near, padded(near, 100), until_us=WALL + 1)
    others = [b"%d" % n for n in range(4) if b"%d" % n != near]
    for key in others[:3]:
        kit.put(key, padded(key, 100))
    farthest = max((b"x%d" % n for n in range(50)), key=far)
    then = replace(NOW, wall_us=WALL + 2)
    assert kit.put(farthest, padded(farthest, 100), now=then) is Code.WANTED
    assert near not in {row.key for _, row in kit.holding.page(b"", 10)}


def test_counts_are_those_of_the_rows_after_a_restart():
    kit = Kit()
    for n in range(4):
        kit.put(b"%d" % n, b"%d/a" % n)
    again = Kit(rows=kit.view.rows)
    assert again.holding.counts(PUBLIC, NOTE) == kit.holding.counts(PUBLIC, NOTE)
    assert again.holding.rows() == 4
    for key, row in again.holding.page(b"", 10):
        place = again.holding.place_of(key)
        assert place is not None
        assert place.key == key
        assert place.location == location(row.key)
        again.view.apply(again.holding.remove(place, row))
    assert again.holding.rows() == 0
    assert again.holding.counts(PUBLIC, NOTE).bytes == 0


def test_a_block_is_a_row_without_its_bytes():
    kit = Kit()
    data = b"a public block"
    cid = Cid.of(RAW, data)
    assert kit.put(cid.binary, data, kind="block") is Code.WANTED
    assert kit.put(cid.binary, data, kind="block") is Code.HELD
    (_, row), *rest = kit.holding.page(b"", 10)
    assert rest == []
    assert (row.value, row.size, row.mark) == (b"", len(data), hashlib.sha256(data).digest()[:16])
    assert kit.holding.knows_block(cid)
    assert not kit.holding.knows_block(Cid.of(RAW, b"another"))


def far(key: bytes) -> int:
    return distance(location(key), OWN)


def padded(key: bytes, size: int) -> bytes:
    return (key + b"/a/").ljust(size, b".")
