"""Several devices of one person: a union, a maximum, the newest word; the same in any order."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Failure
from dms3.core.limits import MAIL_EARLY_MAX
from dms3.dm3.message import MessageType
from dms3.messaging.items import (
    message_item,
    read_message_item,
    read_state_item,
    state_item,
)
from dms3.messaging.operations import AdoptSeed, Decide, Kept, State
from dms3.messaging.order import arranged
from dms3.messaging.people import CONTACT, blank
from dms3.storage.operations import Durable, Item
from unit.messaging.kit import ALICE, BOB, SECOND, World
from unit.messaging.test_people import resolved


def device(world, name, person=BOB):
    return world.node(person, name).start()


def devices():
    """Two devices of Bob and one of Alice; the items of each go to the other by `sync`."""
    world = World()
    alice, one, two = world.node(ALICE).start(), device(world, "1"), device(world, "2")
    world.run()
    sync(one, two)
    world.connect(alice, one)
    return world, alice, one, two


def sync(one, two):
    """Every device gets what the others shared, until nothing is new."""
    for _ in range(3):
        for source, target in ((one, two), (two, one)):
            if source.shared:
                items = tuple(source.shared[key] for key in sorted(source.shared))
                assert target.ask("merge", items) is None


def kept(number, mine=False, **more):  # noqa: ANN003
    wanted = {
        "hash": f"0x{number:064x}", "person": "alice.dms3", "mine": mine, "sender": "alice.dms3",
        "sent_ms": 1_000 + number, "order_ms": 2_000 + number, "type": MessageType.NEW,
        "reference": "", "state": State.RECEIVED, "text": "{}",
    }  # fmt: skip
    return Kept(**(wanted | more))


def test_what_came_to_one_device_is_on_the_other():
    _, alice, one, two = devices()
    sent = alice.send("bob.dms3", "hello Bob").hash
    assert sent not in two.kept
    sync(one, two)
    assert two.kept[sent].text == one.kept[sent].text
    assert [each["hash"] for each in two.topics("message.new")] == [sent]


def test_what_i_say_and_how_far_it_got_is_on_the_other():
    _, alice, one, two = devices()
    sent = one.send("alice.dms3", "hello Alice").hash
    sync(one, two)
    assert (two.kept[sent].mine, two.state(sent)) == (True, State.SENT)
    assert two.topics("message.new") == []
    alice.send("bob.dms3", "hi")
    alice.ask("opened", "bob.dms3")
    sync(one, two)
    assert two.state(sent) is State.READ


def test_what_was_read_on_one_is_read_on_the_other():
    _, alice, one, two = devices()
    sent = alice.send("bob.dms3").hash
    sync(one, two)
    two.ask("opened", "alice.dms3")
    sync(one, two)
    assert one.state(sent) is State.READ


def test_decisions_about_people_go_along_the_newest_wins():
    world, alice, one, two = devices()
    one.send("alice.dms3")
    sync(one, two)
    assert [each.standing for each in two.ask("people")] == ["contact"]
    world.later(SECOND)
    two.ask("decide", Decide("alice.dms3", "block"))
    world.later(SECOND)
    sync(one, two)
    assert [each.standing for each in one.ask("people")] == ["blocked"]
    late = alice.send("bob.dms3", "hey").hash
    assert late not in one.kept


def test_the_same_person_met_under_two_names_is_one_conversation():
    _, alice, one, two = devices()
    two.machine._grounds.people.meet(resolved("alice.eth"), "contact")
    two.take(two.machine._end())
    two.world.run()
    sent = alice.send("bob.dms3").hash
    one.ask("decide", Decide("alice.dms3", "accept"))
    two.machine._grounds.people.meet(resolved("alice.dms3"), "contact")
    sync(one, two)
    assert two.kept[sent].person == "alice.eth"


def test_both_nodes_are_in_the_profile_and_carriers_are_common():
    world, _, one, two = devices()
    service = world.service("mail.dms3")
    one.ask("carry", "mail.dms3")
    sync(one, two)
    expected = {"mail.dms3", "bob-1.dms3", "bob-2.dms3"}
    assert set(two.ask("profile").profile.delivery_services) == expected
    assert one.ask("profile") == two.ask("profile") == world.records["bob.dms3"].profile
    assert {each.name for each in two.ask("services")} == {"mail.dms3"}
    world.later(SECOND)
    request = two.call("uncarry", "mail.dms3")
    world.later(SECOND)
    assert two.answers[request] is None
    sync(one, two)
    assert one.ask("profile").profile.delivery_services == ("bob-1.dms3", "bob-2.dms3")
    assert service.down is False


def test_keys_that_one_device_made_are_used_by_all():
    world, alice, one, two = devices()
    one.ask("rotate")
    sync(one, two)
    assert one.ask("profile") == two.ask("profile")
    assert two.machine._grounds.keyring.generation == 1
    two.ask("adopt", AdoptSeed(b"w" * 32))
    sync(one, two)
    assert one.ask("profile") == two.ask("profile")
    one.start()
    sent = alice.send("bob.dms3").hash
    world.later(60 * SECOND)
    assert sent in one.kept


def test_keys_made_on_two_devices_at_once_end_the_same_and_none_is_lost():
    _, _, one, two = devices()
    one.ask("adopt", AdoptSeed(b"1" * 32))
    two.ask("adopt", AdoptSeed(b"2" * 32))
    two.ask("rotate")
    sync(one, two)
    rings = [node.machine._grounds.keyring for node in (one, two)]
    assert one.ask("profile") == two.ask("profile")
    publics = [{each.signing_public for each in ring.newest_first()} for ring in rings]
    assert publics[0] == publics[1]
    assert len(publics[0]) == 4


def test_rotating_to_a_generation_in_use_changes_nothing():
    _, _, one, _ = devices()
    after = one.ask("rotate", 3)
    assert one.ask("rotate", 3) == one.ask("rotate", 2) == after
    assert one.ask("rotate") != after


def test_a_state_may_come_before_its_message():
    _, _, one, _ = devices()
    message = kept(1, mine=True, state=State.QUEUED)
    one.ask("merge", (state_item(message.hash, State.READ, 5),))
    one.ask("merge", (state_item(message.hash, State.DELIVERED, 5),))
    one.start()
    one.ask("merge", (message_item(message),))
    assert one.state(message.hash) is State.READ
    assert one.tables["early"] == {}


def test_states_without_a_message_are_bounded():
    _, _, one, _ = devices()
    merging = one.machine._receiving.merging
    merging._early = {f"{n}".encode(): State.READ for n in range(MAIL_EARLY_MAX)}
    one.ask("merge", (state_item("0xnew", State.READ, 5),))
    assert len(merging._early) == MAIL_EARLY_MAX
    assert b"0xnew" in merging._early
    assert b"0" not in merging._early


def test_what_could_not_be_kept_is_asked_again():
    _, _, one, _ = devices()
    one.keep_failure = Failure("disk_full", "The disk is full.")
    request = one.call("merge", (message_item(kept(1)),))
    one.world.run()
    assert one.answers[request].code == "disk_full"


@pytest.mark.parametrize(
    "item",
    [
        Item("message", "0x1", b"junk"),
        Item("message", "0xother", message_item(kept(1)).body),
        Item("message", kept(1).hash, message_item(kept(1)).body.replace(b"NEW", b"OLD")),
        Item("state", "0x1/read", b""),
        Item("state", "0x1/read", state_item("x", State.READ, 0).body.replace(b"read", b"rode")),
        Item("person", "keys", b"\xff"),
        Item("person", "carrier:x", b"\xff"),
        Item("person", "alice.dms3", b"\xff"),
        Item("poem", "x", b"\xff"),
    ],
)
def test_what_cannot_be_read_is_passed_over(item):
    _, _, one, _ = devices()
    before = dict(one.kept), one.ask("people")
    one.ask("merge", (item, message_item(kept(7))))
    assert set(one.kept) - set(before[0]) == {kept(7).hash}
    assert one.ask("people") == before[1]


def test_items_are_read_as_they_were_written():
    message = replace(kept(1), information="said", mine=True, reference="0x5")
    assert read_message_item(message_item(message)) == message
    assert read_state_item(state_item("0x1", State.READ, 7)) == ("0x1", State.READ)
    with pytest.raises(DecodeError):
        read_state_item(Item("state", "0x1/x", encode(Durable(True))))


def test_everything_is_told_again_when_storage_lost_it():
    world, alice, one, _ = devices()
    sent = [alice.send("bob.dms3", f"{n}").hash for n in range(5)]
    one.ask("decide", Decide("alice.dms3", "accept"))
    before = set(one.shared)
    one.shared.clear()
    assert one.ask("repeat") is None
    one.start()  # it goes on after a restart
    world.later(10 * SECOND)
    assert {("message", each) for each in sent} <= set(one.shared)
    assert {key for key in before if key[0] == "person"} <= set(one.shared)
    assert one.tables["repeat"] == {}


def test_what_an_import_brought_is_told_to_storage_and_nothing_before_it():
    world, _, one, _ = devices()
    world.later(10 * SECOND)
    last = len(one.kept)
    one.shared.clear()
    brought = [kept(number) for number in range(20, 27)]
    one.kept.update({each.hash: each for each in brought})
    one.ask("brought", last)
    one.start()  # it goes on after a restart
    world.later(10 * SECOND)
    assert set(one.shared) == {("message", each.hash) for each in brought}


def test_what_is_brought_while_all_is_told_again_is_told_too():
    world, alice, one, _ = devices()
    alice.send("bob.dms3", "before")
    one.ask("repeat")
    for number in range(20, 24):
        one.kept[kept(number).hash] = kept(number)
        one.ask("brought", 0)
        world.later(SECOND)
    world.later(10 * SECOND)
    assert {("message", each) for each in one.kept} <= set(one.shared)
    assert one.tables["repeat"] == {}


def test_people_of_an_import_are_known_to_other_devices():
    world, _, one, _ = devices()
    record = blank("carol.dms3", CONTACT, 5)
    one.shared.clear()
    one.ask("introduce", (Item("person", record.id, encode(record)),))
    world.later(10 * SECOND)
    assert ("person", record.id) in one.shared


def test_one_item_that_storage_refuses_holds_up_no_others():
    world, alice, one, _ = devices()
    one.ask("decide", Decide("alice.dms3", "accept")) if one.ask("people") else None
    real = world.answer
    bad = []

    def answer(node, effect):
        if effect.port == "storage.append" and node is one:
            if not bad:
                bad.append(effect.arguments[0].key)
            if any(item.key in bad for item in effect.arguments):
                return Failure("argument_invalid", "An item is larger than storage takes.")
        return real(node, effect)

    world.answer = answer
    one.durable = Failure("timed_out", "No answer.")
    sent = [alice.send("bob.dms3", f"{n}").hash for n in range(3)]
    one.durable = Durable(shared=True)
    world.later(120 * SECOND)
    lying = {key for kind, key in one.shared if kind == "message"}
    assert lying == set(sent) - set(bad)


orders = st.permutations(range(6))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from(list(State)[3:5]), st.integers(0, 9)),
        min_size=1,
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_any_order_of_items_gives_the_same(facts, random):
    items = [message_item(kept(n, order_ms=2_000 + at, mine=True)) for n, _, at in facts]
    items += [state_item(kept(n).hash, state, at) for n, state, at in facts]
    ends = []
    for turn in range(2):
        world = World()
        node = device(world, "1")
        world.run()
        if turn:
            random.shuffle(items)
        for item in items:
            node.ask("merge", (item,))
        rows = arranged(node.kept.values())
        ends.append([(one.hash, one.order_ms, one.state) for one in rows])
    assert ends[0] == ends[1]
