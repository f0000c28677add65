"""The public overlay with real processes: nodes find each other through one address, and again."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dms3.cli.dev import DevNetwork, DevNode
from dms3.sdk import Client
from network.nodes import network_of

NODES = 5
PATIENCE_SECONDS = 150  # a busy machine: a question unanswered is put again after a minute
PAUSE_SECONDS = 0.2


async def ask(node: DevNode, noun: str, verb: str = "", **arguments: Any) -> dict[str, Any]:
    async with Client(home=Path(node.home), api=node.api) as client:
        return await client.call(noun, verb, **arguments)


async def until(node: DevNode, noun: str, verb: str, holds: Callable[[Any], bool]) -> Any:
    """What a command says as soon as it says what is waited for; no event tells of it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            said = await ask(node, noun, verb)
            if holds(said):
                return said
            await asyncio.sleep(PAUSE_SECONDS)


def connected(said: dict[str, Any]) -> set[str]:
    return {row["peer_id"] for row in said["peers"] if row["connected"]}


@pytest.mark.timeout(400)
def test_five_know_each_other_through_one_and_again_without_it(tmp_path):
    async def run(network: DevNetwork) -> None:
        first, *others = list(network.nodes.values())
        for node in network.nodes.values():
            said = await until(
                node, "status", "", lambda said: said["overlay"]["nodes"] == NODES - 1
            )
            assert said["overlay"]["member"] is True  # and it holds who the others are
        last = others[-1]
        for node in (first, last):
            network.kill(node.name)
            await network.wait(node.name)
        again = await network.start_node(last.name, join=first.address)
        wanted = {node.peer_id for node in others[:-1]}
        await until(again, "peer", "list", lambda said: connected(said) >= wanted)
        doctor = await ask(again, "doctor")
        overlay = next(row for row in doctor["checks"] if row["name"] == "overlay")
        assert overlay["verdict"] == "pass", overlay

    async def main() -> None:
        async with network_of(tmp_path, NODES) as network:
            await run(network)

    asyncio.run(main())
