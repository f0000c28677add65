"""Private by default: no sentence of a document lies readable on disk or travels readable."""

import asyncio
from pathlib import Path
from typing import Self

from dms3.cli.dev import DevNetwork
from dms3.sdk import Client
from network.homes import contents
from network.nodes import Network

MARKER = "The heron waits beside the ninth lock at Marsworth"


class Wiretap:
    """A TCP forwarder that keeps every byte of both directions."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.bytes = bytearray()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"/ip4/127.0.0.1/tcp/{self._server.sockets[0].getsockname()[1]}"

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, far_writer))
                group.create_task(self._copy(far_reader, writer))
        except* ConnectionError:
            pass  # the nodes were stopped
        finally:
            writer.close()
            far_writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.bytes += data
            writer.write(data)
            await writer.drain()
        writer.close()


async def scenario(tmp_path: Path) -> None:
    document = tmp_path / "diary.txt"
    document.write_text(f"A diary.\n{MARKER}.\n" + "filler words follow here " * 20_000)
    network = Network(tmp_path / "net")
    try:
        alice = await network.start_node("alice")
        port = int(alice.address.split("/")[4])
        async with Wiretap(port) as tap:
            await network.start_node("bob", join=f"{tap.address}/p2p/{alice.peer_id}")
            await share_and_fetch(network, document)
            await look(network, tmp_path, tap)
    finally:
        await network.stop()


async def share_and_fetch(network: DevNetwork, document: Path) -> None:
    alice, bob = (network.nodes[name] for name in ("alice", "bob"))
    async with (
        Client(home=Path(alice.home), api=alice.api) as one,
        Client(home=Path(bob.home), api=bob.api) as two,
    ):
        for giver, taker in ((one, two), (two, one)):
            card = await giver.call("contact", "card")
            await taker.call("contact", "add", card=card["card"])
        blob = await one.upload(document)
        added = await one.call("store", "add", paths=[blob["id"]])
        assert added["documents"] == 1
        await one.upload(document)  # stays in the spool: nobody imports it
        await one.call("store", "share", space="documents", **{"with": "bob"})
        found = await one.call("search", "", query="heron Marsworth")
        assert found["total"] == 1
        assert await two.download(found["hits"][0]["cid"]) == document.read_bytes()
        seen = await two.call("search", "", query="heron Marsworth", scope="peers")
        assert seen["total"] == 1


async def look(network: DevNetwork, tmp_path: Path, tap: Wiretap) -> None:
    needles = [MARKER.encode(), MARKER.encode("utf-16-le"), b"Marsworth", b"filler words follow"]
    assert len(tap.bytes) > 400_000, "the document did not travel through the tap"
    for needle in needles:
        assert needle not in tap.bytes
    looked_at = 0
    for path, data in contents(tmp_path / "net"):
        looked_at += 1
        for needle in needles:
            assert needle not in data, f"{path.relative_to(tmp_path)} holds document text"
    assert looked_at > 10, "the homes were not where they were looked for"
    assert network.nodes


def test_no_sentence_is_readable_on_disk_or_on_the_wire(tmp_path: Path) -> None:
    asyncio.run(scenario(tmp_path))
