"""One letter for several services: sealed once, told to each in secret whom it is for."""

from dms3.dm3.envelope import decode_envelope, is_envelope_by, open_delivery, open_envelope
from dms3.dm3.keys import ProfileKeys
from unit.messaging.kit import ALICE, BOB, carried


def submitted(world):
    return [each.arguments for _, each in world.asked if each.port == "courier.submit"]


def test_the_message_is_sealed_once_and_every_envelope_holds():
    world, alice, bob = carried(["one", "two"])
    sent = alice.send("bob.dms3", "hello Bob")
    first, second = submitted(world)[:2]
    texts = [first.envelope, second.envelope, first.legacy, second.legacy]
    envelopes = [decode_envelope(text) for text in texts]
    assert len({one.message for one in envelopes}) == 1
    assert len({one.delivery for one in envelopes}) == 2
    assert [one.legacy for one in envelopes] == [False, False, True, True]
    alice_signs = ProfileKeys.of_seed(ALICE.seed(0)).signing_public
    secret = ProfileKeys.of_seed(BOB.seed(0)).encryption_secret
    for envelope, submit in zip(envelopes, (first, second, first, second), strict=True):
        assert is_envelope_by(envelope, alice_signs)
        assert open_envelope(secret, envelope).hash == sent.hash
        service = next(each for each in world.services.values() if each.url == submit.url)
        told = open_delivery(service.keys.encryption_secret, envelope)
        assert (told.sender, told.receiver) == ("alice.dms3", "bob.dms3")
    assert list(bob.kept) == [sent.hash]


def test_the_older_form_is_received_too():
    world, alice, bob = carried(["one"])
    alice.send("bob.dms3", "hello Bob")
    old = decode_envelope(submitted(world)[0].legacy)
    bob.kept.clear()
    service = world.services["one.bob.dms3"]
    service.store(open_delivery(service.keys.encryption_secret, old), old)
    world.later(1_000_000)
    assert len(bob.kept) == 1
    assert service.acknowledged[-1] == ("alice.dms3", old.message_hash)
