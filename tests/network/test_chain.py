"""An app between real nodes: what is written on one is read on all, and a broken rule by nobody."""

import asyncio
from pathlib import Path

import pytest

from dms3.core.errors import Dms3Error
from dms3.sdk import Client
from network.app_network import AppNetwork, apps, called, until

LONG = "x" * 601


async def reads(client: Client, lines: int) -> list[dict]:
    """What `client` reads as soon as it reads so many lines."""

    async def look() -> list[dict]:
        found = await called(client, "guestbook", "entries")
        return found if len(found) == lines else []

    return await until(look)


async def write_on_one_read_on_all(network: AppNetwork, clients: dict[str, Client]) -> None:
    entry = await called(clients["alice"], "guestbook", "sign", text="I was here", name="Alice")
    for client in clients.values():
        (line,) = await reads(client, 1)
        assert (line["text"], line["name"]) == ("I was here", "Alice")
    (own,) = (await clients["alice"].call("id", "show"))["agents"]
    assert line["author"] == own["agent"]

    async def complete() -> dict:
        found = await clients["alice"].call("entry", "journey", hash=entry)
        return found if found["published"]["complete"] else {}

    journey = await until(complete)
    assert {op["op"] for op in journey["published"]["ops"]} == {"record", "entry", "activity"}
    for op in journey["published"]["ops"]:
        assert len(op["signers"]) == len(clients) - 1, "everybody else has signed for it"
        assert op["enough"] == "everybody"
    network.kill("alice")
    await network.wait("alice")
    found = await clients["erin"].call("entry", "get", hash=entry)
    assert found["entry"]["text"] == "I was here"
    assert found["verdict"] == {"verdict": "valid"}


async def a_dishonest_author(clients: dict[str, Client]) -> None:
    """Carol's node takes her 601 characters; nobody else's does, and all say why."""
    entry = await called(clients["carol"], "guestbook", "sign", text=LONG, name="Carol")
    (own,) = (await clients["carol"].call("id", "show"))["agents"]
    for name in ("bob", "dave", "erin"):
        client = clients[name]

        async def refused(client: Client = client) -> dict:
            try:
                found = await client.call("entry", "get", hash=entry)
            except Dms3Error:  # it has not come yet
                return {}
            return found if found["verdict"]["verdict"] == "invalid" else {}

        found = await until(refused)
        assert found["verdict"] == {
            "verdict": "invalid",
            "rule": "an_entry_is_short_text",
            "line": 9,
            "detail": "the text has 601 characters, not 1 to 600",
        }
        assert found["action"]["author"] == own["agent"]
        assert found["action"]["entry"] == entry
        assert not found["live"]
        (line,) = await called(client, "guestbook", "entries")
        assert line["name"] == "Alice"
        journey = await client.call("entry", "journey", hash=entry)
        assert {op["state"] for op in journey["here"]} == {"rejected"}
        assert {op["rule"] for op in journey["here"]} == {"an_entry_is_short_text"}
        history = await client.call("entry", "history", agent=own["agent"])
        assert history["state"] == "invalid"


async def an_honest_author_is_told(clients: dict[str, Client]) -> None:
    with pytest.raises(Dms3Error, match="an_entry_is_short_text") as caught:
        await called(clients["bob"], "guestbook", "sign", text=LONG)
    about = caught.value.about
    (own,) = (await clients["bob"].call("id", "show"))["agents"]
    assert about is not None
    assert about["author"] == own["agent"]
    assert (about["rule"], about["line"]) == ("an_entry_is_short_text", 9)
    assert about["entry"].startswith("bafyrei")
    history = await clients["bob"].call("entry", "history")
    assert [action["kind"] for action in history["actions"]] == ["dna", "proof", "agent"]


async def who_signed_is_said_to_whoever_waits(client: Client) -> None:
    """All of a small app have signed, and that is said; of the blocks of others nothing is full."""
    content = {"text": "I was here", "name": "Bob"}
    asked = {"dapp": "guestbook", "type": "entry", "content": content}
    put = await client.call("entry", "put", wait=30, **asked)
    assert put["published"]["complete"]
    assert {op["enough"] for op in put["published"]["ops"]} == {"everybody"}
    assert {len(op["signers"]) == op["members"] for op in put["published"]["ops"]} == {True}
    assert (await client.call("entry", "put", **asked))["published"] is None
    with pytest.raises(Dms3Error, match="0 to 60 seconds"):
        await client.call("entry", "put", wait=61, **asked)
    listed = await client.call("network", "list")
    public = next(one for one in listed["overlays"] if one["kind"] == "public")
    held = {row["type"]: row for row in public["holds"]}
    assert (held["block"]["radius"], held["block"]["quota_bytes"]) == (1.0, 1 << 30)
    assert held["provider"]["radius"] is None


async def partners_know_each_other(clients: dict[str, Client]) -> None:
    """Everybody gossips with everybody in the app, and has heard where the others are."""
    for client in clients.values():

        async def heard(client: Client = client) -> bool:
            found = await client.call("peer", "gossip")
            (overlay,) = found["overlays"] or ({"partners": 0},)
            return overlay["partners"] == len(clients) - 1 and found["delivered"] > 0

        assert await until(heard)
        found = await client.call("peer", "gossip")
        assert found["spread"] == 1
        assert found["duplicates"] == 0


def test_five_nodes_read_what_one_wrote_and_refuse_what_breaks_a_rule(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with apps(tmp_path, 5, "guestbook", patched=("carol",)) as (network, clients):
            await partners_know_each_other(clients)
            await an_honest_author_is_told(clients)
            await who_signed_is_said_to_whoever_waits(clients["bob"])
            await write_on_one_read_on_all(network, clients)
            del clients["alice"]
            await a_dishonest_author(clients)

    asyncio.run(scenario())
