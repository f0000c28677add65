"""Eight nodes with an app, four of them killed: nothing is lost, and who was away catches up."""

import asyncio
from pathlib import Path

from dms3.sdk import Client
from network.app_network import AppNetwork, apps, called, until

WRITERS = ("alice", "bob", "erin", "heidi")
KILLED = ("bob", "carol", "frank", "heidi")
"""Alice is the node that the others joined first, so she is among those who stay."""


async def figures(client: Client) -> dict:
    (found,) = (await client.call("chain", "figures", dapp="guestbook"))["apps"]
    return found


async def holds(client: Client, ops: int) -> bool:
    """Whether a node holds so many ops, all with a verdict; nothing is read from others."""
    return (await figures(client))["held"]["states"] == {"integrated": ops}


async def all_hold(clients: dict[str, Client], names: list[str]) -> int:
    """How many ops all of them hold, once that is the same."""

    async def look() -> int:
        counts = [(await figures(clients[name]))["held"]["states"] for name in names]
        same = all(count == counts[0] for count in counts) and set(counts[0]) == {"integrated"}
        return counts[0]["integrated"] if same else 0

    return await until(look)


async def one_is_away_while_others_write(
    network: AppNetwork, clients: dict[str, Client]
) -> dict[str, str]:
    """Dave is killed, four people write, Dave comes back: he has it without asking for it."""
    before = await all_hold(clients, list(clients))
    network.kill("dave")
    await network.wait("dave")
    written = {}
    for name in WRITERS:
        line = {"text": f"{name} was here", "name": name}
        written[name] = await called(clients[name], "guestbook", "sign", **line)
    there = [name for name in clients if name != "dave"]

    async def grown() -> int:
        count = await all_hold(clients, there)
        return count if count >= before + 4 * len(WRITERS) else 0

    ops = await until(grown)
    await network.start_node("dave")
    await until(lambda: holds(clients["dave"], ops))
    return written


async def four_are_killed(
    network: AppNetwork, clients: dict[str, Client], written: dict[str, str]
) -> None:
    for name in KILLED:
        network.kill(name)
    for name in KILLED:
        await network.wait(name)
        del clients[name]
    for client in clients.values():
        for name, entry in written.items():
            found = await client.call("entry", "get", hash=entry)
            assert found["entry"]["text"] == f"{name} was here"
            assert found["verdict"] == {"verdict": "valid"}

    async def repaired() -> bool:
        all_figures = [await figures(client) for client in clients.values()]
        return all(one["whole"] and one["short"] == 0 for one in all_figures)

    await until(repaired)


def test_four_of_eight_nodes_are_killed_and_everything_is_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with apps(tmp_path, 8, "guestbook") as (network, clients):
            written = await one_is_away_while_others_write(network, clients)
            await four_are_killed(network, clients, written)

    asyncio.run(scenario())
