"""Between real nodes: who breaks a rule, or accuses falsely, is convicted and blocked by all."""

import asyncio
from pathlib import Path

import pytest

from dms3.core.errors import Dms3Error
from dms3.sdk import Client
from network.app_network import AppNetwork, apps, called, until

OUTLAW = Path(__file__).with_name("outlaw.py")
HONEST = ("alice", "bob")
LONG = "x" * 601


class Network(AppNetwork):
    """The nodes in `patched` run `outlaw.py`."""

    script = OUTLAW


async def agent(client: Client) -> str:
    (own,) = (await client.call("id", "show"))["agents"]
    return own["agent"]


async def convicted(client: Client, count: int) -> dict[str, dict]:
    """Who is convicted there, as soon as so many are."""

    async def look() -> list[dict]:
        found = (await client.call("warrant", "list", dapp="guestbook"))["warrants"]
        return found if len(found) >= count else []

    return {one["agent"]: one for one in await until(look)}


async def who_breaks_a_rule(clients: dict[str, Client]) -> None:
    carol = await agent(clients["carol"])
    await called(clients["carol"], "guestbook", "sign", text=LONG, name="Carol")
    for name in HONEST:
        (one,) = (await convicted(clients[name], 1)).values()
        assert (one["agent"], one["standing"], one["kind"]) == (carol, "convicted", "rule")
        assert (one["rule"], one["line"]) == ("an_entry_is_short_text", 9)
        assert "the text has 601 characters" in one["words"]
        shown = await clients[name].call("warrant", "show", agent=carol)
        (action,) = shown["actions"]
        assert (action["kind"], action["author"]) == ("create", carol)
        journey = await clients[name].call("entry", "journey", hash=action["hash"])
        assert journey["blocked"] == "convicted"


async def she_is_blocked(clients: dict[str, Client]) -> None:
    """What she writes later is taken by nobody; others go on."""
    sorry = await called(clients["carol"], "guestbook", "sign", text="sorry", name="Carol")
    await called(clients["alice"], "guestbook", "sign", text="frame me, dave", name="Alice")

    async def read() -> list[dict]:
        return await called(clients["bob"], "guestbook", "entries")

    (line,) = await until(read)
    assert line["name"] == "Alice"
    for name in HONEST:
        with pytest.raises(Dms3Error, match="Nobody who was asked has"):
            await clients[name].call("entry", "get", hash=sorry)


async def who_accuses_falsely(clients: dict[str, Client]) -> None:
    """Dave has accused Alice of her entry, which breaks no rule."""
    dave, alice = await agent(clients["dave"]), await agent(clients["alice"])
    for name in HONEST:
        found = await convicted(clients[name], 2)
        assert (found[dave]["rule"], found[dave]["standing"]) == ("warrant-false", "convicted")
        assert alice not in found


async def a_person_has_the_last_word(clients: dict[str, Client]) -> None:
    carol = await agent(clients["carol"])
    named = {"dapp": "guestbook", "agent": carol}
    assert (await clients["bob"].call("warrant", "pardon", **named))["standing"] == "pardoned"
    assert (await convicted(clients["alice"], 2))[carol]["standing"] == "convicted"
    shown = await clients["bob"].call("warrant", "block", **named, why="enough")
    assert (shown["standing"], shown["why"]) == ("blocked", "enough")


async def warned_of(client: Client) -> set[str]:
    """Agents of whom a node warns in its own chain."""
    chain = await client.call("chain", "show", dapp="guestbook")
    actions = [one["action"] for one in chain["records"]]
    return {one["to"] for one in actions if one["kind"] == "warrant"}


async def a_warrant_of_each_is_written(clients: dict[str, Client]) -> None:
    """By whoever's pause was the shortest: of Carol that may be Dave, whose word holds in this."""
    carol, dave = await agent(clients["carol"]), await agent(clients["dave"])

    async def written() -> bool:
        honest: set[str] = set()
        for name in HONEST:
            honest |= await warned_of(clients[name])
        assert honest <= {carol, dave}
        return dave in honest and carol in honest | await warned_of(clients["dave"])

    assert await until(written)


def test_who_breaks_a_rule_or_accuses_falsely_is_convicted_by_all(tmp_path: Path) -> None:
    async def scenario() -> None:
        patched = ("carol", "dave")
        async with apps(tmp_path, 4, "guestbook", patched, Network) as (_, clients):
            await who_breaks_a_rule(clients)
            await she_is_blocked(clients)
            await who_accuses_falsely(clients)
            await a_warrant_of_each_is_written(clients)
            await a_person_has_the_last_word(clients)

    asyncio.run(scenario())
