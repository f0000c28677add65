"""An hour of writing with nodes that die and return: memory stays, the disk grows by what is held.

DMS3_SOAK_MINUTES shortens it. The first third warms up, while bounded caches fill as the database
grows past them; what is measured comes after. What grows on is the tree of ops, 40 bytes for each.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import pytest

from dms3.sdk import Client
from network.app_network import AppNetwork, apps, called
from network.running import seconds

NODES = 4
OPS_PER_SIGN = 6  # two actions: an entry, and the link that lists it, of three ops each
SIGNS_PER_SECOND = 50 / OPS_PER_SIGN
MINUTES = float(os.environ.get("DMS3_SOAK_MINUTES", "56"))
DIES_EVERY_S, AWAY_S = 60, 15
MEMORY_GROWTH_MAX = 1.05
DISK_GROWTH_MAX = 1.1  # bytes on disk for each byte held, second half beside first half


@dataclass(frozen=True)
class Size:
    """Of one node: resident bytes, bytes of its database, ops held and their bytes."""

    memory: int
    disk: int
    ops: int
    held: int


async def size(network: AppNetwork, client: Client, name: str) -> Size:
    held = (await client.call("dapp", "show", dapp="guestbook"))["held"]
    status = Path(f"/proc/{network.pid(name)}/status").read_text().splitlines()
    memory = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
    home = Path(network.nodes[name].home)
    disk = sum(path.stat().st_size for path in home.glob("store.db"))
    return Size(memory * 1024, disk, sum(held["states"].values()), held["bytes"])


async def write(client: Client, until_s: float) -> int:
    """Sign at the rate of the soak; how often."""
    begun, count = seconds(), 0
    while (now := seconds()) < until_s:
        await called(client, "guestbook", "sign", text=f"line {count}", name="Alice")
        count += 1
        await asyncio.sleep(max(0.0, begun + count / SIGNS_PER_SECOND - now))
    return count


async def churn(network: AppNetwork, names: list[str], until_s: float) -> int:
    """Kill one node after the other and bring it back; how often."""
    deaths = 0
    for name in cycle(names):
        if seconds() + DIES_EVERY_S > until_s:
            return deaths
        await asyncio.sleep(DIES_EVERY_S - AWAY_S)
        network.kill(name)
        await network.wait(name)
        await asyncio.sleep(AWAY_S)
        await network.start_node(name)
        deaths += 1
    return deaths


@pytest.mark.long
def test_an_hour_of_writing_leaves_no_trace_in_memory(tmp_path: Path) -> None:
    async def soak() -> None:
        async with apps(tmp_path / "net", NODES, "guestbook") as (network, clients):
            begun = seconds()
            end_s = begun + MINUTES * 60
            stays = ("alice", "bob")
            sizes: dict[str, list[Size]] = {name: [] for name in stays}

            async def look() -> None:
                for part in (1 / 3, 2 / 3, 1):
                    await asyncio.sleep(max(0.0, begun + part * MINUTES * 60 - seconds()))
                    for name in stays:
                        sizes[name].append(await size(network, clients[name], name))
                        print(f"{(seconds() - begun) / 60:.1f} min", name, sizes[name][-1])

            async with asyncio.TaskGroup() as group:
                writing = group.create_task(write(clients["alice"], end_s))
                dying = group.create_task(churn(network, ["carol", "dave"], end_s))
                group.create_task(look())
            print(f"{writing.result()} lines, {dying.result()} deaths")
            assert dying.result() > 0
            for name in stays:
                first, half, last = sizes[name]
                assert last.memory <= first.memory * MEMORY_GROWTH_MAX, name
                assert last.ops > half.ops > first.ops, name
                early = (half.disk - first.disk) / (half.held - first.held)
                late = (last.disk - half.disk) / (last.held - half.held)
                print(f"{name}: {early:.2f} then {late:.2f} bytes on disk for each byte held")
                assert late <= early * DISK_GROWTH_MAX, name

    asyncio.run(soak())
