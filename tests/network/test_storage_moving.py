"""Conversations move from kind to kind of place, with real servers, and nothing is lost."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dms3.storage.operations import Place
from network.nodes import network_of
from network.place_device import device, items_of
from network.place_node import member
from network.place_servers import KUBO, place_at, server
from network.place_writer import plain_places, settled
from network.test_places_network import NODES, carried

MESSAGES, MESSAGES_LONG = 300, 10_000
FIRST = 1_000
GATHERED = 2_048  # appended at once: below what storage takes while it writes


async def come_and_read(folder: Path, number: int, port: Any, place: Place, items: list) -> None:
    """A new device of the person reads everything, the newest first."""
    async with device(folder, number, port) as other:
        await other.call("choose", place)
        await other.sees({item.key for item in items[-FIRST:]})
        await other.has(len(items))
        assert other.mailbox.items == {item.key: item for item in items}


async def journey(
    folder: Path, port: Any, places: list[Place], items: list, readers: list[Place]
) -> None:
    """Write into the own place and move on; who comes to a place of `readers` reads all."""
    async with device(folder / "one", 1, port) as one:
        for start in range(0, len(items), GATHERED):
            await one.append(items[start : start + GATHERED])
        for number, place in enumerate(places, 2):
            state = await one.move(place)
            assert (state.items, state.problem) == (len(items), ""), place
            if place in readers:
                await come_and_read(folder / f"{number}", number, port, place, items)
            print(f"{len(items)} messages are at the {place.kind} place", flush=True)


def test_messages_move_from_server_to_server(tmp_path):
    with server("webdav", tmp_path) as (webdav, _), server("s3", tmp_path) as (s3, _):
        places = [place_at("webdav", webdav), place_at("s3", s3)]

        async def main() -> None:
            served = plain_places(tmp_path)
            try:
                await journey(tmp_path, served.serve, places, items_of(MESSAGES), places[-1:])
            finally:
                await served.close()

        asyncio.run(main())


@contextlib.asynccontextmanager
async def every_kind(tmp_path: Path) -> AsyncIterator[tuple[Any, list[Place]]]:
    """A port for places of every kind, and a place of each, at servers and nodes that run."""
    ipfs = "kubo" if KUBO.exists() else "ipfs"
    with contextlib.ExitStack() as stack:
        ports = {
            kind: stack.enter_context(server(kind, tmp_path))[0] for kind in ("webdav", "s3", ipfs)
        }
        places = [place_at(kind, port) for kind, port in ports.items()]
        async with network_of(tmp_path / "network", NODES) as network:
            first = network.nodes["alice"]
            async with member(tmp_path / "node", (first.address,)) as node:
                await settled(node.ports["place"], Place("overlay"))
                places += [await carried(network, node), Place("overlay")]
                yield node.ports["place"], places


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_ten_thousand_messages_move_through_every_kind(tmp_path):
    async def main() -> None:
        async with every_kind(tmp_path) as (port, places):
            chain = [*places, Place("local")]
            await journey(tmp_path, port, chain, items_of(MESSAGES_LONG), places)

    asyncio.run(main())
