"""Our side of the interop tests: a Transport that answers the echo and bulk protocols."""

import asyncio
import contextlib
import hashlib
import json
import os
from collections.abc import AsyncIterator
from collections.abc import Set as AbstractSet
from typing import Any

from dms3.core import limits
from dms3.core.ids import PeerId
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.transport import Secured, Transport
from dms3.libp2p import events
from dms3.libp2p.identify import IdentifyInfo
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey, peer_id_text
from dms3.libp2p.peer_record import seal_record

ECHO = "/dms3-test/echo/1.0.0"
BULK = "/dms3-test/bulk/1.0.0"
AGENT = "dms3/test"
PUSH, PULL = 1, 2
PIECE = 65_536
PATTERN = bytes(range(251)) * (PIECE // 251 + 2)
DIAL_TIMEOUT_US = 10 * limits.SECOND_US


class StreamLostError(Exception):
    """The peer or the connection ended the stream."""


class Stream:
    """One stream as a pair of coroutines, with back-pressure both ways."""

    def __init__(self, link: Secured, number: int) -> None:
        self._link = link
        self._number = number
        self._arrived: asyncio.Queue[bytes | StreamLostError] = asyncio.Queue()
        self._drained = asyncio.Event()

    async def write(self, data: bytes) -> None:
        self._drained.clear()
        if self._link.send(self._number, data) > limits.STREAM_QUEUE_NOTICE_BYTES:
            await self._drained.wait()

    async def read(self) -> bytes:
        """The next bytes; b"" at the end."""
        data = await self._arrived.get()
        if isinstance(data, StreamLostError):
            raise data
        self._link.consume(self._number, len(data))
        return data

    async def read_all(self) -> bytes:
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    def finish(self) -> None:
        self._link.finish(self._number)

    def on_event(self, event: events.ConnectionEvent) -> None:
        match event:
            case events.StreamData(data=data):
                self._arrived.put_nowait(data)
            case events.StreamFinished():
                self._arrived.put_nowait(b"")
            case events.StreamDrained():
                self._drained.set()
            case events.StreamReset(reason=reason):
                self.lose(reason)
            case _:
                pass

    def lose(self, reason: str) -> None:
        self._arrived.put_nowait(StreamLostError(reason))
        self._drained.set()


class OurNode:
    """Implements `Handler`: answers inbound streams, routes events of our own ones."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self.key = NodeKey.generate(SystemEntropy())
        self.peer_id = peer_id_text(self.key.peer_id)
        self.addresses: tuple[Multiaddr, ...] = ()
        self.sequence = 1  # of the record that Identify carries
        self.identified: dict[PeerId, IdentifyInfo] = {}
        self._told = asyncio.Condition()
        self.secured: list[Secured] = []
        self.closed: list[tuple[str, str]] = []
        self._streams: dict[tuple[int, int], Stream] = {}
        self.transport = Transport(
            key=self.key,
            handler=self,
            protocols=lambda name: name in {ECHO, BULK},
            identify=lambda: IdentifyInfo(
                protocol_version="dms3/test",
                agent=AGENT,
                addresses=self.addresses,
                protocols=(ECHO, BULK, "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"),
                signed_record=seal_record(self.key, self.sequence, self.addresses),
            ),
            entropy=SystemEntropy(),
            clock=SystemClock(),
        )

    @property
    def address(self) -> str:
        return f"{self.addresses[0]}/p2p/{self.peer_id}"

    async def dial(self, address: str, peer: PeerId | None = None) -> Secured:
        return await self.transport.dial([Multiaddr.parse(address)], peer, DIAL_TIMEOUT_US)

    def open(self, link: Secured, protocol: str) -> Stream:
        number = link.open_stream([protocol])
        stream = self._streams[id(link), number] = Stream(link, number)
        return stream

    async def identity_of(
        self, link: Secured, protocols: AbstractSet[str] = frozenset()
    ) -> IdentifyInfo:
        """What the peer says of itself, once it says that it speaks `protocols`.

        Some push those they have just got to know themselves, after their first answer.
        """
        async with self._told:
            await self._told.wait_for(lambda: self._speaks(link.peer, protocols))
        return self.identified[link.peer]

    def _speaks(self, peer: PeerId, protocols: AbstractSet[str]) -> bool:
        known = self.identified.get(peer)
        return known is not None and protocols <= set(known.protocols)

    async def _tell(self) -> None:
        async with self._told:
            self._told.notify_all()

    # Handler.

    def on_secured(self, link: Secured) -> None:
        self.secured.append(link)

    def on_event(self, link: Secured, event: events.ConnectionEvent) -> None:
        if isinstance(event, events.Identified):
            self.identified[link.peer] = event.info
            self._group.create_task(self._tell())
        elif isinstance(event, events.StreamOpened) and event.inbound:
            stream = self._streams[id(link), event.stream] = Stream(link, event.stream)
            answer = answer_echo if event.protocol == ECHO else answer_bulk
            self._group.create_task(answer(stream))
        elif (stream := self._streams.get((id(link), event.stream))) is not None:
            stream.on_event(event)

    def on_closed(self, link: Secured, code: str, reason: str) -> None:
        self.closed.append((code, reason))
        for (owner, _), stream in self._streams.items():
            if owner == id(link):
                stream.lose(reason)


async def answer_echo(stream: Stream) -> None:
    with contextlib.suppress(StreamLostError):
        while part := await stream.read():
            await stream.write(part)
        stream.finish()


async def answer_bulk(stream: Stream) -> None:
    with contextlib.suppress(StreamLostError):
        header = b""
        while len(header) < 9:
            header += await stream.read()
        if header[0] == PULL:
            await send_pattern(stream, int.from_bytes(header[1:9], "big"))
        else:
            await stream.write(json.dumps(await digest_of(stream, header[9:])).encode())
        stream.finish()


async def send_pattern(stream: Stream, count: int) -> None:
    for sent in range(0, count, PIECE):
        start = sent % 251
        await stream.write(PATTERN[start : start + min(PIECE, count - sent)])


async def digest_of(stream: Stream, first: bytes = b"") -> dict[str, Any]:
    digest, size = hashlib.sha256(first), len(first)
    while part := await stream.read():
        digest.update(part)
        size += len(part)
    return {"bytes": size, "sha256": digest.hexdigest()}


def pattern_digest(count: int) -> dict[str, Any]:
    """What both ends must count for a transfer of `count` bytes."""
    digest = hashlib.sha256()
    for sent in range(0, count, PIECE):
        start = sent % 251
        digest.update(PATTERN[start : start + min(PIECE, count - sent)])
    return {"bytes": count, "sha256": digest.hexdigest()}


async def echo(node: OurNode, link: Secured, size: int) -> None:
    stream = node.open(link, ECHO)
    sent = os.urandom(size)
    await stream.write(sent)
    stream.finish()
    assert await stream.read_all() == sent


async def push(node: OurNode, link: Secured, count: int) -> dict[str, Any]:
    stream = node.open(link, BULK)
    await stream.write(PUSH.to_bytes(1, "big") + count.to_bytes(8, "big"))
    await send_pattern(stream, count)
    stream.finish()
    found: dict[str, Any] = json.loads(await stream.read_all())
    return found


async def pull(node: OurNode, link: Secured, count: int) -> dict[str, Any]:
    stream = node.open(link, BULK)
    await stream.write(PULL.to_bytes(1, "big") + count.to_bytes(8, "big"))
    stream.finish()
    return await digest_of(stream)


@contextlib.asynccontextmanager
async def our_node() -> AsyncIterator[OurNode]:
    """A transport of ours that listens on a loopback port; closed when the block ends."""
    async with asyncio.TaskGroup() as group:
        node = OurNode(group)
        node.addresses = (await node.transport.listen(Multiaddr.parse("/ip4/127.0.0.1/tcp/0")),)
        try:
            yield node
        finally:
            await node.transport.close()
