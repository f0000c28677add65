"""Rules that a receiver sets for senders: set, checked, and what happens when they cannot be."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from dms3.api.serve import serve
from dms3.core.errors import Failure
from dms3.delivery.rules import SpamRules
from dms3.dm3.outside import TokenBalance
from dms3.io.courier import Courier
from dms3.io.place_service import Account
from dms3.messaging.operations import CarrierState
from dms3.node import sender_rules
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


# what a person sets at the services that carry for them


def carrier(name: str, url: str) -> CarrierState:
    return CarrierState(name, url, reachable=True, problem="", checked_us=0)


@in_loop
async def test_a_person_sets_rules_at_every_service(tmp_path, monkeypatch):
    async def arrived(_: str) -> None:
        pass

    async def account(*_: object) -> Account:
        return Account(BOB.name, BOB.keys)

    monkeypatch.setattr(sender_rules, "account_of", account)
    async with post_office(tmp_path) as post, serve(post.front, "127.0.0.1", 0) as where:
        await post.register(BOB)
        courier = Courier(lambda _: True, arrived)
        carriers = (
            carrier("ds.eth", f"{where.url}/dm3"),
            carrier("gone.eth", "http://127.0.0.1:9/dm3"),
            carrier("own node", "dms3://12D3KooW"),
        )

        async def call(operation: str) -> tuple[CarrierState, ...]:
            assert operation == "mailbox.services"
            return carriers

        node = SimpleNamespace(identity=None, call=call, ports={"courier": courier.serve})

        async def told(**wanted: Any) -> Any:
            answer = await sender_rules.sender_rules(node, SpamRules(**wanted))  # type: ignore[arg-type]
            here, gone = answer["services"]
            assert (gone["rules"], bool(gone["problem"])) == (None, True)
            return here

        async with asyncio.TaskGroup() as group:
            running = group.create_task(courier.run())
            try:
                assert await told() == {
                    "name": "ds.eth",
                    "url": f"{where.url}/dm3",
                    "rules": {},
                    "problem": "",
                }
                assert (await told(min_nonce=3))["rules"] == {"minNonce": 3}
                both = {"minNonce": 3, "minTokenBalance": {"address": TOKEN, "amount": "5"}}
                assert (await told(token=TOKEN, token_amount=5))["rules"] == both
                assert (await told())["rules"] == both
                assert (await told(min_nonce=0))["rules"] == {
                    "minTokenBalance": {"address": TOKEN, "amount": "5"}
                }
                assert (await told(token=TOKEN, token_amount=0))["rules"] == {}
                post.service._senders._chain = None
                assert "cannot ask Ethereum" in (await told(min_balance=1))["problem"]
            finally:
                running.cancel()
