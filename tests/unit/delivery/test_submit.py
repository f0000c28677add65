"""What a delivery service takes and what it refuses, every line of bad input; quotas and rules."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from dms3.core import limits
from dms3.core.errors import Dms3Error
from dms3.delivery import admission
from dms3.delivery.properties import Properties
from dms3.dm3.envelope import (
    DeliveryInformation,
    decode_envelope,
    enclose,
    is_envelope_by,
    open_envelope,
)
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.postmark import is_postmark_by, open_postmark
from dms3.dm3.sealing import seal_text
from dms3.io import mailroom
from dms3.node import delivery_names
from unit.delivery_kit import (
    ALICE,
    BOB,
    DAY_US,
    MALLORY,
    Person,
    Post,
    World,
    post_office,
    refused,
)
from unit.fronts import in_loop


def resigned(envelope, keys: ProfileKeys, **changed: Any):
    """The envelope with other metadata, signed by whoever has `keys`."""
    other = replace(envelope, **changed)
    return replace(other, signature=keys.sign(other.signed_text()))


def informed(post: Post, sender: str, receiver: str) -> str:
    """Delivery information sealed to the service."""
    text = json.dumps(DeliveryInformation(sender, receiver).value())
    return seal_text(post.profile.encryption, text, post.drawn)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("shape", ["text", "object"])
@in_loop
async def test_what_the_receiver_gets_is_what_was_sent(tmp_path, legacy, shape):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        envelope = post.envelope("Grüße 🎉", legacy=legacy)
        given = envelope.text() if shape == "text" else envelope.value()
        assert (await post.rpc("dm3_submitMessage", given)).text == "OK"
        session = await post.login(BOB)
        (found,) = await post.incoming(BOB, session)
        got = decode_envelope(found)
        message = open_envelope(BOB.keys.encryption_secret, got)
        assert message == post.message("Grüße 🎉")
        assert got.delivery == DeliveryInformation("alice.eth", "bob.eth")
        postmark = open_postmark(BOB.keys.encryption_secret, got)
        assert is_postmark_by(postmark, got, post.profile.signing)
        assert postmark.incoming_ms == post.world.now().wall_us // 1_000


@pytest.mark.parametrize("postmark", ["", "forged", '{"metadata":{"deliveryInformation":"x"}}'])
@in_loop
async def test_a_postmark_of_the_sender_is_replaced(tmp_path, postmark):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        await post.submit(replace(post.envelope(), postmark=postmark))
        (found,) = await post.incoming(BOB, await post.login(BOB))
        got = decode_envelope(found)
        opened = open_postmark(BOB.keys.encryption_secret, got)
        assert is_postmark_by(opened, got, post.profile.signing)


@in_loop
async def test_what_was_sealed_is_there_for_who_asks(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        envelope = post.envelope()
        await post.submit(envelope)
        session = await post.login(BOB)
        (found,) = await post.incoming(BOB, session, sealed="true")
        assert found["metadata"]["deliveryInformation"] == {"from": "alice.eth", "to": "bob.eth"}
        found["metadata"]["deliveryInformation"] = found.pop("sealedDeliveryInformation")
        assert is_envelope_by(decode_envelope(found), ALICE.keys.signing_public)


@in_loop
async def test_any_name_of_the_receiver_leads_to_the_same_account(tmp_path):
    world = World()
    world.know(BOB, "bob.dms3")
    async with post_office(tmp_path, world) as post:
        await post.register(BOB)
        for name in ("bob.dms3", "BOB.eth", BOB.address):
            await post.submit(post.envelope(name, to=replace(BOB, name=name)))
        session = await post.login(BOB)
        assert len(await post.incoming(BOB, session)) == 3


# forged and altered


@in_loop
async def test_a_forged_sender_is_refused(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        forged = replace(MALLORY, name="alice.eth")  # her keys, alice's name
        error = await refused(post, post.envelope(by=forged), "content_invalid")
        assert "not signed with the key in the profile of alice.eth" in str(error["message"])


@in_loop
async def test_metadata_changed_on_the_way_is_refused(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        one, other = post.envelope("one"), post.envelope("other")
        for changed in (
            replace(one, message_hash=other.message_hash),
            replace(one, delivery=other.delivery),
            replace(one, delivery=informed(post, "alice.eth", "bob.eth")),
            replace(one, signature=other.signature),
        ):
            await refused(post, changed, "content_invalid")


@in_loop
async def test_a_sealed_message_swapped_in_the_older_form_is_refused(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        one, other = post.envelope("one", legacy=True), post.envelope("other", legacy=True)
        await refused(post, replace(one, message=other.message), "content_invalid")


@in_loop
async def test_a_sender_with_new_keys_is_believed_after_one_more_look(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        await post.submit(post.envelope("old keys"))
        new = ProfileKeys.of_seed(bytes([77]) * 32)
        message = post.message("new keys")
        envelope = enclose(message, new, BOB.signed().profile, post.profile, post.drawn)
        await refused(post, envelope, "content_invalid")
        post.world.know(ALICE, signed=ALICE.signed(new))
        error = await refused(post, envelope, "content_invalid")  # just looked: not again at once
        assert error
        post.world.pass_us(limits.MAIL_NAME_AGAIN_US)
        assert (await post.submit(envelope)).text == "OK"
        fresh = [asked.fresh for asked in post.world.asked if asked.name == "alice.eth"]
        assert fresh == [False, True, True]


@in_loop
async def test_delivery_information_that_is_not_for_this_service(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        other = ProfileKeys.of_seed(bytes([9]) * 32)
        sealed = seal_text(
            other.encryption_public, '{"from":"alice.eth","to":"bob.eth"}', post.drawn
        )
        envelope = resigned(post.envelope(), ALICE.keys, delivery=sealed)
        await refused(post, envelope, "content_invalid")
        plain = resigned(
            post.envelope(), ALICE.keys, delivery=DeliveryInformation("alice.eth", "bob.eth")
        )
        await refused(post, plain, "content_invalid")
        for text in ("{}", '{"from":1,"to":"bob.eth"}', "[]", "x", '{"from":"a","to":"b","c":1}'):
            sealed = seal_text(post.profile.encryption, text, post.drawn)
            envelope = resigned(post.envelope(), ALICE.keys, delivery=sealed)
            await refused(post, envelope, "content_invalid")


@in_loop
async def test_a_receiver_without_an_account(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        await refused(post, post.envelope(to=MALLORY), "not_found")
        nobody = Person("nobody.eth", 9)
        await refused(post, post.envelope(to=nobody), "not_found")


@in_loop
async def test_names_that_are_none(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        for sender, receiver in (("", "bob.eth"), ("alice.eth", ""), ("\u202e.eth", "bob.eth")):
            delivery = informed(post, sender, receiver)
            envelope = resigned(post.envelope(), ALICE.keys, delivery=delivery)
            await refused(post, envelope, "argument_invalid")


@in_loop
async def test_a_name_that_the_reference_takes_for_anothers_is_not_taken_for_it(tmp_path):
    world = World()
    strasse, other = Person("strasse.eth", 4), Person("straße.eth", 5)
    world.know(strasse)
    world.know(other)
    async with post_office(tmp_path, world) as post:
        await post.register(BOB)
        forged = replace(other, name="strasse.eth")  # the keys of straße.eth
        await refused(post, post.envelope(by=forged), "content_invalid")
        assert (await post.submit(post.envelope(by=other))).text == "OK"
        assert (await post.submit(post.envelope("x", by=strasse))).text == "OK"
        session = await post.login(BOB)
        await post.acknowledge(BOB, session, ("strasse.eth", post.message("x", by=strasse).hash))
        (left,) = await post.incoming(BOB, session)
        assert left["metadata"]["deliveryInformation"]["from"] == "straße.eth"


# form and size


@in_loop
async def test_malformed_json_at_each_depth(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        value = post.envelope().value()
        texts: list[tuple[bytes, int, str]] = [
            (b"", 400, "Bad Request"),
            (b"[]", 400, "Bad Request"),
            (b"1", 400, "Bad Request"),
            (b'{"method":"dm3_submitMessage"}', 400, "Envelop missing"),
            (b'{"method":"dm3_submitMessage","params":[]}', 400, "Envelop missing"),
            (b'{"method":"dm3_submitMessage","params":{}}', 400, "Envelop missing"),
            (b'{"method":"dm3_submitMessage","params":[""]}', 400, "Envelop missing"),
            (b'{"method":"dm3_submitMessage","params":["{"]}', 400, "Error parsing envelop"),
            (b'{"method":"dm3_submitMessage","params":["{\\"a\\":1,\\"a\\":1}"]}', 400, "Error"),
            (b'{"method":"dm3_submitMessage","params":["\\ud800"]}', 400, "not JSON"),
        ]
        for body, status, words in texts:
            answer = await post.client.post("/dm3/rpc", content=body)
            assert (answer.status_code, words in answer.text) == (status, True), (body, answer.text)
        answer = await post.client.post("/dm3/rpc", content=b'{"method":')
        assert answer.status_code == 400
        assert answer.json()["error"]["data"]["code"] == "body_malformed"
        deep = b"[" * 5_000 + b"]" * 5_000
        assert (await post.client.post("/dm3/rpc", content=deep)).status_code == 400
        for wrong in (
            [],
            {"message": "x"},
            {"message": 1, "metadata": value["metadata"]},
            {**value, "more": 1},
            {**value, "metadata": []},
            {**value, "metadata": {**value["metadata"], "more": 1}},
            {**value, "metadata": {**value["metadata"], "messageHash": "0xAB"}},
            {**value, "metadata": {**value["metadata"], "signature": "@@"}},
            {**value, "metadata": {**value["metadata"], "version": "v2"}},
            {**value, "metadata": {**value["metadata"], "encryptionScheme": "rot13"}},
            {**value, "metadata": {**value["metadata"], "encryptedMessageHash": "0x" + "0" * 64}},
            {**value, "postmark": 1},
        ):
            for given in (json.dumps(wrong), wrong):
                answer = await post.rpc("dm3_submitMessage", given)
                assert answer.status_code == 400
                if wrong:
                    assert answer.json()["error"] == "invalid schema"
                    assert answer.json()["hint"]
        assert post.rows("mail_message") == 0


@in_loop
async def test_size_has_two_sides(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        exact = len(post.envelope("x" * 3_000).text().encode())
    (tmp_path / "store.db").unlink()
    async with post_office(tmp_path, properties=Properties(envelope_bytes=exact)) as post:
        await post.register(BOB)
        assert (await post.submit(post.envelope("x" * 3_000))).text == "OK"
        await refused(post, post.envelope("x" * 6_000), "body_too_large")
        answer = await post.rpc("dm3_getDeliveryServiceProperties")
        assert json.loads(answer.json()["result"])["sizeLimit"] == exact


@in_loop
async def test_a_body_beyond_every_limit_is_not_read(tmp_path):
    async with post_office(tmp_path) as post:
        answer = await post.client.post(
            "/dm3/rpc", content=b"x" * (limits.PUBLIC_BODY_BYTES_MAX + 1)
        )
        assert answer.status_code == 413
        assert answer.json()["code"] == "body_too_large"


# duplicates


@in_loop
async def test_a_replayed_envelope_is_taken_without_effect(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        envelope = post.envelope()
        for _ in range(3):
            assert (await post.submit(envelope)).text == "OK"
        session = await post.login(BOB)
        assert len(await post.incoming(BOB, session)) == 1
        await post.acknowledge(BOB, session, ("alice.eth", envelope.message_hash))
        assert (await post.submit(envelope)).text == "OK"  # again, after it was picked up
        assert await post.incoming(BOB, session) == []
        assert (post.service.figures.accepted, post.service.figures.duplicates) == (1, 3)
        # The same message sealed anew is what somebody sends who was asked to send it again.
        assert (await post.submit(post.envelope())).text == "OK"
        assert len(await post.incoming(BOB, session)) == 1


@in_loop
async def test_marks_of_what_was_picked_up_are_forgotten_in_time(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        envelope = post.envelope()
        await post.submit(envelope)
        session = await post.login(BOB)
        await post.acknowledge(BOB, session, ("alice.eth", envelope.message_hash))
        assert post.rows("mail_seen") == 1
        room = post.service._room
        now_ms = post.world.now().wall_us // 1_000
        assert room.expire(0, now_ms + limits.MAIL_SEEN_MS).result() == 0
        assert room.expire(0, now_ms + limits.MAIL_SEEN_MS + 1).result() == 1
        assert post.rows("mail_seen") == 0


@in_loop
async def test_the_same_hash_of_another_sender_is_another_message(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        envelope = post.envelope()
        delivery = informed(post, "mallory.eth", "bob.eth")
        forged = resigned(envelope, MALLORY.keys, delivery=delivery)
        assert forged.message_hash == envelope.message_hash
        assert (await post.submit(forged)).text == "OK"
        assert (await post.submit(envelope)).text == "OK"
        session = await post.login(BOB)
        found = await post.incoming(BOB, session)
        senders = [one["metadata"]["deliveryInformation"]["from"] for one in found]
        assert senders == ["alice.eth", "mallory.eth"]


# when names do not answer


@in_loop
async def test_a_sender_who_cannot_be_asked_now_is_told_to_come_back(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        post.world.failing = "peer_unreachable"
        error = await refused(post, post.envelope(), "timed_out", 503)
        assert error["data"]["retry"] == "later"  # type: ignore[index]
        assert error["code"] == -32002
        post.world.failing = ""
        assert (await post.submit(post.envelope())).text == "OK"


@in_loop
async def test_a_profile_seen_within_the_hour_is_believed_while_names_do_not_answer(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        await post.submit(post.envelope("one"))
        post.world.failing = "timed_out"
        post.world.pass_us(limits.MAIL_NAME_STALE_US - 1)
        assert (await post.submit(post.envelope("two"))).text == "OK"
        post.world.pass_us(1)
        await refused(post, post.envelope("three"), "timed_out", 503)


@in_loop
async def test_a_name_is_asked_again_after_a_minute(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        for wait_us, expected in ((0, 1), (limits.MAIL_NAME_FRESH_US - 1, 1), (1, 2)):
            post.world.pass_us(wait_us)
            await post.submit(post.envelope(str(wait_us)))
            asked = [one for one in post.world.asked if one.name == "alice.eth"]
            assert len(asked) == expected


@in_loop
async def test_a_name_is_asked_once_by_many_at_the_same_time(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        envelopes = [post.envelope(str(number)) for number in range(20)]
        answers = await asyncio.gather(*(post.submit(one) for one in envelopes))
        assert {answer.text for answer in answers} == {"OK"}
        assert len([one for one in post.world.asked if one.name == "alice.eth"]) == 1


@in_loop
async def test_a_sender_without_a_profile_is_refused_for_good(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        nobody = Person("nobody.eth", 8)
        error = await refused(post, post.envelope(by=nobody), "content_invalid")
        assert "no dm3 profile" in str(error["message"])
        known = post.world.names["alice.eth"]
        post.world.names["alice.eth"] = replace(known, profile=None)
        await refused(post, post.envelope(), "content_invalid")


# quotas


@in_loop
async def test_a_sender_fills_only_their_own_place(tmp_path, monkeypatch):
    monkeypatch.setattr(mailroom, "MAIL_SENDER_MESSAGES_MAX", 2)
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        for text in ("one", "two"):
            assert (await post.submit(post.envelope(text))).text == "OK"
        error = await refused(post, post.envelope("three"), "limit_reached", 429)
        assert error["code"] == -32005
        assert (await post.submit(post.envelope("x", by=MALLORY))).text == "OK"
        session = await post.login(BOB)
        await post.acknowledge(BOB, session, ("alice.eth", post.message("one").hash))
        assert (await post.submit(post.envelope("three"))).text == "OK"


@in_loop
async def test_a_mailbox_is_full_by_count(tmp_path, monkeypatch):
    monkeypatch.setattr(mailroom, "MAIL_ACCOUNT_MESSAGES_MAX", 2)
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        await post.submit(post.envelope("one"))
        await post.submit(post.envelope("two", by=MALLORY))
        await refused(post, post.envelope("three"), "limit_reached", 429)


@in_loop
async def test_a_mailbox_is_full_by_bytes(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        await post.submit(post.envelope("one"))
        size = (await post.service.totals()).bytes
    (tmp_path / "store.db").unlink()
    async with post_office(tmp_path, properties=Properties(account_bytes=2 * size)) as post:
        await post.register(BOB)
        for text in ("one", "two"):
            assert (await post.submit(post.envelope(text))).text == "OK"
        await refused(post, post.envelope("six"), "limit_reached", 429)


@in_loop
async def test_a_sender_who_sends_too_fast_waits(tmp_path, monkeypatch):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        monkeypatch.setattr(post.service._senders._rates, "_burst_us", 2 * 50_000)
        for text in ("one", "two"):
            assert (await post.submit(post.envelope(text))).text == "OK"
        await refused(post, post.envelope("three"), "limit_reached", 429)
        assert (await post.submit(post.envelope("x", by=MALLORY))).text == "OK"
        post.world.pass_us(50_000)
        assert (await post.submit(post.envelope("three"))).text == "OK"


# time


@in_loop
async def test_what_nobody_fetches_is_kept_as_long_as_the_operator_says(tmp_path):
    async with post_office(tmp_path, properties=Properties(keep_days=30)) as post:
        await post.register(BOB)
        await post.submit(post.envelope())
        room, properties = post.service._room, post.service.properties
        answer = await post.rpc("dm3_getDeliveryServiceProperties")
        assert json.loads(answer.json()["result"])["messageTTL"] == 30 * 24 * 3_600_000
        for passed_us, left in ((30 * DAY_US, 1), (1_000, 0)):
            post.world.pass_us(passed_us)
            now_ms = post.world.now().wall_us // 1_000
            room.expire(now_ms - properties.keep_ms, now_ms).result()
            assert post.rows("mail_message") == left
        assert (await post.service.totals()).bytes == 0


@in_loop
async def test_without_a_time_everything_is_kept(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        await post.submit(post.envelope())
        assert post.service.properties.keep_ms == 0


def test_a_time_is_none_or_at_least_thirty_days() -> None:
    assert Properties(keep_days=30).keep_ms > 0
    with pytest.raises(AssertionError):
        Properties(keep_days=29)


def test_admission_says_what_is_wrong_with_a_name() -> None:
    assert admission.named("Alice.ETH") == "alice.eth"
    for wrong in (None, 1, "", "x" * 256):
        with pytest.raises(Dms3Error) as caught:
            admission.named(wrong)
        assert caught.value.code == "argument_invalid"


@in_loop
async def test_a_sender_with_blanks_around_the_name_is_no_other_sender(tmp_path, monkeypatch):
    monkeypatch.setattr(mailroom, "MAIL_SENDER_MESSAGES_MAX", 1)
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        assert (await post.submit(post.envelope())).status_code == 200
        for name in ("alice.eth ", " alice.eth", "alice.eth\t", "alice.eth\n"):
            post.world.names[name] = post.world.names["alice.eth"]  # as names are looked up
            again = post.envelope(by=replace(ALICE, name=name))
            await refused(post, again, "content_invalid")
        assert post.rows("mail_message") == 1


@in_loop
async def test_the_contacts_of_who_runs_the_service_are_nobodys_here(tmp_path):
    async with post_office(tmp_path) as post:
        for name in ("bob", "bob smith"):
            post.world.names[name] = post.world.names["bob.eth"]  # a card in the node's book
            path = f"/dm3/profile/{name}"
            posted = await post.client.post(path, json=BOB.signed().value())
            assert posted.json()["error"] == f"{name!r} is no whole name."
            assert (await post.client.get(path)).status_code == 404
            assert (await post.client.get(f"/dm3/auth/{name}")).status_code == 404
        assert post.world.asked == []
        await post.register(BOB)
        asked = len(post.world.asked)
        await refused(post, post.envelope(to=replace(BOB, name="bob")), "not_found")
        assert len(post.world.asked) == asked


@in_loop
async def test_names_that_answer_slowly_hold_up_no_others(tmp_path, monkeypatch):
    world = World()
    slow, answer = asyncio.Event(), world.call

    async def call(operation, arguments):
        if arguments.name.endswith(".evil.eth"):
            await slow.wait()
        return await answer(operation, arguments)

    monkeypatch.setattr(world, "call", call)
    async with post_office(tmp_path, world) as post, asyncio.TaskGroup() as group:
        await post.register(BOB)
        most = limits.MAIL_LOOKUPS_PER_DOMAIN_MAX
        paths = [f"/dm3/profile/{number}.evil.eth" for number in range(2 * most)]
        asked = [group.create_task(post.client.get(path)) for path in paths]
        for _, done in zip(range(most), asyncio.as_completed(asked), strict=False):
            assert (await done).status_code == 503  # told at once; the others wait
        assert (await post.submit(post.envelope())).text == "OK"
        slow.set()


@in_loop
async def test_strangers_look_up_only_so_many_names_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(delivery_names, "MAIL_LOOKUPS_MAX", 2)
    world = World()
    slow, answer = asyncio.Event(), world.call

    async def call(operation, arguments):
        await slow.wait()
        return await answer(operation, arguments)

    monkeypatch.setattr(world, "call", call)
    async with post_office(tmp_path, world) as post, asyncio.TaskGroup() as group:
        paths = [f"/dm3/profile/a.{number}.eth" for number in range(3)]
        asked = [group.create_task(post.client.get(path)) for path in paths]
        assert (await next(asyncio.as_completed(asked))).status_code == 503
        slow.set()
        for task in asked:
            await task
        assert (await post.client.get("/dm3/profile/a.3.eth")).status_code == 404
