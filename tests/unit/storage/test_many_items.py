"""Large and many: what is cut, merged, paged; what a new device asks for; what is refused."""

import pytest

from dms3.core.errors import DecodeError, Failure
from dms3.core.limits import (
    STORAGE_CHUNK_ITEMS_MAX,
    STORAGE_ITEM_BYTES_MAX,
    STORAGE_KEY_CHARS_MAX,
    STORAGE_OBJECT_BYTES_MAX,
    STORAGE_OBJECT_BYTES_MIN,
    STORAGE_PAGE_REFS,
    STORAGE_PARTING_US,
    STORAGE_WAITING_ITEMS_MAX,
)
from dms3.storage.chunk import ORDER_MAX, batches, decode_chunk, encode_chunk, last_of_each
from dms3.storage.compaction import to_merge, to_page
from dms3.storage.devices import Span, joined
from dms3.storage.head import Ref, check_row
from dms3.storage.names import CONTENT_BYTES_MAX, StorageKeys
from dms3.storage.operations import Durable
from unit.storage.storage_kit import CLOUD, SECOND_CLOUD, World, item

KEYS = StorageKeys(lambda generation: bytes([generation + 1]) * 32)
NAME = KEYS.name(0, "head", b"d" * 16)


def ref(first, end, tier=0, items=1, size=900):
    return Ref(bytes(16), 0, 1, first, end, items, size, 0, 0, tier, bytes(32))


def test_sizes_are_powers_of_two_and_contents_come_back():
    for size in (0, 1, 900, 991, 992, 993, 40_000, CONTENT_BYTES_MAX):
        content = b"x" * size
        sealed = KEYS.seal(0, NAME, content, b"n" * 12)
        assert STORAGE_OBJECT_BYTES_MIN <= len(sealed) <= STORAGE_OBJECT_BYTES_MAX
        assert len(sealed) & (len(sealed) - 1) == 0
        assert KEYS.open(0, NAME, sealed) == content
    with pytest.raises(AssertionError):
        KEYS.seal(0, NAME, b"x" * (CONTENT_BYTES_MAX + 1), b"n" * 12)


def test_an_object_opens_under_its_name_and_generation_only():
    sealed = KEYS.seal(0, NAME, b"head", b"n" * 12)
    for generation, name in ((1, NAME), (0, KEYS.name(0, "head", b"e" * 16))):
        with pytest.raises(DecodeError):
            KEYS.open(generation, name, sealed)
    assert sealed != KEYS.seal(0, NAME, b"head", b"o" * 12)
    assert len({KEYS.name(g, w, b"d") for g in (0, 1) for w in ("head", "left", "slot")}) == 6


def test_a_chunk_takes_so_many_items_and_no_more():
    most = [item(str(number)) for number in range(STORAGE_CHUNK_ITEMS_MAX)]
    assert list(decode_chunk(encode_chunk(most))) == most
    with pytest.raises(ValueError, match="not a chunk"):
        encode_chunk([*most, item("more")])
    assert [len(each) for each in batches([*most, item("more")])] == [len(most), 1]


@pytest.mark.parametrize(
    ("one", "fits"),
    [
        (item("k" * STORAGE_KEY_CHARS_MAX), True),
        (item("k" * (STORAGE_KEY_CHARS_MAX + 1)), False),
        (item(""), False),
        (item("k", ORDER_MAX), True),
        (item("k", ORDER_MAX + 1), False),
        (item("k", -1), False),
        (item("k", 1, b"", "k" * 17), False),
        (item("k", 1, bytes(STORAGE_ITEM_BYTES_MAX + 1)), False),
    ],
)
def test_items_out_of_bounds_are_refused(one, fits):
    (device,) = World(1).devices
    answer = device.ask("append", (one,))
    if fits:
        assert answer == Durable(shared=True)
    else:
        assert answer.code == "argument_invalid"


def test_the_largest_item_travels_in_pieces():
    world = World(2)
    one, two = world.devices
    world.share()
    large = item("large", 5, bytes(STORAGE_ITEM_BYTES_MAX))
    assert one.append(large, item("small")) == Durable(shared=True)
    world.converge()
    assert two.mailbox["message", "large"] == large
    assert one.ask("choose", SECOND_CLOUD).place == SECOND_CLOUD
    assert len(world.shelf(SECOND_CLOUD).objects) > STORAGE_ITEM_BYTES_MAX // CONTENT_BYTES_MAX


def test_who_appends_too_much_is_told_to_come_later():
    world = World(1)
    (device,) = world.devices
    device.ask("choose", CLOUD)
    world.shelf(CLOUD).down = True
    half = STORAGE_WAITING_ITEMS_MAX // 2
    for start in (0, half):
        device.call("append", tuple(item(str(start + number)) for number in range(half)))
    refused = device.ask("append", (item("more"),))
    assert refused.code == "limit_reached"
    world.shelf(CLOUD).down = False
    world.run(60)
    assert device.state().pending == 0
    assert device.append(item("more")) == Durable(shared=True)


def test_a_burst_becomes_one_chunk():
    (device,) = World(1).devices
    for number in range(50):
        device.call("append", (item(str(number)),))
    device.world.run(1)
    assert len(device.machine._book.head.refs) == 1
    assert len(device.answers) == 50


def test_small_chunks_become_large_ones_and_a_new_device_asks_for_few():
    world = World(1, delay=lambda _: 2)
    (device,) = world.devices
    device.ask("choose", CLOUD)
    for number in range(1_500):
        device.append(item(str(number), number))
    world.run(30)
    head = device.machine._book.head
    assert (head.items, head.sequence) == (1_500, 1_500)
    assert len(head.refs) < 50
    new = world.add()
    shelf = world.shelf(CLOUD)
    assert new.ask("choose", CLOUD).place == CLOUD
    before = shelf.counts["get"]
    world.run(600, until=lambda: len(new.mailbox) >= 1_000)
    newest = sorted((int(key) for _, key in new.mailbox), reverse=True)[:1_000]
    assert newest == list(range(1_499, 499, -1))
    assert shelf.counts["get"] - before < 100
    assert new.ask("earlier", 500) == 500 or len(new.mailbox) == 1_500
    assert new.ask("earlier", 500) == 0


def test_an_interrupted_new_device_reads_nothing_twice():
    world = World(1, delay=lambda _: 2)
    (device,) = world.devices
    device.ask("choose", CLOUD)
    for start in range(0, 3_000, 1_000):
        device.append(*(item(str(number), number) for number in range(start, start + 1_000)))
    new = world.add()
    new.ask("choose", CLOUD)
    world.run(60, until=lambda: len(new.mailbox) >= 1_000)
    new.kill()
    new.start()
    world.run(600)
    assert len(new.mailbox) == 3_000
    assert sum(map(len, new.merged)) <= 4_000  # the chunk that the kill met, twice


def test_of_one_key_the_last_counts():
    rows = [item("a", 1, b"1"), item("b"), item("a", 2, b"2"), item("a", 1, b"s", "state")]
    assert [(row.kind, row.key, row.body) for row in last_of_each(rows)] == [
        ("message", "b", b"body"),
        ("message", "a", b"2"),
        ("state", "a", b"s"),
    ]


def test_sixteen_neighbours_of_a_tier_are_merged_and_no_fewer():
    refs = [ref(number, number + 1) for number in range(15)]
    assert to_merge(refs) == ()
    assert len(to_merge([*refs, ref(15, 16)])) == 16
    assert to_merge([*refs, ref(15, 16, tier=1)]) == ()
    full = [ref(number, number + 1, size=CONTENT_BYTES_MAX) for number in range(40)]
    assert to_merge(full) == ()
    third = [ref(number, number + 1, size=CONTENT_BYTES_MAX // 3) for number in range(16)]
    assert len(to_merge(third)) == 2
    assert to_page(full) == ()
    many = [ref(number, number + 1) for number in range(2 * STORAGE_PAGE_REFS)]
    assert list(to_page(many)) == many[:STORAGE_PAGE_REFS]


def test_pages_hold_the_oldest_chunks_and_come_along():
    world = World(1, delay=lambda _: 2)
    (device,) = world.devices
    device.ask("choose", CLOUD)
    for start in range(150):  # each more than half full: none is merged
        device.append(item(f"{start}", start, bytes(CONTENT_BYTES_MAX * 2 // 3)))
    world.run(30)
    head = device.machine._book.head
    assert head.older is not None
    assert head.items == 150
    assert device.ask("choose", SECOND_CLOUD, 6_000).place == SECOND_CLOUD
    new = world.add()
    new.ask("choose", SECOND_CLOUD)
    new.ask("earlier", 150, 6_000)
    assert len(new.mailbox) == 150


def test_a_row_of_chunks_has_no_gap():
    assert check_row(None, ()) == 0
    assert check_row(ref(0, 3), (ref(3, 4), ref(4, 9))) == 9
    for older, refs in ((None, (ref(1, 2),)), (ref(0, 3), (ref(4, 5),)), (ref(1, 3), ())):
        with pytest.raises(ValueError, match="is in no chunk"):
            check_row(older, refs)


def test_spans_join_and_the_bound_forgets_the_oldest():
    assert joined([Span(3, 5), Span(0, 2), Span(2, 3)]) == (Span(0, 5),)
    many = [Span(2 * number, 2 * number + 1) for number in range(100)]
    assert joined(many) == tuple(many[-64:])


def test_alone_with_other_devices_a_message_is_not_called_shared_for_a_week():
    world = World(2)
    one, two = world.devices
    world.share()
    one.append(item("a"))
    world.converge()
    assert one.ask("choose", type(CLOUD)("local")).place.kind == "local"
    assert two.state().place == CLOUD
    expected = Durable(shared=False, waiting_for=("device 1",))
    assert one.append(item("b")) == expected
    two.kill()
    world.run(STORAGE_PARTING_US / 1_000_000 - 1_000)
    assert one.append(item("b")) == expected
    world.run(2_000)
    assert one.append(item("b")) == Durable(shared=True)
    assert one.append(item("b")) == expected  # a message of that name would wait anew
    two.start()
    one.ask("choose", CLOUD)
    world.converge()


def test_commands_that_cannot_be_done_say_why():
    world = World(2)
    one, _ = world.devices
    world.share()
    assert one.ask("remove_device", one.id.hex()).code == "argument_invalid"
    assert one.ask("remove_device", "zz").code == "argument_invalid"
    assert one.ask("remove_device", "ff" * 16).code == "not_found"
    assert one.ask("fly").code == "method_unknown"
    wrong = one.ask("choose", type(CLOUD)("floppy", "a:"))
    assert isinstance(wrong, Failure)
    assert wrong.code == "argument_invalid"
