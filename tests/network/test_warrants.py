"""Between eight real nodes: who breaks a rule, or accuses falsely, is convicted and blocked by all.

And put out of a network when enough of those warn of them whom it names.
"""

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from dms3.core.errors import Dms3Error
from dms3.sdk import Client
from network.app_network import AppNetwork, apps, called, until

OUTLAW = Path(__file__).with_name("outlaw.py")
HONEST = ("alice", "bob", "erin", "frank", "grace", "heidi")
ADMINS = ("alice", "bob")  # of the networks that Carol and Dave are put out of
LONG = "x" * 601
NOBODY = "ab" * 32  # a root that no node has


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


async def everybody_is_in_two_networks(clients: dict[str, Client]) -> dict[str, str]:
    """Whom two of Alice and Bob warn of is put out of one; in the other Bob's word counts not."""
    alice, people = clients["alice"], (*ADMINS, "carol", "dave")
    roots = {name: (await clients[name].call("id", "show"))["root"] for name in people}
    of_two = {"membrane": "immune", "needed": 2, "apps": ["guestbook"]}
    for name, other in (("club", roots["bob"]), ("board", NOBODY)):
        made = await alice.call("network", "create", name=name, admins=[other], **of_two)
        assert (made["membrane"], made["needed"], made["apps"]) == ("immune", 2, ["guestbook"])
    guests = {"club": ("bob", "carol", "dave"), "board": ("carol",)}
    for name, who in guests.items():
        for guest in who:
            invited = await alice.call("network", "invite", name=name, who=roots[guest])
            await clients[guest].call("network", "join", invitation=invited["invitation"])
    await members(clients["alice"], "club", roots.values())
    await members(clients["alice"], "board", (roots["alice"], roots["carol"]))
    return roots


async def members(client: Client, name: str, roots: Collection[str]) -> dict[str, Any]:
    """What is said of a network, as soon as exactly these people are in it."""

    async def seen() -> dict[str, Any]:
        found = await client.call("network", "members", name=name)
        return found if {row["root"] for row in found["members"]} == set(roots) else {}

    return await until(seen)


async def two_warrants_put_out_and_one_does_not(
    clients: dict[str, Client], roots: dict[str, str]
) -> None:
    honest = [roots[name] for name in ADMINS]
    for name in ADMINS:
        found = await members(clients[name], "club", honest)
        out = {row["root"]: row["by"] for row in found["put_out"]}
        assert out == {roots["carol"]: 2, roots["dave"]: 2}
    found = await members(clients["alice"], "board", (roots["alice"], roots["carol"]))
    assert found["put_out"] == []

    async def told() -> str:
        rows = (await clients["carol"].call("network", "list"))["networks"]
        return next(row["problem"] for row in rows if row["name"] == "club")

    assert "membrane-warranted" in await until(told)


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
    for name in ADMINS:
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
        async with apps(tmp_path, 8, "guestbook", patched, Network) as (_, clients):
            roots = await everybody_is_in_two_networks(clients)
            await who_breaks_a_rule(clients)
            await she_is_blocked(clients)
            await who_accuses_falsely(clients)
            await two_warrants_put_out_and_one_does_not(clients, roots)
            await a_warrant_of_each_is_written(clients)
            await a_person_has_the_last_word(clients)

    asyncio.run(scenario())
