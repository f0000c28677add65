"""People: several names of one, strangers and their floods, the blocked, keys that change."""

from dataclasses import replace

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    MAIL_NAMES_MAX,
    MAIL_PEOPLE_MAX,
    MAIL_REQUEST_MESSAGES_MAX,
    MAIL_REQUESTS_MAX,
)
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.lookup import Resolved
from dms3.dm3.profile import UserProfile, fingerprint, sign_profile
from dms3.messaging.operations import Decide, MailSettings, State
from dms3.messaging.people import CONTACT, REQUEST
from unit.messaging.kit import ALICE, BOB, EVE, SECOND, Person, World, pair
from unit.messaging.test_direct import ask, enclosed
from unit.messaging.test_verifying import said


def resolved(name, person=ALICE, generation=0, vouched="dms3", aliases=(), root=None):
    """Who a name is, with the keys of a generation."""
    keys = ProfileKeys.of_seed(person.seed(generation))
    profile = UserProfile(("s.dms3",), keys.encryption_public, keys.signing_public)
    return Resolved(
        name, person.address, sign_profile(person.secret, profile), None, vouched,
        fingerprint(profile), person.root if root is None else root, aliases,
    )  # fmt: skip


@pytest.fixture
def people():
    world = World()
    bob = world.node(BOB).start()
    world.run()
    found = bob.machine._grounds.people
    found.node = bob
    return found


def person(node, name="alice.dms3"):
    return next(each for each in node.ask("people") if name in each.names)


def test_several_names_of_one_account_are_one_person(people):
    first = people.meet(resolved("alice.eth", vouched="ens"), CONTACT)
    second = people.meet(resolved("alice.dms3"), REQUEST)
    assert first.id == second.id == "alice.eth"
    assert second.names == ("alice.eth", "alice.dms3")
    assert second.standing == CONTACT
    assert len(people.all()) == 1


def test_two_who_turn_out_to_be_one_are_joined(people):
    waiting = people.expect("alice.eth")  # written to before anything was known of her
    stranger = people.meet(resolved("alice.dms3"), REQUEST)
    assert waiting.id != stranger.id
    joined = people.meet(resolved("alice.eth"), CONTACT)
    assert people.all() == [joined]
    assert joined.standing == CONTACT
    assert set(joined.names) == {"alice.eth", "alice.dms3"}
    people.node.take(people._desk.take())
    (call,) = [each[2] for each in people.node.world.queue if each[2].port == "messages.join"]
    assert {call.arguments.person, call.arguments.into} == {"alice.eth", "alice.dms3"}


def test_who_takes_over_a_name_does_not_become_its_former_owner(people):
    contact = people.meet(resolved("bobby.dms3"), CONTACT)
    other = people.meet(resolved("eve.dms3", EVE), REQUEST)
    taken = people.meet(resolved("bobby.dms3", EVE), REQUEST)
    assert taken.id == other.id
    assert taken.standing == REQUEST
    former = people.get(contact.id)
    assert former.changed
    assert former.address == ALICE.address


def test_keys_of_another_account_under_a_known_name_are_told_of(people):
    people.meet(resolved("alice.dms3"), CONTACT)
    record = people.decide(people.named("alice.dms3"), Decide("alice.dms3", "verified"))
    assert record.verified
    after = people.meet(resolved("alice.dms3", EVE, root=""), REQUEST)
    assert after.changed
    assert not after.verified
    people.node.take(people._desk.take())
    assert people.node.topics("person.changed") == [{"person": "alice.dms3", "name": "alice.dms3"}]
    quiet = people.decide(after, Decide("alice.dms3", "verified"))
    assert not quiet.changed


def test_names_of_one_person_are_bounded(people):
    for number in range(MAIL_NAMES_MAX + 5):
        record = people.meet(resolved(f"a{number}.dms3"), CONTACT)
    assert len(record.names) == MAIL_NAMES_MAX
    assert record.names[0] == "a0.dms3"


def test_a_card_makes_a_contact(people):
    assert people.meet(resolved("alice.dms3", vouched="card"), REQUEST).standing == CONTACT


def test_strangers_are_bounded_and_contacts_still_fit(people):
    for number in range(MAIL_REQUESTS_MAX):
        people.meet(resolved(f"s{number}.dms3", Person(f"s{number}")), REQUEST)
    with pytest.raises(Dms3Error, match="strangers wait for a decision"):
        people.meet(resolved("one-more.dms3", Person("x")), REQUEST)
    assert people.meet(resolved("friend.dms3", Person("x")), CONTACT).standing == CONTACT


def test_people_are_bounded(people):
    record = people.expect("first.dms3")
    people._by_id |= {f"p{number}.dms3": record for number in range(MAIL_PEOPLE_MAX)}
    with pytest.raises(Dms3Error, match="Forget some"):
        people.expect("one-more.dms3")


# Strangers


def test_a_stranger_is_a_request_and_gets_no_receipt():
    world, alice, bob = pair()
    world.connect(alice, bob)
    sent = alice.send("bob.dms3")
    assert person(bob).standing == REQUEST
    assert bob.topics("message.new") == []
    bob.ask("opened", "alice.dms3")
    assert alice.state(sent.hash) is State.SENT
    accepted = bob.ask("decide", Decide("alice.dms3", "accept"))
    assert accepted.standing == CONTACT
    second = alice.send("bob.dms3", "again")
    assert [each["hash"] for each in bob.topics("message.new")] == [second.hash]
    assert alice.state(second.hash) is State.DELIVERED


def test_who_answers_a_stranger_has_accepted():
    world, alice, bob = pair()
    world.connect(alice, bob)
    alice.send("bob.dms3")
    bob.send("alice.dms3", "who are you?")
    assert person(bob).standing == CONTACT


def test_the_flood_of_a_stranger_is_bounded_and_told_of_once():
    world, alice, bob = pair()
    world.connect(alice, bob)
    for number in range(MAIL_REQUEST_MESSAGES_MAX + 5):
        alice.send("bob.dms3", f"{number}")
    assert len(bob.kept) == MAIL_REQUEST_MESSAGES_MAX
    assert len(bob.topics("message.request")) == 1
    bob.start()
    alice.send("bob.dms3", "more")
    world.later(SECOND)
    assert len(bob.kept) == MAIL_REQUEST_MESSAGES_MAX


def test_no_strangers_when_a_person_wants_none():
    world, alice, bob = pair()
    world.connect(alice, bob)
    assert bob.ask("settings", MailSettings(requests=False)) == MailSettings(requests=False)
    bob.start()
    assert bob.ask("settings") == MailSettings(receipts=True, requests=False)
    alice.send("bob.dms3")
    assert (bob.kept, bob.ask("people")) == ({}, ())
    bob.send("alice.dms3")  # whom Bob writes to is none
    sent = alice.send("bob.dms3", "thanks")
    assert sent.hash in bob.kept


def test_the_blocked_are_neither_shown_nor_told():
    world, alice, bob = pair()
    world.connect(alice, bob)
    alice.send("bob.dms3")
    bob.ask("decide", Decide("alice.dms3", "block"))
    blocked = alice.send("bob.dms3", "hey")
    assert blocked.hash not in bob.kept
    assert alice.state(blocked.hash) is State.SENT  # as if it had been taken
    bob.ask("decide", Decide("alice.dms3", "unblock"))
    assert alice.send("bob.dms3", "hey again").hash in bob.kept


def test_a_person_under_a_second_name_stays_blocked():
    world, _, bob = pair()
    message = said()
    assert ask(world, bob, enclosed(world, bob, message)) == b""
    bob.ask("decide", Decide("alice.dms3", "block"))
    world.records["alice.eth"] = resolved("alice.eth")
    other = said(text="by another name")
    other = replace(other, sender="alice.eth")
    keys = ProfileKeys.of_seed(ALICE.seed(0))
    other = replace(other, signature=keys.sign(other.signed_text()))
    assert ask(world, bob, enclosed(world, bob, other)) == b""
    assert other.hash not in bob.kept


def test_somebody_forgotten_is_a_stranger_again():
    world, alice, bob = pair()
    world.connect(alice, bob)
    bob.send("alice.dms3")
    bob.ask("decide", Decide("alice.dms3", "forget"))
    assert bob.ask("people") == ()
    alice.send("bob.dms3")
    assert person(bob).standing == REQUEST


@pytest.mark.parametrize(
    ("decided", "why"),
    [
        (Decide("alice.dms3", "marry"), "nothing to decide"),
        (Decide("nobody.dms3", "accept"), "Nobody has the name"),
        (Decide("eve.dms3", "accept"), "No message was ever exchanged"),
        (Decide("halted.dms3", "verified"), "has no profile yet"),
    ],
)
def test_decisions_that_cannot_be(decided, why):
    world, alice, bob = pair()
    world.connect(alice, bob)
    world.node(EVE).start()
    bob.send("alice.dms3")
    bob.send("halted.dms3")
    with pytest.raises(Dms3Error, match=why):
        bob.ask("decide", decided)


def test_a_nickname_finds_whom_one_writes_with():
    world, _, bob = pair()
    bob.send("alice.dms3")
    world.records["Ali"] = world.records["alice.dms3"]
    assert bob.ask("decide", Decide("Ali", "verified")).verified
    assert bob.ask("opened", "Ali") == 0


def test_keys_can_be_compared_before_the_first_message():
    world, alice, bob = pair()
    compared = bob.ask("decide", Decide("alice.dms3", "verified"))
    assert compared.verified
    assert compared.standing == CONTACT
    world.connect(alice, bob)
    alice.send("bob.dms3")
    assert person(bob).verified
    assert person(bob).standing == CONTACT


def test_who_has_no_profile_has_no_keys_to_compare_and_is_not_met():
    world, _, bob = pair()
    world.records["empty.dms3"] = replace(world.records["alice.dms3"], profile=None, root="")
    with pytest.raises(Dms3Error, match="has no profile yet"):
        bob.ask("decide", Decide("empty.dms3", "verified"))
    assert bob.ask("people") == ()


def test_people_survive_a_restart():
    _, _, bob = pair()
    bob.send("alice.dms3")
    bob.ask("decide", Decide("alice.dms3", "verified"))
    before = bob.ask("people")
    bob.start()
    assert bob.ask("people") == before
    assert before[0].verified
