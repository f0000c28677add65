"""Conversation storage of a delivery service: lockers, and the routes of the reference."""

import json
from urllib.parse import quote

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    CLOUD_BATCH_MAX,
    CLOUD_PAGE_MAX,
    LOCKER_LIST_NAMES_MAX,
    LOCKER_OBJECT_BYTES_MAX,
    LOCKER_OBJECTS_MAX,
)
from dms3.io.lockers import Bounds, Lockers
from dms3.io.lockers_dm3 import Cloud, Stored, iso_text, key_of
from unit.delivery.test_recorded import ROWS
from unit.delivery_kit import ALICE, BOB, post_office
from unit.dm3_kit import load
from unit.fronts import in_loop

BACKEND = {row: ROWS[row] for row in ROWS if row.startswith("backend ")}
OBJECTS = "/dm3/storage/objects/bob.eth"
CLOUD = "/dm3/storage/new/bob.eth"
NAMES = [f"{number:064x}" for number in range(4)]
CONTACT = "eyJjaXBoZXJ0ZXh0Ijoi/+Dg8="  # as base64 is: with a slash
MESSAGE = {
    "encryptedEnvelopContainer": "sealed",
    "encryptedContactName": CONTACT,
    "messageId": "m1",
    "createdAt": 1_700_000_000_000,
    "isHalted": False,
}


async def told(answer):
    return answer.status_code, answer.text


async def bob_of(post):
    await post.register(BOB)
    return await post.login(BOB)


async def add(post, session, **changes: object):
    body = {key: value for key, value in (MESSAGE | changes).items() if value is not None}
    return await post.client.post(f"{CLOUD}/addMessage", headers=session, json=body)


async def got(post, session, path, **query: object):
    answer = await post.client.get(f"{CLOUD}/{path}", headers=session, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def messages(post, session, contact=CONTACT, **query: object):
    texts = await got(post, session, f"getMessages/{quote(contact, safe='')}/", **query)
    return [json.loads(text) for text in texts]


# The recorded rows


@in_loop
async def test_the_recorded_answers_of_the_back_end(tmp_path):
    async with post_office(tmp_path) as post:
        session = await bob_of(post)
        again = await post.client.post("/dm3/profile/bob.eth", json=BOB.signed().value())
        seen = {
            "backend POST /storage/new/:ens/addMessage": await told(await add(post, session)),
            "backend POST addMessage same messageId again": await told(await add(post, session)),
            "backend POST addMessage with a missing field": await told(
                await add(post, session, messageId="m2", isHalted=None)
            ),
            "backend GET /storage/... without token": await told(
                await post.client.get(f"{CLOUD}/getConversations")
            ),
        }
        for row, answer in seen.items():
            assert answer == (BACKEND[row]["status"], BACKEND[row]["body"]), row
        # docs/dm3.md: the accounts are those of the delivery service, where a second one is normal
        assert set(BACKEND) == {*seen, "backend POST /profile/:ens second time"}
        assert again.status_code == 200


@in_loop
async def test_what_the_reference_stores_comes_back_as_it_gives_it(tmp_path):
    async with post_office(tmp_path) as post:
        session = await bob_of(post)
        assert await got(post, session, "getConversations") == []
        assert await got(post, session, "getNumberOfConversations") == 0
        assert await messages(post, session) == []
        conversation = {"encryptedContactName": CONTACT, "encryptedProfileLocation": "where"}
        made = await post.client.post(
            f"{CLOUD}/addConversation", headers=session, json=conversation
        )
        assert await told(made) == (200, "OK")
        await add(post, session)
        await add(post, session, messageId="m2", createdAt=1_700_000_000_001, isHalted=True)
        rows = await messages(post, session)
        assert [row["id"] for row in rows] == [key_of("bob.eth", each) for each in ("m2", "m1")]
        assert rows[1] | {"conversationId": ""} == {
            "id": key_of("bob.eth", "m1"),
            "createdAt": "2023-11-14T22:13:20.000Z",
            "encryptedEnvelopContainer": "sealed",
            "encryptedContactName": CONTACT,
            "conversationId": "",
            "ownerId": "bob.eth",
            "isHalted": False,
        }
        [listed] = await got(post, session, "getConversations")
        assert listed == {
            "contact": CONTACT,
            "previewMessage": "sealed",
            "updatedAt": iso_text(post.world.now().wall_us // 1_000),
            "encryptedProfileLocation": "where",
        }
        path = f"getNumberOfMessages/{quote(CONTACT, safe='')}"
        assert await got(post, session, path) == 2
        assert await got(post, session, "getNumberOfConversations") == 1


@in_loop
async def test_pages_are_counted_as_the_reference_counts_them(tmp_path):
    async with post_office(tmp_path) as post:
        session = await bob_of(post)
        batch = [{**MESSAGE, "messageId": f"m{number}", "createdAt": number} for number in range(5)]
        for each in batch:
            del each["encryptedContactName"]
        body = {"encryptedContactName": CONTACT, "messageBatch": batch}
        answer = await post.client.post(f"{CLOUD}/addMessageBatch", headers=session, json=body)
        assert await told(answer) == (200, "OK")
        dates = [
            [int(row["createdAt"][20:23]) for row in await messages(post, session, **query)]
            for query in (
                {"pageSize": 2},
                {"pageSize": 2, "offset": 1},
                {"pageSize": 2, "offset": 2},
                {"pageSize": 2, "offset": 3},
                {"pageSize": "none"},
            )
        ]
        assert dates == [[4, 3], [2, 1], [0], [], [4, 3, 2, 1, 0]]
        for query in ({"pageSize": CLOUD_PAGE_MAX + 1}, {"pageSize": -1}, {"offset": -1}):
            refused = await post.client.get(
                f"{CLOUD}/getConversations", headers=session, params=query
            )
            assert await told(refused) == (400, "invalid schema"), query


@in_loop
async def test_a_batch_is_stored_whole_or_not_at_all(tmp_path):
    async with post_office(tmp_path) as post:
        session = await bob_of(post)
        await add(post, session)
        fresh = {key: value for key, value in MESSAGE.items() if key != "encryptedContactName"}
        body = {
            "encryptedContactName": CONTACT,
            "messageBatch": [{**fresh, "messageId": "m2"}, fresh],
        }
        answer = await post.client.post(f"{CLOUD}/addMessageBatch", headers=session, json=body)
        assert await told(answer) == (200, "OK"), "as the reference, which logs and goes on"
        assert len(await messages(post, session)) == 1
        body["messageBatch"] = [{**fresh, "messageId": "m2"}, {**fresh, "messageId": "m2"}]
        await post.client.post(f"{CLOUD}/addMessageBatch", headers=session, json=body)
        assert len(await messages(post, session)) == 2, "the same twice in a batch is one"
        body["messageBatch"] = [fresh] * (CLOUD_BATCH_MAX + 1)
        answer = await post.client.post(f"{CLOUD}/addMessageBatch", headers=session, json=body)
        assert await told(answer) == (400, "invalid schema")


@in_loop
async def test_an_edit_replaces_or_stores(tmp_path):
    async with post_office(tmp_path) as post:
        session = await bob_of(post)
        await add(post, session)
        fresh = {key: value for key, value in MESSAGE.items() if key != "encryptedContactName"}
        payload = [
            {**fresh, "encryptedEnvelopContainer": "edited"},
            {**fresh, "messageId": "m9", "isHalted": True},
        ]
        body = {"encryptedContactName": CONTACT, "editMessageBatchPayload": payload}
        answer = await post.client.post(f"{CLOUD}/editMessageBatch", headers=session, json=body)
        assert await told(answer) == (200, "OK")
        rows = {row["id"]: row for row in await messages(post, session)}
        assert rows[key_of("bob.eth", "m1")]["encryptedEnvelopContainer"] == "edited"
        assert not rows[key_of("bob.eth", "m9")]["isHalted"]
        assert Lockers(post.store, Bounds()).used(BOB.address.lower())[1] > 0


@in_loop
async def test_halted_messages_and_their_new_names(tmp_path):
    async with post_office(tmp_path) as post:
        session = await bob_of(post)
        await add(post, session, isHalted=True)
        await add(post, session, messageId="m2", encryptedContactName="known")
        [halted] = await got(post, session, "getHaltedMessages")
        assert halted == {
            "messageId": key_of("bob.eth", "m1"),
            "encryptedEnvelopContainer": "sealed",
            "createdAt": "2023-11-14T22:13:20.000Z",
            "isHalted": True,
        }

        async def clear(**body: object):
            path = f"{CLOUD}/clearHaltedMessage"
            return await told(await post.client.post(path, headers=session, json=body))

        assert await clear(aliasName="known") == (400, "invalid schema")
        assert await clear(messageId="0xno") == (400, "unable to clear halted message")
        assert await clear(messageId=halted["messageId"], aliasName="known") == (200, "OK")
        assert await got(post, session, "getHaltedMessages") == []
        assert await messages(post, session) == []
        assert len(await messages(post, session, "known")) == 2, "the two became one"
        assert await got(post, session, "getNumberOfMessages/known") == 2


@in_loop
async def test_a_hidden_conversation_is_not_listed(tmp_path):
    async with post_office(tmp_path) as post:
        session = await bob_of(post)
        await add(post, session)
        path = f"{CLOUD}/toggleHideConversation"
        for hide, count in ((True, 0), (False, 1)):
            body = {"encryptedContactName": CONTACT, "hide": hide}
            assert await told(await post.client.post(path, headers=session, json=body)) == (
                200,
                "OK",
            )
            assert len(await got(post, session, "getConversations")) == count
        wrong = await post.client.post(
            path, headers=session, json={"encryptedContactName": CONTACT, "hide": "yes"}
        )
        assert wrong.status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"messageId": ""},
        {"messageId": 5},
        {"createdAt": "now"},
        {"createdAt": True},
        {"createdAt": -1},
        {"createdAt": 1e30},
        {"isHalted": 1},
        {"encryptedContactName": 5},
        {"encryptedContactName": ""},
        {"more": 1},
    ],
)
@in_loop
async def test_what_the_schema_of_the_reference_refuses(changes, tmp_path):
    async with post_office(tmp_path) as post:
        session = await bob_of(post)
        assert await told(await add(post, session, **changes)) == (400, "invalid schema")
        assert await got(post, session, "getNumberOfConversations") == 0


@in_loop
async def test_the_containers_of_the_vectors_are_kept_as_they_are(tmp_path):
    texts = json.dumps(load("10"))
    async with post_office(tmp_path) as post:
        session = await bob_of(post)
        await add(post, session, encryptedEnvelopContainer=texts)
        [row] = await messages(post, session)
        assert row["encryptedEnvelopContainer"] == texts


# Lockers


@in_loop
async def test_objects_of_a_locker(tmp_path):
    async with post_office(tmp_path) as post:
        session = await bob_of(post)
        client = post.client
        for name in NAMES:
            put = await client.put(f"{OBJECTS}/{name}", headers=session, content=b"\0sealed")
            assert (put.status_code, put.content) == (204, b"")
        await client.put(f"{OBJECTS}/{NAMES[0]}", headers=session, content=b"newer")
        found = await client.get(f"{OBJECTS}/{NAMES[0]}", headers=session)
        assert (found.status_code, found.content) == (200, b"newer")
        listed = (await client.get(OBJECTS, headers=session)).json()
        assert listed == {"names": NAMES}
        after = (await client.get(OBJECTS, headers=session, params={"after": NAMES[1]})).json()
        assert after == {"names": NAMES[2:]}
        for _ in range(2):
            gone = await client.delete(f"{OBJECTS}/{NAMES[0]}", headers=session)
            assert gone.status_code == 204
        assert (await client.get(f"{OBJECTS}/{NAMES[0]}", headers=session)).status_code == 404
        assert Lockers(post.store, Bounds()).used(BOB.address.lower()) == (3, 21)


@in_loop
async def test_nobody_opens_the_locker_of_another(tmp_path):
    async with post_office(tmp_path) as post:
        bob = await bob_of(post)
        await post.register(ALICE)
        alice = await post.login(ALICE)
        await post.client.put(f"{OBJECTS}/{NAMES[0]}", headers=bob, content=b"bob's")
        for headers in ({}, alice, {"Authorization": "Bearer no"}):
            for method, path in (
                ("GET", f"/{NAMES[0]}"), ("PUT", f"/{NAMES[0]}"), ("DELETE", f"/{NAMES[0]}"),
                ("GET", ""),
            ):  # fmt: skip
                answer = await post.client.request(method, OBJECTS + path, headers=headers)
                assert await told(answer) == (401, "Unauthorized"), (headers, method)
        mine = await post.client.get(f"/dm3/storage/objects/alice.eth/{NAMES[0]}", headers=alice)
        assert mine.status_code == 404
        kept = await post.client.get(f"{OBJECTS}/{NAMES[0]}", headers=bob)
        assert kept.content == b"bob's"


@in_loop
async def test_half_a_body_is_no_object(tmp_path):
    async with post_office(tmp_path) as post:
        session = await bob_of(post)
        path = f"{OBJECTS}/{NAMES[0]}"
        await post.client.put(path, headers=session, content=b"old")
        told = iter(
            (
                {"type": "http.request", "body": b"half of ", "more_body": True},
                {"type": "http.disconnect"},
            )
        )
        answers = []

        async def receive():
            return next(told)

        async def send(message):
            answers.append(message)

        scope = {
            "type": "http",
            "method": "PUT",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [(b"authorization", session["Authorization"].encode())],
            "client": ("127.0.0.1", 1),
        }
        await post.front(scope, receive, send)
        assert answers == [], "nobody is there to be told"
        found = await post.client.get(path, headers=session)
        assert found.content == b"old"


@in_loop
async def test_bounds_of_an_object(tmp_path):
    async with post_office(tmp_path) as post:
        session = await bob_of(post)
        path = f"{OBJECTS}/{NAMES[0]}"
        largest = bytes(LOCKER_OBJECT_BYTES_MAX)
        assert (await post.client.put(path, headers=session, content=largest)).status_code == 204
        larger = await post.client.put(path, headers=session, content=largest + b"x")
        assert larger.status_code == 413
        for name in ("short", NAMES[0].replace("0", "G"), f"{NAMES[0]}/more"):
            answer = await post.client.put(f"{OBJECTS}/{name}", headers=session, content=b"x")
            assert answer.status_code == 400, name
        unknown = await post.client.patch(path, headers=session)
        assert unknown.status_code == 404


@in_loop
async def test_a_full_locker_says_so_and_changes_nothing(tmp_path):
    async with post_office(tmp_path) as post:
        lockers = Lockers(post.store, Bounds(1_000))
        cloud = Cloud(post.store, Bounds(1_000))
        lockers.put("a", NAMES[0], bytes(1_000)).result()
        for work in (
            lockers.put("a", NAMES[1], b"x"),
            lockers.put("a", NAMES[0], bytes(1_001)),
            cloud.add("a", "c", [Stored("k", 1, "text")], 1),
        ):
            with pytest.raises(Dms3Error) as failed:
                work.result()
            assert failed.value.code == "limit_reached"
        assert lockers.used("a") == (1, 1_000)
        assert cloud.conversation_count("a") == 0
        lockers.put("a", NAMES[0], bytes(999)).result()
        lockers.put("a", NAMES[1], b"x").result()
        lockers.put("b", NAMES[1], bytes(1_000)).result()
        lockers.delete("a", NAMES[1]).result()
        assert lockers.used("a") == (1, 999)


@in_loop
async def test_names_and_locations_of_conversations_count(tmp_path):
    async with post_office(tmp_path) as post:
        bounds = Bounds(1_000)
        lockers, cloud = Lockers(post.store, bounds), Cloud(post.store, bounds)
        cloud.add("a", "c", [Stored("k", 1, "text")], 1).result()
        empty = 1 + 200 + 4 + 200
        assert lockers.used("a") == (1, empty)
        for location, size in (("x" * 100, 100), ("\u20ac" * 20, 60), ("", 0), ("y" * 50, 50)):
            cloud.add_conversation("a", "c", location, 1).result()
            assert lockers.used("a") == (1, empty + size)  # bytes, whatever the letters
        room = 1_000 - empty - 50
        for work in (
            cloud.add_conversation("a", "c", "y" * (50 + room + 1), 1),
            cloud.clear_halted("a", "k", "c" * (1 + room + 1)),
            cloud.edit("a", "c", [Stored("k", 1, "\u20ac" * 200)], 1),
        ):
            with pytest.raises(Dms3Error) as failed:
                work.result()
            assert failed.value.code == "limit_reached"
        assert lockers.used("a") == (1, empty + 50)
        assert [row["encryptedProfileLocation"] for row in cloud.conversations("a", 9, 0)] == [
            "y" * 50
        ]
        assert cloud.clear_halted("a", "k", "c" * (1 + room)).result()
        assert lockers.used("a") == (1, 1_000)

        assert cloud.clear_halted("a", "k", "c").result()
        cloud.add_conversation("a", "d", "", 1).result()
        assert lockers.used("a") == (2, empty + 50 + 201)
        assert cloud.clear_halted("a", "k", "d").result()  # the two become one
        assert lockers.used("a") == (1, empty)


@in_loop
async def test_how_many_objects_and_names_at_once(tmp_path):
    async with post_office(tmp_path) as post:
        lockers = Lockers(post.store, Bounds())

        def fill(connection):
            connection.execute("INSERT INTO locker VALUES (1, 'a', ?, 0)", (LOCKER_OBJECTS_MAX,))
            connection.executemany(
                "INSERT INTO locker_object (locker, name, data) VALUES (1, ?, x'')",
                ((f"{number:064x}",) for number in range(LOCKER_LIST_NAMES_MAX + 1)),
            )

        post.store.transact(fill).result()
        first = lockers.names("a", "")
        assert len(first) == LOCKER_LIST_NAMES_MAX
        assert lockers.names("a", first[-1]) == [f"{LOCKER_LIST_NAMES_MAX:064x}"]
        lockers.put("a", first[0], b"replaced").result()
        with pytest.raises(Dms3Error, match="at most"):
            lockers.put("a", "f" * 64, b"one more").result()
