"""Decoders of the wire stack for the fuzz test, and whole handshakes fed changed bytes."""

import contextlib
import json
import struct
import sys
from pathlib import Path

from dms3.core.errors import DecodeError, Dms3Error
from dms3.libp2p.connection import Connection
from dms3.libp2p.events import Closed
from dms3.libp2p.identify import (
    IdentifyInfo,
    IdentifyReader,
    decode_identify,
    encode_identify,
    frame_identify,
)
from dms3.libp2p.mdns import decode_txt, encode_txt
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.multistream import HEADER, Dialer, Listener, encode_message, read_message
from dms3.libp2p.noise import Payload
from dms3.libp2p.peer_id import (
    NodeKey,
    PublicKey,
    decode_peer_id,
    parse_peer_id,
    peer_id_cid,
    peer_id_text,
)
from dms3.libp2p.peer_record import open_record, seal_record
from dms3.libp2p.ping import PingEcho
from dms3.libp2p.protobuf import Message, bytes_field, uint_field
from dms3.libp2p.yamux import Yamux

TESTS = Path(__file__).parents[1]
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from unit.libp2p.wire_kit import ECHO, connection, key, secured_pair  # noqa: E402  # path first

VECTORS = json.loads((TESTS / "vectors" / "peer_ids.json").read_text())
PUBLIC = [bytes.fromhex(text) for text in VECTORS["public"].values()]
NAMED = {"peer_misbehaved", "limit_reached", "protocol_unsupported", "peer_refused"}
GREETING = encode_message(HEADER)


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _multiaddr_text(data: bytes) -> None:
    address = Multiaddr.parse(_text(data))
    assert Multiaddr.parse(str(address)) == address


def _multiaddr(data: bytes) -> None:
    address = Multiaddr.decode(data)
    assert address.encode() == data
    assert Multiaddr.parse(str(address)) == address


def _public_key(data: bytes) -> None:
    found = PublicKey.decode(data)
    assert found.encode() == data
    found.verify(b"message", data)


def _peer_id(data: bytes) -> None:
    peer = decode_peer_id(data)
    assert parse_peer_id(peer_id_text(peer)) == parse_peer_id(peer_id_cid(peer)) == peer


def _multistream(data: bytes) -> None:
    for role in (Dialer(["/a", ECHO]), Listener(lambda name: name == ECHO)):
        with contextlib.suppress(DecodeError):
            _feed(role, data)


def _feed(role: Dialer | Listener, data: bytes) -> None:
    for part in (data[: len(data) // 2], data[len(data) // 2 :]):
        try:
            if role.protocol is None:
                role.receive(part)
        except Dms3Error as error:
            if error.code != "protocol_unsupported":
                raise


def _identify_stream(data: bytes) -> None:
    reader = IdentifyReader()
    reader.receive(data[:7])
    reader.receive(data[7:])
    reader.finish()


def _yamux(data: bytes) -> None:
    """The same bytes cut in two ways give the same outcome."""
    outcomes = []
    for cut in (len(data), 5):
        mux = Yamux(dialer=False, now_us=0)
        mux.send(mux.open(), b"ours")
        error = None
        try:
            for start in range(0, len(data), cut or 1):
                mux.receive(data[start : start + cut], 0)
        except Dms3Error as found:
            if found.code not in NAMED:
                raise
            error = found.message
        outcomes.append((error, [type(e) for e in mux.take_events() if not hasattr(e, "data")]))
        mux.take(1 << 20)
    assert outcomes[0] == outcomes[1]


def _named(side: Connection, data: bytes) -> None:
    """Whatever `data` is: events, and at most one Closed that ends them and names why."""
    events = side.receive_data(data[:9], 1) + side.receive_data(data[9:], 2)
    ends = [event for event in events if isinstance(event, Closed)]
    assert len(ends) <= 1
    assert not ends or (events[-1] is ends[0] and ends[0].code in NAMED and ends[0].reason)
    assert side.closed == bool(ends)
    side.data_to_send()
    side.on_timer(3)


def _to_listener(data: bytes) -> None:
    _named(connection(2, dialer=False), data)


def _to_dialer(data: bytes) -> None:
    dialer = connection(1, dialer=True)
    dialer.data_to_send()
    _named(dialer, data)


def _third_message(data: bytes) -> None:
    listener = connection(2, dialer=False)
    listener.receive_data(FIRST, 0)
    _named(listener, data)


def _secured(data: bytes) -> None:
    pair = secured_pair()
    _named(pair.b, b"".join(pair.a._channel.seal(data)))


def _flights() -> tuple[bytes, bytes, bytes]:
    dialer, listener = connection(1, dialer=True), connection(2, dialer=False)
    first = dialer.data_to_send()
    listener.receive_data(first, 0)
    second = listener.data_to_send()
    dialer.receive_data(second, 0)
    return first, second, dialer.data_to_send()


def _mux(kind: int, flags: int, stream: int, value: int, body: bytes = b"") -> bytes:
    return struct.pack(">BBHII", 0, kind, flags, stream, value) + body


FIRST, SECOND, THIRD = _flights()
ADDRESS = Multiaddr.parse("/ip4/127.0.0.1/tcp/4001").with_peer(key(1).peer_id)
INFO = IdentifyInfo(
    "test/1",
    "agent",
    (ADDRESS,),
    ("/a", ECHO),
    ADDRESS,
    key(1).public_bytes,
    seal_record(key(1), 1, [ADDRESS]),
)
OPEN = GREETING + encode_message(ECHO)
REQUEST = _mux(1, 1, 3, 0) + _mux(0, 0, 3, len(OPEN) + 4, OPEN + b"data") + _mux(1, 4, 3, 0)
SESSION = [REQUEST, _mux(2, 1, 0, 7) + _mux(3, 0, 0, 0), _mux(1, 2, 2, 9) + _mux(1, 8, 2, 0)]

FUZZ = {
    "protobuf": Message,
    "public-key": _public_key,
    "private-key": NodeKey.decode,
    "peer-id": _peer_id,
    "peer-id-text": lambda data: parse_peer_id(_text(data)),
    "multiaddr": _multiaddr,
    "multiaddr-text": _multiaddr_text,
    "multistream-message": read_message,
    "multistream": _multistream,
    "noise-payload": Payload.decode,
    "identify": decode_identify,
    "identify-stream": _identify_stream,
    "peer-record": open_record,
    "mdns-txt": decode_txt,
    "ping": lambda data: PingEcho().receive(data),
    "yamux": _yamux,
    "handshake-first": _to_listener,
    "handshake-second": _to_dialer,
    "handshake-third": _third_message,
    "secured": _secured,
}
SEEDS = {
    "protobuf": [uint_field(1, 300) + bytes_field(2, b"abc"), b"\x0d1234", b"\x0912345678"],
    "public-key": PUBLIC,
    "private-key": [key(1).encode()],
    "peer-id": [PublicKey.decode(data).peer_id for data in PUBLIC],
    "peer-id-text": [text.encode() for text in VECTORS["texts"].values()],
    "multiaddr": [ADDRESS.encode(), Multiaddr.parse("/dns4/a.example/tcp/1/ws").encode()],
    "multiaddr-text": [str(ADDRESS).encode(), b"/ip6/::1/udp/9/quic-v1", b"/dnsaddr/a.b"],
    "multistream-message": [GREETING, encode_message("/noise")],
    "multistream": [OPEN, GREETING + encode_message("na") + encode_message(ECHO), b"\x00"],
    "noise-payload": [Payload(key(1).public, b"s" * 64, ("/yamux/1.0.0",)).encode()],
    "identify": [encode_identify(INFO)],
    "identify-stream": [frame_identify(INFO)],
    "peer-record": [INFO.signed_record],
    "mdns-txt": [encode_txt(key(1).peer_id, [ADDRESS, Multiaddr.parse("/ip6/::1/tcp/9")])],
    "ping": [bytes(32), bytes(33)],
    "yamux": [b"".join(SESSION), *SESSION],
    "handshake-first": [FIRST, OPEN, GREETING + encode_message("/plaintext/2.0.0")],
    "handshake-second": [SECOND, GREETING + encode_message("na")],
    "handshake-third": [THIRD],
    "secured": SESSION,
}
# Whole handshakes, not decoders: thousands of connections, each with two key exchanges.
COUNTS = {
    "handshake-first": (2_000, "a whole connection is made for each input"),
    "handshake-second": (2_000, "a whole connection is made for each input"),
    "handshake-third": (2_000, "a whole connection is made for each input"),
    "secured": (2_000, "two whole connections are made for each input"),
}

SLOW = {
    "identify",
    "identify-stream",
    "mdns-txt",
    "multiaddr",
    "multiaddr-text",
    "multistream",
    "noise-payload",
    "peer-id",
    "peer-record",
    "private-key",
    "yamux",
}
