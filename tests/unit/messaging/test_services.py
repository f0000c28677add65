"""Own delivery services: unkind, lying or away; taking one on, leaving one."""

import pytest

from dms3.core.errors import Dms3Error, Failure, Retry
from dms3.core.limits import (
    MAIL_CARRIERS_MAX,
    MAIL_FETCH_WAIT_US,
    MAIL_LEAVING_US,
    MAIL_POLL_PUSHED_US,
    MAIL_SHARE_AGAIN_US,
    MAIL_UNSHARED_MAX,
)
from dms3.dm3.envelope import DeliveryInformation
from dms3.messaging.operations import State
from dms3.storage.operations import Durable
from unit.messaging.kit import SECOND, carried, pair
from unit.messaging.test_verifying import give, left, refused, said, sealed

HOUR = 3_600 * SECOND


@pytest.fixture
def mail():
    world, alice, bob = carried(["one", "two"])
    return world, alice, bob


def one(world):
    return world.services["one.bob.dms3"]


def state(bob, name="one.bob.dms3"):
    return next(each for each in bob.ask("services") if each.name == name)


def test_what_waited_while_away_is_brought_at_the_start(mail):
    world, alice, bob = mail
    bob.killed = True
    sent = [alice.send("bob.dms3", f"{n}").hash for n in range(5)]
    world.later(24 * HOUR)
    bob.start()
    world.later(SECOND)
    assert list(bob.kept) == sent
    assert left(world) == left(world, "two.bob.dms3") == 0


def test_one_of_two_is_killed_and_nothing_is_lost_or_doubled(mail):
    world, alice, bob = mail
    bob.killed = True
    first = alice.send("bob.dms3", "both have it").hash
    one(world).down = True
    second = alice.send("bob.dms3", "one has it").hash
    bob.start()
    world.later(SECOND)
    assert list(bob.kept) == [first, second]
    assert not state(bob).reachable
    assert "one.bob.dms3 did not answer (timed out after 5 s). It is asked again in" in (
        state(bob).problem
    )
    one(world).down = False
    world.later(HOUR)
    assert list(bob.kept) == [first, second]
    assert state(bob).reachable
    assert left(world) == 0


def test_a_service_that_is_away_is_asked_later_each_time(mail):
    world, _, bob = mail
    one(world).down = True
    world.later(HOUR)
    world.asked.clear()
    world.later(HOUR)
    tries = [
        each for node, each in world.asked if node is bob and "one.bob" in repr(each.arguments)
    ]
    assert 2 * 3600 // 300 - 2 <= len(tries) <= 2 * 3600 // 300 + 2  # resolve and incoming
    told = [each for each in bob.topics("message.service") if each["name"] == "one.bob.dms3"]
    assert not told[-1]["reachable"]


def test_it_is_asked_from_time_to_time_though_it_never_pushes(mail):
    world, alice, bob = mail
    bob.listening.clear()
    bob.listening = set()
    sent = alice.send("bob.dms3").hash
    assert sent not in bob.kept
    world.later(MAIL_POLL_PUSHED_US)
    assert sent in bob.kept


def test_a_session_that_ended_is_begun_again(mail):
    world, alice, bob = mail
    before = one(world).logins
    one(world).tokens.clear()
    world.services["two.bob.dms3"].tokens.clear()
    sent = alice.send("bob.dms3").hash
    assert sent in bob.kept
    assert one(world).logins == before + 1


def test_nothing_is_acknowledged_before_all_devices_can_read_it(mail):
    world, alice, bob = mail
    bob.durable = Durable(shared=False, waiting_for=("phone",))
    sent = alice.send("bob.dms3").hash
    world.later(HOUR)
    assert sent in bob.kept
    assert (left(world), one(world).acknowledged) == (1, [])
    bob.durable = Durable(shared=True)
    world.later(2 * MAIL_SHARE_AGAIN_US)
    assert one(world).acknowledged == [("alice.dms3", sent)]
    assert left(world) == 0


def test_nothing_more_is_received_while_storage_lacks_too_much(mail):
    world, alice, bob = mail
    sharing = bob.machine._grounds.sharing
    sharing._rows |= {b"%d" % number: [] for number in range(MAIL_UNSHARED_MAX)}
    sent = alice.send("bob.dms3").hash
    assert sent not in bob.kept
    assert "Storage has not taken" in state(bob).problem
    sharing._rows.clear()
    world.later(2 * MAIL_POLL_PUSHED_US)
    assert sent in bob.kept


def test_nothing_is_acknowledged_that_could_not_be_kept(mail):
    world, alice, bob = mail
    bob.keep_failure = Failure("disk_full", "The disk is full.")
    sent = alice.send("bob.dms3").hash
    world.later(HOUR)
    assert left(world) == 1
    assert "could not be kept: The disk is full" in state(bob).problem
    bob.keep_failure = None
    world.later(2 * MAIL_POLL_PUSHED_US)
    assert sent in bob.kept
    assert left(world) == 0


def test_an_acknowledgement_that_failed_is_sent_again(mail):
    world, alice, bob = mail
    real = one(world).answer

    def failing(operation, asked):
        if operation == "acknowledge":
            return Failure("timed_out", "No answer.", Retry.LATER)
        return real(operation, asked)

    one(world).answer = failing
    alice.send("bob.dms3")
    world.later(10 * SECOND)
    assert left(world) == 1
    one(world).answer = real
    world.later(10 * SECOND)
    assert left(world) == 0
    assert len(bob.kept) == 1


def test_a_service_that_never_deletes_shows_nothing_twice(
    mail,
):
    world, alice, bob = mail
    sent = alice.send("bob.dms3").hash
    kept_text = None
    real = one(world).answer

    def hoarding(operation, asked):
        nonlocal kept_text
        body = real(operation, asked)
        if operation == "incoming":
            kept_text = kept_text or body
            return kept_text * 3
        return body

    one(world).answer = hoarding
    bob.start()
    other = alice.send("bob.dms3").hash
    world.later(10 * MAIL_POLL_PUSHED_US)
    assert set(bob.kept) == {sent, other}
    assert len(bob.topics("message.request")) == 1


def test_a_service_that_withholds_is_made_up_for_by_the_other(mail):
    world, alice, bob = mail
    one(world).store = lambda *_: None
    sent = alice.send("bob.dms3").hash
    assert sent in bob.kept


def test_a_service_that_reorders_changes_no_order(mail):
    world, _, bob = mail
    bob.killed = True
    messages = [said(text=f"{n}", sent_ms=1_000 + n) for n in range(6)]
    for message in messages:
        at = one(world)
        at.store(DeliveryInformation("alice.dms3", "bob.dms3"), sealed(world, message))
        world.later(SECOND)
    one(world).waiting["bob.dms3"].reverse()
    bob.start()
    world.later(SECOND)
    assert bob.conversation("alice.dms3") == [message.hash for message in messages]


@pytest.mark.parametrize("junk", ["", "{}", "[]", "null", '{"message":1}', "\ud800"])
def test_a_service_that_talks_nonsense_loses_nothing(mail, junk):
    world, alice, bob = mail
    one(world).waiting["bob.dms3"] = [junk]
    sent = alice.send("bob.dms3").hash
    world.later(SECOND)
    assert sent in bob.kept
    assert refused(bob) == []
    assert "cannot be read" in state(bob).problem


def test_two_services_share_nothing_that_a_lie_of_one_could_spoil(mail):
    """A service sees hashes: it offers rubbish under the hash of what the other one has."""
    world, _, bob = mail
    wanted = said(text="true")
    rubbish = sealed(world, said(text="false"))
    lie = rubbish.text().replace(rubbish.message_hash, wanted.hash)
    bob.killed = True
    one(world).waiting["bob.dms3"] = [lie]
    bob.start()
    world.later(SECOND)
    give(world, sealed(world, wanted, service="two.bob.dms3"), service="two.bob.dms3")
    assert bob.kept[wanted.hash].state is State.RECEIVED


# Taking on and leaving


def test_a_service_is_listed_only_when_it_took_the_profile():
    world, alice, bob = pair()
    service = world.service("one.bob.dms3")
    service.down = True
    with pytest.raises(Dms3Error, match=r"does not take your profile.*Nothing was changed"):
        bob.ask("carry", "one.bob.dms3")
    assert bob.ask("profile").profile.delivery_services == ("bob-1.dms3",)
    service.down = False
    carrier = bob.ask("carry", "one.bob.dms3")
    assert (carrier.url, carrier.reachable, carrier.problem) == (service.url, True, "")
    assert bob.ask("profile").profile.delivery_services == ("one.bob.dms3", "bob-1.dms3")
    assert world.records["bob.dms3"].profile == bob.ask("profile")
    assert alice.ask("services") == ()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("alice-1.dms3", "no delivery service that takes messages for others"),
        ("alice.dms3", "no delivery service"),
        ("nobody.dms3", "Nobody has the name"),
        ("not a name", "is no name"),
    ],
)
def test_what_is_no_service_is_not_taken_on(name, why):
    _, _, bob = pair()
    with pytest.raises(Dms3Error, match=why):
        bob.ask("carry", name)


def test_services_are_bounded():
    world, _, bob = pair()
    for number in range(MAIL_CARRIERS_MAX):
        name = f"s{number}.dms3"
        world.service(name)
        if number < MAIL_CARRIERS_MAX - 1:  # the node itself is one
            bob.ask("carry", name)
    with pytest.raises(Dms3Error, match=f"{MAIL_CARRIERS_MAX} services carry your messages"):
        bob.ask("carry", name)


def test_leaving_fetches_first_and_tells_everybody(mail):
    world, alice, bob = mail
    bob.listening = set()
    sent = alice.send("bob.dms3").hash
    assert sent not in bob.kept
    request = bob.call("uncarry", "one.bob.dms3")
    world.later(SECOND)
    assert bob.answers[request] is None
    assert sent in bob.kept
    assert left(world) == 0
    assert "one.bob.dms3" not in world.records["bob.dms3"].profile.profile.delivery_services


def test_a_service_that_does_not_answer_is_not_left(mail):
    world, _, bob = mail
    one(world).down = True
    with pytest.raises(Dms3Error, match=r"could not be fetched: .*still carries"):
        bob.ask("uncarry", "one.bob.dms3")
    assert "one.bob.dms3" in bob.ask("profile").profile.delivery_services


def test_a_service_is_not_left_while_other_devices_lack_what_it_gave(mail):
    world, alice, bob = mail
    bob.durable = Durable(shared=False)
    alice.send("bob.dms3")
    request = bob.call("uncarry", "one.bob.dms3")
    world.later(HOUR)
    assert "1 messages at one.bob.dms3 are not yet where" in bob.answers[request].message
    assert left(world) == 1


def test_what_comes_to_a_service_after_it_was_left_is_still_brought(mail):
    world, _, bob = mail
    request = bob.call("uncarry", "one.bob.dms3")
    world.later(SECOND)
    assert bob.answers[request] is None
    message = said()
    give(world, sealed(world, message))
    world.later(MAIL_POLL_PUSHED_US)
    assert message.hash in bob.kept
    bob.start()
    world.leap(MAIL_LEAVING_US)
    bob.start()
    world.later(SECOND)
    assert [each.name for each in bob.ask("services")] == ["two.bob.dms3"]


def test_a_name_that_carries_nothing_cannot_be_left(mail):
    _, _, bob = mail
    with pytest.raises(Dms3Error, match="carries none of your messages"):
        bob.ask("uncarry", "three.dms3")


def test_fetch_counts_what_is_new_and_waits_no_longer_than_it_should(mail):
    world, alice, bob = mail
    bob.listening = set()
    alice.send("bob.dms3")
    alice.send("bob.dms3")
    assert bob.ask("fetch") == 2
    assert bob.ask("fetch") == 0
    request = bob.call("fetch")
    world.queue.clear()  # the services say nothing
    world.later(MAIL_FETCH_WAIT_US - 1)
    assert request not in bob.answers
    world.later(1)
    assert bob.answers[request] == 0


def test_fetch_fails_when_no_service_answers(mail):
    world, _, bob = mail
    for service in world.services.values():
        service.down = True
    with pytest.raises(Dms3Error, match="did not answer"):
        bob.ask("fetch")
    assert pair()[2].ask("fetch") == 0  # nobody carries: there is nothing to ask


def test_new_keys_reach_services_before_messages_are_sealed_to_them(mail):
    world, alice, bob = mail
    bob.ask("rotate")
    assert one(world).profiles["bob.dms3"] == bob.ask("profile")
    sent = alice.send("bob.dms3").hash
    world.later(MAIL_POLL_PUSHED_US)
    assert sent in bob.kept
