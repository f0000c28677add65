"""Decoders of circuits for the fuzz test."""

import sys
from pathlib import Path

from dms3.libp2p.circuit import (
    Hop,
    HopMessage,
    Limit,
    MessageReader,
    Reservation,
    Status,
    Stop,
    StopMessage,
    decode_hop,
    decode_stop,
    encode_hop,
    encode_stop,
    frame,
    open_voucher,
    seal_voucher,
)
from dms3.libp2p.envelope import open_envelope, seal_envelope
from dms3.libp2p.multiaddr import Multiaddr

TESTS = Path(__file__).parents[1]
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from unit.libp2p.wire_kit import key  # noqa: E402  # path first

ADDRESS = Multiaddr.parse("/ip4/192.0.2.1/tcp/4001")
VOUCHER = seal_voucher(key(1), key(2).peer_id, 1_800_000_000)
GRANTED = HopMessage(
    Hop.STATUS, None, Reservation(1_800_000_000, (ADDRESS,), VOUCHER), Limit(7, 8), Status.OK
)
CONNECT = HopMessage(Hop.CONNECT, key(2).peer_id)
STOP = StopMessage(Stop.CONNECT, key(1).peer_id, Limit(7, 8))


def _hop(data: bytes) -> None:
    message = decode_hop(data)
    assert decode_hop(encode_hop(message)) == message


def _stop(data: bytes) -> None:
    message = decode_stop(data)
    assert decode_stop(encode_stop(message)) == message


def _reader(data: bytes) -> None:
    """However it is cut, the same message comes out, and what followed."""
    whole = MessageReader().receive(data)
    cut = MessageReader()
    found = cut.receive(data[:3]) or cut.receive(data[3:])
    if whole is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] == whole[0]


def _circuit_address(data: bytes) -> None:
    address = Multiaddr.decode(data)
    if address.circuit is not None:
        hop, peer = address.circuit
        assert hop.through(peer) == address.without_peer()


FUZZ = {
    "circuit-hop": _hop,
    "circuit-stop": _stop,
    "circuit-message": _reader,
    "circuit-voucher": open_voucher,
    "circuit-address": _circuit_address,
    "envelope": lambda data: open_envelope(data, b"test", b"\x01"),
}

SEEDS = {
    "circuit-hop": [encode_hop(one) for one in (HopMessage(Hop.RESERVE), CONNECT, GRANTED)],
    "circuit-stop": [
        encode_stop(one) for one in (STOP, StopMessage(Stop.STATUS, status=Status.OK))
    ],
    "circuit-message": [frame(encode_hop(CONNECT)) + b"rest", b"\x80\x20"],
    "circuit-voucher": [VOUCHER],
    "circuit-address": [
        ADDRESS.through(key(1).peer_id).encode(),
        ADDRESS.through(key(1).peer_id).with_peer(key(2).peer_id).encode(),
    ],
    "envelope": [seal_envelope(key(1), b"test", b"\x01", b"payload")],
}

_SIGNED = (
    "messages of a few fields, half of them signed: together they get a quarter of one's inputs"
)
COUNTS = dict.fromkeys(FUZZ, (4_000, _SIGNED))
