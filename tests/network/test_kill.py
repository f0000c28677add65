"""Kill -9 at random moments of import and share: what was acknowledged is still there, whole."""

import asyncio
import contextlib
import os
import random
from pathlib import Path

import pytest

from dms3.cli.dev import DevNetwork, dev_network
from dms3.core.errors import Dms3Error
from dms3.sdk import Client

FILES = 160


def write_documents(folder: Path, seed: int) -> list[Path]:
    """Small text files, and a few that need pack records and trees."""
    draw = random.Random(seed)
    folder.mkdir()
    paths = []
    for index in range(FILES):
        path = folder / f"letter-{index:04}.txt"
        words = [f"word{draw.randrange(5000)}" for _ in range(draw.randrange(20, 400))]
        size = 700_000 if index % 40 == 7 else 0
        path.write_text(
            f"letter number{index}\n" + " ".join(words) + "\n" + "padding " * (size // 8)
        )
        paths.append(path)
    return paths


async def import_until_killed(network: DevNetwork, folder: Path, delay_s: float) -> None:
    """Start an import on alice and kill her `delay_s` after its first progress."""
    node = network.nodes["alice"]

    async def kill_soon() -> None:
        await asyncio.sleep(delay_s)  # the moment is random on purpose
        network.kill("alice")

    async with Client(home=Path(node.home), api=node.api) as client, asyncio.TaskGroup() as group:
        killer = None
        with contextlib.suppress(Dms3Error):  # the node that answers is killed
            async for _ in client.stream("store", "add", paths=[str(folder)]):
                killer = killer or group.create_task(kill_soon())
    await network.wait("alice")


async def campaign(tmp_path: Path, rounds: int, seed: int) -> None:
    draw = random.Random(seed)
    async with dev_network(tmp_path / "net", 2) as network:
        await befriend(network)
        acknowledged: set[str] = set()
        for number in range(rounds):
            documents = tmp_path / f"documents-{number}"
            write_documents(documents, seed + number)
            if number % 2:
                await share_and_kill(network, draw.random() * 0.02)
            else:
                await import_until_killed(network, documents, draw.random() * 0.25)
                await network.start_node("alice")
            node = network.nodes["alice"]
            async with Client(home=Path(node.home), api=node.api) as client:
                report = await client.call("store", "verify")
                assert report["damaged"] == [], f"round {number} seed {seed}"
                await client.call("store", "add", paths=[str(documents)])
                again = await client.call("store", "add", paths=[str(documents)])
                assert again["documents"] == 0, f"round {number} seed {seed}: imported twice"
                assert again["unchanged"] == FILES
                listing = await client.call("store", "list", space="documents", limit=100_000)
                sources = [document["source"] for document in listing["documents"]]
                assert len(sources) == len(set(sources))
                assert acknowledged <= set(sources), f"round {number} seed {seed}: lost"
                acknowledged = set(sources)


async def befriend(network: DevNetwork) -> None:
    clients = {
        name: Client(home=Path(node.home), api=node.api) for name, node in network.nodes.items()
    }
    for giver, taker in (("alice", "bob"), ("bob", "alice")):
        card = await clients[giver].call("contact", "card")
        await clients[taker].call("contact", "add", card=card["card"])
    for client in clients.values():
        await client.aclose()


async def share_and_kill(network: DevNetwork, delay_s: float) -> None:
    """An acknowledged share outlives a kill right after it."""
    node = network.nodes["alice"]
    async with Client(home=Path(node.home), api=node.api) as client:
        await client.call("store", "share", space="documents", **{"with": "bob"})
        await asyncio.sleep(delay_s)
        network.kill("alice")
    await network.wait("alice")
    await network.start_node("alice")
    async with Client(home=Path(node.home), api=network.nodes["alice"].api) as client:
        given = await client.call("store", "list")
        space = next(row for row in given["spaces"] if row["name"] == "documents")
        assert [reader["name"] for reader in space["readers"]] == ["bob"]
        await client.call("store", "unshare", space="documents", **{"with": "bob"})


def test_three_kills_lose_nothing(tmp_path: Path) -> None:
    asyncio.run(campaign(tmp_path, rounds=3, seed=7))


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_fifty_kills_lose_nothing(tmp_path: Path) -> None:
    seed = int(os.environ.get("DMS3_SEED", "20"))
    print(f"seed {seed}, 50 rounds")
    asyncio.run(campaign(tmp_path, rounds=50, seed=seed))
