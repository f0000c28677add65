"""Kill -9 at random moments of what a node does: what was acknowledged is still there, whole.

Five activities, each with a home of its own: a round begins one, kills the node somewhere in it,
starts it again and looks. `make test` does a few rounds of each, `make long` five hundred.
"""

# ruff: noqa: ARG002 - not every activity needs all it is given
from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import pytest

from dms3.cli.dev import DevNetwork
from dms3.core.errors import Dms3Error
from dms3.core.limits import PACK_COMPACT_DEAD_FRACTION
from dms3.io.clock import SystemEntropy
from dms3.io.objects import ObjectFolder
from dms3.node.commands import TABLE
from dms3.node.home import Home
from dms3.node.identity import create_identity
from dms3.node.restoring import Restoration
from dms3.sdk import Client
from network.nodes import network_of

FILES = 48
LARGE_EVERY = 12  # one of these needs pack records and a tree
ROUNDS_LONG = 100
MILLISECONDS = {"import": 400, "share": 30, "publish": 300, "compact": 400, "backup": 120}
"""How long after its beginning an activity is killed at the latest."""


def write_documents(folder: Path, seed: int) -> list[Path]:
    """Small text files, and a few that need pack records and trees; other bytes for each seed."""
    draw = random.Random(seed)
    folder.mkdir(exist_ok=True)
    paths = []
    for index in range(FILES):
        path = folder / f"letter-{index:04}.txt"
        words = [f"word{draw.randrange(5000)}" for _ in range(draw.randrange(20, 400))]
        size = 400_000 if index % LARGE_EVERY == 7 else 0
        padding = f"padding{seed} " * (size // 9)
        path.write_text(f"letter number{index} of{seed}\n{' '.join(words)}\n{padding}\n")
        paths.append(path)
    return paths


class Activity:
    """One thing a node does; `begin` until it is killed, `check` after the next start.

    `dangerous`: set by `begin` when what it is about starts; the kill comes some time after.
    """

    nodes = 1

    def __init__(self, folder: Path, network: DevNetwork, seed: int) -> None:
        self.folder = folder
        self.network = network
        self.seed = seed
        self.draw = random.Random(seed)
        self.dangerous = asyncio.Event()

    def client(self, name: str = "alice") -> Client:
        node = self.network.nodes[name]
        return Client(home=Path(node.home), api=node.api)

    async def prepare(self, client: Client) -> None:
        """Once, before the first round."""

    @abstractmethod
    async def begin(self, client: Client, number: int) -> None:
        """Do it, and remember what the node acknowledges; it raises when the node is killed."""

    @abstractmethod
    async def check(self, client: Client) -> None:
        """Everything acknowledged is there."""

    async def verify(self, client: Client) -> None:
        report = await client.call("store", "verify")
        assert report["damaged"] == []


class Importing(Activity):
    """Files are imported, each time with other content: the old content goes."""

    async def begin(self, client: Client, number: int) -> None:
        self.documents = self.folder / "documents"
        write_documents(self.documents, self.seed + number)
        self.stored = 0
        self.dangerous.set()
        async for line in client.stream("store", "add", paths=[str(self.documents)]):
            self.stored = line.get("progress", {}).get("done", self.stored)

    async def check(self, client: Client) -> None:
        await self.verify(client)
        again = await client.call("store", "add", paths=[str(self.documents)])
        assert again["unchanged"] >= self.stored
        assert again["documents"] + again["unchanged"] == FILES
        once_more = await client.call("store", "add", paths=[str(self.documents)])
        assert (once_more["documents"], once_more["unchanged"]) == (0, FILES)
        listing = await client.call("store", "list", space="documents", limit=100_000)
        sources = [document["source"] for document in listing["documents"]]
        assert len(sources) == len(set(sources))
        assert len([source for source in sources if source.endswith(".txt")]) == FILES


class Sharing(Activity):
    """A grant is given or taken back; an answer is a promise."""

    nodes = 2

    async def prepare(self, client: Client) -> None:
        await befriend(self.network)
        paths = write_documents(self.folder / "documents", self.seed)
        await client.call("store", "add", paths=[str(path) for path in paths[:3]])
        self.shared: bool | None = False

    async def begin(self, client: Client, number: int) -> None:
        verb = "unshare" if self.shared else "share"
        wanted, self.shared = not self.shared, None
        self.dangerous.set()
        await client.call("store", verb, space="documents", **{"with": "bob"})
        self.shared = wanted

    async def check(self, client: Client) -> None:
        given = await client.call("store", "list")
        space = next(row for row in given["spaces"] if row["name"] == "documents")
        readers = [reader["name"] for reader in space["readers"]]
        assert readers in ([], ["bob"])
        assert self.shared in (None, bool(readers))
        self.shared = bool(readers)


class Publishing(Activity):
    """A space becomes public, or no longer is."""

    nodes = 2

    async def prepare(self, client: Client) -> None:
        paths = write_documents(self.folder / "documents", self.seed)
        await client.call("store", "add", paths=[str(path) for path in paths[:8]])
        self.public: bool | None = False

    async def begin(self, client: Client, number: int) -> None:
        verb = "unpublish" if self.public else "publish"
        wanted, self.public = not self.public, None
        self.dangerous.set()
        await client.call("store", verb, space="documents")
        self.public = wanted

    async def check(self, client: Client) -> None:
        await self.verify(client)
        listing = await client.call("store", "list")
        space = next(row for row in listing["spaces"] if row["name"] == "documents")
        assert self.public in (None, space["public"])
        self.public = bool(space["public"])


class Compacting(Activity):
    """Large documents come and go, so that packs are rewritten while the node is killed."""

    async def prepare(self, client: Client) -> None:
        self.kept: dict[str, int] = {}
        self.gone: set[str] = set()

    async def begin(self, client: Client, number: int) -> None:
        folder = self.folder / "large"
        folder.mkdir(exist_ok=True)
        for index in range(3):
            (folder / f"large-{number}-{index}.bin").write_bytes(self.draw.randbytes(300_000))
        await client.call("store", "add", paths=[str(path) for path in folder.iterdir()])
        listing = await client.call("store", "list", space="documents", limit=100_000)
        self.kept |= {row["cid"]: row["bytes"] for row in listing["documents"] if row["bytes"]}
        self.dangerous.set()
        for cid in self.draw.sample(sorted(self.kept), max(1, len(self.kept) * 2 // 3)):
            self.kept.pop(cid)  # from here on it may be gone
            await client.call("store", "remove", cid=cid)
            self.gone.add(cid)
        shutil.rmtree(folder)
        async for _ in client.events(topics=("store.compacted",)):
            pass  # until it is killed

    async def check(self, client: Client) -> None:
        await self.verify(client)
        for cid, size in self.kept.items():
            assert (await client.call("store", "get", cid=cid))["size"] == size
        for cid in sorted(self.gone):
            listing = await client.call("store", "list", space="documents", limit=100_000)
            assert cid not in {row["cid"] for row in listing["documents"]}
        self.gone.clear()
        await self.swept(client)

    async def swept(self, client: Client) -> None:
        """After a pass no pack is left over and none is mostly dead."""
        packs = Home(Path(self.network.nodes["alice"].home)).packs
        while True:
            upkeep = (await client.call("status"))["upkeep"]
            assert not upkeep["problem"]
            if upkeep["passes"] and not upkeep["running"]:
                break
            await asyncio.sleep(0.02)  # it tells nobody of a pass that found nothing
        assert len(list(packs.glob("*.pack"))) == upkeep["packs"]
        if upkeep["packs"]:
            assert upkeep["dead_bytes"] <= upkeep["pack_bytes"] * PACK_COMPACT_DEAD_FRACTION


class BackingUp(Activity):
    """The newest generation in the folder can be restored, and holds what was acknowledged."""

    async def prepare(self, client: Client) -> None:
        self.words = (await client.call("id", "words"))["words"]
        self.place = self.folder / "backup"
        self.generation = self.documents = 0

    async def begin(self, client: Client, number: int) -> None:
        documents = self.folder / "documents"
        paths = write_documents(documents, self.seed + number)
        self.dangerous.set()
        chosen = self.draw.sample(paths, 6)
        for path in paths:
            if path not in chosen:
                path.unlink()
        # While it is backed up it changes: what is in the backup is one of its states.
        async with asyncio.TaskGroup() as group:
            group.create_task(client.call("store", "add", paths=[str(documents)]))
            done = await client.call("store", "backup", url=str(self.place))
            self.generation, self.documents = done["generation"], done["documents"]

    async def check(self, client: Client) -> None:
        await self.verify(client)
        folder = ObjectFolder(self.place)
        numbers = folder.generations()
        assert self.generation <= max(numbers, default=0)
        if numbers:
            restored = await asyncio.to_thread(self.restore, folder)
            assert restored.result is not None
            assert restored.result.verified.damaged == ()
            if numbers[-1] == self.generation:
                assert restored.result.verified.documents >= self.documents

    def restore(self, folder: ObjectFolder) -> Restoration:
        home = Home(self.folder / "restored")
        home.create()
        identity = create_identity(SystemEntropy(), "", self.words)
        keys = (b"k" * 32, b"p" * 32)
        run = Restoration(folder, home, keys, identity, SystemEntropy(), None)
        run.run()
        shutil.rmtree(home.path)
        return run


ACTIVITIES: dict[str, type[Activity]] = {
    "import": Importing,
    "share": Sharing,
    "publish": Publishing,
    "compact": Compacting,
    "backup": BackingUp,
}


async def befriend(network: DevNetwork) -> None:
    async with clients(network) as of:
        for giver, taker in (("alice", "bob"), ("bob", "alice")):
            card = await of[giver].call("contact", "card")
            await of[taker].call("contact", "add", card=card["card"])


@contextlib.asynccontextmanager
async def clients(network: DevNetwork) -> AsyncIterator[dict[str, Client]]:
    async with contextlib.AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(Client(home=Path(node.home), api=node.api))
            for name, node in network.nodes.items()
        }


async def until_killed(activity: Activity, work: Awaitable[None], delay_s: float) -> None:
    """Run `work` and kill alice `delay_s` after it gets dangerous, whether or not it has ended."""
    network = activity.network

    async def kill_soon() -> None:
        await activity.dangerous.wait()
        await asyncio.sleep(delay_s)  # the moment is random on purpose
        activity.dangerous.clear()
        killed.set()
        network.kill("alice")

    killed = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(kill_soon())
        try:
            await work
        except (Dms3Error, ExceptionGroup):
            if not killed.is_set():
                raise  # it failed by itself
    await network.wait("alice")


async def campaign(tmp_path: Path, name: str, rounds: int, seed: int) -> None:
    draw = random.Random(seed)
    begun = time.perf_counter()
    kind = ACTIVITIES[name]
    async with network_of(tmp_path / "net", kind.nodes) as network:
        activity = kind(tmp_path, network, seed)
        async with activity.client() as client:
            await activity.prepare(client)
        for number in range(rounds):
            delay_s = draw.random() * MILLISECONDS[name] / 1_000
            async with activity.client() as client:
                await until_killed(activity, activity.begin(client, number), delay_s)
            await network.start_node("alice")
            async with activity.client() as client:
                try:
                    await activity.check(client)
                except (AssertionError, Dms3Error) as error:
                    error.add_note(f"{name}: round {number}, killed after {delay_s:.4f} s")
                    error.add_note(f"again: DMS3_SEED={seed}")
                    raise
    seconds = time.perf_counter() - begun
    print(f"{name}: {rounds} kills, seed {seed}, {seconds / rounds:.1f} s each")


def some_rounds(tmp_path: Path, name: str, rounds: int, seed: int) -> None:
    asyncio.run(campaign(tmp_path, name, rounds, seed))


def test_every_activity_that_the_campaign_needs_is_a_command() -> None:
    names = {command.name for command in TABLE}
    assert {"store add", "store share", "store publish", "store remove", "store backup"} <= names


@pytest.mark.parametrize("name", ACTIVITIES)
def test_two_kills_lose_nothing(tmp_path: Path, name: str) -> None:
    some_rounds(tmp_path, name, rounds=2, seed=7)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ACTIVITIES)
def test_a_hundred_kills_lose_nothing(tmp_path: Path, name: str) -> None:
    seed = int(os.environ.get("DMS3_SEED", "20"))
    some_rounds(tmp_path, name, ROUNDS_LONG, seed)
