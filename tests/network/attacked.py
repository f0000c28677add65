"""Alice, who is attacked, and bob, who is served meanwhile: processes for tests of bad peers."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from dms3.core.cid import Cid
from dms3.core.codec import encode_plain
from dms3.core.limits import (
    MIB,
)
from dms3.libp2p.peer_id import peer_id_text
from dms3.sdk import Client
from dms3.search.messages import (
    BLOCK_PROTOCOL,
    GRANT_PROTOCOL,
    SEARCH_PROTOCOL,
)
from network.foe import Foe, HalfWay
from network.running import Running, running, seconds

PEER_PROTOCOL = "/dms3/peer/1"
PROTOCOLS = (PEER_PROTOCOL, GRANT_PROTOCOL, SEARCH_PROTOCOL, BLOCK_PROTOCOL)
NONCE = encode_plain({"nonce": b"\0" + bytes(16)})
MEMORY_MARGIN = 64 * MIB
HONEST_SECONDS_MAX = 5.0
BIG = bytes(range(256)) * (12 * MIB // 256)


@dataclass(frozen=True)
class World:
    """Alice is attacked, bob is her honest reader; both are processes of their own."""

    alice: Running
    bob: Running
    shared: Cid
    private: Cid


@contextlib.contextmanager
def attacked(folder: Path) -> Iterator[World]:
    letter, diary, big = folder / "letter.txt", folder / "diary.txt", folder / "big.bin"
    letter.write_text("The heron waits beside the lock.")
    diary.write_text("Nobody is to read that the otter is back.")
    big.write_bytes(BIG)
    with (
        running(folder / "alice") as alice,
        running(folder / "bob", "--join", alice.data["address"]) as bob,
    ):
        for giver, taker in ((alice, bob), (bob, alice)):
            card = giver.call("contact", "card")["card"]
            taker.call("contact", "add", card=card)
        name = alice.call("contact", "list")["contacts"][0]["name"]
        added = alice.call("store", "add", paths=[str(letter)], space="letters")
        alice.call("store", "add", paths=[str(big)], space="letters")
        kept = alice.call("store", "add", paths=[str(diary)], space="diary")
        alice.call("store", "share", space="letters", **{"with": name})
        yield World(alice, bob, Cid.parse(added["root"]), Cid.parse(kept["root"]))


def during(world: World, attack: Callable[[], Awaitable[None]]) -> None:
    """Run `attack` while bob is served; afterwards alice is as small and as willing as before."""

    async def work() -> None:
        stop = asyncio.Event()
        before = world.alice.memory()
        async with asyncio.TaskGroup() as group:
            honest = group.create_task(use(world, stop))
            try:
                await attack()
            finally:
                stop.set()
            assert await honest >= 1
        grown = world.alice.memory() - before
        print(f"memory of the attacked node: {grown / MIB:+.1f} MiB")
        assert grown < MEMORY_MARGIN
        assert world.alice.errors() == []

    asyncio.run(work())


async def use(world: World, stop: asyncio.Event) -> int:
    """What bob does meanwhile; how often."""
    rounds, slowest = 0, 0.0
    async with Client(home=world.bob.home, api=world.bob.data["api"]) as bob:
        while not stop.is_set() or rounds == 0:
            begun = seconds()
            found = await bob.call("search", query="heron", scope="peers")
            assert (found["total"], found["unreachable"]) == (1, [])
            slowest = max(slowest, seconds() - begun)
            assert slowest < HONEST_SECONDS_MAX
            rounds += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.05)
    print(f"{rounds} honest searches, slowest {slowest * 1000:.0f} ms")
    return rounds


async def points(world: World, foe: Foe | HalfWay) -> int:
    """What alice thinks of `foe`; what he did a moment ago may not have counted yet."""
    async with Client(home=world.alice.home, api=world.alice.data["api"]) as alice:
        rows = (await alice.call("peer", "list"))["peers"]
    wanted = peer_id_text(foe.peer)
    return next((int(row["points"]) for row in rows if row["peer_id"] == wanted), 0)


async def scored(world: World, foe: Foe | HalfWay, least: int) -> int:
    """The points of `foe` once they are `least`, or after two seconds without."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            while await points(world, foe) < least:  # noqa: ASYNC110  # of another process
                await asyncio.sleep(0.02)
    return await points(world, foe)


async def refusal(world: World, foe: Foe) -> str:
    """The reason in alice's stored event that she refuses `foe`, or ""."""
    url = f"http://{world.alice.data['api']}/api/v1/events?since=0&topics=peer.refused"
    wanted = peer_id_text(foe.peer)
    headers = {"Authorization": f"Bearer {world.alice.token}"}
    seen = ""
    async with (
        httpx.AsyncClient(headers=headers, timeout=20) as client,
        client.stream("GET", url) as response,
        asyncio.timeout(10),
    ):
        async for line in response.aiter_lines():
            if f'"peer":"{wanted}"' in line:
                seen = re.search(r'"code":"(\w+)"', line)[1]  # type: ignore[index]
                break
    return seen


def failed_handshakes(node: Running) -> dict[str, int]:
    text = httpx.get(f"http://{node.data['api']}/metrics").text
    line = r'^dms3_handshakes_failed_total\{code="(\w+)"\} ([\d.]+)'
    found = re.findall(line, text, re.MULTILINE)
    return {code: int(float(count)) for code, count in found}


@contextlib.asynccontextmanager
async def reader(world: World, **options: bool) -> AsyncIterator[tuple[Foe, bytes]]:
    """A person to whom alice has really given the space, with the grant; connected."""
    foe = Foe(**options)
    name = f"reader{peer_id_text(foe.peer)[-8:]}"
    async with Client(home=world.alice.home, api=world.alice.data["api"]) as alice:
        await alice.call("contact", "add", card=foe.card(name))
        await alice.call("store", "share", space="letters", **{"with": name})
        try:
            async with foe.connected(world.alice), asyncio.timeout(60):
                grant = await foe.grants.get()
                yield foe, grant
        finally:
            await alice.call("store", "unshare", space="letters", **{"with": name})
            await alice.call("contact", "remove", contact=name)
