"""A libp2p peer of our own pieces that keeps or breaks whatever rule a test wants."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from dms3.core.codec import encode
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId
from dms3.core.limits import SECOND_US
from dms3.core.network import MAIN, network_id
from dms3.crypto.certificate import issue_certificate
from dms3.crypto.signing import SigningKey
from dms3.io.clock import SystemClock, SystemEntropy
from dms3.io.transport import Transport
from dms3.libp2p.connection import Connection
from dms3.libp2p.events import StreamData, StreamFinished, StreamOpened, StreamReset
from dms3.libp2p.identify import IdentifyInfo
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey
from dms3.p2p.card import card_text, issue_card
from dms3.p2p.frames import (
    ANSWER,
    FAILURE,
    REQUEST,
    VERSION,
    FrameReader,
    Version,
    decode_failure,
    encode_frame,
    encode_version,
)
from dms3.search.messages import GRANT_PROTOCOL, RECEIPT, decode_grant_message
from network.running import Running

DAY_US = 24 * 3600 * SECOND_US
HELLO = encode_frame(VERSION, 0, encode_version(Version(network_id(MAIN), (0,))))


def info() -> IdentifyInfo:
    return IdentifyInfo(protocol_version="dms3/1", agent="foe/1", addresses=(), protocols=())


@dataclass
class Stream:
    """One stream: the frames that came on it, and how it ended."""

    reader: FrameReader = field(default_factory=FrameReader)
    frames: asyncio.Queue[tuple[int, int, bytes]] = field(default_factory=asyncio.Queue)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    next_id: int = 1


class Foe:
    """A person with one node; `reads` False: it gives no window credit back.

    It answers offers of grants, and keeps them in `grants`.
    """

    def __init__(self, *, reads: bool = True, root: SigningKey | None = None) -> None:
        self.key = NodeKey.generate(SystemEntropy())
        self.root = root or SigningKey.of_seed(SystemEntropy().draw(32))
        self.reads = reads
        self.grants: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed: asyncio.Event = asyncio.Event()
        self.reason = ""
        self.received = 0
        self._streams: dict[int, Stream] = {}
        self._asking: dict[str, int] = {}
        self._offers: set[int] = set()
        self._link: Any = None

    @property
    def peer(self) -> PeerId:
        return self.key.peer_id

    def certificate(self, *, since_us: int = -DAY_US, until_us: int = DAY_US) -> bytes:
        """Its root's word for its node, from and until so far from now."""
        now = SystemClock().now().wall_us
        return encode(
            issue_certificate(self.root, self.peer, "foe", now + since_us, now + until_us)
        )

    def card(self, name: str) -> str:
        now = SystemClock().now().wall_us
        card = issue_card(
            self.root,
            name=name,
            peer=self.peer,
            addresses=["/ip4/127.0.0.1/tcp/9"],
            certificate=self.certificate(),
            since_us=now,
            until_us=now + DAY_US,
        )
        return card_text(card)

    @contextlib.asynccontextmanager
    async def connected(self, node: Running) -> AsyncIterator[Foe]:
        """Connected to `node` for as long as the block runs."""
        transport = Transport(
            key=self.key,
            handler=self,
            protocols=lambda name: name == GRANT_PROTOCOL,
            identify=info,
            entropy=SystemEntropy(),
            clock=SystemClock(),
        )
        self.closed.clear()
        address = Multiaddr.parse(node.data["address"])
        self._link = await transport.dial([address], None, 10 * SECOND_US)
        try:
            yield self
        finally:
            self._streams.clear()
            self._asking.clear()
            await transport.close()

    # what it does

    def open(self, protocol: str, first: bytes = HELLO) -> int:
        stream: int = self._link.open_stream([protocol])
        self._streams[stream] = Stream()
        if first:
            self._link.send(stream, first)
        return stream

    def be_deaf(self) -> None:
        """Take no more notice of what the node sends."""
        self._link._wire.data_received = lambda _: None

    def write(self, stream: int, data: bytes) -> int:
        """Bytes now unsent; raises `limit_reached`."""
        queued: int = self._link.send(stream, data)
        return queued

    async def ask(self, protocol: str, body: bytes) -> bytes | Failure:
        """The answer to a question on its long-lived stream of `protocol`; "" when it is reset."""
        stream = self._asking.get(protocol)
        if stream is None or self._streams[stream].ended.is_set():
            stream = self._asking[protocol] = self.open(protocol)
        held = self._streams[stream]
        number, held.next_id = held.next_id, held.next_id + 1
        self._link.send(stream, encode_frame(REQUEST, number, body))
        while True:
            kind, answered, answer = await self.frame(stream)
            if kind == FAILURE and answered == number:
                return decode_failure(answer)
            if kind == ANSWER and answered == number:
                return answer
            if kind < 0:
                return Failure("reset", self.reason)

    async def frame(self, stream: int) -> tuple[int, int, bytes]:
        """The next frame on `stream`; (-1, 0, b"") when it has ended."""
        held = self._streams[stream]
        async with asyncio.timeout(20):
            return await held.frames.get()

    async def ended(self, stream: int, within_s: float = 10) -> None:
        async with asyncio.timeout(within_s):
            await self._streams[stream].ended.wait()

    async def dropped(self, within_s: float = 10) -> str:
        """Wait until the node has ended the connection."""
        async with asyncio.timeout(within_s):
            await self.closed.wait()
        return self.reason

    # called by the transport

    def on_secured(self, link: Any) -> None:
        self._link = link

    def on_event(self, link: Any, event: Any) -> None:
        stream = getattr(event, "stream", None)
        if isinstance(event, StreamOpened) and event.inbound:
            self._streams[event.stream] = Stream()
            self._offers.add(event.stream)
            link.send(event.stream, HELLO)
        elif isinstance(event, StreamData) and stream in self._streams:
            self._take(link, event.stream, event.data)
        elif isinstance(event, StreamReset | StreamFinished) and stream in self._streams:
            self._end(self._streams[event.stream])

    def on_closed(self, link: Any, code: str, reason: str) -> None:
        del link, code
        self.reason = reason
        for held in self._streams.values():
            self._end(held)
        self.closed.set()

    def _take(self, link: Any, stream: int, data: bytes) -> None:
        self.received += len(data)
        held = self._streams[stream]
        if not self.reads and stream not in self._offers:
            return
        link.consume(stream, len(data))
        frames, _ = held.reader.feed(data)
        for kind, number, body, _ in frames:
            if stream not in self._offers:
                held.frames.put_nowait((kind, number, body))
            elif kind == REQUEST:
                offer = decode_grant_message(body)
                if offer.grant is not None:
                    self.grants.put_nowait(offer.grant)
                link.send(stream, encode_frame(ANSWER, number, RECEIPT))

    def _end(self, held: Stream) -> None:
        held.ended.set()
        held.frames.put_nowait((-1, 0, b""))


class HalfWay:
    """A dialer over a plain socket that stops in the middle of its handshake."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        key = NodeKey.generate(SystemEntropy())
        self.peer = key.peer_id
        self.connection = Connection(
            key=key,
            dialer=True,
            expected_peer=None,
            protocols=lambda _: False,
            identify=info,
            entropy=SystemEntropy(),
            now_us=SystemClock().now().mono_us,
        )

    @classmethod
    async def dial(cls, node: Running) -> HalfWay:
        return cls(*await asyncio.open_connection(*node.listening))

    async def go(self, flights: int, more: int = 0) -> None:
        """Send `flights` flights of a right handshake and `more` bytes of the next one."""
        for _ in range(flights):
            self.writer.write(self.connection.data_to_send())
            data = await self.reader.read(65536)
            self.connection.receive_data(data, SystemClock().now().mono_us)
        self.writer.write(self.connection.data_to_send()[:more])

    async def until_cut(self, within_s: float = 5) -> int:
        """Bytes the node still sent before it closed the socket."""
        count = 0
        async with asyncio.timeout(within_s):
            with contextlib.suppress(ConnectionError):
                while data := await self.reader.read(65536):
                    count += len(data)
        self.writer.close()
        return count


async def refused(foe: Foe, node: Running) -> bool:
    """Whether `node` lets `foe` connect no more."""
    try:
        async with foe.connected(node):
            await foe.dropped(2)
            return True
    except TimeoutError:
        return False
    except Dms3Error:
        return True
