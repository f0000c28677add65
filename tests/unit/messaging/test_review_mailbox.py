"""What hostile peers, contacts and services can do to the mailbox: found by attacking it."""

from dataclasses import replace

import pytest

from dms3.core.errors import Failure, Retry
from dms3.core.limits import (
    DM3_NAME_CHARS_MAX,
    FAILURE_MESSAGE_CHARS_MAX,
    MAIL_DIRECT_BURST_US,
    MAIL_DIRECT_REFUSED_US,
    MAIL_POLL_PUSHED_US,
    PERSIST_VALUE_BYTES_MAX,
)
from dms3.core.machine import Persist
from dms3.dm3.canonical import SAFE_INTEGER_MAX
from dms3.dm3.profile import sign_profile
from dms3.messaging.operations import Decide, State
from dms3.messaging.people import BLOCKED, CONTACT
from unit.messaging.kit import ALICE, BOB, EVE, Node, carried, pair
from unit.messaging.test_direct import ask, enclosed
from unit.messaging.test_verifying import EVE_KEYS, give, said, sealed


@pytest.fixture
def three():
    """Alice knows Bob; Eve has a name and writes to Alice."""
    world, alice, bob = pair()
    eve = world.node(EVE).start()
    world.run()
    for other in (bob, eve):
        world.connect(alice, other)
    bob.send("alice.dms3", "I am Bob")
    alice.send("bob.dms3", "I know")
    return world, alice, bob, eve


def called(node, name):
    return next(each for each in node.ask("people") if name in each.names)


def as_bob(world):
    """Eve's record names Bob's account and repeats the profile that he signed, which is public."""
    bob = world.records["bob.dms3"]
    return replace(bob, name="eve.dms3", root=EVE.root, aliases=())


def test_an_alias_that_nobody_proved_makes_a_stranger_no_friend(three):
    world, alice, bob, eve = three
    honest = world.records["eve.dms3"]
    world.records["eve.dms3"] = as_bob(world)
    world.records["bob.dms3"] = replace(world.records["bob.dms3"], aliases=("eve.dms3",))
    bob.send("alice.dms3", "Still me")
    world.records["eve.dms3"] = honest
    eve.send("alice.dms3", "I am Bob, too")
    assert called(alice, "eve.dms3").id != called(alice, "bob.dms3").id
    assert called(alice, "eve.dms3").standing == "request"
    assert not called(alice, "bob.dms3").changed


def test_a_contact_that_claims_anothers_account_is_not_joined_with_them(three):
    """The receipts that Alice sends by herself look Eve up again: her record is Bob's for then."""
    world, alice, _bob, eve = three
    eve.send("alice.dms3", "hello")
    alice.send("eve.dms3", "hello Eve")
    honest = world.records["eve.dms3"]
    eve.send("alice.dms3", "again")
    world.records["eve.dms3"] = as_bob(world)
    alice.send("eve.dms3", "and this?")
    world.later(60_000_000)
    world.records["eve.dms3"] = honest
    eve.send("alice.dms3", "I am Bob now")
    assert called(alice, "eve.dms3").id != called(alice, "bob.dms3").id
    assert called(alice, "bob.dms3").address == BOB.address
    bobs = alice.conversation("bob.dms3")
    assert all(alice.kept[each].sender != "eve.dms3" for each in bobs)


def test_to_look_somebody_up_joins_nobody(three):
    world, alice, _bob, _eve = three
    world.records["eve.dms3"] = as_bob(world)
    with pytest.raises(Exception, match="No message was ever exchanged"):
        alice.ask("opened", "eve.dms3")
    assert "eve.dms3" not in called(alice, "bob.dms3").names


def test_who_blocks_one_does_not_block_whom_that_one_names(three):
    world, alice, _bob, eve = three
    eve.send("alice.dms3", "hello")
    alice.send("eve.dms3", "hello Eve")
    world.records["eve.dms3"] = as_bob(world)
    alice.send("eve.dms3", "what is this")
    alice.ask("decide", Decide("eve.dms3", "block"))
    assert called(alice, "eve.dms3").standing == BLOCKED
    assert called(alice, "bob.dms3").standing == CONTACT


def test_what_was_written_to_somebody_else_is_not_passed_on_as_mine(three):
    """Eve gets a message of Alice, and her record then names Bob's account."""
    world, _alice, bob, eve = three
    before = set(bob.kept)
    to_eve = said(ALICE, to="eve.dms3", text="only for Eve")
    world.records["eve.dms3"] = as_bob(world)
    answer = ask(world, bob, enclosed(world, bob, to_eve), eve.peer)
    assert "who is somebody else" in answer.message
    assert set(bob.kept) == before


def test_a_replayed_envelope_is_not_written_to_the_place_again(three):
    """Anybody who had one envelope could fill the place with it."""
    world, _alice, bob, _ = three

    def writings():
        calls = [each for node, each in world.asked if node is bob]
        items = [item for call in calls if call.port == "storage.append" for item in call.arguments]
        return sum(item.kind == "message" for item in items)

    envelope = enclosed(world, bob, said())
    assert ask(world, bob, envelope) == b""
    before = writings()
    for _ in range(5):
        assert ask(world, bob, envelope) == b""
    assert writings() == before
    bob.start()  # what was shared is no longer known: once more, to be sure
    for _ in range(5):
        assert ask(world, bob, envelope) == b""
    assert writings() == before + 1


def test_forgeries_of_a_peer_are_told_of_slowly(three):
    world, _, bob, eve = three
    for number in range(3 * MAIL_DIRECT_BURST_US // MAIL_DIRECT_REFUSED_US):
        forged = replace(said(EVE, text=f"{number}"), sender="alice.dms3")
        forged = replace(forged, signature=EVE_KEYS.sign(forged.signed_text()))
        envelope = enclosed(world, bob, forged, EVE)
        ask(world, bob, envelope, eve.peer)
        ask(world, bob, envelope, eve.peer)
    told = len(bob.topics("message.refused"))
    assert 0 < told <= MAIL_DIRECT_BURST_US // MAIL_DIRECT_REFUSED_US


def test_what_many_services_say_fits_into_a_row():
    """Sixteen names and answers of the longest kind made a row that ended the node."""
    world, alice, _ = pair()
    wide = "\U0001f600"
    names = [f"{number:02}{wide * (DM3_NAME_CHARS_MAX - 6)}.eth" for number in range(16)]
    for name in names:
        world.service(name).refusing = wide * FAILURE_MESSAGE_CHARS_MAX
    record = world.records["bob.dms3"]
    profile = replace(record.profile.profile, delivery_services=tuple(names))
    signed = sign_profile(BOB.secret, profile)
    longest = f"to{wide * (DM3_NAME_CHARS_MAX - 6)}.eth"
    world.records[longest] = replace(record, name=longest, profile=signed)
    rows = []
    alice.take = lambda effects: (
        rows.extend(each for each in effects if isinstance(each, Persist)),
        Node.take(alice, effects),
    )
    sent = alice.send(longest)
    world.later(60_000_000)
    assert alice.state(sent.hash) is State.FAILED
    assert all(len(each.value) < PERSIST_VALUE_BYTES_MAX for each in rows)


@pytest.fixture
def mail():
    world, alice, bob = carried(["one"])
    bob.send("alice.dms3", "hello Alice")
    return world, alice, bob


def unstamped(world, message):
    """The service hands on what it did not stamp."""
    envelope = sealed(world, message)
    world.services["one.bob.dms3"].waiting.setdefault("bob.dms3", []).append(envelope.text())
    world.later(MAIL_POLL_PUSHED_US)


def test_without_a_postmark_nothing_comes_from_the_future(mail):
    """It stood last for ever, and the year of its title ended its keeping."""
    world, _, bob = mail
    message = said(sent_ms=SAFE_INTEGER_MAX)
    unstamped(world, message)
    assert bob.kept[message.hash].order_ms <= world.now.wall_us // 1_000


def held(world, message):
    world.lost["alice.dms3"] = Failure("timed_out", "Nobody answers.", Retry.LATER)
    give(world, sealed(world, message))
    del world.lost["alice.dms3"]


def test_what_was_held_before_a_restart_is_told_of_when_it_is_verified(mail):
    world, _, bob = mail
    message = said()
    held(world, message)
    assert bob.kept[message.hash].state is State.HELD
    bob.start()
    world.later(MAIL_POLL_PUSHED_US)
    assert bob.kept[message.hash].state is State.RECEIVED
    assert [each["hash"] for each in bob.topics("message.new")] == [message.hash]


@pytest.mark.parametrize("restarts", [False, True])
def test_what_was_shown_as_held_and_proven_wrong_is_shown_no_more(mail, restarts):
    world, _, bob = mail
    forged = replace(said(EVE), sender="alice.dms3")
    forged = replace(forged, signature=EVE_KEYS.sign(forged.signed_text()))
    held(world, forged)
    assert bob.kept[forged.hash].state is State.HELD
    if restarts:
        bob.start()
    world.later(MAIL_POLL_PUSHED_US)
    assert forged.hash not in bob.kept
    assert len(bob.ask("refused")) == 1
    assert bob.machine._receiving.inbox.held == 0


def test_what_was_held_of_somebody_who_is_blocked_meanwhile_goes(mail):
    world, _, bob = mail
    message = said()
    held(world, message)
    bob.ask("decide", Decide("alice.dms3", "block"))
    world.later(MAIL_POLL_PUSHED_US)
    assert message.hash not in bob.kept
    assert bob.machine._receiving.inbox.held == 0
