"""What a hostile place, a device gone wild or an unlucky moment once did to machine "storage"."""

import pytest

from dms3.core.codec import INTEGER_MAX, encode
from dms3.core.errors import Failure
from dms3.core.limits import STORAGE_MERGE_CHUNKS, STORAGE_REMOVED_MAX
from dms3.crypto.keys import GENERATION_MAX
from dms3.storage.chunk import ROOM_BYTES
from dms3.storage.operations import Durable
from dms3.storage.slots import Next, sign_next
from unit.storage.storage_kit import CLOUD, SECOND_CLOUD, TREE, World, item


def announce(world, device, **changes: object):
    """What a device of the person that went wild can sign, put where all look for it."""
    book = device.machine._book
    state = book.state
    fields = {
        "epoch": state.epoch + 1,
        "generation": state.generation,
        "visit": state.visit,
        "removed": (),
    }
    step = sign_next(TREE.root(), Next(v=1, place=None, **{**fields, **changes}))
    name = book.name_of(book.ground, "next")
    world.shelf(CLOUD).objects[name] = book.keys.seal(
        state.generation, name, encode(step), bytes(12)
    )
    device.call("look")
    world.run(60)
    assert device.machine._book.state.epoch == step.epoch


def test_chunks_that_just_fit_into_one_object_are_merged():
    world = World(1)
    world.share()
    (one,) = world.devices
    each = 40
    body = bytes((ROOM_BYTES - 1_000) // (STORAGE_MERGE_CHUNKS * each) - 48)
    for chunk in range(STORAGE_MERGE_CHUNKS):
        one.append(*(item(f"{chunk:02}/{at:02}", body=body) for at in range(each)))
    world.run(60)
    (ref,) = one.machine._book.head.refs
    assert ref.items == STORAGE_MERGE_CHUNKS * each
    assert ref.size <= ROOM_BYTES


@pytest.mark.parametrize("what", ["epoch", "generation"])
def test_a_device_gone_wild_that_counts_to_the_end_kills_nobody(what):
    world = World(2)
    world.share()
    one, two = world.devices
    most = {"epoch": INTEGER_MAX, "generation": GENERATION_MAX}[what]
    announce(world, one, **{what: most})
    request = one.call("remove_device", two.id.hex())
    world.run(60)
    assert request not in one.answers
    assert "highest number" in one.state().problem
    assert one.append(item("after")) == Durable(shared=True)


def test_removing_two_where_one_more_fits_kills_nobody():
    world = World(3)
    world.share()
    one, two, three = world.devices
    many = tuple(bytes([255, at % 256]) * 8 for at in range(STORAGE_REMOVED_MAX - 1))
    announce(world, one, removed=many)
    requests = [one.call("remove_device", each.id.hex()) for each in (two, three)]
    world.run(100)
    answers = [one.answers.get(request) for request in requests]
    assert answers[0] == 1
    assert isinstance(answers[1], Failure)
    assert answers[1].code == "limit_reached"


def test_a_copy_for_one_goal_does_not_count_for_another():
    """A move back to an earlier place is cut off, then the keys change, then it goes on."""
    world = World(3)
    world.share(SECOND_CLOUD)
    world.share(CLOUD)
    one, two, three = world.devices
    for key in "abc":
        one.append(item(key))
    world.converge()
    shelf = world.shelf(SECOND_CLOUD)
    puts = []

    def full(operation, name, arguments):
        if operation == "put" and arguments.place == SECOND_CLOUD:
            puts.append(name)
            if len(puts) > 5:
                return (Failure("limit_reached", "It is full."),)
        return None

    shelf.before = full
    one.call("choose", SECOND_CLOUD)
    world.run(60)
    assert len(puts) > 5
    two.ask("remove_device", three.id.hex())
    one.call("look")
    world.run(60)
    shelf.before = None
    world.run(2_000)
    assert one.state().place == SECOND_CLOUD
    fourth = world.add()
    fourth.ask("choose", SECOND_CLOUD)
    world.run(600)
    assert {"a", "b", "c"} <= fourth.keys()


def test_a_place_that_gives_every_other_chunk_is_not_asked_without_end():
    world = World(1)
    world.share()
    (one,) = world.devices
    one.machine._keeping._may_go = lambda: False  # its chunks stay as they are
    two = world.add()
    two.ask("choose", CLOUD)
    world.run(20)
    two.cut_off = True
    for at in range(140):
        one.append(item(at))
    book = one.machine._book
    hidden = {name for ref in book.head.refs[::2] for name in book.names_at(book.ground, ref)}
    shelf = world.shelf(CLOUD)
    shelf.before = lambda operation, name, _: (
        (None,) if operation == "get" and name in hidden else None
    )
    two.cut_off = False
    two.call("look")
    world.run(240)
    assert 70 <= len(two.merged) <= 140


def test_a_place_that_is_given_up_for_itself_while_a_head_is_on_its_way():
    """`--lost` at an emptied place: the new device's head names nothing that is gone."""
    world = World(1)
    world.share()
    (one,) = world.devices
    one.append(item("old"))
    shelf = world.shelf(CLOUD)
    head = one.machine._book.name_of(one.machine._book.ground, "head", one.machine._book.device)
    held = []

    def late(operation, name, _):
        if operation == "put" and name == head and not held:
            held.append(name)
            shelf.objects.clear()
            one.call("leave", CLOUD)

    shelf.before = late
    request = one.call("append", (item("new"),))
    world.run(300)
    assert held
    assert one.answers[request] == Durable(shared=True)
    book = one.machine._book
    names = [name for ref in book.head.refs for name in book.names_at(book.ground, ref)]
    assert names
    assert all(name in shelf.objects for name in names)
