"""A place that alters, withholds or turns back; devices that come at once; copies of a home."""

import pytest

from dms3.core.codec import encode
from dms3.core.errors import Failure
from dms3.core.limits import STORAGE_DEVICES_MAX, STORAGE_SETTLE_US
from dms3.storage.head import decode_head, sign_head
from dms3.storage.operations import Durable, Place
from unit.storage.storage_kit import CLOUD, SECOND_CLOUD, TREE, World, item


def shared(count=2, seed=1):
    world = World(count, seed)
    world.share()
    return world, world.shelf(CLOUD)


def names_of_chunks(device):
    book = device.machine._book
    return [name for ref in book.head.refs for name in book.names_at(book.ground, ref)]


def name_of_head(device):
    book = device.machine._book
    return book.name_of(book.ground, "head", book.device)


@pytest.mark.parametrize("how", ["altered", "withheld", "cut off", "another"])
def test_a_chunk_that_is_not_what_was_written_is_said_and_asked_again(how):
    world, shelf = shared()
    one, two = world.devices
    one.append(item("a"))
    one.append(item("b"))
    first, second = names_of_chunks(one)
    right = shelf.objects[first]
    wrong = {
        "altered": right[:-1] + bytes([right[-1] ^ 1]),
        "withheld": None,
        "cut off": right[:-1],
        "another": shelf.objects[second],
    }[how]
    shelf.before = lambda operation, name, _: (
        (wrong,) if operation == "get" and name == first else None
    )
    two.call("look")
    world.run(100)
    assert set(two.mailbox) == {("message", "b")}  # one bad chunk holds up no other
    assert "webdav https://cloud.example/chunks" in two.state().problem
    shelf.before = None
    world.run(700)
    assert len(two.mailbox) == 2
    assert two.state().problem == ""


def test_an_old_head_is_not_believed():
    world, shelf = shared()
    one, two = world.devices
    one.append(item("a"))
    old = shelf.objects[name_of_head(one)]
    one.append(item("b"))
    world.converge()
    shelf.before = lambda operation, name, _: (
        (old,) if operation == "get" and name == name_of_head(one) else None
    )
    two.call("look")
    world.run(30)
    assert "does not give the newest state" in two.state().problem
    shelf.before = None
    world.run(700)
    assert two.state().problem == ""


def test_a_place_that_turned_back_is_written_again_by_whoever_wrote_it():
    world, shelf = shared()
    one, two = world.devices
    one.append(item("a"))
    old = shelf.objects[name_of_head(one)]
    one.append(item("b"))
    shelf.objects[name_of_head(one)] = old
    one.call("look")
    world.run(60)
    third = world.add()
    third.ask("choose", CLOUD)
    world.converge()
    assert len(third.mailbox) == len(two.mailbox) == 2


def test_a_head_that_its_device_did_not_sign_is_not_believed():
    world, shelf = shared()
    one, two = world.devices
    one.append(item("a"))
    world.converge()
    book = one.machine._book
    name = name_of_head(one)
    head = decode_head(book.keys.open(0, name, shelf.objects[name]))
    forged = sign_head(TREE.root(), head)  # even by the person: another key
    shelf.objects[name] = book.keys.seal(0, name, encode(forged), b"n" * 12)
    two.call("look")
    world.run(30)
    assert "is not signed by it" in two.state().problem


def test_what_a_person_has_not_signed_is_no_device_and_no_step():
    world, shelf = shared(1)
    one = world.devices[0]
    book = one.machine._book
    for what, parts in (("slot", (bytes([3]),)), ("next", ())):
        name = book.name_of(book.ground, what, *parts)
        shelf.objects[name] = book.keys.seal(0, name, b"\xa0", b"n" * 12)
    one.call("look")
    world.run(60)
    assert one.state().place == CLOUD
    assert "something else than was written" in one.state().problem
    one.call("append", (item("a"),))
    world.run(60)
    assert one.state().pending == 1  # nothing is said to be shared while a step may be hidden
    shelf.objects.pop(book.name_of(book.ground, "next"))
    world.run(700)
    assert one.state().pending == 0


@pytest.mark.parametrize("seed", range(6))
def test_two_devices_that_come_at_once_both_find_a_slot(seed):
    world = World(2, seed)
    one, two = world.devices
    two.entropy.random.seed(1)
    requests = [(device, device.call("choose", CLOUD)) for device in world.devices]
    world.run(200)
    for device, request in requests:
        assert device.answers[request].place == CLOUD
    slots = [device.machine._book.state.slot for device in world.devices]
    assert slots[0] != slots[1]
    one.append(item("a"))
    two.append(item("b"))
    world.converge()


def test_a_claim_that_was_overwritten_goes_to_another_slot():
    world, shelf = shared(2)
    one, two = world.devices
    book = one.machine._book
    mine = book.name_of(book.ground, "slot", bytes([book.state.slot]))
    other = two.machine._book
    his = other.name_of(other.ground, "slot", bytes([other.state.slot]))
    content = book.keys.open(0, his, shelf.objects[his])
    shelf.objects[mine] = book.keys.seal(0, mine, content, b"m" * 12)
    one.call("look")
    world.run(60 + 2 * STORAGE_SETTLE_US / 1_000_000)
    third = world.add()
    third.ask("choose", CLOUD)
    assert len(third.ask("devices")) == 3


def test_as_many_devices_as_there_are_slots():
    world = World(STORAGE_DEVICES_MAX + 1)
    for device in world.devices[:-1]:
        assert device.ask("choose", CLOUD).place == CLOUD
    late = world.devices[-1]
    late.call("choose", CLOUD)
    world.run(60)
    assert late.state().place.kind == "local"
    assert "devices keep their messages there already" in late.state().problem
    first = world.devices[0]
    first.call("look")
    world.run(60)
    assert first.ask("remove_device", world.devices[3].id.hex()) == 1
    world.run(1_000)
    assert late.state().place == CLOUD


def test_a_copy_of_a_home_becomes_a_device_of_its_own():
    world, _ = shared(2)
    one, two = world.devices
    one.append(item("a"))
    copy = world.add()
    copy.kill()
    copy.id, copy.own, copy.mailbox = one.id, dict(one.own), dict(one.mailbox)
    copy.tables = {name: dict(rows) for name, rows in one.tables.items()}
    one.append(item("b"))
    copy.start()
    assert copy.append(item("c")) == Durable(shared=True)
    assert copy.repeats == 1
    one.append(item("d"))
    world.converge()
    assert {key for _, key in two.mailbox} == {"a", "b", "c", "d"}


def test_a_restored_home_is_a_new_device_and_reads_what_the_old_one_wrote():
    world, _ = shared(2)
    one, _two = world.devices
    one.append(item("a"))
    restored = world.add()
    restored.kill()
    restored.tables = {name: dict(rows) for name, rows in one.tables.items()}
    restored.start()
    world.run(60)
    assert restored.state().place == CLOUD
    restored.append(item("b"))
    one.kill()
    world.run(700)
    assert restored.keys() == {"a", "b"}
    assert len(restored.ask("devices")) == 3


def test_a_restored_home_of_its_own_place_appends_everything_again():
    world = World(1)
    one = world.devices[0]
    one.append(item("a"))
    restored = world.add()
    restored.kill()
    restored.own = dict(one.own)
    restored.tables = {name: dict(rows) for name, rows in one.tables.items()}
    restored.start()
    world.run(60)
    assert restored.repeats == 1
    assert restored.state().items == 1


def test_a_place_that_is_lost_is_left_and_everything_appended_again():
    world, shelf = shared(2)
    one, two = world.devices
    one.append(item("a"))
    two.append(item("b"))
    world.converge()
    shelf.down = True
    shelf.objects.clear()
    one.call("append", (item("c"),))
    one.own["message", "c"] = item("c")
    world.run(30)
    assert one.state().pending == 1
    for device in world.devices:
        assert device.ask("leave", SECOND_CLOUD).place == SECOND_CLOUD
    third = world.add()
    third.ask("choose", SECOND_CLOUD)
    world.converge()
    assert third.keys() == {"a", "b", "c"}
    assert one.state().pending == 0


def test_other_credentials_are_taken_while_a_writing_waits():
    world, shelf = shared(1)
    one = world.devices[0]
    shelf.before = lambda _operation, _name, arguments: (
        (Failure("unauthorized", "The password is wrong."),)
        if '"new"' not in getattr(arguments, "place", arguments).secret
        else None
    )
    request = one.call("append", (item("a"),))
    world.run(60)
    assert "password" in one.state().problem
    refused = one.ask("choose", Place("webdav", CLOUD.url, '{"password": "other"}'))
    assert refused.code == "unauthorized"
    renewed = Place("webdav", CLOUD.url, '{"password": "new"}')
    assert one.ask("choose", renewed).place == renewed
    world.run(60)
    assert one.answers[request] == Durable(shared=True)
    assert one.state().problem == ""


@pytest.mark.parametrize("operation", ["get", "put"])
def test_a_place_that_cannot_be_reached_is_not_chosen(operation):
    world = World(1)
    one = world.devices[0]
    world.shelf(CLOUD).down = True
    assert one.ask("choose", CLOUD).code == "peer_unreachable"
    assert one.state().place.kind == "local"
    assert one.append(item(operation)) == Durable(shared=True)


def test_secrets_are_in_no_notice_and_no_repr():
    world, shelf = shared(2)
    one, _ = world.devices
    one.ask("choose", SECOND_CLOUD)
    assert "secret" not in repr([each.data for each in one.told])
    assert '"key"' not in repr(one.machine._book.state)
    assert all(b"secret" not in data for data in shelf.objects.values())
