"""Published on one node, found and opened by strangers; also when the publisher has been killed.

Real processes on loopback. Costs 25 s, most of it starting nine nodes."""

import asyncio
import os
from pathlib import Path

import pytest

from dms3.cli.dev import DevNode
from dms3.core.errors import Dms3Error
from dms3.sdk import Client
from network.nodes import network_of

TEXT = "The heron waits beside the ninth lock at Marsworth.\n"
NODES = 9  # one more than hold a block: one of them has to ask


def client(node: DevNode) -> Client:
    return Client(home=Path(node.home), api=node.api)


def write_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "inner").mkdir(parents=True)
    (folder / "heron.txt").write_text(TEXT)
    (folder / "inner" / "otter.md").write_text("# Otters\n\nAn otter at the mill.\n")
    (folder / "large.txt").write_text("Canal towpath and bridge. " * 40_000 + os.urandom(8).hex())
    return folder


async def publish(one: Client, folder: Path) -> dict[str, object]:
    added = await one.call("store", "add", paths=[str(folder)], space="canal")
    assert added["documents"] == 3
    answer = await one.call("store", "publish", space="canal")
    assert (answer["stage"], answer["public"], answer["waiting"]) == ("done", True, "")
    assert answer["holders"] == {"least": 8, "wanted": 8, "goal": 8}
    return added


async def find(node: Client, words: str, scope: str = "public") -> list[dict[str, object]]:
    answer = await node.call("search", "", query=words, scope=scope)
    assert answer["unreachable"] == [], answer
    hits: list[dict[str, object]] = answer["hits"]
    return hits


async def scenario(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    large = (folder / "large.txt").read_bytes()
    async with network_of(tmp_path / "net", NODES, {}) as nodes:
        names = list(nodes.nodes)
        first, publisher, asker, late = (nodes.nodes[names[at]] for at in (0, 1, 2, -1))
        async with client(publisher) as one, client(asker) as two:
            added = await publish(one, folder)
            (hit,) = await find(two, "heron ninth")
            assert (hit["public"], hit["space"], hit["node"]) == (
                True,
                "canal",
                publisher.peer_id,
            )
            assert hit["snippet"] == TEXT.strip()
            assert await two.download(str(hit["cid"])) == TEXT.encode()
            assert [each["title"] for each in await find(two, '"the mill"')] == ["Otters"]
            assert await find(two, "pelican") == []
            everywhere = await two.call("search", "", query="heron", scope="all")
            assert [each["cid"] for each in everywhere["hits"]] == [hit["cid"]]
            again = await one.call("store", "list", space="canal")
            (space,) = [row for row in again["spaces"] if row["name"] == "canal"]
            assert space["public"]
        nodes.kill(publisher.name)
        async with client(late) as three:
            hits = await find(three, "towpath", "all")
            assert len(hits) == 1
            assert await three.download(str(hits[0]["cid"])) == large
            middle = await three.download(str(hits[0]["cid"]), 300_000, 300_100)
            assert middle == large[300_000:300_100]
            listed = await three.call("store", "folder", cid=str(added["root"]))
            assert [entry["name"] for entry in listed["entries"]] == [
                "heron.txt",
                "inner",
                "large.txt",
            ]
        assert first.name == names[0]


def test_what_was_published_is_found_and_opened_with_the_publisher_gone(tmp_path: Path) -> None:
    asyncio.run(scenario(tmp_path))


async def alone(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    async with network_of(tmp_path / "net", 1) as nodes:
        (node,) = nodes.nodes.values()
        async with client(node) as one:
            await one.call("store", "add", paths=[str(folder)], space="canal")
            answer = await one.call("store", "publish", space="canal")
            assert answer["stage"] != "done"
            assert "no other node" in answer["waiting"]
            assert "goes on by itself" in answer["summary"]
            other = await nodes.start_node("bob", join=node.address)
            async with client(other) as two:
                done = await one.call("store", "publish", space="canal")
                while done["stage"] != "done":  # each call waits for nodes or for the end
                    done = await one.call("store", "publish", space="canal")
                assert done["holders"] == {"least": 2, "wanted": 2, "goal": 8}
                assert "the network has only 2" in done["summary"]
                assert len(await find(two, "heron")) == 1
                (folder / "late.txt").write_text("A kingfisher came late.")
                await one.call("store", "add", paths=[str(folder)], space="canal")
                await one.call("store", "publish", space="canal")
                gone = await one.call("store", "unpublish", space="canal")
                assert gone["was_public"]
                assert "48 hours" in gone["left"]
                listed = await one.call("store", "list")
                (space,) = [row for row in listed["spaces"] if row["name"] == "canal"]
                assert not space["public"]
                with pytest.raises(Dms3Error, match="no space"):
                    await one.call("store", "publish", space="nothing")


def test_a_space_published_alone_waits_and_is_withdrawn_on_request(tmp_path: Path) -> None:
    asyncio.run(alone(tmp_path))
