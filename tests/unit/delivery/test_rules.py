"""Rules that a receiver sets for senders: set, checked, and what happens when they cannot be."""

import pytest

from dms3.core.errors import Failure
from dms3.dm3.outside import TokenBalance
from unit.delivery_kit import ALICE, BOB, post_office, refused
from unit.fronts import in_loop

TOKEN = "0x" + "ab" * 20


@pytest.mark.parametrize(
    ("rules", "operation", "least"),
    [
        ({"minNonce": 3}, "nonce", 3),
        ({"minBalance": "1000000000000000000000"}, "balance", 10**21),
        ({"minTokenBalance": {"address": TOKEN, "amount": "5"}}, "token_balance", 5),
    ],
)
@in_loop
async def test_rules_of_the_receiver(tmp_path, rules, operation, least):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        session = await post.login(BOB)
        answer = await post.client.post("/dm3/rules/bob.eth", headers=session, json=rules)
        assert answer.json() == rules
        arguments = (
            TokenBalance(TOKEN, ALICE.address) if operation == "token_balance" else ALICE.address
        )
        post.world.numbers[operation, arguments] = least - 1
        error = await refused(post, post.envelope(), "forbidden")
        assert error["code"] == -32010
        post.world.numbers[operation, arguments] = least
        assert (await post.submit(post.envelope())).text == "OK"
        shown = await post.client.get("/dm3/rules/bob.eth", headers=session)
        assert shown.json() == rules


@in_loop
async def test_rules_that_cannot_be_checked_now(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        session = await post.login(BOB)
        rules = {"minNonce": 1, "minBalance": "1"}
        await post.client.post("/dm3/rules/bob.eth", headers=session, json=rules)
        await post.submit(post.envelope("the sender is known now"))
        post.world.failing = "timed_out"
        await refused(post, post.envelope(), "timed_out", 503)
        post.world.failing = ""
        post.world.numbers["nonce", ALICE.address] = 1
        await refused(post, post.envelope(), "forbidden")  # all rules have to be met
        post.world.numbers["balance", ALICE.address] = 1
        assert (await post.submit(post.envelope())).text == "OK"
        assert (await post.client.post("/dm3/rules/bob.eth", headers=session, json={})).json() == {}


@in_loop
async def test_rules_that_this_service_could_never_check_are_not_kept(tmp_path):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        session = await post.login(BOB)

        async def off(*_: object) -> Failure:
            return Failure("timed_out", "no Ethereum node is configured")

        for chain in (None, off):
            post.service._senders._chain = chain
            path = "/dm3/rules/bob.eth"
            answer = await post.client.post(path, headers=session, json={"minNonce": 1})
            assert answer.status_code == 503
            assert "cannot ask Ethereum" in answer.json()["error"]
            assert (await post.client.get(path, headers=session)).json() == {}


@pytest.mark.parametrize(
    "rules",
    [
        [],
        {"minNonce": -1},
        {"minNonce": 1.5},
        {"minNonce": True},
        {"minBalance": "0x10"},
        {"minBalance": "9" * 79},
        {"minTokenBalance": {"address": "0x12", "amount": "1"}},
        {"minTokenBalance": {"address": TOKEN}},
        {"other": 1},
    ],
)
@in_loop
async def test_rules_that_are_none(tmp_path, rules):
    async with post_office(tmp_path) as post:
        await post.register(BOB)
        session = await post.login(BOB)
        answer = await post.client.post("/dm3/rules/bob.eth", headers=session, json=rules)
        assert answer.status_code == 400
        assert "No spam rules" in answer.json()["error"]
