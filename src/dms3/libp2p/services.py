"""The streams every libp2p peer answers by itself: Ping, Identify and Identify push.

Source: libp2p ping and identify specifications. Opens no streams; `Connection` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dms3.core import limits
from dms3.core.errors import DecodeError
from dms3.core.ids import PeerId
from dms3.libp2p import identify, ping
from dms3.libp2p.events import Identified
from dms3.libp2p.identify import IdentifyInfo, IdentifyReader
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import PublicKey
from dms3.libp2p.peer_record import ForgedRecordError, open_record
from dms3.libp2p.ping import PingEcho
from dms3.libp2p.yamux import Yamux

PROTOCOLS = (identify.PROTOCOL, identify.PUSH_PROTOCOL, ping.PROTOCOL)


class _Answered:
    """An Identify stream whose answer is on its way; what the peer still sends is ignored."""


class Services:
    """Serves the internal streams of one connection to `peer`, seen at address `remote`.

    `public_key` is this node's, encoded; `describe` gives the rest of what Identify says about it.
    """

    def __init__(
        self,
        *,
        mux: Yamux,
        peer: PeerId,
        remote: Multiaddr | None,
        public_key: bytes,
        describe: Callable[[], IdentifyInfo],
    ) -> None:
        self._mux = mux
        self._peer = peer
        self._remote = remote
        self._public_key = public_key
        self._describe = describe
        self._streams: dict[int, PingEcho | IdentifyReader | _Answered] = {}
        self._known = IdentifyInfo()

    def __contains__(self, stream: int) -> bool:
        return stream in self._streams

    def start(self, stream: int, protocol: str, *, inbound: bool) -> None:
        """Begin to serve a stream on which `protocol` was agreed; beyond the bounds, reset it."""
        if inbound and self._crowded(protocol):
            self._mux.reset(stream)
        elif protocol == ping.PROTOCOL:
            self._streams[stream] = PingEcho()
        elif inbound == (protocol == identify.PUSH_PROTOCOL):
            self._streams[stream] = IdentifyReader()
        else:
            self._streams[stream] = _Answered()
            self._mux.send(stream, identify.frame_identify(self._description()))
            self._mux.finish(stream)

    def receive(self, stream: int, data: bytes) -> None:
        """Serve `data`; a stream whose data makes no sense is reset."""
        service = self._streams[stream]
        self._mux.consume(stream, len(data))
        if isinstance(service, PingEcho):
            echo = service.receive(data)
            if self._mux.send(stream, echo) > limits.PING_QUEUE_BYTES_MAX + len(echo):
                self._end(stream)
        elif isinstance(service, IdentifyReader):
            try:
                service.receive(data)
            except DecodeError:
                self._end(stream)

    def finish(self, stream: int) -> Identified | None:
        """The peer has sent everything; its description when this is what the stream was for."""
        service = self._streams.pop(stream)
        self._mux.finish(stream)
        if not isinstance(service, IdentifyReader):
            return None
        try:
            info = service.finish()
        except DecodeError:
            return None
        believable, forged = _believable(info, self._peer)
        self._known = identify.merge_identify(self._known, believable)
        return Identified(self._known, forged)

    def drop(self, stream: int) -> None:
        """The stream was reset."""
        self._streams.pop(stream, None)

    def _end(self, stream: int) -> None:
        del self._streams[stream]
        self._mux.reset(stream)

    def _crowded(self, protocol: str) -> bool:
        pings = sum(isinstance(service, PingEcho) for service in self._streams.values())
        if protocol == ping.PROTOCOL:
            return pings >= limits.PING_STREAMS_MAX
        return len(self._streams) - pings >= limits.IDENTIFY_STREAMS_MAX

    def _description(self) -> IdentifyInfo:
        return replace(self._describe(), observed=self._remote, public_key=self._public_key)


def _believable(info: IdentifyInfo, peer: PeerId) -> tuple[IdentifyInfo, bool]:
    """`info` without a key or a signed record that is not this peer's; whether that is forged."""
    key, record = info.public_key, info.signed_record
    forged = False
    if key and PublicKey.decode(key).peer_id != peer:
        key = b""
    try:
        if record and open_record(record).peer != peer:
            record, forged = b"", True
    except ForgedRecordError:
        record, forged = b"", True
    except DecodeError:  # of a kind that we do not know
        record = b""
    return replace(info, public_key=key, signed_record=record), forged
