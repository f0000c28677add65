"""Nothing is accepted unverified, nothing is lost: every signature forged, one end for each."""

from dataclasses import replace

import pytest

from dms3.core.errors import Failure, Retry
from dms3.core.limits import MAIL_DONE_MAX, MAIL_HELD_US_MAX, MAIL_POLL_PUSHED_US
from dms3.dm3.envelope import DeliveryInformation, enclose, open_delivery, with_postmark
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.lookup import Resolved
from dms3.dm3.message import MessageType, compose
from dms3.dm3.profile import UserProfile, fingerprint
from dms3.messaging.operations import AdoptSeed, State
from unit.messaging.kit import ALICE, BOB, EVE, SECOND, START_US, carried, pair

DAY = 24 * 3_600 * SECOND
EVE_KEYS = ProfileKeys.of_seed(EVE.seed(0))


def said(person=ALICE, to="bob.dms3", text="hi", generation=0, sent_ms=None, kind=MessageType.NEW):
    """A message as `person` signs it."""
    return compose(
        ProfileKeys.of_seed(person.seed(generation)),
        sender=f"{person.name}.dms3",
        receiver=to,
        sent_ms=START_US // 1_000 if sent_ms is None else sent_ms,
        type=kind,
        text=text,
        attachments=(),
    )


def sealed(world, message, person=ALICE, to=BOB, service="one.bob.dms3"):
    """`message` in an envelope for Bob and a service of his."""
    keys = ProfileKeys.of_seed(to.seed(0))
    profile = UserProfile((service,), keys.encryption_public, keys.signing_public)
    signer = ProfileKeys.of_seed(person.seed(0))
    return enclose(message, signer, profile, world.services[service].profile, world.entropy)


def give(world, envelope, told=None, service="one.bob.dms3", wall_ms=None, keys=None):
    """The service has the envelope for Bob, and pushes."""
    at = world.services[service]
    told = told or open_delivery(at.keys.encryption_secret, envelope)
    at.store(told, envelope, wall_ms, keys)
    world.run()
    world.later(SECOND)


def refused(node):
    """The reasons of what was proven wrong, newest first."""
    return [each.reason for each in node.ask("refused")]


def left(world, service="one.bob.dms3"):
    """How many envelopes wait for Bob at the service."""
    return len(world.services[service].waiting.get("bob.dms3", ()))


@pytest.fixture
def mail():
    world, alice, bob = carried(["one", "two"])
    return world, alice, bob


def test_a_message_of_its_sender_is_kept_and_acknowledged(mail):
    world, _, bob = mail
    message = said()
    give(world, sealed(world, message))
    kept = bob.kept[message.hash]
    assert (kept.state, kept.information) == (State.RECEIVED, "")
    assert kept.order_ms == world.services["one.bob.dms3"].world.now.wall_us // 1_000 - 1_000
    assert left(world) == 0


def test_a_forged_sender_is_refused_recorded_told_once_and_acknowledged(mail):
    world, _, bob = mail
    message = replace(said(EVE), sender="alice.dms3")
    message = replace(message, signature=EVE_KEYS.sign(message.signed_text()))
    give(world, sealed(world, message, EVE))
    assert bob.kept == {}
    assert refused(bob) == ["It says that it is from alice.dms3, who did not sign it."]
    assert len(bob.topics("message.refused")) == 1
    assert bob.topics("message.new") == []
    assert left(world) == 0


@pytest.mark.parametrize("change", ["text", "sent_ms", "type", "receiver"])
def test_a_message_changed_after_it_was_signed_is_refused(mail, change):
    world, _, bob = mail
    world.records["bobby.dms3"] = world.records["bob.dms3"]
    values = {"text": "ho", "sent_ms": 5, "type": MessageType.REPLY, "receiver": "bobby.dms3"}
    message = replace(said(), **{change: values[change]})
    give(world, sealed(world, message), DeliveryInformation("alice.dms3", "bob.dms3"))
    assert bob.kept == {}
    assert refused(bob) == ["It says that it is from alice.dms3, who did not sign it."]


def test_a_message_to_somebody_else_is_refused(mail):
    world, _, bob = mail
    message = said(to="eve.dms3")
    world.records["eve.dms3"] = Resolved("eve.dms3", EVE.address, None, None, "dms3", "")
    give(world, sealed(world, message), DeliveryInformation("alice.dms3", "bob.dms3"))
    assert refused(bob) == ["It was written to eve.dms3, who is somebody else."]
    assert left(world) == 0


def test_a_message_to_another_name_of_mine_is_kept(mail):
    world, _, bob = mail
    message = said(to="bob.eth")
    world.records["bob.eth"] = Resolved("bob.eth", BOB.address.lower(), None, None, "ens", "")
    give(world, sealed(world, message), DeliveryInformation("alice.dms3", "bob.dms3"))
    assert bob.kept[message.hash].state is State.RECEIVED


def test_an_envelope_that_names_another_message_is_refused_and_the_other_still_comes(mail):
    world, _, bob = mail
    wanted = said(text="the true one")
    liar = replace(sealed(world, said(EVE, text="x"), EVE), message_hash=wanted.hash)
    give(world, liar, DeliveryInformation("eve.dms3", "bob.dms3"))
    assert "not the one that the envelope names" in refused(bob)[0]
    give(world, sealed(world, wanted, service="two.bob.dms3"), service="two.bob.dms3")
    assert bob.kept[wanted.hash].state is State.RECEIVED


def test_a_postmark_of_another_key_is_not_believed_and_shown(mail):
    world, _, bob = mail
    message = said()
    give(world, sealed(world, message), wall_ms=17, keys=EVE_KEYS)
    kept = bob.kept[message.hash]
    assert kept.order_ms == message.sent_ms
    assert kept.information == "one.bob.dms3 did not sign when it took the message."


def test_a_postmark_of_the_future_counts_as_now(mail):
    world, _, bob = mail
    message = said()
    far_ms = (START_US + 900 * DAY) // 1_000
    give(world, sealed(world, message), wall_ms=far_ms)
    assert bob.kept[message.hash].order_ms <= world.now.wall_us // 1_000


def test_the_earliest_postmark_counts_whichever_came_first(mail):
    world, _, bob = mail
    message = said()
    early_ms = START_US // 1_000 - 5_000
    give(world, sealed(world, message))
    assert bob.kept[message.hash].order_ms > early_ms
    envelope = sealed(world, message, service="two.bob.dms3")
    give(world, envelope, service="two.bob.dms3", wall_ms=early_ms)
    assert bob.kept[message.hash].order_ms == early_ms
    assert len(bob.topics("message.request")) == 1


def test_delivery_information_that_disagrees_is_shown_as_such(mail):
    world, _, bob = mail
    message = said()
    give(world, sealed(world, message), DeliveryInformation("eve.dms3", "bob.dms3"))
    kept = bob.kept[message.hash]
    assert kept.sender == "alice.dms3"
    assert kept.information == "one.bob.dms3 says it is from eve.dms3."
    assert world.services["one.bob.dms3"].acknowledged == [("eve.dms3", message.hash)]


def test_what_was_signed_beside_what_the_service_opened_is_checked(mail):
    world, alice, bob = mail
    for signer, said_of_it in ((ALICE, ""), (EVE, "not signed by who signed the message")):
        message = said(text=signer.name)
        envelope = sealed(world, message, signer)
        told = DeliveryInformation("alice.dms3", "bob.dms3")
        stamped = with_postmark(envelope, "x", told)
        give(world, replace(stamped, sealed=envelope.delivery), told)
        assert said_of_it in bob.kept[message.hash].information
    assert bob.kept[message.hash].information != ""
    assert alice.kept == {}


def test_a_replayed_envelope_changes_nothing(mail):
    world, _, bob = mail
    message = said()
    envelope = sealed(world, message)
    give(world, envelope)
    before = dict(bob.kept)
    for service in ("one.bob.dms3", "two.bob.dms3"):
        told = DeliveryInformation("alice.dms3", "bob.dms3")
        give(world, envelope, told, service, wall_ms=world.now.wall_us // 1_000)
    assert set(bob.kept) == set(before)
    assert len(bob.topics("message.request")) == 1
    assert left(world) == left(world, "two.bob.dms3") == 0


def test_an_envelope_sealed_to_others_stays_at_its_service(mail):
    world, _, bob = mail
    give(world, sealed(world, said(), to=EVE), DeliveryInformation("alice.dms3", "bob.dms3"))
    assert (bob.kept, refused(bob), left(world)) == ({}, [], 1)
    state = next(each for each in bob.ask("services") if each.name == "one.bob.dms3")
    assert state.reachable
    assert "sealed to keys that this person does not have" in state.problem


def test_a_sender_who_cannot_be_looked_up_is_held_and_verified_later(mail):
    world, _, bob = mail
    world.lost["alice.dms3"] = Failure("timed_out", "Nobody answers.", Retry.LATER)
    message = said()
    give(world, sealed(world, message))
    assert (bob.kept, left(world)) == ({}, 1)
    assert bob.topics("message.request") == bob.topics("message.refused") == []
    bob.start()
    world.later(60 * SECOND)
    assert left(world) == 1
    del world.lost["alice.dms3"]
    world.later(MAIL_POLL_PUSHED_US)
    world.later(SECOND)
    assert bob.kept[message.hash].state is State.RECEIVED
    assert left(world) == 0


def test_what_somebody_known_seems_to_say_is_shown_as_held_and_told_when_verified(mail):
    world, _, bob = mail
    bob.send("alice.dms3", "hello Alice")
    world.lost["alice.dms3"] = Failure("timed_out", "Nobody answers.", Retry.LATER)
    message = said()
    give(world, sealed(world, message))
    kept = bob.kept[message.hash]
    assert kept.state is State.HELD
    assert kept.problem == (
        "alice.dms3 could not be looked up (Nobody answers). It is tried again."
    )
    del world.lost["alice.dms3"]
    world.later(MAIL_POLL_PUSHED_US)
    assert bob.kept[message.hash].state is State.RECEIVED
    assert [each["hash"] for each in bob.topics("message.new")] == [message.hash]


def test_a_sender_that_is_no_one_for_a_week_is_refused(mail):
    world, _, bob = mail
    del world.records["alice.dms3"]
    message = said()
    give(world, sealed(world, message))
    assert (refused(bob), left(world)) == ([], 1)
    world.leap(MAIL_HELD_US_MAX)
    world.later(2 * MAIL_POLL_PUSHED_US)
    assert refused(bob) == [
        "alice.dms3 could not be looked up for too long (Nobody has the name alice.dms3)."
    ]
    assert left(world) == 0


def test_new_keys_are_believed_only_when_the_record_has_them(mail):
    world, alice, bob = mail
    bob.send("alice.dms3")
    stale = world.records["alice.dms3"]
    newer = said(generation=1)
    give(world, sealed(world, newer))
    assert len(refused(bob)) == 1  # the record knows no such keys
    alice.ask("rotate")
    world.stale["alice.dms3"] = stale
    second = said(generation=1, text="under new keys")
    give(world, sealed(world, second))
    assert bob.kept[second.hash].state is State.RECEIVED
    assert bob.topics("person.changed") == [{"person": "alice.dms3", "name": "alice.dms3"}]
    (person,) = [each for each in bob.ask("people") if each.id == "alice.dms3"]
    assert person.changed
    assert not person.verified
    assert person.fingerprint == fingerprint(alice.ask("profile").profile)


def test_a_message_under_way_while_keys_changed_is_believed_by_its_postmark(mail):
    world, alice, bob = mail
    bob.send("alice.dms3")  # Bob has seen her keys
    early_ms = world.now.wall_us // 1_000
    world.later(10 * SECOND)
    alice.ask("rotate")
    give(world, sealed(world, said(generation=1, text="new")))
    before, after = said(text="sent before"), said(text="with keys that somebody kept")
    give(world, sealed(world, before), wall_ms=early_ms)
    assert bob.kept[before.hash].state is State.RECEIVED
    give(world, sealed(world, after), wall_ms=world.now.wall_us // 1_000)
    assert after.hash not in bob.kept
    assert len(refused(bob)) == 1


def test_messages_to_earlier_keys_of_mine_are_opened(mail):
    world, _, bob = mail
    envelope = sealed(world, said())
    bob.ask("rotate")
    bob.start()
    world.later(SECOND)
    give(world, envelope)
    assert len(bob.kept) == 1


def test_a_wallets_keys_can_be_the_current_ones(mail):
    world, alice, bob = mail
    adopted = ProfileKeys.of_seed(b"w" * 32)
    profile = bob.ask("adopt", AdoptSeed(b"w" * 32)).profile
    assert profile.signing == adopted.signing_public
    assert world.records["bob.dms3"].profile.profile == profile
    assert world.services["one.bob.dms3"].profiles["bob.dms3"].profile == profile
    sent = alice.send("bob.dms3")
    assert sent.hash in bob.kept
    bob.start()
    assert bob.ask("profile").profile == profile


def test_a_crowd_of_services_that_repeat_themselves_stays_bounded():
    world, _, bob = pair()
    inbox = bob.machine._receiving.inbox
    inbox._done = {number.to_bytes(4, "big"): "" for number in range(MAIL_DONE_MAX)}
    world.service("one.bob.dms3")
    bob.ask("carry", "one.bob.dms3")
    give(world, sealed(world, said()))
    assert len(inbox._done) == MAIL_DONE_MAX
