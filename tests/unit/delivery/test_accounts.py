"""Who registers, who logs in, whose session is good: accounts of a delivery service."""

import asyncio
import json
from dataclasses import replace

import pytest

from dms3.core import limits
from dms3.core.errors import Dms3Error
from dms3.delivery import challenges
from dms3.delivery.challenges import Challenges
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.profile import SignedProfile, UserProfile, sign_profile
from dms3.dm3.token import issue_session, token_secret
from dms3.io import mailroom, mailroom_accounts
from unit.delivery_kit import ALICE, BOB, MALLORY, World, claims, post_office
from unit.dm3_kit import Stream
from unit.fronts import in_loop

INCOMING = "/dm3/delivery/messages/incoming/bob.eth"
NOW_S = 1_800_000_000


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@in_loop
async def test_a_session_of_an_address_is_good_for_its_names(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        session = await post.login(BOB, BOB.address)
        for name in ("bob.eth", "BOB.eth", BOB.address, BOB.address.lower()):
            path = f"/dm3/delivery/messages/incoming/{name}"
            assert (await post.client.get(path, headers=session)).status_code == 200
        await post.register(ALICE)
        path = "/dm3/delivery/messages/incoming/alice.eth"
        assert (await post.client.get(path, headers=session)).status_code == 401


@in_loop
async def test_whoever_hands_in_a_public_profile_gets_no_session(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        await post.submit(post.envelope())
        public = (await post.client.get("/dm3/profile/bob.eth")).json()
        for name in ("bob.eth", BOB.address):
            answer = await post.client.post(f"/dm3/profile/{name}", json=public)
            session = bearer(answer.json())
            for path in (
                f"/dm3/delivery/messages/incoming/{name}",
                f"/dm3/storage/objects/{name}",
                f"/dm3/rules/{name}",
            ):
                assert (await post.client.get(path, headers=session)).status_code == 401
            answer = await post.acknowledge(
                replace(BOB, name=name), session, ("alice.eth", post.envelope().message_hash)
            )
            assert answer.status_code == 401
        assert post.rows("mail_message") == 1


@in_loop
async def test_a_session_is_not_of_a_name_that_the_reference_takes_for_it(tmp_path):
    world = World()
    victim, mallory = replace(BOB, name="strasse.eth"), replace(MALLORY, name="straße.eth")
    world.know(victim)
    world.know(mallory)
    async with post_office(tmp_path, world) as post:
        for person in (victim, mallory):
            await post.register(person)
        session, own = await post.login(mallory), await post.login(victim)
        path = f"/dm3/delivery/messages/incoming/{victim.name}"
        assert (await post.client.get(path, headers=session)).status_code == 401
        for person, headers in ((victim, own), (mallory, session)):
            assert await post.incoming(person, headers) == []


@in_loop
async def test_sessions_that_are_none(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        await post.register(MALLORY)
        other = token_secret(ProfileKeys.of_seed(bytes([5]) * 32))
        challenge = (await post.client.get("/dm3/auth/bob.eth")).json()
        good = (await post.login(BOB))["Authorization"].split()[1]
        head, body, signature = good.split(".")
        for header in (
            "",
            "Bearer",
            "Bearer x",
            f"Bearer {issue_session(other, 'bob.eth', NOW_S)}",
            f"Bearer {challenge}",
            f"Bearer {head}.{body}.",
            f"Bearer {head}.{body}.{signature[:-2]}xx",
            f"Bearer {'x' * 5_000}",
            (await post.login(MALLORY))["Authorization"],
        ):
            headers = {"Authorization": header} if header else {}
            answer = await post.client.get(INCOMING, headers=headers)
            assert (answer.status_code, answer.text) == (401, "Unauthorized"), header
        post.world.pass_us(3_600_000_000)  # an hour: it is over
        assert (await post.client.get(INCOMING, headers=bearer(good))).status_code == 401


@in_loop
async def test_a_challenge_is_used_once(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        challenge = (await post.client.get("/dm3/auth/bob.eth")).json()
        given = {"challenge": challenge, "signature": BOB.keys.sign(challenge)}
        assert (await post.client.post("/dm3/auth/bob.eth", json=given)).status_code == 200
        again = await post.client.post("/dm3/auth/bob.eth", json=given)
        assert (again.status_code, again.json()) == (
            400,
            {"error": "The challenge was used already."},
        )


@in_loop
async def test_a_challenge_is_used_once_also_at_the_same_moment(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        challenge = (await post.client.get("/dm3/auth/bob.eth")).json()
        given = {"challenge": challenge, "signature": BOB.keys.sign(challenge)}
        post.world.pass_us(limits.MAIL_NAME_FRESH_US)  # both wait for the name
        answers = await asyncio.gather(
            *(post.client.post("/dm3/auth/bob.eth", json=given) for _ in range(8))
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7


@in_loop
async def test_challenges_that_are_refused(tmp_path):
    async with post_office(tmp_path) as post:
        for person in (BOB, MALLORY):
            await post.register(person)
        challenge = (await post.client.get("/dm3/auth/bob.eth")).json()
        session = (await post.login(BOB))["Authorization"].split()[1]
        wrong = [
            {"challenge": challenge, "signature": MALLORY.keys.sign(challenge)},
            {"challenge": challenge, "signature": "not base64"},
            {"challenge": challenge, "signature": BOB.keys.sign(challenge + "x")},
            {"challenge": session, "signature": BOB.keys.sign(session)},
            {"challenge": "x", "signature": BOB.keys.sign("x")},
        ]
        for given in wrong:
            answer = await post.client.post("/dm3/auth/bob.eth", json=given)
            assert answer.status_code == 400
            assert set(answer.json()) == {"error"}
        for given in ({}, {"challenge": challenge}, {"challenge": 1, "signature": 2}, []):
            answer = await post.client.post("/dm3/auth/bob.eth", json=given)
            assert (answer.status_code, answer.text) == (400, "Bad Request")
        # For another name, and after its 15 minutes.
        signed = {"challenge": challenge, "signature": MALLORY.keys.sign(challenge)}
        assert (await post.client.post("/dm3/auth/mallory.eth", json=signed)).status_code == 400
        post.world.pass_us(900_000_000)
        given = {"challenge": challenge, "signature": BOB.keys.sign(challenge)}
        assert (await post.client.post("/dm3/auth/bob.eth", json=given)).status_code == 400


@in_loop
async def test_a_clock_that_is_ahead_or_behind(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        session = await post.login(BOB)
        post.world.pass_us(-limits.DM3_TOKEN_AHEAD_SECONDS_MAX * 1_000_000)
        assert (await post.client.get(INCOMING, headers=session)).status_code == 200
        post.world.pass_us(-1_000_000)
        assert (await post.client.get(INCOMING, headers=session)).status_code == 401


def test_challenges_of_another_process_and_too_many() -> None:
    one, other = Challenges("0x" + "5e" * 32, Stream(1)), Challenges("0x" + "5e" * 32, Stream(2))
    token = one.issue("bob.eth", NOW_S)
    assert one.read(token, "bob.eth", NOW_S).account == "bob.eth"
    with pytest.raises(Dms3Error, match="older than this service"):
        other.read(token, "bob.eth", NOW_S)


def test_used_challenges_are_remembered_until_they_are_over(monkeypatch) -> None:
    monkeypatch.setattr(challenges, "MAIL_CHALLENGES_SPENT_MAX", 2)
    made = Challenges("0x" + "5e" * 32, Stream(1))
    tokens = [made.issue("bob.eth", NOW_S) for _ in range(3)]
    for token in tokens[:2]:
        made.spend(made.read(token, "bob.eth", NOW_S), NOW_S)
    for token in tokens[:2]:
        with pytest.raises(Dms3Error, match="used already"):
            made.read(token, "bob.eth", NOW_S + 899)


def test_who_logs_in_without_end_keeps_nobody_out(monkeypatch) -> None:
    monkeypatch.setattr(challenges, "MAIL_CHALLENGES_SPENT_MAX", 4)
    made = Challenges("0x" + "5e" * 32, Stream(1))
    used = []
    waited = made.issue("bob.eth", NOW_S)
    for second in range(20):
        used.append(made.issue("mallory.eth", NOW_S + second))
        made.spend(made.read(used[-1], "mallory.eth", NOW_S + second), NOW_S + second)
    fresh = made.issue("bob.eth", NOW_S + 20)
    made.spend(made.read(fresh, "bob.eth", NOW_S + 20), NOW_S + 20)
    for token in (*used, fresh, waited):  # what is forgotten is refused, too
        with pytest.raises(Dms3Error) as caught:
            made.read(token, "bob.eth" if token in (fresh, waited) else "mallory.eth", NOW_S + 20)
        assert caught.value.code == "unauthorized"


# registration


@in_loop
async def test_profiles_that_are_refused(tmp_path):
    async with post_office(tmp_path) as post:
        good = BOB.signed().value()
        path = "/dm3/profile/bob.eth"
        for wrong in ({}, [], {**good, "more": 1}, {"profile": good["profile"]}, good["profile"]):
            answer = await post.client.post(path, json=wrong)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid schema")
        altered = {**good, "profile": {**good["profile"], "deliveryServices": ["evil.eth"]}}
        answer = await post.client.post(path, json=altered)
        assert answer.json() == {"message": "Couldn't store profile", "error": "{}"}
        answer = await post.client.post("/dm3/profile/nobody.eth", json=good)
        assert answer.status_code == 400
        assert "nobody" in answer.json()["error"]
        post.world.failing = "timed_out"
        post.world.pass_us(limits.MAIL_NAME_STALE_US)
        assert (await post.client.post(path, json=good)).status_code == 503
        assert post.rows("mail_account") == 0


@in_loop
async def test_new_keys_replace_the_old_ones_and_those_do_not_come_back(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        await post.submit(post.envelope())
        new = BOB.signed(ProfileKeys.of_seed(bytes([66]) * 32))
        path = "/dm3/profile/bob.eth"
        assert (await post.client.post(path, json=new.value())).status_code == 200
        assert (await post.client.get(path)).json() == new.value()
        post.world.know(BOB, signed=new)
        replayed = await post.client.post(path, json=BOB.signed().value())  # by anybody
        assert replayed.status_code == 400
        assert "replaced by later ones" in replayed.json()["error"]
        post.world.know(BOB)  # published again, maybe by whoever has his words
        post.world.pass_us(limits.MAIL_NAME_FRESH_US)
        again = await post.client.post(path, json=BOB.signed().value())
        assert (again.status_code, again.json()["error"]) == (400, replayed.json()["error"])
        third = replace(BOB, number=67)
        post.world.know(BOB, signed=BOB.signed(third.keys))
        answer = await post.client.post(path, json=BOB.signed(third.keys).value())
        assert answer.status_code == 200
        session = await post.login(third, BOB.name)
        assert len(await post.incoming(BOB, session)) == 1  # what waited still does


def with_services(keys: ProfileKeys, *services: str) -> SignedProfile:
    """A profile of BOB."""
    public = UserProfile(services, keys.encryption_public, keys.signing_public)
    return sign_profile(BOB.secret, public)


@in_loop
async def test_a_thief_with_replaced_keys_gets_in_under_no_name(tmp_path):
    new = ProfileKeys.of_seed(bytes([66]) * 32)
    old_keys_elsewhere = with_services(BOB.keys, "elsewhere.eth")
    half = ProfileKeys.of_seeds(bytes([66]) * 32, bytes([102]) * 32)
    assert half.signing_public == BOB.keys.signing_public
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        stolen = await post.login(BOB)
        for signed in (with_services(BOB.keys, "other.eth"), BOB.signed(new)):
            post.world.know(BOB, signed=signed)
            answer = await post.client.post("/dm3/profile/bob.eth", json=signed.value())
            assert answer.status_code == 200
        assert (await post.client.get(INCOMING, headers=stolen)).status_code == 401
        for signed in (BOB.signed(), old_keys_elsewhere, BOB.signed(half)):
            post.world.know(BOB, "thief.dms3", signed)  # a name of the thief, with BOB's address
            post.world.pass_us(limits.MAIL_NAME_FRESH_US)
            answer = await post.client.post("/dm3/profile/thief.dms3", json=signed.value())
            assert answer.status_code == 400
            for name in ("thief.dms3", "bob.eth", BOB.address):
                challenge = (await post.client.get(f"/dm3/auth/{name}")).json()
                given = {"challenge": challenge, "signature": BOB.keys.sign(challenge)}
                answer = await post.client.post(f"/dm3/auth/{name}", json=given)
                assert answer.json() == {"error": "Signature invalid"}
        assert (await post.client.get("/dm3/profile/bob.eth")).json() == BOB.signed(new).value()


@in_loop
async def test_a_profile_with_the_present_keys_comes_back_when_it_is_published(tmp_path):
    path, away = "/dm3/profile/bob.eth", with_services(BOB.keys, "other.eth")
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        post.world.know(BOB, signed=away)
        assert (await post.client.post(path, json=away.value())).status_code == 200
        session = await post.login(BOB)
        assert (await post.client.post(path, json=BOB.signed().value())).status_code == 400
        post.world.know(BOB)
        post.world.pass_us(limits.MAIL_NAME_FRESH_US)
        assert (await post.client.post(path, json=BOB.signed().value())).status_code == 200
        assert await post.incoming(BOB, session) == []  # the keys are the same: so is the session


@in_loop
async def test_a_session_does_not_follow_its_name_to_another_account(tmp_path):
    world = World()
    world.know(MALLORY, "thief.dms3")
    async with post_office(tmp_path, world) as post:
        for person in (BOB, MALLORY):
            await post.register(person)
        session = await post.login(MALLORY, "thief.dms3")
        path = "/dm3/delivery/messages/incoming/thief.dms3"
        assert (await post.client.get(path, headers=session)).status_code == 200
        world.know(BOB, "thief.dms3")  # with BOB's address and profile, which are public
        world.pass_us(limits.MAIL_NAME_FRESH_US)
        assert (await post.client.get(path, headers=session)).status_code == 401


@in_loop
async def test_no_replaced_key_is_forgotten_for_new_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(mailroom_accounts, "MAIL_KEYS_NOTED_MAX", 4)
    async with post_office(tmp_path) as post:
        path = "/dm3/profile/bob.eth"
        await post.register(BOB)
        for number, status in ((66, 200), (67, 200), (68, 429)):
            signed = BOB.signed(ProfileKeys.of_seed(bytes([number]) * 32))
            assert (await post.client.post(path, json=signed.value())).status_code == status
        assert (await post.client.post(path, json=BOB.signed().value())).status_code == 400


@in_loop
async def test_the_service_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(mailroom_accounts, "MAIL_ACCOUNTS_MAX", 1)
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        answer = await post.client.post("/dm3/profile/alice.eth", json=ALICE.signed().value())
        assert answer.status_code == 429
        await post.register(BOB)  # who is there may come again


@in_loop
async def test_login_with_the_key_that_is_published_now(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        await post.login(BOB)
        new = ProfileKeys.of_seed(bytes([66]) * 32)
        post.world.know(BOB, signed=BOB.signed(new))
        challenge = (await post.client.get("/dm3/auth/bob.eth")).json()
        given = {"challenge": challenge, "signature": new.sign(challenge)}
        assert (await post.client.post("/dm3/auth/bob.eth", json=given)).status_code == 200
        challenge = (await post.client.get("/dm3/auth/bob.eth")).json()
        given = {"challenge": challenge, "signature": BOB.keys.sign(challenge)}
        assert (await post.client.post("/dm3/auth/bob.eth", json=given)).status_code == 400


@in_loop
async def test_an_address_logs_in_with_the_profile_that_is_registered(tmp_path):
    world = World()
    async with post_office(tmp_path, world) as post:
        await post.register(BOB, BOB.address)
        session = await post.login(BOB, BOB.address)
        assert claims(session["Authorization"])["account"] == BOB.address.lower()


@in_loop
async def test_a_person_with_two_names(tmp_path):
    world = World()
    world.know(BOB, "bob.dms3")
    async with post_office(tmp_path, world) as post:
        await post.register(BOB)
        await post.submit(post.envelope())
        session = await post.login(BOB, "bob.dms3")
        other = replace(BOB, name="bob.dms3")
        assert len(await post.incoming(other, session)) == 1
        assert (await post.client.get(INCOMING, headers=session)).status_code == 401


# what the receiver asks for


@in_loop
async def test_order_and_pages(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        session = await post.login(BOB)
        for number, person in enumerate((ALICE, MALLORY, ALICE)):
            await post.submit(post.envelope(str(number), by=person))
        hashes = [
            post.message(str(number), by=person).hash
            for number, person in enumerate((ALICE, MALLORY, ALICE))
        ]
        found = await post.incoming(BOB, session)
        named = [one["metadata"]["messageHash"] for one in found]
        assert named == [hashes[2], hashes[0], hashes[1]]  # conversation by conversation
        after, seen = "0", []
        for size in (2, 1, 0):
            query = {"limit": "2", "after": after}
            answer = await post.client.get(INCOMING, headers=session, params=query)
            assert len(answer.json()) == size
            seen += [one["metadata"]["messageHash"] for one in answer.json()]
            after = answer.headers.get("dm3-next", after)
        assert seen == hashes
        for wrong in ({"limit": "x"}, {"limit": "1", "after": "-1"}, {"limit": "9" * 30}):
            answer = await post.client.get(INCOMING, headers=session, params=wrong)
            assert answer.status_code == 400
        of_alice = "/dm3/delivery/messages/bob.eth/contact/Alice.eth"
        answer = await post.client.get(of_alice, headers=session)
        assert [one["metadata"]["messageHash"] for one in answer.json()] == [hashes[2], hashes[0]]


@in_loop
async def test_an_answer_is_bounded_and_the_rest_comes_after(tmp_path, monkeypatch):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        session = await post.login(BOB)
        for number in range(3):
            await post.submit(post.envelope(str(number)))
        (first,) = (await post.incoming(BOB, session, limit="1"),)
        monkeypatch.setattr(mailroom, "MAIL_FETCH_BYTES_MAX", 2 * len(json.dumps(first)))
        got = []
        while found := await post.incoming(BOB, session):
            assert len(found) <= 2
            got += found
            pairs = [("alice.eth", one["metadata"]["messageHash"]) for one in found]
            await post.acknowledge(BOB, session, *pairs)
        assert len(got) == 3


@in_loop
async def test_two_devices_acknowledge_at_once(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        session = await post.login(BOB)
        envelopes = [post.envelope(str(number)) for number in range(10)]
        for envelope in envelopes:
            await post.submit(envelope)
        pairs = [("alice.eth", envelope.message_hash) for envelope in envelopes]
        await asyncio.gather(*(post.acknowledge(BOB, session, *pairs) for _ in range(2)))
        totals = await post.service.totals()
        assert (totals.messages, totals.bytes) == (0, 0)
        assert post.service.figures.acknowledged == 10


@in_loop
async def test_acknowledgements_of_others_and_of_nothing(tmp_path):
    async with post_office(tmp_path) as post:
        for person in (BOB, MALLORY):
            await post.register(person)
        session, other = await post.login(BOB), await post.login(MALLORY)
        envelope = post.envelope()
        await post.submit(envelope)
        for pair in (
            ("alice.eth", "0x" + "0" * 64),
            ("mallory.eth", envelope.message_hash),
        ):
            assert (await post.acknowledge(BOB, session, pair)).status_code == 200
        await post.acknowledge(MALLORY, other, ("alice.eth", envelope.message_hash))
        answer = await post.acknowledge(BOB, other, ("alice.eth", envelope.message_hash))
        assert answer.status_code == 401
        assert len(await post.incoming(BOB, session)) == 1
        for wrong in ([], {"acknowledgements": 1}, {"acknowledgements": [1]}, {}):
            path = "/dm3/delivery/messages/bob.eth/syncAcknowledgements/"
            answer = await post.client.post(path, headers=session, json=wrong)
            assert (answer.status_code, answer.text) == (400, "Bad Request")


@in_loop
async def test_names_and_deletion_lie_in_no_readable_form(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        await post.submit(post.envelope())
        with post.store.read() as connection:
            rows = connection.execute("SELECT * FROM mail_message").fetchall()
            plan = connection.execute(
                "EXPLAIN QUERY PLAN SELECT id, seen, bytes FROM mail_message "
                "WHERE account = 1 AND sender = x'00' AND hash = x'00'"
            ).fetchall()
        everything = b"".join(
            value if isinstance(value, bytes) else str(value).encode() for value in rows[0]
        )
        assert b"alice" not in everything
        assert b"bob" not in everything
        assert any("mail_message_hash" in str(step) for step in plan)
        assert not any("SCAN" in str(step) for step in plan)


@in_loop
async def test_metrics_hide_the_day_that_runs(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        await post.submit(post.envelope())
        assert (await post.client.get("/dm3/metrics")).status_code == 204
        post.world.pass_us(86_400_000_000)
        answer = await post.client.get("/dm3/metrics")
        head, row = answer.text.split("\n")
        assert head == (
            "timestampStart,durationSeconds,messageCount,messageSizeBytes,notificationCount"
        )
        start, seconds, count, size, notices = map(int, row.split(","))
        assert (start % 86_400, seconds, count, notices) == (0, 86_400, 1, 0)
        assert size > 6_000
