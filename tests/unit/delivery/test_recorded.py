"""What the reference delivery service was seen to answer (vectors 16), replayed against ours.

Every recorded case gets the recorded status and body, except those in `DIFFERENT`, which
docs/dm3.md lists with the reason. The rows of the reference's storage back-end and of socket.io
are replayed elsewhere.
"""

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from unit.delivery_kit import ALICE, BOB, Person, Post, claims, post_office
from unit.dm3_kit import load
from unit.fronts import in_loop

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
OBSERVED = load("16")["observed"]
ROWS = {row["req"]: row for row in OBSERVED if "status" in row}

DIFFERENT = {
    "GET /auth/:ens unknown account or name": "JSON that says what is missing, not a page",
    "GET /delivery/messages/incoming/:address with that JWT": (
        "whoever hands in a profile, which is public, has proven nothing"
    ),
    "POST /rpc dm3_submitMessage params=[envelop object]": "both shapes are taken",
    "POST /rpc dm3_submitMessage, metadata.encryptedMessageHash instead of messageHash": (
        "the form of the npm packages is taken"
    ),
    "POST /rpc dm3_submitMessage too large / unknown receiver / spam": (
        "the same status; the body is a JSON-RPC error that says which"
    ),
    "POST /rpc dm3_submitMessage with a garbage metadata.signature": (
        "the signature is checked with the sender's profile"
    ),
    "POST /rpc dm3_getProfileExtension params=[ens]": (
        "every kind of message is supported, in both spellings"
    ),
}
"""Recorded cases that are answered otherwise, and why."""

Case = Callable[[Post], Awaitable[tuple[int, Any]]]
CASES: dict[str, Case] = {}


def case(request: str) -> Callable[[Case], Case]:
    def keep(function: Case) -> Case:
        CASES[request] = function
        return function

    return keep


def body_of(answer: Any) -> Any:
    if answer.headers.get("content-type", "").startswith("application/json") and answer.text:
        return answer.json()
    return answer.text


async def seen(post: Post, method: str, path: str, **named: Any) -> tuple[int, Any]:
    answer = await post.client.request(method, f"/dm3{path}", **named)
    return answer.status_code, body_of(answer)


async def told(post: Post, *params: Any, method: str | None = "dm3_submitMessage") -> Any:
    answer = await post.rpc(method, *params)
    return answer.status_code, body_of(answer)


async def session_of(post: Post, person: Person = BOB) -> dict[str, str]:
    await post.register(person)
    return await post.login(person)


@case("GET /hello")
async def hello(post):
    return await seen(post, "GET", "/hello")


@case("GET /profile/:ens (unknown account)")
async def unknown_profile(post):
    return await seen(post, "GET", "/profile/bob.eth")


@case("POST /profile/:ens {profile,signature}")
async def register(post):
    status, token = await seen(post, "POST", "/profile/bob.eth", json=BOB.signed().value())
    assert claims(token)["account"] == BOB.address.lower()
    assert (await seen(post, "GET", "/profile/bob.eth"))[1] == BOB.signed().value()
    return status, ROWS["POST /profile/:ens {profile,signature}"]["body"]


@case("POST /profile/:ens, wallet signature wrong")
async def register_wrong(post):
    return await seen(post, "POST", "/profile/bob.eth", json=ALICE.signed().value())


@case("GET /delivery/messages/incoming/:ens with the JWT from POST /profile")
async def token_of_address_by_name(post):
    headers = {"Authorization": f"Bearer {await post.register(BOB)}"}
    return await seen(post, "GET", "/delivery/messages/incoming/bob.eth", headers=headers)


@case("GET /delivery/messages/incoming/:address with that JWT")
async def token_of_address(post):
    headers = {"Authorization": f"Bearer {await post.register(BOB)}"}
    return await seen(post, "GET", f"/delivery/messages/incoming/{BOB.address}", headers=headers)


@case("GET /auth/:ens")
async def challenge(post):
    await post.register(BOB)
    status, token = await seen(post, "GET", "/auth/bob.eth")
    found = claims(token)
    assert set(found) == {"account", "challenge", "iat", "nbf", "exp"}
    assert found["exp"] == found["iat"] + 900
    assert found["account"] == "bob.eth"
    assert UUID4.fullmatch(found["challenge"])
    return status, ROWS["GET /auth/:ens"]["body"]


@case("GET /auth/:ens unknown account or name")
async def challenge_of_nobody(post):
    status, body = await seen(post, "GET", "/auth/bob.eth")
    assert (await seen(post, "GET", "/auth/nobody.eth"))[0] == status
    assert set(body) == {"error", "hint"}
    return status, body


@case("POST /auth/:ens {challenge,signature}")
async def session(post):
    await post.register(BOB)
    _, token = await seen(post, "GET", "/auth/bob.eth")
    given = {"challenge": token, "signature": BOB.keys.sign(token)}
    status, opened = await seen(post, "POST", "/auth/bob.eth", json=given)
    found = claims(opened)
    assert set(found) == {"account", "iat", "nbf", "exp"}
    assert found["exp"] == found["iat"] + 3_600
    assert found["account"] == "bob.eth"
    return status, ROWS["POST /auth/:ens {challenge,signature}"]["body"]


@case("POST /auth/:ens bad signature")
async def session_wrong(post):
    await post.register(BOB)
    _, token = await seen(post, "GET", "/auth/bob.eth")
    given = {"challenge": token, "signature": ALICE.keys.sign(token)}
    return await seen(post, "POST", "/auth/bob.eth", json=given)


@case("POST /rpc dm3_submitMessage params=[JSON.stringify(envelop)]")
async def submit(post):
    await post.register(BOB)
    status, body = await told(post, post.envelope().text())
    assert body == "OK"
    return status, ROWS["POST /rpc dm3_submitMessage params=[JSON.stringify(envelop)]"]["body"]


@case("POST /rpc dm3_submitMessage params=[envelop object]")
async def submit_object(post):
    await post.register(BOB)
    return await told(post, post.envelope().value())


@case("POST /rpc dm3_submitMessage, metadata.encryptedMessageHash instead of messageHash")
async def submit_legacy(post):
    await post.register(BOB)
    return await told(post, post.envelope(legacy=True).text())


@case("POST /rpc dm3_submitMessage too large / unknown receiver / spam")
async def submit_refused(post):
    unknown = await told(post, post.envelope().text())
    await post.register(BOB)
    large = await told(post, post.envelope("x" * 100_000).text())
    session = await post.login(BOB)
    rules = await seen(post, "POST", "/rules/bob.eth", headers=session, json={"minNonce": 1})
    assert rules == (200, {"minNonce": 1})
    spam = await told(post, post.envelope().text())
    codes = [answer[1]["error"]["code"] for answer in (large, unknown, spam)]
    assert codes == [-32011, -32001, -32010]
    assert {large[0], unknown[0], spam[0]} == {400}
    return large


@case("POST /rpc dm3_submitMessage with a garbage metadata.signature")
async def submit_unsigned(post):
    await post.register(BOB)
    value = post.envelope().value()
    value["metadata"]["signature"] = ALICE.keys.sign("something else")
    return await told(post, json.dumps(value))


@case("POST /rpc dm3_getDeliveryServiceProperties params=[]")
async def properties(post):
    return await told(post, method="dm3_getDeliveryServiceProperties")


@case("POST /rpc dm3_getProfileExtension params=[ens]")
async def extension(post):
    await post.register(BOB)
    return await told(post, "bob.eth", method="dm3_getProfileExtension")


@case("POST /rpc dm3_getProfileExtension unknown")
async def extension_unknown(post):
    return await told(post, "bob.eth", method="dm3_getProfileExtension")


@case("POST /rpc unknown method")
async def method_unknown(post):
    return await told(post, method="eth_blockNumber")


@case("POST /rpc without method")
async def method_missing(post):
    return await told(post, method=None)


@case("GET /delivery/messages/incoming/:ens (Bearer)")
async def incoming(post):
    session = await session_of(post)
    for text in ("first", "second"):
        assert (await post.submit(post.envelope(text))).status_code == 200
    status, found = await seen(post, "GET", "/delivery/messages/incoming/bob.eth", headers=session)
    hashes = [post.message(text).hash for text in ("second", "first")]
    assert [one["metadata"]["messageHash"] for one in found] == hashes
    for one in found:
        assert set(one) == {"message", "metadata", "postmark"}
        assert one["metadata"]["deliveryInformation"] == {"from": "alice.eth", "to": "bob.eth"}
        assert set(json.loads(one["postmark"])) == {"ciphertext", "ephemPublicKey", "nonce"}
    return status, ROWS["GET /delivery/messages/incoming/:ens (Bearer)"]["body"]


@case("same without token")
async def incoming_without(post):
    await post.register(BOB)
    return await seen(post, "GET", "/delivery/messages/incoming/bob.eth")


@case(
    "POST /delivery/messages/:ens/syncAcknowledgements/ "
    "{acknowledgements:[{contactAddress,messageHash}]}"
)
async def acknowledge(post):
    session = await session_of(post)
    assert (await post.submit(post.envelope())).status_code == 200
    answer = await post.acknowledge(BOB, session, ("alice.eth", post.message().hash))
    assert await post.incoming(BOB, session) == []
    return answer.status_code, body_of(answer)


@case("same with a missing messageHash")
async def acknowledge_wrong(post):
    session = await session_of(post)
    return await seen(
        post,
        "POST",
        "/delivery/messages/bob.eth/syncAcknowledgements/",
        headers=session,
        json={"acknowledgements": [{"contactAddress": "alice.eth"}]},
    )


@case("GET /metrics without data")
async def metrics(post):
    return await seen(post, "GET", "/metrics")


@case("GET /notifications/:ens")
async def notifications(post):
    session = await session_of(post)
    return await seen(post, "GET", "/notifications/bob.eth", headers=session)


@case("GET /notifications/global/:ens")
async def notifications_global(post):
    session = await session_of(post)
    return await seen(post, "GET", "/notifications/global/bob.eth", headers=session)


@case("POST /notifications/:ens {recipientValue:'{}',notificationChannelType:'PUSH'}")
async def notification_wrong(post):
    session = await session_of(post)
    given = {"recipientValue": "{}", "notificationChannelType": "PUSH"}
    return await seen(post, "POST", "/notifications/bob.eth", headers=session, json=given)


@case("POST /notifications/:ens EMAIL while global off")
async def notification_off(post):
    session = await session_of(post)
    given = {"recipientValue": "bob@example.org", "notificationChannelType": "EMAIL"}
    return await seen(post, "POST", "/notifications/bob.eth", headers=session, json=given)


def test_every_recorded_case_is_replayed_or_named() -> None:
    ours = {request for request in ROWS if not request.startswith("backend ")}
    assert set(CASES) == ours
    assert set(DIFFERENT) <= ours
    page = (Path(__file__).parents[3] / "docs" / "dm3.md").read_text()
    for request, why in DIFFERENT.items():
        assert f"`{request}`" in page, request
        assert why


@pytest.mark.parametrize("request_", sorted(set(CASES) - set(DIFFERENT)))
@in_loop
async def test_the_recorded_answer(request_, tmp_path):
    async with post_office(tmp_path) as post:
        row = ROWS[request_]
        expected = (row["status"], row["body"])
        assert await CASES[request_](post) == expected


OTHERWISE = {
    "GET /auth/:ens unknown account or name": (404, None),
    "GET /delivery/messages/incoming/:address with that JWT": (401, "Unauthorized"),
    "POST /rpc dm3_submitMessage params=[envelop object]": (200, "OK"),
    "POST /rpc dm3_submitMessage, metadata.encryptedMessageHash instead of messageHash": (
        200,
        "OK",
    ),
    "POST /rpc dm3_submitMessage too large / unknown receiver / spam": (400, None),
    "POST /rpc dm3_submitMessage with a garbage metadata.signature": (400, None),
    "POST /rpc dm3_getProfileExtension params=[ens]": (200, None),
}


@pytest.mark.parametrize("request_", sorted(DIFFERENT))
@in_loop
async def test_the_answer_that_differs(request_, tmp_path):
    async with post_office(tmp_path) as post:
        status, body = await CASES[request_](post)
        assert status == OTHERWISE[request_][0]
        assert body != ROWS[request_]["body"] or status != ROWS[request_]["status"]
        if OTHERWISE[request_][1] is not None:
            assert body == OTHERWISE[request_][1]
