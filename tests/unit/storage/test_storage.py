"""Machine "storage" driven by hand: what is durable when, what other devices read, and kills."""

import pytest

from dms3.core.errors import Failure
from dms3.storage.operations import Durable
from unit.storage.storage_kit import CLOUD, DAY, SECOND_CLOUD, World, item


def test_one_device_keeps_its_messages_at_its_own_place_at_once():
    (device,) = World(1).devices
    assert device.append(item("a"), item("b")) == Durable(shared=True)
    state = device.state()
    assert (state.place.kind, state.items, state.pending, state.problem) == ("local", 2, 0, "")


def test_two_devices_share_a_place_and_read_each_other():
    world = World(2)
    one, two = world.devices
    assert one.append(item("before")) == Durable(shared=True)
    world.share()
    assert one.append(item("a")) == Durable(shared=True)
    assert two.append(item("b")) == Durable(shared=True)
    world.converge()
    assert set(two.mailbox) == {("message", "before"), ("message", "a")}
    assert set(one.mailbox) == {("message", "b")}
    names = [(row.name, row.this) for row in two.ask("devices")]
    assert sorted(names) == [("device 0", False), ("device 1", True)]


def test_moving_on_takes_everybody_along_and_empties_the_old_place():
    world = World(3)
    world.share()
    for device in world.devices:
        device.append(item(f"of {device.index}"))
    state = world.devices[0].ask("choose", SECOND_CLOUD)
    assert state.place == SECOND_CLOUD
    world.converge()
    world.run(3_000)
    for device in world.devices:
        assert device.state().place == SECOND_CLOUD, device.state()
        assert device.state().problem == ""
        device.append(item(f"later of {device.index}"))
    world.converge()
    world.run(4_000)
    assert len(world.shelf(CLOUD).objects) == 1  # the announcement


def test_a_device_that_was_away_follows():
    world = World(2)
    one, two = world.devices
    world.share()
    two.append(item("two"))
    two.kill()
    one.append(item("one"))
    assert one.ask("choose", SECOND_CLOUD).place == SECOND_CLOUD
    one.kill()
    world.run(7.5 * DAY / 1_000_000)
    one.start()
    world.run(3_000)
    assert len(world.shelf(CLOUD).objects) == 1
    two.start()
    world.converge()
    world.run(3_000)
    assert two.state().place == SECOND_CLOUD
    two.append(item("two again"))
    world.converge()


def test_moving_back_and_forth_meets_nothing_of_before():
    world = World(2)
    one, two = world.devices
    world.share()
    for turn, place in enumerate((SECOND_CLOUD, CLOUD, SECOND_CLOUD, CLOUD)):
        one.append(item(f"one {turn}"))
        two.append(item(f"two {turn}"))
        assert one.ask("choose", place).place == place
    world.converge()
    world.run(8_000)
    assert {one.state().place, two.state().place} == {CLOUD}
    third = world.add()
    assert third.ask("choose", SECOND_CLOUD).place == CLOUD  # led on
    world.converge()
    assert len(third.mailbox) == 8


def test_a_removed_device_writes_no_more_and_its_messages_stay():
    world = World(3)
    one, two, three = world.devices
    world.share()
    three.append(item("three"))
    one.append(item("one"))
    world.converge()
    assert one.ask("remove_device", three.id.hex()) == 1
    assert one.rotated == [1]
    refused = three.ask("append", (item("late"),))
    assert isinstance(refused, Failure)
    assert refused.code == "forbidden"
    world.run(1_000)
    assert two.rotated == [1]
    fourth = world.add()
    assert fourth.ask("choose", CLOUD).place == CLOUD
    del three.own["message", "three"]
    three.kill()
    one.append(item("after"))
    world.converge()
    world.run(60)
    found = {key for _, key in fourth.mailbox}
    assert {"three", "one", "after"} <= found <= {"three", "one", "after", "late"}
    assert "device 2" not in [row.name for row in two.ask("devices")]
    assert fourth.rotated == [1]


@pytest.mark.parametrize("steps", range(40))
def test_killed_after_any_step_nothing_is_lost(steps):
    world = World(2, seed=steps)
    one, two = world.devices
    world.share()
    one.append(item("a"))
    one.call("append", (item("b"),))
    world.steps(steps)
    one.kill()
    world.run(1)
    one.start()
    assert one.append(item("b"), item("c")) == Durable(shared=True)
    world.converge()
    assert {key for _, key in two.mailbox} == {"a", "b", "c"}
    assert one.state().problem == two.state().problem == ""
    assert len(one.ask("devices")) == 2
