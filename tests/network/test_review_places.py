"""A place that sends more than an object can have, over real sockets."""

import asyncio
import contextlib

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import MIB, PLACE_OBJECT_BYTES_MAX
from dms3.io.clock import SystemEntropy
from dms3.io.place_ipfs import open_ipfs
from dms3.io.place_opendal import open_opendal
from dms3.io.places import Places
from dms3.storage.operations import GetObject, ListObjects, Place

PIECES = 128  # of a MiB


class Server:
    """Answers each connection with `answer(writer)`, and is gone with all of them at the end."""

    def __init__(self, answer) -> None:
        self._answer = answer
        self._open = set()

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/folder"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await asyncio.gather(*self._open)

    async def _serve(self, reader, writer) -> None:
        self._open.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await self._answer(writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.mark.parametrize("kind", ["webdav", "s3"])
def test_of_an_object_without_end_no_more_is_taken_than_one_has(kind):
    pytest.importorskip("opendal")
    sent = []

    async def endless(writer):
        size = PIECES * MIB
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(PIECES):
            writer.write(bytes(MIB))
            await writer.drain()
            sent.append(MIB)

    async def play():
        async with Server(endless) as url:
            keys = '{"access_key_id": "a", "secret_access_key": "b"}' if kind == "s3" else ""
            place = Place(kind, url, keys)
            opener = {kind: lambda each: open_opendal(each, "ab" * 8, lambda: 0)}
            places = Places(opener, SystemEntropy())
            with pytest.raises(Dms3Error, match="longer than what was written"):
                await places.serve("get", GetObject(place, "ab" * 32))
            await places.close()

    asyncio.run(play())
    assert PLACE_OBJECT_BYTES_MAX <= sum(sent) < PIECES * MIB // 2


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"Entries": 5}'])
def test_what_no_ipfs_node_answers_is_said_to_be_none(body):
    async def strange(writer):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    async def play():
        async with Server(strange) as url:
            places = Places({"ipfs": lambda each: open_ipfs(each, "ab" * 8)}, SystemEntropy())
            with pytest.raises(Dms3Error, match="no IPFS node"):
                await places.serve("list", ListObjects(Place("ipfs", url)))
            await places.close()

    asyncio.run(play())
